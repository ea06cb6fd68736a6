"""The best diagonal multipliers: proposed by a semidefinite program, then proved in float64.

    smallest_trace        min sum_i t_i                  so that  G <= diag(t)
    residual_lipschitz    L of x -> H x + G s(W^T x + b)
    lipsdp                L of x -> W_K s( ... s(W_0 x + b_0) ... ) + b_K

s acts entry by entry with slopes in [0, 1] (ReLU, leaky ReLU, tanh, sigmoid; not MaxMin, not |x|). Nothing that the
solver says is believed: its numbers go into a matrix whose Cholesky factorisation, rounding included, must run to its
end, or they are moved until it does. So what is returned *holds*. That nothing much smaller would hold is the word of
the solver (Clarabel, through cvxpy: `pip install -e '.[sdp]'`). The matrices alone need neither.
"""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from lipviz import bounds, sdp
from lipviz.norms import gamma, norm_bound

HIDDEN = 400
SIDE = 100  # of a dense block: the time grows like its 6th power, the memory like its 4th


@dataclass(frozen=True)
class LipSDP:
    """A certified constant of a network.

    Attributes:
        value: an upper bound of the Lipschitz constant: what the multipliers prove, or the product where it is smaller.
        multipliers: for each hidden layer the diagonal of its multiplier.
        product: the product of the spectral norms, rounded up.
    """

    value: float
    multipliers: tuple[Float[Tensor, " _"], ...]
    product: float


def is_psd(M: Float[Tensor, "n n"]) -> bool:
    """Whether every symmetric matrix whose entries agree with M's up to 4 u is proved to be >= 0.

    Powers of two scale rows and columns until 1/2 <= M_ii < 2. If then the Cholesky factorisation of M - c I runs to
    its end, no eigenvalue of M - c I is below -2 n gamma_{n+1} (S. M. Rump, BIT 2006). False says "not proved".

    >>> M = torch.tensor([[1.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    >>> is_psd(M), is_psd(M + 1e-9 * torch.eye(2))
    (False, True)
    """
    M = M.detach().double()
    rows = M.diagonal() > 0
    if not M.isfinite().all() or M[~rows].any() or M[:, ~rows].any():
        return False
    M = (M + M.mT)[rows][:, rows] / 2
    scale = torch.ldexp(M.new_ones(len(M)), -torch.frexp(M.diagonal()).exponent.div(2, rounding_mode="floor"))
    n = len(M)
    c = 8 * n * gamma(n + 8)  # 2 n gamma_{n+1} for the factorisation, 10 n u for the entries, and room
    A = scale[:, None] * M * scale - c * torch.eye(n, dtype=M.dtype)
    return int(torch.linalg.cholesky_ex(A).info) == 0


def smallest_trace(G: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    """min sum_i t_i so that G <= diag(t): the T of smallest trace for G = W^T W.

    To the solver's t is added e sum_j |G_ij|, with the smallest e for which diag(t) - G is proved to be >= 0.
    A zero column of W gets t_i = 0.

    Raises:
        ValueError: G is not finite, not symmetric, has a negative eigenvalue, or has more than 100 rows.
        RuntimeError: the solver gives up.

    >>> smallest_trace(torch.tensor([[1.0, -2.0], [-2.0, 5.0]], dtype=torch.float64)).round(decimals=5)
    tensor([3., 7.], dtype=torch.float64)
    """
    G = _finite(G, "G")
    d, aol, peak = G.diagonal(), sdp.aol(G), float(G.abs().max())
    if len(G) > SIDE:
        raise ValueError(f"G must have at most {SIDE} rows, got {len(G)}: use sdp.aol, sdp.sll or sdp.spectral")
    if float((G - G.mT).abs().max()) > 1e-12 * peak or float(torch.linalg.eigvalsh(G)[0]) < -1e-9 * peak:
        raise ValueError("G must be symmetric without negative eigenvalues, got another matrix: pass W^T W in float64")
    if peak == 0:
        return aol
    # t = peak s x, halfway to a unit diagonal: uneven columns keep their digits, and the costs stay comparable
    s = torch.where(d > 0, d / peak, 1.0).sqrt()
    x = _diagonal(G / peak / (s[:, None] * s).sqrt()).minimum(s)
    t = torch.where(aol > 0, peak * s * x, 0.0)
    return _diagonal(G).proved(t, aol)


def residual_lmi(
    H: Float[Tensor, "_ _"], G: Float[Tensor, "_ _"], W: Float[Tensor, "_ _"], multipliers: Tensor, L: float
) -> Float[Tensor, "r r"]:
    """M = [[L^2 I - H^T H, -H^T G - W Lambda], [(-H^T G - W Lambda)^T, 2 Lambda - G^T G]], Lambda = diag(multipliers).

    M >= 0 makes h(x) = H x + G s(W^T x + b) L-Lipschitz (Araujo et al., ICLR 2023): on (dx, dz) its form is
    L^2 |dx|^2 - |dh|^2 - 2 dz^T Lambda (W^T dx - dz), and the last term takes away nothing negative.

    Args:
        H: (p, n).
        G: (p, m).
        W: (n, m).
        multipliers: (m,), none of them negative.
        L: the constant to be checked.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, negative or full multipliers.

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> residual_lmi(one, one, -one, one[0], 2.0)
    tensor([[3., 0.],
            [0., 1.]], dtype=torch.float64)
    """
    H, G, W = _residual(H, G, W)
    x = torch.cat([H.new_tensor([L**2]), *_vectors([multipliers], [W.shape[1]])])
    return _eliminated(H, G, W).at(x)


def residual_lipschitz(
    H: Float[Tensor, "_ _"], G: Float[Tensor, "_ _"], W: Float[Tensor, "_ _"]
) -> tuple[float, Float[Tensor, " _"]]:
    """(L, multipliers): the smallest L for which `residual_lmi` is proved to be >= 0. Shapes as there.

    Without rounding, never above |H| + |G| |W|, which some equal multipliers reach or improve.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, or too many of them.
        RuntimeError: the solver gives up.

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> round(residual_lipschitz(one, -2 * one, one)[0], 6)  # SLL of one unit
    1.0
    """
    H, G, W = _residual(H, G, W)
    L, (multipliers,) = _best([W.mT, G], H)
    return L, L * multipliers


def network_lmi(weights: Sequence[Tensor], multipliers: Sequence[Tensor], gamma: float) -> Float[Tensor, "r r"]:
    """Block tridiagonal: gamma I, 2 Lambda_0, ..., 2 Lambda_{K-1}, gamma I; to their left -Lambda_k W_k, at last -W_K.

    If it is >= 0, then x -> W_K s( ... s(W_0 x + b_0) ... ) + b_K is gamma-Lipschitz (Fazlyab et al., NeurIPS 2019;
    in this form Wang & Manchester, ICML 2023). Only diagonal multipliers are valid.

    Args:
        weights: W_0, ..., W_K, each (outputs, inputs).
        multipliers: the diagonals of Lambda_0, ..., Lambda_{K-1}, one entry for each row of W_k, none of them negative.
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
    multipliers = _vectors(multipliers, [len(W) for W in weights[:-1]])
    return _network(weights).at(torch.cat([weights[0].new_tensor([gamma]), *multipliers]))


def lipsdp(weights: Sequence[Tensor]) -> LipSDP:
    """The smallest gamma for which `network_lmi` is proved to be >= 0, beside the product of the norms.

    Args:
        weights: W_0, ..., W_K, each (outputs, inputs). Biases do not matter.

    Raises:
        ValueError: shapes that do not chain, numbers that are not finite, or too many of them.
        RuntimeError: the solver gives up.

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> found = lipsdp([torch.cat([one, -one]), torch.cat([one, one], 1)])  # relu(x) + relu(-x) = |x|
    >>> round(found.value, 6), round(found.product, 6)
    (1.0, 2.0)
    """
    weights = _chain(weights)
    product = bounds.product([norm_bound(W) for W in weights])
    if product == 0 or len(weights) == 1:
        return LipSDP(product, tuple(W.new_zeros(len(W)) for W in weights[:-1]), product)
    value, multipliers = _best(weights)
    return LipSDP(min(value, product), multipliers, product)


@dataclass(frozen=True)
class _Pencil:
    """x -> diag(P x) - B - B^T - C with B = diag(Q x) S: every matrix here, for the solver and for the proof."""

    P: Tensor
    Q: Tensor
    S: Tensor
    C: Tensor

    def at(self, x: Tensor) -> Float[Tensor, "r r"]:
        """The matrix at x. Where its terms do not overlap off the diagonal, each entry is rounded once."""
        B = (self.Q @ x)[:, None] * self.S
        return torch.diag(self.P @ x) - B - B.mT - self.C

    def minimum(self, cost: Tensor) -> Float[Tensor, " _"]:
        """The solver's x >= 0 of smallest cost^T x for which the matrix is >= 0. Not to be believed."""
        try:
            import clarabel  # noqa: F401
            import cvxpy as cp
        except ImportError:
            raise ModuleNotFoundError("a semidefinite program needs cvxpy: pip install -e '.[sdp]'") from None
        P, Q, S, C = (X.numpy() for X in (self.P, self.Q, self.S, self.C))
        x = cp.Variable(len(cost), nonneg=True)
        B = cp.diag(Q @ x) @ S
        problem = cp.Problem(cp.Minimize(cost.numpy() @ x), [cp.diag(P @ x) - B - B.T - C >> 0])
        with warnings.catch_warnings(), suppress(cp.SolverError):
            warnings.simplefilter("ignore")  # that the solution may be inaccurate, which `proved` will see
            problem.solve(solver=cp.CLARABEL, max_threads=1, iterative_refinement_enable=False)
        if x.value is None:
            raise RuntimeError(f"Clarabel stopped without a solution ({problem.status}): take fewer or smaller layers")
        return torch.from_numpy(x.value).clamp_min(0)

    def proved(self, x: Tensor, safe: Tensor) -> Tensor:
        """x + e safe with the first e of 1e-12, 4e-12, ... for which the matrix is proved to be >= 0.

        The matrix is affine in x, and what multiplies x is positive at `safe`: a large enough e serves.
        """
        for step in range(40):
            y = x + 1e-12 * 4.0**step * safe
            if is_psd(self.at(y)):
                return y
        raise ValueError("the numbers are too uneven for a proof in float64: rescale them")


def _diagonal(G: Tensor) -> _Pencil:
    """diag(t) - G as a function of t."""
    return _Pencil(torch.eye(len(G), dtype=G.dtype), torch.zeros_like(G), torch.zeros_like(G), (G + G.mT) / 2)


def _blocks(n: int, h: int, S: Tensor, C: Tensor) -> _Pencil:
    """x_0 on the diagonal, but 2 x_i in those h rows after the first n whose rows of S are scaled by x_i."""
    P, Q = S.new_zeros(len(S), 1 + h), S.new_zeros(len(S), 1 + h)
    Q[n : n + h, 1:] = torch.eye(h)
    P[:, 0] = 1 - Q.sum(1)
    return _Pencil(P + 2 * Q, Q, S, C)


def _network(weights: list[Tensor], H: Tensor | None = None) -> _Pencil:
    """The network LMI as a function of (gamma, multipliers); H leads from the inputs to the outputs.

    With one hidden layer and H it is the residual LMI divided by L = gamma, its multipliers too, before the outputs
    are eliminated (a Schur complement): this spares the proof the rounding of H^T H.
    """
    n, h = weights[0].shape[1], sum(map(len, weights[:-1]))
    S = weights[0].new_zeros(n + h + len(weights[-1]), n + h + len(weights[-1]))
    row, column = n, 0
    for W in weights:
        S[row : row + len(W), column : column + W.shape[1]] = W
        row, column = row + len(W), column + W.shape[1]
    if H is not None:
        S[n + h :, :n] = H
    last = torch.zeros_like(S)
    last[n + h :] = S[n + h :]
    return _blocks(n, h, S - last, last + last.mT)


def _eliminated(H: Tensor, G: Tensor, W: Tensor) -> _Pencil:
    """The residual LMI as a function of (L^2, multipliers)."""
    n, m = W.shape
    F = torch.cat([H, G], 1)
    S = F.new_zeros(n + m, n + m)
    S[n:, :n] = W.mT
    return _blocks(n, m, S, F.mT @ F)


def _best(weights: list[Tensor], H: Tensor | None = None, c: float | None = None) -> tuple[float, tuple[Tensor, ...]]:
    """(gamma, multipliers): proposed by the solver in units of c, then moved until the LMI is proved.

    z_k = P_k z'_k with P_k = a_0 ... a_k, a_0 ... a_K = c, gives gamma = c gamma' and Lambda_k = c Lambda'_k / P_k^2.
    The first c is the product of the norms, a_k = |W_k|: there the multipliers 1 are strictly feasible, and mixed in.
    A result far below c has lost digits, and becomes the next c.
    """
    widths = [len(W) for W in weights[:-1]]
    norms = torch.tensor([norm_bound(W) or 1.0 for W in weights], dtype=torch.float64)
    c = c or max(float(norms.prod()), 0.0 if H is None else norm_bound(H))
    a = norms * (c / norms.prod()) ** (1 / len(norms))
    safe, units = _units(c, norms, widths), _units(c, a, widths)
    if not (units.isfinite().all() and (units > 0).all()):
        raise ValueError("the layers differ too much in size for float64: rescale the weights")
    scaled = [W / b for W, b in zip(weights, a, strict=True)]
    x = units * (_network_program(scaled) if H is None else _residual_program(H / c, scaled[1], scaled[0].mT))
    x = _network(weights, H).proved(x, safe)
    gamma = float(x[0])
    if H is None and 1e-6 * c < gamma < 0.1 * c:
        with suppress(RuntimeError, ValueError):
            return _best(weights, None, gamma)
    return gamma, x[1:].split(widths)


def _units(c: float, a: Tensor, widths: list[int]) -> Float[Tensor, " _"]:
    """(c, c / P_0^2, ...) with P_k = a_0 ... a_k, each as often as its layer is wide."""
    P = a.cumprod(0)[:-1]
    return torch.cat([a.new_tensor([c]), (c / P / P).repeat_interleave(torch.tensor(widths))])


def _network_program(weights: list[Tensor]) -> Float[Tensor, " _"]:
    """min gamma so that the network LMI is >= 0.

    Rotated inputs and outputs are few, with triangular weights. The zeros let the solver split the matrix, which is
    why the outputs are not eliminated: W_K^T W_K would be full.
    """
    widths = [len(W) for W in weights[:-1]]
    blocks = [a + b for a, b in pairwise(widths)] or [min(weights[0].shape) + min(weights[1].shape)]
    _refuse_large(sum(widths), max(blocks))
    ends = torch.linalg.qr(weights[0].mT).R.mT, torch.linalg.qr(weights[-1]).R
    return _network([ends[0], *weights[1:-1], ends[1]]).minimum(torch.eye(1 + sum(widths), dtype=torch.float64)[0])


def _residual_program(H: Tensor, G: Tensor, W: Tensor) -> Float[Tensor, " _"]:
    """min L^2 so that the residual LMI is >= 0, as (L, multipliers / L); here the full F^T F costs less."""
    n, m = W.shape
    _refuse_large(m, min(n, m + len(H)) + m)
    if n > m + len(H):  # a rotation of the inputs leaves m + p of them
        W, H = torch.linalg.qr(torch.cat([W, H.mT], 1)).R.split([m, len(H)], 1)
        H = H.mT
    x = _eliminated(H, G, W).minimum(torch.eye(1 + m, dtype=torch.float64)[0])
    L = x[:1].clamp_min(1e-16).sqrt()
    return torch.cat([L, x[1:] / L])


def _refuse_large(hidden: int, side: int) -> None:
    if hidden > HIDDEN or side > SIDE:
        raise ValueError(
            f"a program takes at most {HIDDEN} hidden units and {SIDE} in two neighbouring layers, got {hidden} and "
            f"{side}: bound parts of the network and multiply"
        )


def _finite(X: Tensor, name: str) -> Tensor:
    """A matrix in float64, without its history."""
    if X.ndim != 2 or 0 in X.shape or not X.isfinite().all():
        raise ValueError(f"{name} must be a matrix of finite numbers, got shape {tuple(X.shape)}: look for NaN")
    return X.detach().double()


def _chain(weights: Sequence[Tensor]) -> list[Tensor]:
    """The weights in float64, each reading what the one before writes."""
    if not weights:
        raise ValueError("a network needs at least one weight matrix, got none: pass W_0, ..., W_K")
    weights = [_finite(W, f"W_{k}") for k, W in enumerate(weights)]
    if any(W.shape[1] != len(V) for V, W in pairwise(weights)):
        shapes = [tuple(W.shape) for W in weights]
        raise ValueError(f"each W_k must have as many columns as the one before has rows, got {shapes}: transpose them")
    return weights


def _residual(H: Tensor, G: Tensor, W: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    H, G, W = _finite(H, "H"), _finite(G, "G"), _finite(W, "W")
    if len(G) != len(H) or len(W) != H.shape[1] or W.shape[1] != G.shape[1]:
        shapes = ", ".join(str(tuple(X.shape)) for X in (H, G, W))
        raise ValueError(f"H, G, W must have shapes (p, n), (p, m), (n, m), got {shapes}: W acts as W^T x")
    return H, G, W


def _vectors(multipliers: Sequence[Tensor], widths: list[int]) -> list[Tensor]:
    """One vector >= 0 in float64 for each hidden layer."""
    shapes = [tuple(x.shape) for x in multipliers]
    if shapes != [(n,) for n in widths]:
        raise ValueError(f"multipliers must be diagonals of {widths} entries, got shapes {shapes}: no others are valid")
    if not all(bool((x.isfinite() & (x >= 0)).all()) for x in multipliers):
        raise ValueError("multipliers must be finite and not negative, got another number: see `lipsdp(...)`")
    return [x.detach().double() for x in multipliers]
