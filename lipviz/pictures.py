"""One picture before one network: what it sees, what it answers, what is proven, and what happens on the way out.

Everything is float64 on the frozen network that the certificate speaks of; numpy comes out, for figures and pages.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from PIL import Image
from torch import Tensor, nn

from lipviz.certify import Certifier, in_unit
from lipviz.images import Picture, fit
from lipviz.margins import margin, on_sphere
from lipviz.runs import Run

WAYS = ("nearest class", "random noise")
REFINED = 2  # gradient steps at each size of a walk towards the nearest class


@dataclass(frozen=True, eq=False)
class Answer:
    """What one network says about one picture.

    Attributes:
        run: of the network.
        pixels: what the network sees, 0 to 255.
        notes: one sentence for each thing done to the picture.
        label: name of the predicted class.
        margin: its logit minus the largest other one.
        radius: certified, l2, pixels in [0, 1].
        constant: proven Lipschitz bound of the network up to its last layer.
        sample: name of the picture where it comes with the app; None for a visitor's own.
    """

    run: Run
    pixels: UInt8[np.ndarray, "c h w"]
    notes: tuple[str, ...]
    label: str
    margin: float
    radius: float
    constant: float
    sample: str | None = None


@dataclass(frozen=True, eq=False)
class Walk:
    """A picture changed more and more; the first entry is the picture itself.

    Attributes:
        pixels: the changed pictures, in [0, 1].
        size: l2 norm of each change, measured after clipping to [0, 1].
        margin: logit of the first answer minus the largest other one; below 0 the answer has changed.
        label: index of the predicted class.
    """

    pixels: Float64[np.ndarray, "n c h w"]
    size: Float64[np.ndarray, " n"]
    margin: Float64[np.ndarray, " n"]
    label: Int64[np.ndarray, " n"]


def answer(run: Run, certifier: Certifier, picture: Picture) -> Answer:
    """Fit the picture to the network and certify its answer."""
    channels, height, width = certifier.input_shape
    pixels, notes = fit(picture, (channels, height, width))
    certificate = certifier(torch.tensor(pixels)[None])
    return Answer(
        run,
        pixels,
        (*picture.notes, *notes),
        run.class_name(int(certificate.label[0])),
        float(certificate.margin[0]),
        float(certificate.radius[0]),
        certifier.body,
    )


def walk(
    certifier: Certifier, pixels: UInt8[np.ndarray, "c h w"], way: str, sizes: Sequence[float], seed: int = 0
) -> Walk:
    """Change a picture by each of `sizes` (l2, ascending from 0), one way out.

    Args:
        certifier: of the network.
        pixels: what the network sees.
        way: "random noise" is one seeded direction; "nearest class" follows the gradient of the margin anew at
            each size, starting from the last one.
        sizes: norms before clipping to [0, 1], which can only make them smaller.
        seed: of the noise.
    """
    if way not in WAYS:
        raise ValueError(f"way must be one of {WAYS}, got {way!r}")
    x = in_unit(torch.tensor(pixels)[None])
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if way == "random noise":
        changed = torch.cat([on_sphere(x, noise, size) for size in sizes])
    else:
        changed = _descend(certifier.frozen, x, noise, sizes)
    with torch.no_grad():
        s = certifier.frozen(changed)
    size = (changed - x).flatten(1).norm(dim=1)
    lead = margin(s, s[0].argmax())
    return Walk(changed.numpy(), size.numpy(), lead.numpy(), s.argmax(1).numpy())


def _descend(
    model: nn.Module, x: Float[Tensor, "1 c h w"], noise: Tensor, sizes: Sequence[float]
) -> Float[Tensor, "n c h w"]:
    """Down the margin of the answer at x, on spheres of growing size."""
    label = model(x).argmax().detach()
    found, z = [], x
    for size in sizes:
        for _ in range(REFINED if size else 0):
            z = z.detach().requires_grad_()
            (g,) = torch.autograd.grad(margin(model(z), label).sum(), z)
            if not g.any():  # a network that is flat here leaves no better choice
                g = noise
            z = on_sphere(x, z.detach() - x - g * (size / g.norm()), size)
        found.append(z.detach())
    return torch.cat(found)


def equal_noise(pixels: Float64[np.ndarray, "c h w"], size: float, seed: int = 0) -> Float64[np.ndarray, "c h w"]:
    """The picture, in [0, 1], with noise of l2 norm `size` after clipping, or as near to that as clipping allows."""
    noise = np.random.default_rng(seed).standard_normal(pixels.shape)
    low, high = 0.0, 1.0
    while np.linalg.norm((pixels + high * noise).clip(0, 1) - pixels) < size and high < 1e6:
        low, high = high, 2 * high
    for _ in range(60):  # the norm grows with the factor
        middle = (low + high) / 2
        short = np.linalg.norm((pixels + middle * noise).clip(0, 1) - pixels) < size
        low, high = (middle, high) if short else (low, middle)
    return (pixels + low * noise).clip(0, 1)


def data_uri(pixels: np.ndarray) -> str:
    """Pixels (c, h, w), of 0 to 255 or floats in [0, 1], as the address of a PNG that holds just them."""
    if pixels.dtype != np.uint8:
        pixels = np.rint(255 * pixels.clip(0, 1)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
