"""Free parameters -> orthogonal matrices."""

import torch
from jaxtyping import Float, Inexact
from torch import Tensor


def cayley(W: Inexact[Tensor, "*batch m n"]) -> Inexact[Tensor, "*batch m n"]:
    """Q = [(I + A)^{-1} (I - A); -2 V (I + A)^{-1}] with W = [U; V], A = U - U^H + V^H V: Q^H Q = I.

    For m < n the transpose is taken. Exact up to rounding, and no eigenvalue of a square Q is -1
    (Trockman & Kolter, ICLR 2021, for the rectangular form).

    >>> cayley(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[ 0., -1.],
            [ 1.,  0.]])
    """
    m, n = W.shape[-2:]
    if m < n:
        return cayley(W.mH).mH
    U, V = W[..., :n, :], W[..., n:, :]
    A = U - U.mH + V.mH @ V
    eye = torch.eye(n, dtype=W.dtype, device=W.device)
    B = torch.linalg.solve(eye + A, 2 * eye.expand_as(A))
    return torch.cat([B - eye, -V @ B], dim=-2)


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
    peak = W.detach().abs().amax()
    return W / torch.where(peak > torch.finfo(W.dtype).tiny, peak, torch.ones_like(peak))
