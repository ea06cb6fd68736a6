"""The condition: W^T W <= T with T diagonal and positive.

If G = W^T W <= T = diag(t) (T - G has no negative eigenvalue), then

    x -> W T^{-1/2} x + b                  is 1-Lipschitz, and
    x -> x - 2 W T^{-1} relu(W^T x + b)    is 1-Lipschitz

(Araujo, Havens, Delattre, Allauzen, Hu, ICLR 2023). A method is a rule that picks t from G:

    AOL        t_i = sum_j |G_ij|                Prach & Lampert, ECCV 2022
    SLL        t_i = sum_j |G_ij| q_j / q_i      Araujo et al., ICLR 2023, any q > 0
    SR(k)      t_i = (sum_j |(G^p)_ij| q_j / q_i)^{1/p}, p = 2^k    Delattre et al., 2024
    spectral   t_i = an upper bound of the largest eigenvalue of G

`G` is a matrix (n, n), or the Gram kernel of a convolution (n, n, kh, kw), whose taps are the blocks of the
infinite matrix: a row sum then runs over channels and taps.
"""

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from lipviz.products import peak, square


def magnitudes(G: Inexact[Tensor, "n n *taps"]) -> Float[Tensor, "n n"]:
    """A_ij = sum of |G_ij| over the taps: what a row sum sees of a Gram matrix or kernel.

    >>> magnitudes(torch.tensor([[1.0, -2.0], [-2.0, 5.0]]))
    tensor([[1., 2.],
            [2., 5.]])
    """
    return G.abs().flatten(2).sum(2) if G.ndim > 2 else G.abs()


def aol(G: Inexact[Tensor, "n n *taps"]) -> Float[Tensor, " n"]:
    """t_i = sum_j |G_ij|: the smallest t for which T - G is diagonally dominant.

    >>> aol(torch.tensor([[1.0, -2.0], [-2.0, 5.0]]))
    tensor([3., 7.])
    """
    return magnitudes(G).sum(1)


def sll(G: Inexact[Tensor, "n n *taps"], q: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """t_i = sum_j |G_ij| q_j / q_i for positive q; q = (1, ..., 1) is AOL.

    >>> sll(torch.tensor([[1.0, -2.0], [-2.0, 5.0]]), torch.tensor([1.0, 2.0]))
    tensor([5., 6.])
    """
    return magnitudes(G) @ q / q


def sr(G: Inexact[Tensor, "n n *taps"], k: int = 1, q: Float[Tensor, " n"] | None = None) -> Float[Tensor, " n"]:
    """t_i = (sum_j |(G^p)_ij| q_j / q_i)^{1/p} with p = 2^k: spectral rescaling; k = 0 is SLL, without q AOL.

    Sound since G^p <= diag(row sums), and roots keep the order of positive matrices (Loewner and Heinz).
    In float32 take k up to 3: beyond, powers of wide matrices overflow.

    >>> sr(torch.tensor([[1.0, -2.0], [-2.0, 5.0]]), k=1)
    tensor([4.1231, 6.4031])
    """
    scale = peak(G)
    A = magnitudes(power(G / scale, k))
    row_sums = A.sum(1) if q is None else A @ q / q
    return scale * (row_sums + torch.finfo(A.dtype).eps ** 2) ** (0.5**k)  # a root has no slope at 0


def power(G: Inexact[Tensor, "n n *taps"], k: int) -> Inexact[Tensor, "n n *more"]:
    """G^p, p = 2^k, by k squarings; of a Gram kernel with d x d taps that kernel with p (d - 1) + 1 taps a side.

    A power of a kernel is taken frequency by frequency, on a grid that holds all its taps, so that none wraps.
    """
    if G.ndim == 2:
        for _ in range(k):
            G = square(G)
        return G
    d = G.shape[-1]
    taps = 2**k * (d - 1) + 1
    centred = torch.nn.functional.pad(G, (0, taps - d, 0, taps - d)).roll((-(d // 2), -(d // 2)), (2, 3))
    F = torch.fft.rfft2(centred).permute(2, 3, 0, 1)
    for _ in range(k):
        F = square(F)
    return torch.fft.irfft2(F.permute(2, 3, 0, 1), s=(taps, taps)).roll((taps // 2, taps // 2), (2, 3))


def spectral(G: Inexact[Tensor, "*batch n n"], k: int = 6) -> Float[Tensor, ""]:
    """An upper bound of the largest eigenvalue of G, over a batch of Hermitian matrices G >= 0.

    max_i ( sum_j |(G^p)_ij| )^{1/p} with p = 2^k: the row sums of a power, by k squarings. Never below the
    true value (a row sum bounds every eigenvalue), at most n^{1/2p} above it, exact where G is a multiple of
    the identity. The gradient is that of the largest row sum, in the matrix of the batch that has it.

    >>> spectral(torch.eye(3) * 4).round(decimals=4)
    tensor(4.)
    """
    if G.ndim > 2:
        G = G.flatten(0, -3)
        with torch.no_grad():
            worst = power_row_sums(G, k).argmax()
        G = G.index_select(0, worst[None])[0]
    return _PowerRowSum.apply(G, k)[0]


def power_row_sums(G: Inexact[Tensor, "*batch n n"], k: int = 6) -> Float[Tensor, "*batch"]:
    """`spectral` of every matrix of a batch, without a gradient."""
    return _PowerRowSum.forward(G, k)[0]


def _scaled(G: Tensor, scale: Tensor, owned: bool) -> Tensor:
    """G / scale, one number a matrix, in place where G is `owned`; in real arithmetic, much faster than in complex."""
    parts = torch.view_as_real(G.resolve_conj()) if G.is_complex() else G
    scale = scale.view(*scale.shape, *[1] * (parts.ndim - scale.ndim))
    parts = parts.div_(scale) if owned else parts / scale
    return torch.view_as_complex(parts) if G.is_complex() else parts


class _PowerRowSum(torch.autograd.Function):
    """t = max_i (sum_j |(G^p)_ij|)^{1/p}, one value for each matrix of a batch.

    With e_i the row that attains it and s the signs of that row, the gradient is the sum over a + b = p - 1 of
    (H^a e_i) (H^b s)^H / p, H = G / t: two Krylov sequences of p vectors, not k products of matrices.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(G: Tensor, k: int) -> tuple[Tensor, Tensor]:
        tiny = torch.finfo(G.dtype).tiny
        log_scale, powers = torch.zeros((), dtype=G.real.dtype, device=G.device), []
        for squarings in range(k + 1):
            trace = G.diagonal(dim1=-2, dim2=-1).real.sum(-1).clamp_min(tiny)  # no entry of G >= 0 is larger
            G, log_scale = _scaled(G, trace, squarings > 0), log_scale + trace.log() / 2**squarings
            if G.ndim == 2:
                powers.append((G, log_scale))
            G = G @ G if squarings < k else G
        row_sum = G.abs().sum(-1).amax(-1).clamp_min(tiny)
        log_t = log_scale + row_sum.log() / 2**k
        if G.ndim > 2:
            return log_t.exp(), log_t
        return log_t.exp(), torch.stack([H * ((log - log_t) * 2**j).exp() for j, (H, log) in enumerate(powers)])

    @staticmethod
    def setup_context(ctx, inputs, output):  # noqa: ANN001, ANN205
        ctx.save_for_backward(inputs[0], *output)
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx, g: Tensor, _: Tensor) -> tuple[Tensor, None]:  # noqa: ANN001
        G, t, powers = ctx.saved_tensors  # H^1, H^2, H^4, ..., H^p
        if torch.is_grad_enabled():  # for derivatives of the gradient
            powers = [G / t, *powers[1:]]
            for j in range(1, len(powers)):
                powers[j] = powers[j - 1] @ powers[j - 1]
        last = powers[-1]
        row = last.index_select(0, last.abs().sum(-1).argmax()[None])
        signs = torch.sgn(row).mH
        best = last.abs().sum(-1).argmax()[None]
        X = torch.eye(len(last), dtype=last.dtype, device=last.device).index_select(1, best)
        Y = signs
        for H in powers[:-1]:
            X, Y = torch.cat([X, H @ X], 1), torch.cat([Y, H @ Y], 1)
        return g * (X @ Y.flip(1).mH) / X.shape[1], None


def slack(G: Inexact[Tensor, "n n"], t: Float[Tensor, " n"]) -> float:
    """The smallest eigenvalue of T - G: the condition holds exactly when it is not negative.

    >>> slack(torch.eye(2), torch.tensor([1.0, 3.0]))
    0.0
    """
    return float(torch.linalg.eigvalsh(torch.diag(t).to(G.dtype) - G)[0])


def discs(
    G: Inexact[Tensor, "n n"], q: Float[Tensor, " n"] | None = None
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Gershgorin discs of Q^{-1} G Q, Q = diag(q): centres G_ii and radii sum_{j != i} |G_ij| q_j / q_i.

    Every eigenvalue of G lies in a disc, whatever q > 0 is; the right edge of disc i is SLL's t_i.

    >>> discs(torch.tensor([[1.0, -2.0], [-2.0, 5.0]]))
    (tensor([1., 5.]), tensor([2., 2.]))
    """
    centres = G.diagonal().real
    t = aol(G) if q is None else sll(G, q)
    return centres, t - centres.abs()


def perron(A: Float[Tensor, "n n"], tolerance: float = 1e-7) -> Float[Tensor, " n"]:
    """A positive vector q for which every (A q)_i / q_i is at most (1 + tolerance) rho(A), for symmetric A >= 0.

    q solves ((1 + tolerance) rho I - A) q = 1, so it is positive even where A falls into blocks, unlike the
    eigenvector. Scaled to have maximum 1. For A = 0 every q serves: ones.

    >>> A = torch.tensor([[1.0, 2.0], [2.0, 5.0]], dtype=torch.float64)
    >>> (A @ perron(A) / perron(A)).round(decimals=5)
    tensor([5.8284, 5.8284], dtype=torch.float64)
    """
    rho = torch.linalg.eigvalsh(A)[-1]
    if rho <= 0:
        return torch.ones_like(A[0])
    eye = torch.eye(len(A), dtype=A.dtype, device=A.device)
    q = torch.linalg.solve((1 + tolerance) * eye - A / rho, torch.ones_like(A[0]))
    return q / q.max()
