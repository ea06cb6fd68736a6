"""Singular values of layers, and how far they are from orthogonal."""

import math
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


def spectra(model: nn.Module, input_shape: tuple[int, ...]) -> list[Spectrum]:
    """The spectrum of every layer of `model` that has a weight, in order, for inputs of this shape."""
    found = []
    x = torch.zeros(1, *input_shape, dtype=torch.float64)
    with torch.no_grad():
        for name, module in leaves(freeze64(model, input_shape)):
            kind, linear = ("residual", module.inner) if isinstance(module, FrozenResidual) else ("affine", module)
            kind = "sandwich" if isinstance(module, FrozenSandwich) else kind
            if isinstance(linear, LINEAR):
                values, method = singular_values(linear, tuple(x.shape[1:]))
                found.append(Spectrum(name, kind, values.numpy(), method))
            x = module(x)
    return found


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
