"""Rigorous upper bounds of the norms of matrices and convolutions, in float64.

Each holds for the stored float64 numbers in real arithmetic: rounding errors of the computation are bounded too,
with u = 2^-53 and gamma_n = n u / (1 - n u).

A matrix F has norm at most sqrt(mu) if mu I - F^H F has no negative eigenvalue, and that is proved by a Cholesky
factorisation of (mu - c) I - F^H F which runs to its end, c covering its rounding (S. M. Rump, BIT 2006).
A power iteration is a lower bound and never appears here.
"""

import math
import sys
from collections.abc import Iterator
from copy import deepcopy

import torch
from jaxtyping import Float, Inexact
from torch import Tensor, nn

from lipviz import sdp
from lipviz.operators import Conv, Padded, PaddedTranspose, symbol

U = 2.0**-53
UNROLL = 2048  # side of the largest matrix that is written out in full


def gamma(n: int) -> float:
    """gamma_n = n u / (1 - n u): the relative error of an inner product of length n, in any order of summation."""
    return n * U / (1 - n * U)


def norm_bound(F: Inexact[Tensor, "*batch m n"]) -> float:
    """An upper bound of the largest spectral norm of a batch of float64 matrices, tight to about 1e-9.

    >>> 0 <= norm_bound(torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64))) - 3 < 1e-9
    True
    """
    F = F.reshape(-1, *F.shape[-2:])
    F = F if F.shape[-1] <= F.shape[-2] else F.mH
    peak = float(_real(F).abs().max())
    if not math.isfinite(peak):
        raise ValueError("weights must be finite, got NaN or infinity")
    if peak == 0:
        return 0.0
    if peak < 2.0**-900:  # the inverse of its power of two, which complex numbers are multiplied by, would overflow
        return _scaled(norm_bound(F * 2.0**600), 2.0**-600)
    scale = 2.0 ** (math.frexp(peak)[1] - 1)  # a power of two: dividing by it is exact
    F = F / scale
    m, n = F.shape[-2:]
    G = F.mH @ F
    gram_error = gamma(4 * m + 8) * float(_real(F).square().flatten(1).sum(1).max()) * (1 + gamma(2 * m * n))
    top = _largest_eigenvalue(G)
    slack, exact = 1e-14 * top + 1e-300, False
    while True:
        mu = (top + slack) * (1 + 1e-15)
        factor_error = 8 * gamma(n + 8) * n * mu  # of Cholesky, and of forming the matrix it is given
        eye = torch.eye(n, dtype=G.dtype)
        failed = torch.linalg.cholesky_ex(mu * eye - G).info > 0
        if not failed.any():
            return _scaled(math.sqrt(mu + gram_error + factor_error) * (1 + 4 * U), scale)
        if not exact:  # the guess missed some: they tell the largest eigenvalue
            top, exact = max(top, float(torch.linalg.eigvalsh(G[failed]).amax())), True
        slack = 4 * slack + factor_error


def _real(F: Tensor) -> Tensor:
    """Real and imaginary parts side by side, without a copy."""
    return torch.view_as_real(F.resolve_conj()) if F.is_complex() else F


def _largest_eigenvalue(G: Tensor, candidates: int = 8, steps: int = 30) -> float:
    """The largest eigenvalue over a batch: exact for those matrices that a few power steps rank first.

    Only a guess, which the factorisation in `norm_bound` confirms for every matrix or has raised.
    """
    if len(G) > candidates:
        v = (
            torch.ones(*G.shape[:-1], 1, dtype=G.dtype)
            + torch.linspace(0, 1, G.shape[-1], dtype=torch.float64)[:, None]
        )
        for _ in range(steps):
            v = G @ v
            v = v / torch.linalg.vector_norm(v, dim=1, keepdim=True).clamp_min(1e-300)
        growth = torch.linalg.vector_norm(G @ v, dim=(1, 2))
        G = G[growth.topk(candidates).indices]
    return float(torch.linalg.eigvalsh(G).amax())


def _scaled(value: float, scale: float) -> float:
    """The product with a power of two: exact, but where it is denormal."""
    return max(value * scale, sys.float_info.min)


def symbol_bound(K: Tensor, grid: tuple[int, int], factor: float) -> float:
    """Bound of the largest norm of the symbol of K on a grid, its own rounding added, times `factor`."""
    k, l = K.shape[-2:]  # of the angles, and of the sums
    total = K.abs().sum((2, 3))
    rounding = U * (16 * (k + l + 4) + k * l) * float(total.max()) * math.sqrt(total.numel())
    tiny = sys.float_info.min if K.any() else 0.0  # products below it are rounded to what the term above does not cover
    return max((norm_bound(symbol(K, grid)) + rounding) * factor * (1 + 8 * U), tiny)


def _gershgorin_bound(op: Conv, K: Tensor) -> float:
    """sqrt of max_i (A q)_i / q_i with A the magnitudes of the Gram kernel, q its Perron vector: any size."""
    peak = float(K.abs().max())
    if peak == 0:
        return 0.0
    scale = 2.0 ** (math.frexp(peak)[1] - 1)
    K = K / scale
    best = math.inf
    folded = op.fold(K)
    reach = folded.abs().sum((2, 3))
    for side in ("in", "out"):
        A = sdp.magnitudes(op.gram(K, side))
        terms = folded.numel() + A.shape[0] * (2 * folded.shape[-1]) ** 2
        A = A + gamma(terms) * (reach.mT @ reach if side == "in" else reach @ reach.mT)
        q = sdp.perron(A)
        if not (q > 0).all():  # the quotient bounds the spectral radius for positive q only
            continue
        best = min(best, float((A @ q / q).max()) * (1 + gamma(4 * len(q) + 8)))
    return _scaled(math.sqrt(best) * (1 + 4 * U), scale)


def conv_bound(module: nn.Module, shape: tuple[int, ...], enough: float) -> tuple[float, str]:
    """The best of the methods that apply; they are tried until one gives `enough` or is known to be tight."""
    best = (math.inf, "")
    for value, method, floor in _candidates(module, shape):
        best = min(best, (value, method))
        if best[0] <= max(enough, floor):
            break
    return best


def _candidates(module: nn.Module, shape: tuple[int, ...]) -> Iterator[tuple[float, str, float]]:
    """(bound, method, value below which no further method is worth its time), the cheap ones first."""
    op, K = geometry(module)
    size = image_size(module, op, shape)
    folded = op.for_size(size)
    yield _gershgorin_bound(folded, K), "gershgorin with the Perron vector", 0.0
    outputs = op.outputs * math.prod(math.ceil(n / op.stride) for n in size)
    inputs = op.inputs * math.prod(size)
    alone = op.padding_mode == "zeros" or min(size) >= op.kernel  # else taps meet on a pixel, and their sum is rounded
    whole = alone and min(inputs, outputs) <= UNROLL and inputs <= 4 * UNROLL
    if op.padding_mode == "circular":
        grid = (size[0] // folded.stride, size[1] // folded.stride)
        exact = math.inf if folded == op else 0.0
        yield symbol_bound(folded.fold(K), grid, 1.0), "cholesky at every frequency", exact
    elif not whole:  # over images of all sizes: the matrix of this one has no larger norm
        reach = folded.fold(K).shape[-1] - 1
        for points in sorted({max(1, 8 * reach), max(1, 24 * reach)}):
            factor = folded.grid_factor(points)
            value = symbol_bound(folded.fold(K), (points, points), factor)
            # the grid itself is a lower bound over all sizes, so a finer one can gain no more than the factor
            yield value, "supremum over frequencies", 1.001 * value / factor
    if whole:
        yield norm_bound(unrolled(module, shape)), "cholesky of the whole matrix", 0.0


def geometry(module: nn.Module) -> tuple[Conv, Tensor]:
    """(operator, kernel) of a frozen convolution; of a transposed one, those of the convolution it is the adjoint of.

    Raises:
        ValueError: options without a bound.
    """
    if isinstance(module, PaddedTranspose):
        K = module.conv.weight.detach().double()
        if type(module.conv) is not nn.ConvTranspose2d or K.shape[2] != K.shape[3]:
            raise ValueError(f"only plain transposed convolutions with square kernels are bounded, got {module.conv}")
        return Conv(K.shape[1], K.shape[0], K.shape[2], int(module.conv.stride[0]), module.padding_mode), K
    conv = module.conv if isinstance(module, Padded) else module
    assert isinstance(conv, nn.Conv2d)
    k = conv.kernel_size[0]
    plain = type(conv) is nn.Conv2d and tuple(conv.weight.shape[2:]) == tuple(conv.kernel_size)
    twice = () if isinstance(conv.padding, str) else tuple(p for p in reversed(conv.padding) for _ in range(2))
    twice_kept = isinstance(conv.padding, str) or tuple(conv._reversed_padding_repeated_twice) == twice
    bare = not isinstance(module, Padded) or (set(conv.padding) == {0} and conv.padding_mode == "zeros")
    if not (plain and twice_kept and bare):
        raise ValueError(f"the options of {conv} do not agree with its kernel or padding: build it anew")
    if conv.groups > 1 or set(conv.dilation) != {1} or set(conv.kernel_size) != {k} or len(set(conv.stride)) > 1:
        raise ValueError(f"only square convolutions without groups or dilation are bounded, got {conv}")
    # under zero padding the amount does not matter: every crop of the full convolution is bounded
    mode = module.padding_mode if isinstance(module, Padded) else conv.padding_mode
    keeps_size = isinstance(module, Padded) or conv.padding == "same" or set(conv.padding) == {(k - 1) / 2}
    if mode not in ("zeros", "circular") or (mode == "circular" and not keeps_size):
        raise ValueError(f"only zero padding, and circular padding that keeps the size, are bounded, got {conv}")
    return Conv(conv.in_channels, conv.out_channels, k, conv.stride[0], mode), conv.weight.detach().double()


def image_size(module: nn.Module, op: Conv, shape: tuple[int, ...]) -> tuple[int, int]:
    """Sides of the image that the operator of `geometry` acts on, for inputs of shape `shape` to the module."""
    grown = op.stride if isinstance(module, PaddedTranspose) else 1
    return grown * shape[-2], grown * shape[-1]


def unrolled(module: nn.Module, shape: tuple[int, ...]) -> Float[Tensor, "m n"]:
    """The matrix of an affine layer, without its bias, by running it on unit inputs: slow and obvious."""
    linear = deepcopy(module)
    biased: nn.Module = linear.conv if isinstance(linear, Padded | PaddedTranspose) else linear
    biased.bias = None  # type: ignore[assignment]
    n = math.prod(shape)
    with torch.no_grad():
        return linear(torch.eye(n, dtype=torch.float64).view(n, *shape)).flatten(1).mT
