"""Gram matrices of the layers of a run: now, from its weights, and over its training, from what it stored.

A matrix here is G = W^T W (W W^T where that is smaller) of the weight divided by its largest entry; real, or, at a
frequency of a convolution, complex and Hermitian.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lipviz import runs, sdp
from lipviz.forms import Scaled
from lipviz.operators import Dense, symbol
from lipviz.orthogonal import normalised
from lipviz.rotations import BlockConv, Orthogonal, SkewConv, taylor
from lipviz.sandwich import Sandwich

Layer = Scaled | Orthogonal | SkewConv | BlockConv | Sandwich

FREQUENCIES = 9  # from 0 to pi
GRID = 2 * (FREQUENCIES - 1)
STORED = 96  # discs of a layer that a run keeps over training: those that reach furthest
CROSSES = 32  # eigenvalues of a layer that a run keeps, evenly spaced by rank, with the largest and the smallest


@dataclass(frozen=True)
class Gram:
    """A Gram matrix, and how its layer uses it.

    Attributes:
        G: W^T W, or W W^T where that is smaller, of the weight divided by its largest magnitude.
        t: the diagonal of the layer's T, None where the row has none.
        q: the free vector of SLL, None for the other rows.
        row: the row of LAYERS.
        convolution: whether G is the matrix of a convolution at one frequency.
    """

    G: NDArray
    t: NDArray | None = None
    q: NDArray | None = None
    row: str = ""
    convolution: bool = False


@dataclass(frozen=True)
class Frames:
    """Discs of a layer at the evaluations of its training: one row a frame.

    Attributes:
        epoch: of each frame.
        number: which neurons the discs belong to, counted from 0.
        centers: of the discs of G under the layer's own q, at frequency 0 of a convolution.
        right: right edges of the same discs.
        eigenvalues: some of G, ascending, the smallest and the largest among them.
        left: left edges of the same discs of T - G, None where the row has no T.
        slack: the smallest eigenvalue of T - G, None where the row has no T.
    """

    epoch: NDArray
    number: NDArray
    centers: NDArray
    right: NDArray
    eigenvalues: NDArray
    left: NDArray | None = None
    slack: NDArray | None = None

    @property
    def points(self) -> list[int]:
        """Where the frames stand, in percent of the training."""
        return [round(100 * float(epoch) / max(float(self.epoch[-1]), 1.0)) for epoch in self.epoch]

    def at(self, point: int) -> int | None:
        """Index of the last frame at or before a point of the training in percent; None for 100, which is now."""
        before = [i for i, percent in enumerate(self.points) if percent < 100 and percent <= point]
        return before[-1] if before and point < 100 else None


def layers(folder: str | Path) -> list[str]:
    """Names of the layers of a run that have a Gram matrix, in order."""
    return [f"{i + 1}: {_described(module)}" for i, (_, module) in enumerate(_modules(runs.load(folder).model))]


def layer(folder: str | Path, index: int, frequency: int = 0) -> Gram:
    """The Gram matrix of a layer of a run; of a convolution at the frequency pi k / 8 along both axes.

    Raises:
        RunError: the weights cannot be read.
        ValueError: there is no such layer or frequency.
    """
    run = runs.load(folder)
    modules = list(_modules(run.model.double()))
    if not (0 <= index < len(modules) and 0 <= frequency < FREQUENCIES):
        raise ValueError(f"this run has layers 1 to {len(modules)} and frequencies 0 to {FREQUENCIES - 1}")
    return gram(modules[index][1], frequency, GRID, run.spec.layer)


def gram(module: Layer, frequency: int = 0, grid: int = 0, row: str = "") -> Gram:
    """The Gram matrix of a layer at a frequency of a grid; by default at 0, on the smallest grid there is."""
    size = grid or getattr(module.op, "kernel", 1) * getattr(module.op, "stride", 1)
    with torch.no_grad():
        if not isinstance(module, Scaled):
            F = _matrix(module, size)
            F = F if F.ndim == 2 else F.unflatten(0, (size, -1))[frequency, frequency]
            G, t, q = (F.mH @ F if F.shape[1] <= F.shape[0] else F @ F.mH), None, None
        else:
            G, t, q = module.condition() if module.rule else (_plain(module), None, None)
            if G.ndim == 4:
                size = max(size, G.shape[-1])
                G = symbol(G, (size, size), G.shape[-1] // 2).unflatten(0, (size, -1))[frequency, frequency]
    T, Q = (None if x is None else x.numpy() for x in (t, q))
    return Gram(G.numpy(), T, Q, row, not isinstance(module.op, Dense))


def snapshot(model: nn.Module) -> dict[str, NDArray]:
    """What a run keeps of the discs of every layer at an evaluation; `model` is on the CPU, in float64.

    <layer>.disc.number, .centers and .right: the discs of G under the layer's own q, at frequency 0 of a convolution,
    the 96 that reach furthest; .left: left edges of the same discs of T - G; .eigenvalues: 32 of G; .slack: the
    smallest eigenvalue of T - G.
    """
    taken: dict[str, NDArray] = {}
    for name, module in _modules(model):
        found = gram(module)
        G, q = torch.from_numpy(found.G), None if found.q is None else torch.from_numpy(found.q)
        centers, radii = (x.numpy() for x in sdp.discs(G, q))
        right = centers + radii.clip(0)
        kept = np.sort(np.argsort(right, kind="stable")[-STORED:])
        values = np.linalg.eigvalsh(found.G)
        ranks = np.linspace(0, len(values) - 1, min(CROSSES, len(values))).round().astype(int)
        kinds = {"number": kept.astype(np.uint16), "centers": centers[kept], "right": right[kept]}
        kinds["eigenvalues"] = values[ranks]
        if found.t is not None:
            kinds["left"] = found.t[kept] - right[kept]  # here, in float64: in float32 the difference is lost
            kinds["slack"] = np.array(np.linalg.eigvalsh(np.diag(found.t) - found.G)[0])
        for kind, array in kinds.items():
            taken[f"{name}.disc.{kind}"] = array if kind == "number" else array.astype(np.float32)
    return taken


def frames(folder: str | Path, index: int) -> Frames | None:
    """The discs of a layer over the training of its run; None where the run has stored none.

    Raises:
        RunError: the files cannot be read.
    """
    run = runs.load(folder)
    names = [name for name, _ in _modules(run.model)]
    if not 0 <= index < len(names):
        return None
    stored = {kind: run.spectra.get(f"{names[index]}.disc.{kind}") for kind in ("number", "centers", "right")}
    values, epoch = run.spectra.get(f"{names[index]}.disc.eigenvalues"), run.spectra.get("epoch")
    number, centers, right = stored.values()
    if epoch is None or number is None or centers is None or right is None or values is None:
        return None
    left, slack = (run.spectra.get(f"{names[index]}.disc.{kind}") for kind in ("left", "slack"))
    shapes = {x.shape for x in (number, centers, right, *([] if left is None else [left]))}
    if len(shapes) > 1 or centers.ndim != 2 or values.ndim != 2 or not len(centers) == len(values) == len(epoch):
        raise runs.RunError(f"{run.folder / 'spectra.npz'}: the discs of {names[index]!r} do not fit together")
    if left is None or slack is None or slack.shape != epoch.shape:
        return Frames(epoch, number, centers, right, values)
    return Frames(epoch, number, centers, right, values, left, slack)


def _modules(model: nn.Module) -> Iterator[tuple[str, Layer]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, Layer))


def _matrix(module: Orthogonal | SkewConv | BlockConv | Sandwich, size: int) -> torch.Tensor:
    """The matrix of a layer without a T, of a convolution one at each frequency; of a sandwich row 2 A^T B."""
    grid = () if isinstance(module.op, Dense) else (size, size)
    if isinstance(module, Orthogonal):
        return module.matrices(grid)
    if isinstance(module, SkewConv):
        return taylor(symbol(module.generator_kernel(), (size, size), module.op.before))
    if isinstance(module, BlockConv):
        return symbol(module.op.fold(module.kernel((size, size))), (size, size))
    inner, outer, _ = module.factors(grid)
    return outer @ inner


def _plain(module: Scaled) -> torch.Tensor:
    return module.op.gram(normalised(module.weight), module.side)


def _described(module: Layer) -> str:
    op = module.op
    if isinstance(op, Dense):
        return f"dense, {op.inputs} to {op.outputs}"
    return f"convolution {op.kernel}×{op.kernel}, {op.inputs} to {op.outputs} channels"
