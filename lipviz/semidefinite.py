"""The best diagonal multipliers, found by semidefinite programming and then proved in float64.

    smallest_trace        min sum_i t_i                  so that  G <= diag(t)
    residual_lipschitz    L of x -> H x + G s(W^T x + b)
    lipsdp                L of x -> W_K s( ... s(W_0 x + b_0) ... ) + b_K

s acts entry by entry with slopes in [0, 1] (ReLU, leaky ReLU, tanh, sigmoid; not MaxMin, not |x|). The solver
(Clarabel, through cvxpy) is an oracle: it proposes numbers, of which nothing is believed. A matrix built from them in
float64 then passes a Cholesky factorisation with its rounding included, or the numbers are moved until it does.
So what is returned *holds*; that nothing smaller would hold is the word of the solver, to about 1e-7.

`smallest_trace` and `lipsdp` need `pip install 'lipviz[sdp]'`, the matrices do not.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lipviz import bounds, sdp
from lipviz.bounds import U, norm_bound

SIDE = 100  # of a dense block: the time grows like its 6th power, the memory like its 4th
HIDDEN = 400


@dataclass(frozen=True)
class LipSDP:
    """A certified constant.

    Attributes:
        value: an upper bound of the Lipschitz constant: the one that `multipliers` prove, or `product` if smaller.
        multipliers: one vector for each hidden layer, the diagonal of its multiplier.
        product: the product of the spectral norms, rounded up.
    """

    value: float
    multipliers: tuple[Float[Tensor, " _"], ...]
    product: float


def is_psd(M: Float[Tensor, "n n"]) -> bool:
    """Whether every symmetric matrix that agrees with M up to 4 u in each entry is proved to be >= 0.

    Rows and columns are scaled by powers of two until 1/2 <= M_ii < 2; the Cholesky factorisation of M - c I then
    runs to its end only if M - c I >= -8 n gamma_{n+8} I (S. M. Rump, BIT 2006). False means "not proved".

    >>> is_psd(torch.tensor([[1.0, 1.0], [1.0, 1.0 + 1e-9]], dtype=torch.float64)), is_psd(-torch.eye(2).double())
    (True, False)
    """
    d = M.diagonal()
    rows = d > 0
    if not M.isfinite().all() or (d < 0).any() or M[~rows].any() or M[:, ~rows].any():
        return False
    scale = torch.ldexp(torch.ones_like(d[rows]), -torch.frexp(d[rows]).exponent.div(2, rounding_mode="floor"))
    A = scale[:, None] * M[rows][:, rows] * scale
    n = len(A)
    if n == 0:
        return True
    A = (A + A.mT) / 2
    entries = 5 * U * float(A.abs().sum(1).max())
    c = entries + 8 * n * bounds.gamma(n + 8)
    return int(torch.linalg.cholesky_ex(A - c * torch.eye(n, dtype=A.dtype)).info) == 0


def smallest_trace(G: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    """min sum_i t_i so that G <= diag(t): the T of smallest trace for G = W^T W.

    The solver's t is mixed with AOL's, t + e sum_j |G_ij|, by the smallest e for which diag(t) - G is proved >= 0.
    A zero column of W gets t_i = 0.

    Raises:
        ValueError: G is not finite, not symmetric, has a negative eigenvalue, or is larger than 100 x 100.
        RuntimeError: the solver gives up.

    >>> smallest_trace(torch.tensor([[1.0, -2.0], [-2.0, 5.0]], dtype=torch.float64)).round(decimals=5)
    tensor([3., 7.], dtype=torch.float64)
    """
    G = _finite(G, "G")
    d, peak = G.diagonal(), float(G.abs().max())
    if len(G) > SIDE:
        raise ValueError(f"G must be at most {SIDE} x {SIDE}, got {len(G)} rows: use sdp.aol, sdp.sll or sdp.spectral")
    if float((G - G.mT).abs().max()) > 1e-12 * peak or float(torch.linalg.eigvalsh(G)[0]) < -1e-9 * peak:
        raise ValueError("G must be symmetric without negative eigenvalues, got another matrix: pass G = W^T W")
    aol = sdp.aol(G)
    if peak == 0:
        return aol
    # halfway to a unit diagonal: uneven columns keep their digits, and the cost stays even enough
    s = torch.where(d > 0, d / peak, 1.0).sqrt()
    C = (G / peak / (s[:, None] * s).sqrt()).numpy()
    x = _minimum(s.numpy(), lambda cp, x: cp.diag(x) - (C + C.T) / 2)
    t = torch.where(aol > 0, torch.maximum(peak * s * x, d), 0.0)
    return _proved(lambda t: torch.diag(t) - G, t, aol)


def residual_lmi(
    H: Float[Tensor, "_ _"], G: Float[Tensor, "_ _"], W: Float[Tensor, "_ _"], multipliers: Tensor, L: float
) -> Float[Tensor, "r r"]:
    """M = [[L^2 I - H^T H, -(H^T G + W Lambda)], [-(H^T G + W Lambda)^T, 2 Lambda - G^T G]], Lambda = diag(multipliers).

    M >= 0 makes x -> H x + G s(W^T x + b) L-Lipschitz (Araujo et al., ICLR 2023): M is L^2 |dx|^2 - |dh|^2
    less a term that is not negative for slopes in [0, 1].

    Args:
        H: (p, n).
        G: (p, m).
        W: (n, m).
        multipliers: (m,), none of them negative.
        L: the constant to be checked.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, negative or full multipliers.

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> residual_lmi(one, -2 * one, one, 2 * one[0], 1.0)  # SLL of one unit
    tensor([[0., 0.],
            [0., 0.]], dtype=torch.float64)
    """
    H, G, W = _residual(H, G, W)
    (multipliers,) = _diagonal([multipliers], [W.shape[1]])
    I = torch.eye(H.shape[1], dtype=H.dtype)
    B = -(H.mT @ G + W * multipliers)
    top, bottom = [L**2 * I - H.mT @ H, B], [B.mT, 2 * torch.diag(multipliers) - G.mT @ G]
    return torch.cat([torch.cat(top, 1), torch.cat(bottom, 1)])


def residual_lipschitz(
    H: Float[Tensor, "_ _"], G: Float[Tensor, "_ _"], W: Float[Tensor, "_ _"]
) -> tuple[float, Float[Tensor, " _"]]:
    """(L, multipliers) of the smallest L for which `residual_lmi` is proved to be >= 0.

    Never far above |H| + |G| |W|: that bound is the case of equal multipliers, or worse.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, or more than 400 units.
        RuntimeError: the solver gives up.

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> round(residual_lipschitz(one, -2 * one, one)[0], 6)
    1.0
    """
    H, G, W = _residual(H, G, W)
    L, (multipliers,) = _best([W.mT, G], H)
    return L, L * multipliers


def network_lmi(weights: Sequence[Tensor], multipliers: Sequence[Tensor], gamma: float) -> Float[Tensor, "r r"]:
    """Block tridiagonal: gamma I, 2 Lambda_0, ..., 2 Lambda_{K-1}, gamma I; to their left -Lambda_k W_k, and -W_K.

    If it is >= 0, then x -> W_K s( ... s(W_0 x + b_0) ... ) + b_K is gamma-Lipschitz (Fazlyab et al., NeurIPS 2019;
    in this form Wang & Manchester, ICML 2023). Only diagonal multipliers are valid.

    Args:
        weights: W_0, ..., W_K, each (outputs, inputs).
        multipliers: Lambda_0, ..., Lambda_{K-1}, each a vector of the outputs of W_k, none of them negative.
        gamma: the constant to be checked.

    Raises:
        ValueError: shapes that do not chain, numbers that are not finite, negative or full multipliers.

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> network_lmi([one, one], [one[0]], 1.0)
    tensor([[ 1., -1.,  0.],
            [-1.,  2., -1.],
            [ 0., -1.,  1.]], dtype=torch.float64)
    """
    weights = _chain(weights)
    return _lmi(_below(weights), _diagonal(multipliers, [len(W) for W in weights[:-1]]), gamma, len(weights[-1]))


def lipsdp(weights: Sequence[Tensor]) -> LipSDP:
    """The smallest gamma for which `network_lmi` is proved to be >= 0, beside the product of the norms.

    Args:
        weights: W_0, ..., W_K, each (outputs, inputs). Biases do not matter.

    Raises:
        ValueError: shapes that do not chain, numbers that are not finite, or a network that is too large.
        RuntimeError: the solver gives up.

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> found = lipsdp([torch.cat([one, -one]), torch.cat([one, one], 1)])  # relu(x) + relu(-x) = |x|
    >>> round(found.value, 6), round(found.product, 6)
    (1.0, 2.0)
    """
    weights = _chain(weights)
    norms = bounds.product([norm_bound(W) for W in weights])
    if norms == 0 or len(weights) == 1:
        return LipSDP(norms, tuple(torch.zeros(len(W), dtype=W.dtype) for W in weights[:-1]), norms)
    value, multipliers = _best(weights)
    return LipSDP(min(value, norms), multipliers, norms)


def _below(weights: list[Tensor], H: Tensor | None = None) -> Float[Tensor, "r r"]:
    """S: the weights as the blocks below a zero diagonal, H in the corner from the inputs to the outputs."""
    sizes = [weights[0].shape[1], *map(len, weights)]
    S = torch.zeros(sum(sizes), sum(sizes), dtype=torch.float64)
    row, column = sizes[0], 0
    for W in weights:
        S[row : row + len(W), column : column + W.shape[1]] = W
        row, column = row + len(W), column + W.shape[1]
    if H is not None:
        S[-len(H) :, : H.shape[1]] = H
    return S


def _lmi(S: Tensor, multipliers: Sequence[Tensor], gamma: float, outputs: int) -> Float[Tensor, "r r"]:
    """V - D S - (D S)^T with V = diag(gamma, 2 Lambda, gamma), D = diag(0, Lambda, 1): each entry rounded once.

    Without H it is the network LMI. With K = 1 and H it is the residual LMI divided by L = gamma, its multipliers
    too, before the outputs are eliminated (a Schur complement), which spares the proof the rounding of H^T H.
    """
    flat = torch.cat([*multipliers, torch.zeros(0, dtype=S.dtype)])
    ends = torch.ones(len(S) - len(flat) - outputs, dtype=S.dtype), torch.ones(outputs, dtype=S.dtype)
    V = torch.cat([gamma * ends[0], 2 * flat, gamma * ends[1]])
    D = torch.cat([0 * ends[0], flat, ends[1]])
    B = D[:, None] * S
    return torch.diag(V) - B - B.mT


def _best(weights: list[Tensor], H: Tensor | None = None) -> tuple[float, tuple[Tensor, ...]]:
    """(gamma, multipliers): proposed by the solver for layers of norm 1, then moved until the LMI is proved.

    z_k = P_k z'_k with P_k = |W_0| ... |W_k| gives gamma = c gamma' and Lambda_k = c Lambda'_k / P_k^2. In these
    units the multipliers 1 belong to the product of the norms: the strictly feasible point that is mixed in.
    """
    widths = [len(W) for W in weights[:-1]]
    norms = [norm_bound(W) or 1.0 for W in weights]
    c = max(math.prod(norms), 0.0 if H is None else norm_bound(H))
    P = [math.prod(norms[: k + 1]) for k in range(len(widths))]
    units = torch.tensor([c, *(c / p / p for n, p in zip(widths, P, strict=True) for _ in range(n))]).double()
    if not (units.isfinite().all() and (units > 0).all()):
        raise ValueError("the layers differ too much in size for float64: rescale the weights")
    norms[-1] = c / P[-1]
    scaled = [W / a for W, a in zip(weights, norms, strict=True)]
    x = units * (_network_program(scaled) if H is None else _residual_program(*scaled, H / c))
    S = _below(weights, H)
    x = _proved(lambda x: _lmi(S, [x[1:]], float(x[0]), len(weights[-1])), x, units)
    return float(x[0]), x[1:].split(widths)


def _network_program(weights: list[Tensor]) -> Float[Tensor, " _"]:
    """min gamma so that the network LMI is >= 0. Its outputs stay: eliminated, they would tie all of W_K together.

    Rotations of inputs and outputs leave few of them, and triangles: the zeros split the program into small blocks.
    """
    first, last = torch.linalg.qr(weights[0].mT).R.mT, torch.linalg.qr(weights[-1]).R
    S = _below([first, *weights[1:-1], last]).numpy()
    ends = np.ones(first.shape[1]), np.ones(len(last))

    def matrix(cp: Any, x: Any) -> Any:  # noqa: ANN401
        V = cp.hstack([x[0] * ends[0], 2 * x[1:], x[0] * ends[1]])
        B = cp.diag(cp.hstack([0 * ends[0], x[1:], ends[1]])) @ S
        return cp.diag(V) - B - B.T

    return _minimum(np.eye(1 + sum(map(len, weights[:-1])))[0], matrix)


def _residual_program(W: Tensor, G: Tensor, H: Tensor) -> Float[Tensor, " _"]:
    """min L^2 so that the residual LMI is >= 0, W transposed; as (L, multipliers / L)."""
    first = torch.linalg.qr(torch.cat([W, H]).mT).R.mT
    F = torch.cat([first[len(W) :], G], 1).numpy()
    W, (m, n) = first[: len(W)].numpy(), (len(W), first.shape[1])

    def matrix(cp: Any, x: Any) -> Any:  # noqa: ANN401
        B = cp.diag(x[1:]) @ W
        return cp.bmat([[x[0] * np.eye(n), -B.T], [-B, 2 * cp.diag(x[1:])]]) - F.T @ F

    x = _minimum(np.eye(1 + m)[0], matrix)
    L = x[0].clamp_min(1e-16).sqrt()
    return torch.cat([L[None], x[1:] / L])


def _minimum(cost: np.ndarray, matrix: Callable[[ModuleType, object], object]) -> Float[Tensor, " _"]:
    """The solver's x of smallest cost with x >= 0 and matrix(x) >= 0. Not to be believed."""
    try:
        import clarabel  # noqa: F401
        import cvxpy as cp
    except ImportError:
        raise ImportError("a semidefinite program needs cvxpy and clarabel: pip install 'lipviz[sdp]'") from None
    x = cp.Variable(len(cost), nonneg=True)
    problem = cp.Problem(cp.Minimize(cost @ x), [matrix(cp, x) >> 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the solution may be inaccurate, which `_proved` will see
        try:
            problem.solve(solver=cp.CLARABEL, max_threads=1)
        except cp.SolverError:
            pass
    if x.value is None or not np.isfinite(x.value).all():
        raise RuntimeError(f"Clarabel found no solution ({problem.status}): rescale the weights, or take fewer layers")
    return torch.from_numpy(x.value).clamp_min(0)


def _proved(matrix: Callable[[Tensor], Tensor], x: Tensor, safe: Tensor) -> Tensor:
    """x + e safe with the first e of 1e-12, 4e-12, ... for which matrix(x + e safe) is proved to be >= 0.

    The matrix is affine in x, and its linear part is positive at `safe`: a large enough e always serves.
    """
    for step in range(40):
        y = x + 1e-12 * 4.0**step * safe
        if is_psd(matrix(y)):
            return y
    raise ValueError("the numbers are too uneven for a proof in float64: rescale the weights")


def _finite(X: Tensor, name: str) -> Tensor:
    """X in float64, without its history."""
    if X.ndim != 2 or 0 in X.shape or not X.isfinite().all():
        raise ValueError(f"{name} must be a matrix of finite numbers, got shape {tuple(X.shape)}: look for NaN")
    return X.detach().double()


def _chain(weights: Sequence[Tensor]) -> list[Tensor]:
    """The weights in float64, each reading what the one before writes."""
    weights = [_finite(W, f"W_{k}") for k, W in enumerate(weights)]
    if not weights:
        raise ValueError("a network needs at least one weight matrix, got none: pass W_0, ..., W_K")
    for k in range(1, len(weights)):
        if weights[k].shape[1] != len(weights[k - 1]):
            shapes = [tuple(W.shape) for W in weights]
            raise ValueError(f"W_{k} must have as many columns as W_{k - 1} has rows, got {shapes}: check their order")
    return weights


def _residual(H: Tensor, G: Tensor, W: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """H (p, n), G (p, m), W (n, m) in float64."""
    H, G, W = _finite(H, "H"), _finite(G, "G"), _finite(W, "W")
    if len(G) != len(H) or len(W) != H.shape[1] or W.shape[1] != G.shape[1]:
        shapes = ", ".join(str(tuple(X.shape)) for X in (H, G, W))
        raise ValueError(f"H, G, W must have shapes (p, n), (p, m), (n, m), got {shapes}: W is applied as W^T x")
    return H, G, W


def _diagonal(multipliers: Sequence[Tensor], widths: list[int]) -> list[Tensor]:
    """One vector >= 0 for each hidden layer, in float64."""
    shapes = [tuple(x.shape) for x in multipliers]
    if shapes != [(n,) for n in widths]:
        raise ValueError(
            f"multipliers must be vectors of {widths} entries, got shapes {shapes}: pass diagonals, no other is valid"
        )
    if not all(bool((x.isfinite() & (x >= 0)).all()) for x in multipliers):
        raise ValueError("multipliers must be finite and not negative, got another number: take them from the solver")
    return [x.detach().double() for x in multipliers]


def _refuse_large(weights: list[Tensor]) -> None:
    """The dense blocks are pairs of neighbouring hidden layers, or inputs with outputs where there is one."""
    widths = [len(W) for W in weights[:-1]]
    ends = min(weights[0].shape) + min(weights[-1].shape)
    side = max((a + b for a, b in pairwise(widths)), default=ends)
    if sum(widths) > HIDDEN or side > SIDE:
        raise ValueError(
            f"the program takes {HIDDEN} hidden units, {SIDE} in two neighbouring layers, got widths {widths} and a "
            f"block of {side}: bound parts of the network and multiply"
        )
