"""The condition: W^T W <= T with T diagonal and positive.

If G = W^T W <= T = diag(t) (T - G has no negative eigenvalue), then

    x -> W T^{-1/2} x + b                  is 1-Lipschitz, and
    x -> x - 2 W T^{-1} relu(W^T x + b)    is 1-Lipschitz

(Araujo, Havens, Delattre, Allauzen, Hu, ICLR 2023). A method is a rule that picks t from G:

    AOL        t_i = sum_j |G_ij|                Prach & Lampert, ECCV 2022
    SLL        t_i = sum_j |G_ij| q_j / q_i      Araujo et al., ICLR 2023, any q > 0
    spectral   t_i = an upper bound of the largest eigenvalue of G

`G` is a matrix (n, n), or the Gram kernel of a convolution (n, n, kh, kw), whose taps are the blocks of the
infinite matrix: a row sum then runs over channels and taps.
"""

import torch
from jaxtyping import Float, Inexact
from torch import Tensor


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


def spectral(G: Inexact[Tensor, "*batch n n"], k: int = 6) -> Float[Tensor, ""]:
    """An upper bound of the largest eigenvalue of G, over a batch of Hermitian matrices G >= 0.

    max_i ( sum_j |(G^p)_ij| )^{1/p} with p = 2^k: the row sums of a power, by k squarings. Never below the
    true value (a row sum bounds every eigenvalue), at most n^{1/2p} above it, exact where G is a multiple of
    the identity. The gradient flows through the matrix of the batch that attains the maximum.

    >>> spectral(torch.eye(3) * 4)
    tensor(4.)
    """
    if G.ndim > 2:
        with torch.no_grad():
            worst = _power_row_sum(G, k).flatten().argmax()
        G = G.flatten(0, -3)[worst]
    return _power_row_sum(G, k)


def _power_row_sum(G: Tensor, k: int) -> Tensor:
    """max_i (sum_j |(G^p)_ij|)^{1/p}, p = 2^k, one value for each matrix; rescaled so that nothing overflows."""
    tiny = torch.finfo(G.dtype).tiny
    parts = torch.view_as_real(G).flatten(-2) if G.is_complex() else G
    peak = parts.abs().amax((-2, -1), keepdim=True).clamp_min(tiny)  # the squares in a norm would underflow
    log_scale, G = peak[..., 0, 0].log(), G / peak
    for squarings in range(k):
        norm = torch.linalg.vector_norm(G, dim=(-2, -1), keepdim=True).clamp_min(tiny)
        log_scale = log_scale + norm[..., 0, 0].log() / 2**squarings
        G = G / norm
        G = G @ G
    row_sum = G.abs().sum(-1).amax(-1).clamp_min(tiny)
    return (log_scale + row_sum.log() / 2**k).exp()


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
