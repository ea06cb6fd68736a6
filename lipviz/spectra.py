"""Singular values of layers, and how far they are from orthogonal."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lipviz.bounds import freeze64, leaves
from lipviz.forms import FrozenResidual
from lipviz.norms import UNROLL, geometry, image_size, unrolled
from lipviz.operators import CircularConv, Padded, PaddedTranspose, symbol
from lipviz.rotations import FrozenSeries, taylor
from lipviz.sandwich import FrozenSandwich


@dataclass(frozen=True)
class Spectrum:
    """Singular values of one layer.

    Attributes:
        layer: name of the layer in the frozen model.
        kind: "affine" (of its matrix), "residual" (of V = W T^{-1/2} in x - 2 V relu(V^T x + b)) or "sandwich"
            (of 2 A^T B, the layer without its relu).
        values: singular values, descending, float64.
        method: "exact", or "frequencies": of the symbol on a grid, which is the spectrum of the same kernel under
            circular padding on an image of that size.
    """

    layer: str
    kind: str
    values: np.ndarray
    method: str

    @property
    def distance(self) -> float:
        """Root mean square of sigma - 1: distance to the nearest orthogonal matrix, for each singular value."""
        return float(np.sqrt(np.mean((self.values - 1) ** 2)))


@dataclass(frozen=True)
class Frequencies:
    """The kernel of a convolution, one small matrix F_w for each frequency w of the image.

    Attributes:
        layer: name of the layer in the frozen model.
        largest: largest singular value of F_w, (height, width) of the grid; zero frequencies come first.
        smallest: smallest of the min(rows, columns) singular values of F_w.
        padding: of the layer. "circular": the values of all F_w together are those of the layer. "zeros": they are
            those of the same kernel under circular padding, and only come close.
    """

    layer: str
    largest: np.ndarray
    smallest: np.ndarray
    padding: str


def spectra(model: nn.Module, input_shape: tuple[int, ...]) -> list[Spectrum]:
    """The spectrum of every layer of `model` that has a weight, in order, for inputs of this shape."""
    found = []
    for name, kind, linear, shape in weighted(freeze64(model, input_shape), input_shape):
        values, method = singular_values(linear, shape)
        found.append(Spectrum(name, kind, values.numpy(), method))
    return found


def frequencies(model: nn.Module, input_shape: tuple[int, ...], number: int) -> Frequencies | None:
    """The frequency map of layer `number`, counted from 1 among those with a weight; None where it is no convolution.

    Raises:
        ValueError: the network has no layer of that number.
    """
    found = list(weighted(freeze64(model, input_shape), input_shape))
    if not 1 <= number <= len(found):
        raise ValueError(f"the layers are numbered from 1 to {len(found)}, got {number}")
    name, _, linear, shape = found[number - 1]
    symbols = circular_symbol(linear, shape)
    if symbols is None:
        return None
    F, (n, m), padding = symbols
    sigma = torch.linalg.svdvals(F).unflatten(0, (n, -1)).numpy()
    # the other half: F at -w is the conjugate of F at w
    mirror = sigma[-np.arange(n) % n][:, m - np.arange(m // 2 + 1, m)]
    whole = np.concatenate([sigma, mirror], axis=1)
    return Frequencies(name, whole[..., 0], whole[..., -1], padding)


def weighted(frozen: nn.Module, input_shape: tuple[int, ...]) -> Iterator[tuple[str, str, nn.Module, tuple[int, ...]]]:
    """(name, kind, linear part, shape of its input) of every layer with a weight, in order."""
    x = torch.zeros(1, *input_shape, dtype=torch.float64)
    for name, module in leaves(frozen):
        kind, linear = ("residual", module.inner) if isinstance(module, FrozenResidual) else ("affine", module)
        kind = "sandwich" if isinstance(module, FrozenSandwich) else kind
        if isinstance(linear, LINEAR):
            yield name, kind, linear, tuple(x.shape[1:])
        with torch.no_grad():
            x = module(x)


LINEAR = (nn.Linear, nn.Conv2d, Padded, PaddedTranspose, CircularConv, FrozenSeries, FrozenSandwich)


def singular_values(module: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, str]:
    """(values, method) of one frozen affine (or sandwich) layer on inputs of shape `shape`; values descend.

    Zero padding has no closed form: the matrix is written out where it is small, and elsewhere the values
    are those of the symbol at the frequencies of an image padded to its full reach.
    """
    if isinstance(module, nn.Linear):
        return torch.linalg.svdvals(module.weight), "exact"
    if isinstance(module, FrozenSandwich) and isinstance(module.inner, nn.Linear):
        return torch.linalg.svdvals(_weight(module.outer) @ _weight(module.inner)), "exact"
    height, width = shape[-2:]
    if isinstance(module, CircularConv):
        return _values(symbol(module.weight, (height, width)), (height, width)), "exact"
    if isinstance(module, FrozenSandwich):
        inner, outer = (symbol(_weight(half), (height, width)) for half in (module.inner, module.outer))
        return _values(outer @ inner, (height, width)), "exact"
    if isinstance(module, FrozenSeries):
        return _series_values(module, shape)
    op, K = geometry(module)
    size = image_size(module, op, shape)
    kernel = op.fold(K)
    if op.padding_mode == "circular" and op.for_size(size) == op:
        grid = (size[0] // op.stride, size[1] // op.stride)
        return _values(symbol(kernel, grid), grid), "exact"
    if math.prod(shape) <= UNROLL // 2:
        return torch.linalg.svdvals(unrolled(module, shape)), "exact"
    more = kernel.shape[-1] - 1
    grid = (size[0] // op.stride + more, size[1] // op.stride + more)
    return _values(symbol(kernel, grid), grid), "frequencies"


def circular_symbol(module: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, tuple[int, int], str] | None:
    """(F, grid, padding) of a frozen convolution on its own image: F_w on half of the grid, as `symbol` gives it.

    None for what is no convolution, and for a wrapped one whose stride does not divide the image.
    """
    if len(shape) != 3:
        return None
    grid = (shape[-2], shape[-1])
    if isinstance(module, CircularConv):
        return symbol(module.weight, grid), grid, "circular"
    if isinstance(module, FrozenSandwich):
        inner, outer = (symbol(_weight(half), grid) for half in (module.inner, module.outer))
        return outer @ inner, grid, "circular"
    if isinstance(module, FrozenSeries):
        op, K = geometry(module.conv)
        F = taylor(symbol(K, grid, op.before))[:, : module.outputs, : shape[0]]
        return F, grid, op.padding_mode
    op, K = geometry(module)
    size = image_size(module, op, shape)
    if any(side % op.stride for side in size):
        return None
    grid = (size[0] // op.stride, size[1] // op.stride)
    return symbol(op.fold(K), grid), grid, op.padding_mode


def _weight(layer: nn.Module) -> Tensor:
    """The weight of half a sandwich."""
    assert isinstance(layer.weight, Tensor)
    return layer.weight


def _series_values(module: FrozenSeries, shape: tuple[int, ...]) -> tuple[Tensor, str]:
    """Of the matrix written out where it is small, else at the frequencies (of the padded image for zero padding)."""
    if math.prod(shape) <= UNROLL // 2:
        return torch.linalg.svdvals(unrolled(module, shape)), "exact"
    op, K = geometry(module.conv)
    circular = op.padding_mode == "circular"
    more = 0 if circular else 3 * (op.kernel - 1)
    grid = (shape[-2] + more, shape[-1] + more)
    S = taylor(symbol(K, grid, op.before))[:, : module.outputs, : shape[0]]
    return _values(S, grid), "exact" if circular else "frequencies"


def _values(F: Tensor, grid: tuple[int, int]) -> Tensor:
    """Singular values of all frequencies: those strictly inside the stored half stand for two."""
    sigma = torch.linalg.svdvals(F).unflatten(0, (grid[0], -1))
    twice = sigma[:, 1 : (grid[1] + 1) // 2]
    return torch.cat([sigma.flatten(), twice.flatten()]).sort(descending=True).values
