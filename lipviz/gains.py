"""Jacobians at inputs, in float64: how much a network, or one layer of it, stretches a change of that input.

The largest singular value of a Jacobian is a *lower* bound of the Lipschitz constant (up to rounding, and at inputs
where no activation has its kink, which random inputs avoid with probability 1). It proves nothing about other inputs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from lipviz import samples
from lipviz.bounds import leaves
from lipviz.certify import in_unit
from lipviz.forms import FrozenResidual
from lipviz.images import fit
from lipviz.sandwich import FrozenSandwich

SIDE = 1100  # of the largest Jacobian that is written out
CHUNK = 64  # rows at a time
RANDOM = 16
SPECK = 1e-3


@dataclass(frozen=True, eq=False)
class Jacobian:
    """Singular values of the Jacobian at one input.

    Attributes:
        what: "layer 3", "all layers but the last" or "whole network".
        values: descending; empty where the matrix is too large to be written out.
        inputs: columns of the matrix.
        outputs: rows of it.
    """

    what: str
    values: np.ndarray
    inputs: int
    outputs: int


def jacobian(module: nn.Module, x: Float64[Tensor, "1 ..."]) -> Float64[Tensor, "m n"]:
    """The matrix of derivatives of `module` at x, one row for each output, by back-propagation in float64."""
    with torch.no_grad():
        outputs = module(x)[0].numel()
    rows = []
    for chunk in torch.eye(outputs, dtype=torch.float64).split(CHUNK):
        many = x.expand(len(chunk), *x.shape[1:]).clone().requires_grad_()
        (found,) = torch.autograd.grad(module(many).flatten(1), many, chunk)
        rows.append(found.flatten(1))
    return torch.cat(rows)


def layer_jacobians(frozen: nn.Module, x: Float64[Tensor, "1 ..."]) -> list[Jacobian]:
    """Of every residual and sandwich layer at the input that reaches it, and of the network without and with its end.

    Affine layers are left out: their Jacobian is their matrix, wherever it is taken.
    """
    found, parts, number, state = [], leaves(frozen), 0, x
    for _, module in parts:
        number += _weighted(module)
        if isinstance(module, FrozenResidual | FrozenSandwich):
            found.append(_values(f"layer {number}", module, state))
        with torch.no_grad():
            state = module(state)
    found.append(_values("all layers but the last", nn.Sequential(*(m for _, m in parts[:-1])), x))
    return [*found, _values("whole network", frozen, x)]


def gain(frozen: nn.Module, points: Mapping[str, Tensor]) -> tuple[float, str]:
    """The largest norm of the Jacobian of the whole network over these inputs, and the name of the input."""
    if not points:
        raise ValueError("a gain is measured at one input or more, got none")
    norms = {name: float(torch.linalg.matrix_norm(jacobian(frozen, x), 2)) for name, x in points.items()}
    best = max(norms, key=lambda name: norms[name])
    return norms[best], best


def inputs(shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Named inputs of this shape: the sample pictures, and random ones (seed 0), with a batch axis.

    Pictures have pixels in [0, 1] and a speck of noise; random ones are uniform. Points are normally distributed.
    """
    found = {}
    if len(shape) == 3 and shape[0] in (1, 3):
        channels, height, width = shape
        for name in samples.names():
            pixels, _ = fit(samples.load(name, shape), (channels, height, width))
            found[name] = in_unit(torch.tensor(pixels)[None])
    random = torch.Generator().manual_seed(0)
    for name, x in found.items():  # flat parts of a picture may put an activation on its kink
        found[name] = x + SPECK * torch.rand(x.shape, generator=random, dtype=torch.float64)
    draw = torch.rand if len(shape) == 3 else torch.randn
    for i in range(1, RANDOM + 1):
        found[f"Random {i}"] = draw(1, *shape, generator=random, dtype=torch.float64)
    return found


def protocol(shape: tuple[int, ...]) -> str:
    """How the gain was measured, in words."""
    pictures = len(inputs(shape)) - RANDOM
    kind = f"{pictures} sample pictures and {RANDOM} of noise" if pictures else f"{RANDOM} random points"
    return f"largest singular value of the Jacobian of the logits at {kind}, float64, no search"


def _weighted(module: nn.Module) -> bool:
    from lipviz.spectra import LINEAR

    return isinstance(module.inner if isinstance(module, FrozenResidual) else module, LINEAR)


def _values(what: str, module: nn.Module, x: Tensor) -> Jacobian:
    with torch.no_grad():
        outputs = module(x)[0].numel()
    size = math.prod(x.shape[1:])
    if outputs > SIDE:
        return Jacobian(what, np.empty(0), size, outputs)
    return Jacobian(what, torch.linalg.svdvals(jacobian(module, x)).numpy(), size, outputs)
