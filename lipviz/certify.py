"""Certificates: the radius within which no perturbation changes the answer, in the l2 norm and unit of the input.

The frozen float64 network is z = body(x), s = W z + b. If the body has Lipschitz constant L, then no input within

    r = min_{j != y} (s_y - s_j) / (L ||w_y - w_j||)

of x is classified other than y (Tsuzuku, Sato, Sugiyama, NeurIPS 2018, pair by pair). The minimum runs over all
classes: the runner-up need not bind. Where the model does not end in a linear layer, r = margin / (sqrt(2) L).

Logits are evaluated in float64 with a bound e of their rounding error, carried through the network
layer by layer, and the radius uses s_y - s_j - 2 e, rounded down. It speaks of the real-arithmetic network of the
stored weights at the given input.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from lipviz.bounds import CONSTANTS, Bound, LayerBound, bound_frozen, freeze64, leaves, product
from lipviz.forms import FrozenResidual
from lipviz.isometries import (
    Center,
    HouseholderActivation,
    L2Pool,
    LayerCenter,
    NActivation,
    Pool,
    ResidualAverage,
)
from lipviz.margins import margin
from lipviz.norms import U, gamma
from lipviz.operators import CircularConv, Padded, PaddedTranspose
from lipviz.rotations import FrozenSeries
from lipviz.sandwich import FrozenSandwich

TINY = 2.0**-1022  # the smallest normal number


@dataclass(frozen=True)
class Certificate:
    """One entry an image, on the CPU.

    Attributes:
        label: the predicted class.
        margin: the logit of the label minus the largest other one.
        radius: l2, in the unit of the input ([0, 1] for images); 0 where nothing is certified.
        logits: (images, classes), float64.
        error: bound of the rounding error of every logit.
    """

    label: Int64[Tensor, " b"]
    margin: Float[Tensor, " b"]
    radius: Float[Tensor, " b"]
    logits: Float[Tensor, "b k"]
    error: Float[Tensor, " b"]


@dataclass(frozen=True)
class Step:
    """A frozen layer, and what its rounding error takes: its Lipschitz bound, its `absolute_norm`, what is inside."""

    module: nn.Module
    value: float
    absolute: float
    branch: tuple["Step", ...]


class Certifier:
    """A model frozen and bounded once, to certify many images.

    Args:
        model: ends in a layer of logits, at least two.
        input_shape: shape of one input without the batch.

    Raises:
        ValueError: a module without a known Lipschitz bound, or weights that are not finite.
    """

    def __init__(self, model: nn.Module, input_shape: tuple[int, ...]) -> None:
        self.input_shape = tuple(input_shape)
        # of the file that the weights were read from, by `Run.model`
        self.weights_sha256 = str(getattr(model, "weights_sha256", ""))
        self.frozen = freeze64(model, self.input_shape)
        self.bound: Bound = bound_frozen(self.frozen, self.input_shape)
        self.steps = steps(self.frozen, self.bound.layers)
        last = self.steps[-1].module
        self.head = last if type(last) is nn.Linear else None
        self.distance = None if self.head is None else _pairwise(self.head.weight)
        body = self.bound.layers[:-1] if self.head is not None else self.bound.layers
        self.body = product([layer.value for layer in body])

    @torch.no_grad()
    def __call__(self, images: Tensor, batch: int = 256) -> Certificate:
        """Certify images of shape (b, *input_shape): floats in the unit of the network, or uint8 taken as x / 255."""
        if tuple(images.shape[1:]) != self.input_shape or not len(images):
            got, expected = tuple(images.shape), ("batch", *self.input_shape)
            raise ValueError(f"images must have shape {expected}, got {got}: resize them, or add the batch axis")
        x = in_unit(images)
        if not x.isfinite().all():
            raise ValueError("images must be finite, got NaN or infinity")
        logits, error = map(torch.cat, zip(*map(self.logits, x.split(batch)), strict=True))
        label = logits.argmax(1)
        return Certificate(label, margin(logits, label), self.radius(logits, error, label), logits, error)

    def logits(self, x: Float[Tensor, "b ..."]) -> tuple[Float[Tensor, "b k"], Float[Tensor, " b"]]:
        """Logits and a bound of their error, carried through the network."""
        x, e = propagate(self.steps, x, torch.zeros(len(x), dtype=torch.float64))
        if x.ndim != 2 or x.shape[1] < 2:
            raise ValueError(
                f"a classifier has at least two logits an image, got outputs of shape {tuple(x.shape[1:])}"
            )
        return x, e + 4 * U * x.abs().amax(1)  # the last term: of the differences taken below

    def radius(self, s: Float[Tensor, "b k"], e: Float[Tensor, " b"], label: Tensor) -> Float[Tensor, " b"]:
        """min_j (s_y - s_j - 2 e) / (L ||w_y - w_j||), rounded down and not below 0."""
        gap = s.gather(1, label[:, None]) - s - 2 * e[:, None]
        distance = torch.full_like(s, math.sqrt(2)) if self.distance is None else self.distance[label]
        moves = (distance > 0) & (self.body > 0)  # else equal rows, or a zero body: the gap is the same everywhere
        slope = (self.body * distance).clamp_min(TINY)  # an upper bound even where the product underflows
        r = torch.where(moves, (gap / slope).clamp_max(sys.float_info.max), math.inf)
        r = torch.where(gap > 0, r, 0.0).scatter(1, label[:, None], math.inf).amin(1)
        return (r * (1 - 16 * U) - TINY).clamp_min(0)  # below TINY rounding is not relative


def in_unit(images: Shaped[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """float64 on the CPU: pixels from 0 to 255 as x / 255, floats as they are; ValueError on other integers.

    >>> in_unit(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist(), in_unit(torch.tensor([0.5])).tolist()
    ([0.0, 0.2, 1.0], [0.5])
    """
    if images.dtype == torch.uint8:
        return images.cpu().double() / 255
    if not images.is_floating_point():  # their unit would be a guess
        raise ValueError(f"images must be uint8 from 0 to 255, or floats in the network's unit, got {images.dtype}")
    return images.cpu().double()


def certify(model: nn.Module, images: Tensor) -> Certificate:
    """Label, margin and certified radius of each image; see `Certifier` to certify many with one model.

    >>> halfplane = nn.Linear(1, 2, bias=False)
    >>> _ = halfplane.weight.data.copy_(torch.tensor([[1.0], [-1.0]]))
    >>> round(float(certify(halfplane, torch.tensor([[0.25]])).radius), 9)
    0.25
    """
    return Certifier(model, tuple(images.shape[1:]))(images)


def certified_accuracy(radius: Tensor, correct: Tensor, eps: float) -> float:
    """Share of all images that are correct and certified beyond eps: radius > eps, strictly.

    >>> certified_accuracy(torch.tensor([0.1, 0.3]), torch.tensor([True, True]), 36 / 255)
    0.5
    """
    return float(((radius > eps) & correct).double().mean())


def steps(frozen: nn.Module, layers: Sequence[LayerBound]) -> tuple[Step, ...]:
    """The layers of a frozen model with their bounds, `bound_frozen(frozen, ...).layers`."""
    return tuple(
        Step(
            module,
            layer.value,
            absolute_norm(module),
            steps(module.branch, layer.branch) if isinstance(module, ResidualAverage) else (),
        )
        for (_, module), layer in zip(leaves(frozen), layers, strict=True)
    )


def propagate(
    steps: Sequence[Step], x: Float[Tensor, "b ..."], e: Float[Tensor, " b"]
) -> tuple[Float[Tensor, "b ..."], Float[Tensor, " b"]]:
    """The output for an input that is off by e, and a bound of its error, e <- L e + (new rounding) at each step."""
    for step in steps:
        if isinstance(step.module, ResidualAverage):
            x, e = _average(step.module, x, e, *propagate(step.branch, x, e))
        else:
            y = step.module(x)
            e = step.value * e + rounding(step.module, step.absolute, step.value, x, y)
            x = y
        e = e * (1 + 8 * U)
    return x, e


def _average(module: ResidualAverage, x: Tensor, e: Tensor, f: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """a x + (1 - a) f with x off by e, f = branch(x) by d, and the computed a by a few u."""
    a = module.alpha()
    off = 16 * U * (_size(x) + _size(f) + e + d)
    return a * x + (1 - a) * f, a * e + (1 - a) * d + off


def absolute_norm(module: nn.Module) -> float:
    """sqrt(||A||_1 ||A||_inf) >= || |A| ||, A the matrix of a layer: how rounding is amplified; 0 without weights."""
    if isinstance(module, Padded | PaddedTranspose | FrozenSeries):
        return absolute_norm(module.conv)
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | CircularConv):
        W = module.weight.abs().flatten(2).sum(2) if module.weight.ndim > 2 else module.weight.abs()
        return math.sqrt(float(W.sum(0).max())) * math.sqrt(float(W.sum(1).max())) * (1 + 1e-9)
    if isinstance(module, FrozenResidual):
        return absolute_norm(module.inner)
    return 0.0


def rounding(module: nn.Module, absolute: float, value: float, x: Tensor, y: Tensor) -> Float[Tensor, " b"]:
    """Bound of || fl(layer(x)) - layer(x) || for each x: gamma_{n + 1} (|| |A| || ||x|| + ||b||) for inner products.

    The FFT has no error bound entry by entry; norm-wise it is a small multiple of u log2(size)
    (Higham, Accuracy and Stability, section 24.1), taken here with the constant 8 for each transform, and as if
    the error of the kernel's transform fell on a single frequency.

    Args:
        module: a frozen layer.
        absolute: `absolute_norm` of it.
        value: its Lipschitz bound.
        x: its input, float64.
        y: its output.
    """
    size = _size(x)
    if isinstance(module, CircularConv):
        (out, channels), (n, m) = module.weight.shape[:2], module.weight.shape[-2:]
        relative = 3 * 8 * U * math.log2(2 * n * m) * math.sqrt(n * m) + gamma(4 * channels)
        lost = 8 * (channels + 1) * n * m * TINY * math.sqrt(y[0].numel()) * (1 + absolute)
        return relative * value * math.sqrt(min(out, channels)) * size + U * _bias(module, y) + lost
    if isinstance(module, FrozenResidual):
        bias = _hidden_bias(module.inner, x)
        inner = gamma(_terms(module.inner)) * (absolute * size + bias)
        middle = absolute * size + bias + inner
        lost = _terms(module.outer) * TINY * math.sqrt(x[0].numel()) * (1 + 2 * absolute)
        outer = gamma(_terms(module.outer)) * 2 * absolute * middle
        return 2 * absolute * inner + outer + 8 * U * (size + middle) + lost
    if isinstance(module, FrozenSandwich):
        return _sandwich(module, x, y)
    if isinstance(module, FrozenSeries):
        bias = 0.0 if module.bias is None else _spread(module.bias, y)
        lost = 3 * _terms(module.conv) * TINY * math.sqrt(x[0].numel()) * (1 + absolute) ** 3
        return _series(module, absolute, size) + U * (_size(y) + bias) + lost
    if type(module) in (nn.Linear, nn.Conv2d, Padded, PaddedTranspose):
        underflow = _terms(module) * TINY * math.sqrt(y[0].numel())  # a product below it is lost altogether
        return gamma(_terms(module)) * (absolute * size + _bias(module, y)) + underflow
    if isinstance(module, Center):
        return U * (size + _spread(module.mean, y))
    if isinstance(module, Pool | nn.AvgPool2d):
        k = module.size if isinstance(module, Pool) else int(module.kernel_size)  # type: ignore[arg-type]
        return gamma(k * k + 2) * value * size
    if isinstance(module, L2Pool):  # squares may underflow, by less than 2^-1022 each
        return gamma(module.size**2 + 4) * size + 2.0**-510 * math.sqrt(x[0].numel())
    if isinstance(module, LayerCenter):
        return gamma(x[0].numel() + 4) * size
    if isinstance(module, HouseholderActivation):  # 7 u, and 6 u more for each u that the cosine and the sine are off
        return 64 * U * size
    if isinstance(module, NActivation):  # one subtraction
        return U * _size(y)
    if isinstance(module, nn.Tanh | nn.Sigmoid | nn.LeakyReLU):  # a few units in the last place
        return 4 * U * (max(1.0, value) * size + math.sqrt(y[0].numel()))
    if type(module) in CONSTANTS:  # comparisons, permutations, zeros
        return torch.zeros_like(size)
    raise ValueError(f"no rounding error is known for {type(module).__name__}")


def _sandwich(module: FrozenSandwich, x: Tensor, y: Tensor) -> Float[Tensor, " b"]:
    """outer(relu(inner(x))): what the inner half is off by, through the outer one, and what that adds."""
    inner, outer = absolute_norm(module.inner), absolute_norm(module.outer)
    z = torch.relu(module.inner(x))
    off = rounding(module.inner, inner, inner, x, z)
    return outer * off + rounding(module.outer, outer, outer, z, y)


def _series(module: FrozenSeries, absolute: float, size: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """z <- x + J z / j for j = 3, 2, 1, with |J z| at most `absolute` |z|."""
    z, e = size, torch.zeros_like(size)
    for j in (3, 2, 1):
        Jz = absolute * (z + e)
        e = (gamma(_terms(module.conv)) * Jz + absolute * e) / j + 4 * U * (size + Jz / j)
        z = size + absolute * z / j
    return e


def _size(x: Tensor) -> Float[Tensor, " b"]:
    x = x.flatten(1)
    scale = x.abs().amax(1, keepdim=True).clamp_min(TINY)  # squares may underflow
    return (x / scale).norm(dim=1) * scale[:, 0] * (1 + 1e-9)


def _terms(module: nn.Module) -> int:
    """Length of the inner products of a layer, the bias counted."""
    if isinstance(module, PaddedTranspose):  # every tap, and the sums where the image is wrapped
        return module.conv.weight[:, 0].numel() + 4 * module.conv.kernel_size[0] + 2
    layer = module.conv if isinstance(module, Padded) else module
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return layer.weight[0].numel() + 2


def _bias(module: nn.Module, y: Tensor) -> float:
    """Norm of the bias as it is spread over the output."""
    layer = module.conv if isinstance(module, Padded | PaddedTranspose) else module
    return _spread(layer.bias, y) if isinstance(layer.bias, Tensor) else 0.0


def _hidden_bias(inner: nn.Module, x: Tensor) -> float:
    """Norm of the bias in front of the relu of a residual: as many places as the input has, of another width maybe."""
    layer = inner.conv if isinstance(inner, Padded | PaddedTranspose) else inner
    if not isinstance(layer.bias, Tensor):
        return 0.0
    width = x.shape[-1] if isinstance(layer, nn.Linear) else x.shape[1]
    return float(_size(layer.bias.detach()[None])) * math.sqrt(x[0].numel() / width) * (1 + 1e-9)


def _spread(vector: Tensor, y: Tensor) -> float:
    return float(_size(vector.detach()[None])) * math.sqrt(y[0].numel() / vector.numel()) * (1 + 1e-9)


def _pairwise(W: Float[Tensor, "k n"]) -> Float[Tensor, "k k"]:
    """||w_i - w_j||, rounded up, each difference scaled by its largest entry, since squares may underflow."""
    rows = []
    for w in W:  # all at once would take k^2 n numbers
        D = W - w
        peak = D.abs().amax(1)
        scale = peak.clamp_min(TINY)
        size = (D / scale[:, None]).norm(dim=1) * (1 + gamma(W.shape[1] + 9)) * scale
        size = size.nan_to_num(math.inf, math.inf).clamp_min(TINY)  # NaN: inf / inf, a difference that overflows
        rows.append(torch.where(peak > 0, size, 0.0))
    return torch.stack(rows)
