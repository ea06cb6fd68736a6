"""A frozen network of points as plain numbers, for a browser that evaluates it itself, and slow references in numpy.

An op is a dictionary, its matrices little-endian float64, row by row, in base64:

    affine     rows o, cols i, W (o, i), b (o,)     x -> W x + b
    residual   rows n, cols m, V (n, m), b (m,)     x -> x - 2 V relu(V^T x + b)
    maxmin                                          (a, b) -> (max(a, b), min(a, b)), a the first and b the second
                                                    half of x: entry k is paired with entry k + n / 2, as in MaxMin
    relu                                            x -> max(x, 0)

The last affine op of a classifier is its head alone, whose rows w_j the radius needs.
"""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from lipviz.bounds import freeze64, leaves
from lipviz.forms import FrozenResidual
from lipviz.isometries import Center, MaxMin, PadChannels
from lipviz.sandwich import FrozenSandwich
from lipviz.squarewave import Scaled, slope

Op = dict[str, Any]
Matrix = NDArray[np.float64]
_Step = tuple[str, Matrix, Matrix]
_Piece = tuple[str, Matrix | None, Matrix | None]  # (op, its matrix, its bias)


def ops(model: nn.Module) -> list[Op]:
    """The network in numbers, frozen in float64 as for a certificate; raises ValueError on a module without an op."""
    inputs = 1 if isinstance(model, Scaled) else 2
    return frozen_ops(freeze64(model, (inputs,)), inputs)


def frozen_ops(frozen: nn.Module, inputs: int = 2) -> list[Op]:
    """`ops` of a network that is frozen already."""
    pieces = list(_pieces(frozen, inputs))
    merged: list[_Piece] = []
    for i, (kind, W, b) in enumerate(pieces):
        head = i == len(pieces) - 1 and not isinstance(frozen, Scaled)
        if kind == "affine" and merged and merged[-1][0] == "affine" and not head:
            _, V, a = merged.pop()
            assert W is not None and b is not None and V is not None and a is not None
            merged.append((kind, W @ V, W @ a + b))
        else:
            merged.append((kind, W, b))
    return [_op(*piece) for piece in merged]


def _pieces(frozen: nn.Module, n: int) -> Iterator[_Piece]:
    """The layers in order; n is the width of what comes in."""
    if type(frozen) is Scaled:
        yield "affine", frozen.root * np.eye(n), np.zeros(n)
        last = n
        for kind, W, b in _pieces(frozen.body, n):
            last = last if kind != "affine" or W is None else len(W)
            yield kind, W, b
        yield "affine", frozen.root * np.eye(last), np.zeros(last)
        return
    for _, module in leaves(frozen):
        for kind, W, b in _layer(module, n):
            n = len(W) if kind == "affine" and W is not None else n
            yield kind, W, b


def _layer(module: nn.Module, n: int) -> list[_Piece]:
    """The ops of one frozen layer; exact types, since a subclass may compute anything."""
    if type(module) is nn.Linear:
        return [("affine", *_linear(module))]
    if type(module) is FrozenResidual and type(module.inner) is nn.Linear and type(module.outer) is nn.Linear:
        (V, b), (outer, after) = _linear(module.inner), _linear(module.outer)
        if np.array_equal(outer, -2 * V.T) and not after.any():
            return [("residual", V.T, b)]
    if type(module) is FrozenSandwich and type(module.inner) is nn.Linear and type(module.outer) is nn.Linear:
        return [("affine", *_linear(module.inner)), ("relu", None, None), ("affine", *_linear(module.outer))]
    if type(module) is Center:
        return [("affine", np.eye(n), -_numbers(module.mean))]
    if type(module) is PadChannels:
        return [("affine", np.eye(module.channels, n), np.zeros(module.channels))]
    if type(module) in (MaxMin, nn.ReLU):
        return [("maxmin" if type(module) is MaxMin else "relu", None, None)]
    if type(module) in (nn.Flatten, nn.Identity):
        return []
    raise ValueError(f"{module} has no op for a browser: use the dense rows of LAYERS, MaxMin or ReLU")


def _numbers(tensor: torch.Tensor) -> Matrix:
    return tensor.detach().double().cpu().numpy()


def _linear(layer: nn.Linear) -> tuple[Matrix, Matrix]:
    W = _numbers(layer.weight)
    return W, np.zeros(len(W)) if layer.bias is None else _numbers(layer.bias)


def _op(kind: str, W: Matrix | None, b: Matrix | None) -> Op:
    if W is None or b is None:
        return {"op": kind}
    name = "W" if kind == "affine" else "V"
    return {"op": kind, "rows": W.shape[0], "cols": W.shape[1], name: encode(W), "b": encode(b)}


def encode(values: Matrix) -> str:
    """Little-endian float64, row by row, in base64."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode("ascii")


def decode(text: str, *shape: int) -> Matrix:
    """The array behind `encode`."""
    return np.frombuffer(base64.b64decode(text), dtype="<f8").reshape(shape).astype(np.float64)


def _decoded(ops: Sequence[Op]) -> list[_Step]:
    steps = []
    for op in ops:
        kind = op["op"]
        if kind in ("affine", "residual"):
            W = decode(op["W" if kind == "affine" else "V"], op["rows"], op["cols"])
            steps.append((kind, W, decode(op["b"], op["rows" if kind == "affine" else "cols"])))
        elif kind in ("maxmin", "relu"):
            steps.append((kind, np.empty(0), np.empty(0)))
        else:
            raise ValueError(f"an op must be affine, residual, maxmin or relu, got {kind!r}")
    return steps


def evaluate(ops: Sequence[Op], x: ArrayLike) -> Matrix:
    """Logits (n, classes) of points (n, 2), in float64."""
    return _forward(_decoded(ops), np.asarray(x, dtype=np.float64))[0]


def _forward(steps: Sequence[_Step], x: Matrix, tangents: bool = False) -> tuple[Matrix, Matrix]:
    """(f(x), J) with J[i, :, k] the derivative of f at x_i along axis k; J is empty without `tangents`."""
    n = x.shape[1]
    J = np.broadcast_to(np.eye(n), (len(x), n, n)) if tangents else np.empty((len(x), 0, 0))
    for kind, W, b in steps:
        if kind == "affine":
            x, J = x @ W.T + b, W @ J if tangents else J
        elif kind == "residual":
            z = x @ W + b
            x = x - 2 * np.maximum(z, 0) @ W.T
            J = J - 2 * W @ ((z > 0)[:, :, None] * (W.T @ J)) if tangents else J
        elif kind == "relu":
            J = (x > 0)[:, :, None] * J if tangents else J
            x = np.maximum(x, 0)
        else:
            half = x.shape[1] // 2
            a, c = x[:, :half], x[:, half:]
            if tangents:
                first = (a >= c)[:, :, None]
                P, Q = J[:, :half], J[:, half:]
                J = np.concatenate([np.where(first, P, Q), np.where(first, Q, P)], axis=1)
            x = np.concatenate([np.maximum(a, c), np.minimum(a, c)], axis=1)
    return x, J


def _head(ops: Sequence[Op]) -> Matrix:
    if not ops or ops[-1]["op"] != "affine":
        raise ValueError("a radius needs a network that ends in an affine op, its head")
    return decode(ops[-1]["W"], ops[-1]["rows"], ops[-1]["cols"])


def _rivals(ops: Sequence[Op], s: Matrix, lipschitz: float) -> tuple[NDArray[np.int64], Matrix, NDArray[np.int64]]:
    """(y, r, j): the label, the radius max(0, min_j ...), and the class j that decides it."""
    W, rows, y = _head(ops), np.arange(len(s)), s.argmax(1)
    distance = np.linalg.norm(W[:, None] - W[None], axis=2)[y]
    gap = s[rows, y][:, None] - s
    with np.errstate(divide="ignore", invalid="ignore"):  # equal rows: the answer never changes, or a tie
        r = np.where(gap > 0, gap / (lipschitz * distance), 0.0)
    r[rows, y] = np.inf
    j = r.argmin(1)
    return y, r[rows, j], j


def radii(ops: Sequence[Op], x: ArrayLike, lipschitz: float | int) -> Matrix:
    """r = min_{j != y} (s_y - s_j) / (L ||w_y - w_j||) at points (n, 2), as in `certify` but for the rounding.

    Args:
        ops: of a classifier.
        x: points.
        lipschitz: L, the constant of everything but the head; 1 for a plain network gives its false discs.
    """
    return _rivals(ops, evaluate(ops, x), float(lipschitz))[1]


def gradient_norm(ops: Sequence[Op], x: ArrayLike, lipschitz: float | int = 1.0) -> Matrix:
    """||grad (s_y - s_j)|| / (L ||w_y - w_j||) at points (n, 2), j the class that decides the radius.

    How much of L, the constant of everything but the head, is used there: 1 is tight, and it never exceeds 1.
    """
    s, J = _forward(_decoded(ops), np.asarray(x, dtype=np.float64), tangents=True)
    y, _, j = _rivals(ops, s, 1.0)
    rows, W = np.arange(len(s)), _head(ops)
    norm, distance = np.linalg.norm(J[rows, y] - J[rows, j], axis=1), np.linalg.norm(W[y] - W[j], axis=1)
    unit = lipschitz * distance
    return np.where(unit > 0, norm / np.where(unit > 0, unit, 1.0), 0.0)  # no difference, no gradient of it


def nearest_break(
    ops: Sequence[Op], x: ArrayLike, budget: float | int = 4.0, rays: int = 180, rings: int = 100
) -> tuple[float, tuple[float, float]] | None:
    """(distance, point) of the nearest point of another label that was found: no less than the true distance.

    The first of the rings around x that meets another label is refined by bisection along its rays, then once more
    on finer and finer rays around the best one. None where no ring within the budget meets another label.

    Args:
        ops: of a classifier.
        x: one point.
        budget: how far to look, in the unit of the plane.
        rays: directions.
        rings: distances tried in each direction.
    """
    point = np.asarray(x, dtype=np.float64)
    if point.shape != (2,) or not np.isfinite(point).all():
        raise ValueError(f"a point of the plane is two finite numbers, got {x!r}")
    steps = _decoded(ops)
    best = _first_break(steps, point, 2 * np.pi * np.arange(rays) / rays, float(budget), rings)
    width = 2 * np.pi / rays
    for _ in range(2):
        if best is not None:
            angles = best[1] + width * np.linspace(-1, 1, 49)
            best = min(best, _first_break(steps, point, angles, best[0], 20) or best)
            width /= 24
    return None if best is None else (best[0], best[2])


def _first_break(
    steps: Sequence[_Step], x: Matrix, angles: Matrix, reach: float, rings: int
) -> tuple[float, float, tuple[float, float]] | None:
    """(distance, angle, point) of the nearest break on these rays."""
    label = int(_forward(steps, x[None])[0].argmax())
    u = np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def broken(t: Matrix, u: Matrix) -> NDArray[np.bool_]:
        at = x + t[..., None] * u
        return (_forward(steps, at.reshape(-1, 2))[0].argmax(1) != label).reshape(at.shape[:-1])

    distances = reach * np.arange(1, rings + 1) / rings
    for near in np.split(distances, range(10, rings, 10)):  # most often the break is near
        hit = broken(near[:, None], u)
        if hit.any():
            break
    else:
        return None
    ring = int(hit.any(1).argmax())
    u, angles = u[hit[ring]], angles[hit[ring]]
    high = np.full(len(u), near[ring])
    low = high - reach / rings
    for _ in range(30):  # high stays beyond the boundary
        middle = (low + high) / 2
        beyond = broken(middle, u)
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    k = int(high.argmin())
    where = x + (high[k] + 1e-9) * u[k]  # a hair further, where rounding does not decide the label
    return float(np.hypot(*(where - x))), float(angles[k]), (float(where[0]), float(where[1]))


def network(ops: Sequence[Op]) -> nn.Sequential:
    """The ops as plain torch layers in float64."""
    layers: list[nn.Module] = []
    for kind, W, b in _decoded(ops):
        if kind == "affine":
            layers.append(_torch_linear(W, b))
        elif kind == "residual":
            layers.append(FrozenResidual(_torch_linear(W.T, b), _torch_linear(-2 * W, None)))
        else:
            layers.append(MaxMin() if kind == "maxmin" else nn.ReLU())
    return nn.Sequential(*layers).requires_grad_(False)


def _torch_linear(W: Matrix, b: Matrix | None) -> nn.Linear:
    layer = nn.Linear(W.shape[1], W.shape[0], bias=b is not None, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(W))
        if b is not None:
            layer.bias.copy_(torch.tensor(b))
    return layer


def tightness(ops: Sequence[Op], bound: float | int, low: float = -2.0, high: float = 2.0, cells: int = 2000) -> float:
    """The steepest slope found on [low, high] divided by the certified bound, for a network of numbers."""
    return slope(network(ops), low, high, cells) / bound if bound > 0 else 0.0
