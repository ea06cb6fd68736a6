"""Free parameters -> matrices with orthonormal columns (rows, where there are fewer of them), and kernels.

Every function takes real or complex matrices, alone or in batches: one batch entry a frequency of a circular
convolution. None of them exceeds norm 1 by more than rounding, whatever the parameters are.
"""

import math

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from lipviz.products import gram, hermitian, inverse, peak


def cayley(W: Inexact[Tensor, "*batch m n"]) -> Inexact[Tensor, "*batch m n"]:
    """Q = [(I + A)^{-1} (I - A); -2 V (I + A)^{-1}] with W = [U; V], A = U - U^H + V^H V: Q^H Q = I.

    For m < n the transpose is taken. Exact up to rounding, and no eigenvalue of a square Q is -1
    (Trockman & Kolter, ICLR 2021, for the rectangular form).

    >>> Q = cayley(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    >>> torch.allclose(Q, torch.tensor([[0.0, -1.0], [1.0, 0.0]]), atol=1e-6)
    True
    """
    m, n = W.shape[-2:]
    if m < n:
        return cayley(W.mH).mH
    U, V = W[..., :n, :], W[..., n:, :]
    A = U - U.mH
    A = A + gram(V) if m > n else A
    eye = _eye(n, W)
    B = 2 * inverse(eye + A)
    return contracted(torch.cat([B - eye, -V @ B], dim=-2) if m > n else B - eye)


def exponential(W: Float[Tensor, "n n"], squarings: int = 3) -> Float[Tensor, "n n"]:
    """Q = r(A / 2^s)^{2^s} with A = W - W^T, r(A) = (E - O)^{-1} (E + O), E = 120 + 12 A^2, O = A (60 + A^2).

    r is the diagonal Pade approximant of the exponential, of order 3. For antisymmetric A it is orthogonal
    whatever its distance to exp(A) is, so nothing hangs on the truncation; up to angles of pi, Q agrees with
    exp(A) to about 1e-6 (Higham, SIAM J. Matrix Anal. Appl. 2005, on scaling and squaring).

    >>> angle = math.pi / 4
    >>> Q = exponential(torch.tensor([[0.0, -angle], [angle, 0.0]]))
    >>> torch.allclose(Q, torch.tensor([[0.0, -1.0], [1.0, 0.0]]), atol=1e-5)
    True
    """
    A = (W - W.mT) / 2**squarings
    eye, square = _eye(len(W), W), -gram(A)  # A^2 = -A^T A
    E, O = 120 * eye + 12 * square, A @ (60 * eye + square)
    Q = torch.linalg.solve_ex(E - O, E + O).result  # solve looks for an error, and a GPU would wait for the host
    for _ in range(squarings):
        Q = Q @ Q
    return contracted(Q)


def polar(W: Inexact[Tensor, "*batch m n"], steps: int) -> Inexact[Tensor, "*batch m n"]:
    """A <- A (3 I - A^H A) / 2, `steps` times, from A = W T^{-1/2}, t_i = sum_j |W^H W|_ij: towards W (W^H W)^{-1/2}.

    A singular value s becomes s (3 - s^2) / 2, which is at most 1 for s in [0, 1], and there the AOL weight
    starts: norm 1 at every step, orthogonal only in the limit (Bjorck & Bowie, SIAM J. Numer. Anal. 1971).

    >>> Q = polar(torch.diag(torch.tensor([3.0, -0.1])), 2)
    >>> torch.allclose(Q, torch.diag(torch.tensor([1.0, -1.0])), atol=1e-5)
    True
    """
    if W.shape[-2] < W.shape[-1]:
        return polar(W.mH, steps).mH
    if W.ndim > 3:
        return polar(W.flatten(0, -3), steps).unflatten(0, W.shape[:-2])
    G = gram(W)
    n = W.shape[-1]
    eps = torch.finfo(W.dtype).eps
    scale = (G.abs().sum(-1) * (1 + 4 * n * eps) + eps * peak(G)).rsqrt()
    A, G = W * scale[..., None, :], G * scale[..., None, :] * scale[..., :, None]
    for step in range(steps):
        S = gram(A) if step else G
        product = torch.addmm if A.ndim == 2 else torch.baddbmm
        A = product(A, A, S, beta=1.5, alpha=-0.5)
    return A


def reflections(V: Float[Tensor, "n r"]) -> Float[Tensor, "n n"]:
    """Q = H_1 ... H_r with H_i = I - 2 v_i v_i^T / |v_i|^2: I - V S^{-1} V^T, S = striu(V^T V) + diag(|v_i|^2) / 2.

    A column of zeros reflects nothing (Joffrain et al., ACM Trans. Math. Softw. 2006, for S).

    >>> torch.allclose(reflections(torch.tensor([[1.0], [0.0]])), torch.diag(torch.tensor([-1.0, 1.0])))
    True
    """
    V = V / peak(V, dim=-2)
    G = gram(V)
    S = G.triu(1) + torch.diag(G.diagonal() + torch.finfo(V.dtype).eps) / 2
    return contracted(_eye(len(V), V) - V @ torch.linalg.solve_triangular(S, V.mT, upper=True))


class _Projector(torch.autograd.Function):
    """P = V N V^H, Y = V N and N = (V^H V + d^2 I)^{-1}; only P is used, Y and N give its derivatives of any order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(V: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        m, r = V.shape[-2:]
        eye = _eye(r, V).expand(*V.shape[:-2], r, r)
        Q, R = torch.linalg.qr(torch.cat([V, math.sqrt(torch.finfo(V.dtype).eps) * eye], dim=-2))
        Q = Q[..., :m, :]
        inverse = torch.linalg.solve_triangular(R, eye, upper=True)
        return Q @ Q.mH, Q @ inverse.mH, inverse @ inverse.mH

    @staticmethod
    def setup_context(ctx, inputs, output):  # noqa: ANN001, ANN205
        ctx.save_for_backward(*inputs, *output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, C: Tensor | None, D: Tensor | None, E: Tensor | None) -> Tensor:  # noqa: ANN001
        V, P, Y, N = ctx.saved_tensors
        grad = torch.zeros_like(V)
        if C is not None:
            Z = (C + C.mH) @ Y
            grad = grad + Z - P @ Z
        if D is not None:
            K = N @ D.mH @ Y
            grad = grad + D @ N - V @ (K + K.mH)
        if E is not None:
            K = N @ E.mH @ N
            grad = grad - V @ (K + K.mH)
        return grad


def projector(V: Inexact[Tensor, "*batch m r"]) -> Inexact[Tensor, "*batch m m"]:
    """P = V (V^H V + d^2 I)^{-1} V^H: the projector on the columns of V, r <= m; d^2 is the machine epsilon.

    By the QR factorisation of [V; d I], which never squares the condition of V: 0 <= P <= I to rounding, for
    any V. Directions in which V is as small as d are projected in part only.
    dP = (I - P) dV (V^H V + d^2 I)^{-1} V^H + its adjoint.

    >>> projector(torch.tensor([[3.0], [4.0]])).round(decimals=4)
    tensor([[0.3600, 0.4800],
            [0.4800, 0.6400]])
    """
    return _Projector.apply(V)[0]


def contracted(Q: Inexact[Tensor, "*batch m n"]) -> Inexact[Tensor, "*batch m n"]:
    """Q / max(1, sqrt(max_i sum_j |Q^H Q|_ij)): norm at most 1 even where rounding spoilt the columns of Q.

    Of complex entries |re| + |im| is taken, no less than the magnitude and cheaper.
    In float32 a factor of about 1 - 4e-8 n on most weights; on the most hostile ones, where the raw formulas lose all
    digits, whatever is needed: such a layer is bounded, no longer orthogonal. A constant in the gradient.
    """
    with torch.no_grad():
        G = hermitian(Q)
        parts = torch.view_as_real(G).flatten(-2) if G.is_complex() else G
        worst = parts.abs().sum(-1).amax(-1).clamp_min(1).sqrt()
    return Q / worst[..., None, None]


def bounded(W: Tensor, gain: Float[Tensor, ""], limit: float) -> Tensor:
    """W rescaled to Frobenius norm |gain|, softly kept below `limit`.

    A Cayley map of huge parameters loses its orthogonality to rounding; of W only the direction is used.
    Zero weights stay zero and keep a finite gradient.
    """
    W = normalised(W)
    norm = (W.square().sum() + torch.finfo(W.dtype).eps).sqrt()
    return W * (limit * torch.tanh(gain / limit) / norm)


def normalised(W: Tensor) -> Tensor:
    """W divided by its largest magnitude, held constant in the gradient; zero (and denormal) weights stay.

    Every constrained layer is invariant to the scale of its weight, and products of entries of 1e18 or 1e-18
    leave the range of float32.
    """
    return W / peak(W)


def _eye(n: int, like: Tensor) -> Tensor:
    return torch.eye(n, dtype=like.dtype, device=like.device)
