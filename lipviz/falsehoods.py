"""False certificates: five formulas that promise too much, each with the change of a picture that breaks it.

A certificate divides the margin of an answer by how fast it can fall. Each function here divides by something that
nothing guarantees, and returns the claimed radius beside the certified one and beside the nearest other answer that a
search found. Everything but the claims is float64 and comes from `certify.Certifier`: a change counts as a break only
where the other answer is certain, rounding errors included.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn

from lipviz.bounds import leaves
from lipviz.certify import Certificate, Certifier, in_unit
from lipviz.images import fit
from lipviz.margins import margin, on_sphere
from lipviz.norms import U
from lipviz.operators import CircularConv, Padded, PaddedTranspose
from lipviz.samples import load

SIZES = 31  # of the spheres that a search walks through
GROWTH = 1.25  # from one to the next
INWARDS = 0.96  # the same on the way back, in finer steps
CELLS = 32  # of the line to the picture that is looked at, each round one of those before
DRAWN = 1.4  # so many times the way to what was found is drawn
AGREES = 1e-6  # a claim that agrees with the certified radius to six digits is as true as it
SURE = 1e-8  # lead of the other answer at which a search is content
MATRICES = (nn.Linear, nn.Conv2d, Padded, PaddedTranspose, CircularConv)
PICTURES = 64  # tried beside a boundary in float32


@dataclass(frozen=True, eq=False)
class Found:
    """What a search for another answer came back with.

    Attributes:
        pixels: the changed picture, or the last one looked at where no other answer was found.
        size: l2 norm of its change.
        first: answer to the unchanged picture.
        label: answer to the changed one; `first` again where no other was found.
        steps: gradient steps taken.
        sizes: l2 norms on the straight way from the picture to `pixels` and a little beyond.
        margins: of the first answer at each of them.
    """

    pixels: Float64[np.ndarray, "c h w"]
    size: float
    first: int
    label: int
    steps: int
    sizes: Float64[np.ndarray, " n"]
    margins: Float64[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Case:
    """A claim about one picture, what is proven of it, and what a search found.

    Attributes:
        x: the picture, in [0, 1].
        label: its answer.
        margin: as the claim sees it.
        divisor: what the claim divides the margin by.
        claimed: radius that it promises, l2.
        certified: radius from lipviz.certify, l2.
        found: the search.
    """

    x: Float64[np.ndarray, "c h w"]
    label: int
    margin: float
    divisor: float
    claimed: float
    certified: float
    found: Found

    @property
    def broken(self) -> bool:
        """Whether another answer lies inside the claimed radius."""
        return self.found.label != self.label and self.found.size < self.claimed

    @property
    def state(self) -> str:
        """The verdict: "bug" (a break inside the certified radius), "broken", "true", or "open": nothing is known."""
        if self.found.label != self.label and self.found.size < self.certified:
            return "bug"
        if self.broken:
            return "broken"
        return "true" if self.claimed <= self.certified * (1 + AGREES) else "open"


def sample(name: str, shape: tuple[int, ...]) -> Float[Tensor, "c h w"]:
    """A sample picture as a network of that input shape sees it, float64 in [0, 1]."""
    channels, height, width = shape
    pixels, _ = fit(load(name, shape), (channels, height, width))
    return in_unit(torch.tensor(pixels))


def search(
    model: nn.Module, x: Float[Tensor, "c h w"], most: float = 8.0, rounds: int = 3, sure: float = SURE
) -> Found:
    """Look for the nearest other answer: down the margin on growing spheres, back inwards, then along a straight line.

    Args:
        model: float64.
        x: the picture, in [0, 1]; the search stays there too.
        most: radius of the largest sphere.
        rounds: of the last part, each with 32 pictures; three give the size to four digits.
        sure: the lead that another answer must have.
    """
    start = x[None]
    label = int(_lead(model, start)[0])
    z, steps = start, 0
    for size in most * GROWTH ** np.arange(1.0 - SIZES, 1.0):
        for _ in range(2):
            z = _lower(model, start, z, label, float(size))
        steps += 2
        if _other(model, z, label, sure).any():
            break
    else:
        return _found(model, x, z[0], label, steps)
    while steps < 4 * SIZES:  # inwards
        size = INWARDS * float((z - start).norm())
        nearer = _lower(model, start, _lower(model, start, z, label, size), label, size)
        steps += 2
        if not _other(model, nearer, label, sure).any():
            break
        z = nearer
    low, high = 0.0, 1.0
    for _ in range(rounds):
        t = torch.linspace(low, high, CELLS + 1, dtype=torch.float64)[1:]
        k = int(_other(model, _between(start, z, t), label, sure).int().argmax())
        low, high = (float(t[k - 1]) if k else low), float(t[k])
    return _found(model, x, _between(start, z, torch.tensor([high], dtype=torch.float64))[0], label, steps)


def _lower(model: nn.Module, x: Tensor, z: Tensor, label: int, size: float) -> Tensor:
    """A step down the margin of the label, back on to the sphere of that size around x, and into [0, 1]."""
    z = z.detach().requires_grad_()
    (g,) = torch.autograd.grad(margin(model(z), label).sum(), z)
    if not g.any():  # a network that is flat here leaves no better choice
        g = torch.randn(z.shape, generator=torch.Generator().manual_seed(0), dtype=z.dtype)
    change = z.detach() - x - g * (size / g.norm())
    return on_sphere(x, change, size)


def _between(x: Tensor, z: Tensor, t: Float[Tensor, " n"]) -> Tensor:
    return (x + t.view(-1, 1, 1, 1) * (z - x)).clamp(0, 1)


@torch.no_grad()
def _lead(model: nn.Module, x: Tensor) -> tuple[int, float]:
    """The answer to one picture, and its lead."""
    best = model(x)[0].topk(2)
    return int(best.indices[0]), float(best.values[0] - best.values[1])


@torch.no_grad()
def _other(model: nn.Module, x: Float[Tensor, "n c h w"], label: int, sure: float) -> Bool[Tensor, " n"]:
    """Where the answer is another one, and leads by so much."""
    best = model(x).topk(2)
    return (best.indices[:, 0] != label) & (best.values[:, 0] - best.values[:, 1] > sure)


@torch.no_grad()
def _found(model: nn.Module, x: Tensor, z: Tensor, first: int, steps: int) -> Found:
    points = _between(x[None], z[None], torch.linspace(0, DRAWN, 43, dtype=torch.float64))
    sizes, margins = (points - x).flatten(1).norm(dim=1), margin(model(points), first)
    kept = torch.cat([torch.tensor([True]), sizes.diff() > 0])  # where all of it is clipped it goes no further
    label, _ = _lead(model, z[None])
    return Found(z.numpy(), float((z - x).norm()), first, label, steps, sizes[kept].numpy(), margins[kept].numpy())


def formula(s: Float[Tensor, " k"], body: float, distance: Float[Tensor, "k k"] | None) -> tuple[float, float]:
    """(min_j (s_y - s_j) / (body ||w_y - w_j||), its divisor), with sqrt(2) for rows that are not known."""
    y = int(s.argmax())
    divisor = body * (torch.full_like(s, math.sqrt(2)) if distance is None else distance[y])
    radii = torch.where(s[y] > s, (s[y] - s) / divisor, 0.0)  # two equal rows: 0 / 0
    radii[y] = math.inf
    j = int(radii.argmin())
    return float(radii[j]), float(divisor[j])


def _case(certifier: "Certifier | Fed", x: Tensor, claimed: float, divisor: float, margin: float, found: Found) -> Case:
    """What was found counts only where the other answer is certain."""
    certificate = certifier(torch.stack([x, torch.tensor(found.pixels)]))
    label = int(certificate.label[0])
    if int(certificate.label[1]) != found.label or not certificate.radius[1] > 0:
        found = replace(found, label=label)
    return Case(x.numpy(), label, margin, divisor, claimed, float(certificate.radius[0]), found)


def assumed_constant(
    certifier: Certifier,
    x: Float[Tensor, "c h w"],
    constant: float | int = 1.0,
    logits: float | int = 1.0,
    found: Found | None = None,
) -> Case:
    """The margin divided by sqrt(2) times a constant that nobody has proved, of a network whose logits are scaled.

    A factor on all logits changes no answer and no certified radius; it multiplies the claim.
    """
    found = found or search(certifier.frozen, x)
    claimed, divisor, margin = promise(found, constant, logits)
    return _case(certifier, x, claimed, divisor, margin, found)


def promise(found: Found, constant: float | int, logits: float | int) -> tuple[float, float, float]:
    """(claimed radius, divisor, margin) of `assumed_constant`: no bound is needed for a false promise."""
    margin, divisor = logits * float(found.margins[0]), math.sqrt(2) * constant
    return margin / divisor, divisor, margin


def power_iteration(
    certifier: Certifier, x: Float[Tensor, "c h w"], steps: int = 1, found: Found | None = None, seed: int = 0
) -> Case:
    """The certificate with the norm of every layer estimated by so many steps of power iteration."""
    certificate = certifier(x[None])
    claimed, divisor = formula(certificate.logits[0], math.prod(estimates(certifier, steps, seed)), certifier.distance)
    found = found or search(certifier.frozen, x)
    return _case(certifier, x, claimed, divisor, float(certificate.margin[0]), found)


def estimates(certifier: Certifier, steps: int, seed: int = 0) -> list[float]:
    """An estimate of the norm of each layer of the body; what is not a matrix has its proven constant."""
    generator = torch.Generator().manual_seed(seed)
    count = len(certifier.steps) - (certifier.head is not None)
    x, norms = torch.zeros(1, *certifier.input_shape, dtype=torch.float64), []
    for (_, module), step in list(zip(leaves(certifier.frozen), certifier.steps, strict=True))[:count]:
        norms.append(estimate(module, x, steps, generator) if type(module) in MATRICES else step.value)
        with torch.no_grad():
            x = module(x)
    return norms


def estimate(module: nn.Module, like: Tensor, steps: int, generator: torch.Generator) -> float:
    """||A v|| for a random unit vector v after so many steps v <- A^T A v / ||A^T A v||: never more than ||A||."""
    zero = torch.zeros_like(like)
    with torch.no_grad():
        offset = module(zero)
    v = torch.randn(like.shape, generator=generator, dtype=torch.float64)
    for _ in range(steps):
        v = (v / v.norm()).requires_grad_()
        (v,) = torch.autograd.grad(0.5 * (module(v) - offset).square().sum(), v)
        if not v.any():
            return 0.0
    with torch.no_grad():
        return float((module(v / v.norm()) - offset).norm())


def forgotten_std(
    certifier: Certifier, x: Float[Tensor, "c h w"], std: float | int = 0.25, mean: Sequence[float] = (0.0,)
) -> Case:
    """The certificate of a network that is fed (x - mean) / std, by the constant of the network alone.

    Args:
        certifier: of the network, which subtracts `mean` itself.
        x: the picture, in [0, 1].
        std: what every channel is divided by.
        mean: of the channels, one or as many.
    """
    fed = Fed(certifier, std, mean)
    certificate = fed(x[None])
    claimed, divisor = formula(certificate.logits[0], certifier.body, certifier.distance)
    return _case(fed, x, claimed, divisor, float(certificate.margin[0]), search(fed.frozen, x))


class Fed:
    """Certificates of x -> network((x - mean) / std + mean), from those of the network.

    A change of x of size r is one of size r / std for the network, so that its certified radius times std is one of
    the picture; what rounding did to the network's input is taken off before.
    """

    def __init__(self, certifier: Certifier, std: float | int, mean: Sequence[float]) -> None:
        self.inner, self.std, self.input_shape = certifier, std, certifier.input_shape
        self.frozen = nn.Sequential(scale(self.input_shape[0], std, mean), certifier.frozen)

    @torch.no_grad()
    def __call__(self, images: Tensor, batch: int = 256) -> Certificate:
        """Certify float64 images."""
        seen = self.frozen[0](images)  # type: ignore[index]
        certificate = self.inner(seen, batch)
        rounding = 8 * U * (seen.flatten(1).norm(dim=1) + images.flatten(1).norm(dim=1) / self.std + 1 / self.std)
        radius = (certificate.radius - rounding).clamp_min(0) * self.std * (1 - 4 * U)
        return replace(certificate, radius=radius)


def scale(channels: int, std: float | int, mean: Sequence[float] = (0.0,)) -> nn.Conv2d:
    """x -> (x - mean) / std + mean, to stand before a network that subtracts the mean itself."""
    layer = nn.Conv2d(channels, channels, 1).double()
    layer.weight.data = torch.eye(channels, dtype=torch.float64)[:, :, None, None] / std
    layer.bias.data = torch.tensor(mean, dtype=torch.float64).expand(channels) * (1 - 1 / std)  # type: ignore[union-attr]
    return layer


def unit_rows(x: Float[Tensor, "c h w"], other: Float[Tensor, "c h w"], angle: float | int = 180.0) -> Case:
    """m / sqrt(2) with a head whose two rows have norm 1 and stand at that angle, in degrees."""
    certifier = Certifier(two_rows(x, other, angle), tuple(x.shape))
    margin = float(certifier(x[None]).margin[0])
    divisor = math.sqrt(2) * certifier.body
    found = exact(certifier, x, 2 * float((x - other).norm()))
    return _case(certifier, x, margin / divisor, divisor, margin, found)


def exact(certifier: Certifier, x: Float[Tensor, "c h w"], most: float = 8.0) -> Found:
    """A search to ten digits, content with any lead above the rounding error."""
    return search(certifier.frozen, x, most, 7, 8 * float(certifier(x[None]).error[0]))


def direction(x: Tensor, other: Tensor) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """(unit vector from the other picture to x, the point half way), flat."""
    across = (x - other).flatten()
    if not across.any():
        raise ValueError("expected two different pictures, got the same twice: choose another one")
    return across / across.norm(), (x + other).flatten() / 2


def two_rows(x: Tensor, other: Tensor, angle: float | int) -> nn.Sequential:
    """Nearest of two pictures: rows cos(angle / 2) b +- sin(angle / 2) a, a the way between them, b across it."""
    a, middle = direction(x, other)
    b = torch.ones_like(a) - a * a.sum()
    b, half = b / b.norm(), math.radians(angle) / 2
    rows = torch.stack([math.cos(half) * b + math.sin(half) * a, math.cos(half) * b - math.sin(half) * a])
    head = nn.Linear(len(a), 2).double()
    head.weight.data, head.bias.data = rows, -rows @ middle
    return nn.Sequential(nn.Flatten(), head)


def stretched(x: Tensor, other: Tensor, gain: float = 1.2, depth: int = 8) -> nn.Sequential:
    """Nearest of two pictures, behind layers that stretch the way between them by `gain`, and nothing else."""
    a, middle = direction(x, other)
    layers: list[nn.Module] = [nn.Flatten()]
    W = torch.eye(len(a), dtype=torch.float64) + (gain - 1) * torch.outer(a, a)
    for _ in range(depth):
        layers.append(nn.Linear(len(a), len(a)).double())
        layers[-1].weight.data, layers[-1].bias.data = W.clone(), middle - W @ middle
    head = nn.Linear(len(a), 2).double()
    head.weight.data = torch.stack([a, -a])
    head.bias.data = -head.weight.data @ middle
    return nn.Sequential(*layers, head)


def float32(
    x: Float[Tensor, "c h w"], other: Float[Tensor, "c h w"], offset: float | int = 2.0**20
) -> tuple[Case, int, int]:
    """The certificate in float32 of a network that adds `offset` to a feature and takes it away again.

    Of pictures beside the boundary between the two given ones, the one is taken where it promises most beyond the
    truth. The certified radius is float64's.

    Returns:
        The case, and of PICTURES pictures how many have the right answer and too large a radius, and how many have
        the wrong answer and a radius above 0.
    """
    network = with_offset(x, other, offset)
    certifier = Certifier(network, tuple(x.shape))
    assert certifier.distance is not None
    a, middle = direction(x, other)
    spacing = max(float(np.spacing(np.float32(offset))), 2e-6)
    t = spacing * torch.arange(1, PICTURES + 1).double() * (1.5 / PICTURES)
    # stored in float32, so that both see the same pictures
    images = (middle + t[:, None] * a).clamp(0, 1).view(-1, *x.shape).float()
    certificate = certifier(images.double())
    divisor = torch.tensor(certifier.body, dtype=torch.float32) * certifier.distance[0, 1].float()
    with torch.no_grad():
        # one at a time: a batch may be summed in another order, and rounded differently
        logits = torch.cat([network(image[None]) for image in images])
    right, radius = logits.argmax(1) == certificate.label, (logits.amax(1) - logits.amin(1)) / divisor
    excess = torch.where(right, radius, 0).double() - certificate.radius
    k = int(excess.argmax())
    image, claimed = images[k].double(), float(radius[k]) if right[k] else 0.0
    found = exact(certifier, image, 2 * max(claimed, float(certificate.radius[k])) + 1e-6)
    case = _case(certifier, image, claimed, float(divisor), claimed * float(divisor), found)
    return case, int((excess > 1e-9 * certificate.radius).sum()), int((~right & (radius > 0)).sum())


def with_offset(x: Tensor, other: Tensor, offset: float | int) -> nn.Sequential:
    """Nearest of two pictures by a feature <a, x> + offset, from which the next layer takes the offset away.

    All weights are float32 numbers, and the logits of the stored network do not depend on the offset.
    """
    a, middle = direction(x, other)
    first, second, head = nn.Linear(len(a), 1), nn.Linear(1, 1), nn.Linear(1, 2)
    first.weight.data, second.weight.data = a.float()[None], torch.ones(1, 1)
    first.bias.data, second.bias.data = torch.tensor([offset]), torch.tensor([-offset])
    head.weight.data = torch.tensor([[1.0], [-1.0]])
    where = (a.float().double() @ middle).float()
    head.bias.data = torch.stack([-where, where])
    return nn.Sequential(nn.Flatten(), first, second, head)
