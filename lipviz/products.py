"""Matrix products that know more about their factors than autograd does, and so cost less.

The gradient of W^H W takes one product instead of two, that of G^2 for Hermitian G likewise, and a large inverse is
cut into blocks.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Inexact
from torch import Tensor

BLOCK = 128  # a matrix up to this side is inverted directly
HALVES = 512  # a Gram matrix from this side on is computed by halves


def peak(W: Inexact[Tensor, "..."], dim: int | None = None) -> Float[Tensor, "..."]:
    """The largest magnitude (along `dim`, which stays), held constant in the gradient; 1 where it is zero or denormal.

    >>> peak(torch.tensor([[0.0, 0.0], [1.0, -3.0]]), dim=1)
    tensor([[1.],
            [3.]])
    """
    W = W.detach().abs()
    largest = W.amax() if dim is None else W.amax(dim, keepdim=True)
    return torch.where(largest > torch.finfo(W.dtype).tiny, largest, torch.ones_like(largest))


class _Gram(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(W: Tensor) -> Tensor:
        return hermitian(W)

    @staticmethod
    def setup_context(ctx, inputs, output):  # noqa: ANN001, ANN205
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, C: Tensor) -> Tensor:  # noqa: ANN001
        (W,) = ctx.saved_tensors
        return W @ (C + C.mH)


def gram(W: Inexact[Tensor, "*batch m n"]) -> Inexact[Tensor, "*batch n n"]:
    """G = W^H W.

    >>> gram(torch.tensor([[1.0, 2.0]]))
    tensor([[1., 2.],
            [2., 4.]])
    """
    return _Gram.apply(W)


def hermitian(W: Inexact[Tensor, "*batch m n"]) -> Inexact[Tensor, "*batch n n"]:
    """W^H W as a plain product; of a large matrix only one of the two halves that mirror each other."""
    n = W.shape[-1]
    if n < HALVES:
        return W.mH @ W
    A, B = W[..., : n // 2], W[..., n // 2 :]
    AB = A.mH @ B
    return torch.cat([torch.cat([hermitian(A), AB], -1), torch.cat([AB.mH, hermitian(B)], -1)], -2)


class _RowSums(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(W: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        G = hermitian(W)
        return G.abs() @ q, G

    @staticmethod
    def setup_context(ctx, inputs, output):  # noqa: ANN001, ANN205
        ctx.save_for_backward(*inputs, output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, g: Tensor | None, C: Tensor | None) -> tuple[Tensor, Tensor | None]:  # noqa: ANN001
        W, q, G = ctx.saved_tensors
        if g is None:
            return (torch.zeros_like(W) if C is None else W @ (C + C.mH)), None
        gq = torch.outer(g, q)
        S = torch.sgn(G) * (gq + gq.mT)
        return W @ (S if C is None else S + C + C.mH), G.abs() @ g if ctx.needs_input_grad[1] else None


def row_sums(W: Float[Tensor, "m n"], q: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """sum_j |W^T W|_ij q_j, of a real matrix.

    >>> row_sums(torch.tensor([[1.0, -2.0]]), torch.ones(2))
    tensor([3., 6.])
    """
    return _RowSums.apply(W, q)[0]


class _GramKernel(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(K: Tensor) -> Tensor:
        return F.conv2d(K, K, padding=K.shape[-1] - 1)

    @staticmethod
    def setup_context(ctx, inputs, output):  # noqa: ANN001, ANN205
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, C: Tensor) -> Tensor:  # noqa: ANN001
        (K,) = ctx.saved_tensors
        S = C.flip(2, 3) + C.transpose(0, 1)
        return F.conv2d(K.transpose(0, 1), S, padding=K.shape[-1] - 1).transpose(0, 1)


def gram_kernel(K: Float[Tensor, "r p l l"]) -> Float[Tensor, "r r d d"]:
    """R[i, j, d] = sum_{p, u} K[i, p, u + d] K[j, p, u], every shift d; its gradient is one such product too.

    >>> gram_kernel(torch.tensor([[[[2.0]]]]))
    tensor([[[[4.]]]])
    """
    return _GramKernel.apply(K)


class _Square(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(G: Tensor) -> Tensor:
        return G @ G

    @staticmethod
    def setup_context(ctx, inputs, output):  # noqa: ANN001, ANN205
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, C: Tensor) -> Tensor:  # noqa: ANN001
        (G,) = ctx.saved_tensors
        D = (C + C.mH) / 2 @ G
        return D + D.mH


def square(G: Inexact[Tensor, "*batch n n"]) -> Inexact[Tensor, "*batch n n"]:
    """G^2 for Hermitian G; the gradient is the Hermitian one.

    >>> square(torch.eye(2) * 3)
    tensor([[9., 0.],
            [0., 9.]])
    """
    return _Square.apply(G)


class _Inverse(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(M: Tensor) -> Tensor:
        return _inverted(M)

    @staticmethod
    def setup_context(ctx, inputs, output):  # noqa: ANN001, ANN205
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, C: Tensor) -> Tensor:  # noqa: ANN001
        (X,) = ctx.saved_tensors
        return -X.mH @ (C @ X.mH)


def inverse(M: Inexact[Tensor, "*batch n n"]) -> Inexact[Tensor, "*batch n n"]:
    """M^{-1} of a matrix whose Hermitian part is positive definite: then its blocks need no pivots.

    >>> inverse(torch.tensor([[2.0, -1.0], [1.0, 0.0]])) @ torch.tensor([2.0, 1.0])
    tensor([1., 0.])
    """
    return _Inverse.apply(M)


def _inverted(M: Tensor) -> Tensor:
    """By the Schur complement S - R P^{-1} Q of M = [P, Q; R, S], whose Hermitian part is positive definite too."""
    n = M.shape[-1]
    if n <= BLOCK:
        return torch.linalg.inv_ex(M).inverse  # inv looks for an error, and a GPU would wait for the host
    h = n // 2
    P, Q, R, S = M[..., :h, :h], M[..., :h, h:], M[..., h:, :h], M[..., h:, h:]
    P = _inverted(P)
    RP, PQ = R @ P, P @ Q
    S = _inverted(S - RP @ Q)
    B = -PQ @ S
    return torch.cat([torch.cat([P - B @ RP, B], -1), torch.cat([-S @ RP, S], -1)], -2)
