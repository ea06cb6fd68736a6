"""The orthogonal form x -> Q x + b, Q^T Q = I (Q Q^T = I where there are fewer outputs than inputs).

    Orthogonal    Q from one of several maps: of a matrix, or of one matrix a frequency of a circular convolution
    SkewConv      SOC: the exponential of an antisymmetric convolution, truncated where that is a contraction
    BlockConv     AOC: a small orthogonal kernel, composed of projectors, that runs like any other convolution

`freeze` gives the same layer as plain torch modules.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lipviz.forms import Operator, frozen_for, full_precision, orthogonal_start, spectral
from lipviz.operators import CircularConv, Conv, Dense, check_size, fft_correlate, flipped, laid_out, symbol
from lipviz.orthogonal import bounded, cayley, exponential, normalised, polar, projector, reflections
from lipviz.products import peak


@dataclass(frozen=True)
class Method:
    """A map from free parameters to a matrix Q (m, n) with orthonormal columns, or rows.

    Attributes:
        shape: (m, n, option) -> rows and columns of the weight.
        matrix: (W, m, n, option) -> Q; batches of W give batches of Q.
        limit: where the norm of W matters, what the Frobenius norm stays below, in units of sqrt(min(m, n)).
        start: "orthogonal" or "normal", the initial weight.
    """

    shape: Callable[[int, int, int], tuple[int, int]]
    matrix: Callable[[Tensor, int, int, int], Tensor]
    limit: float = 0.0
    start: str = "normal"


def _reflector(V: Tensor, m: int, n: int, rank: int) -> Tensor:
    """A block of I - 2 V (V^H V)^{-1} V^H: m rows, n columns."""
    P = projector(V)
    eye = torch.eye(P.shape[-1], dtype=P.dtype, device=P.device)
    return (eye - 2 * P)[..., :m, :n]


def _exponential(W: Tensor, m: int, n: int, option: int) -> Tensor:
    """The first m rows and n columns of exp(A), A from W filled up with zeros to a square."""
    return exponential(F.pad(W, (0, max(m, n) - W.shape[1])))[:m, :n]


METHODS: dict[str, Method] = {
    "cayley": Method(lambda m, n, _: (m, n), lambda W, m, n, _: cayley(W), limit=4.0),
    "exponential": Method(lambda m, n, _: (max(m, n), min(m, n)), _exponential, limit=2.0),
    "polar": Method(lambda m, n, _: (m, n), lambda W, m, n, steps: polar(W, steps), start="orthogonal"),
    "householder": Method(lambda m, n, _: (max(m, n), min(m, n)), lambda V, m, n, _: reflections(V)[:m, :n]),
    "bro": Method(lambda m, n, rank: (max(m, n), rank or max(1, max(m, n) // 2)), _reflector),
}


class Orthogonal(nn.Module):
    """x -> Q x + b, with Q made from a weight by one of METHODS.

    Args:
        op: Dense, or a circular Conv of stride 1, orthogonalised at every frequency of the image.
        method: a key of METHODS.
        bias: with a bias or without.
        generator: source of the initial weight.
        option: the number of steps of "polar", the rank of "bro" (0: half the width).
    """

    def __init__(
        self, op: Operator, method: str, bias: bool, generator: torch.Generator | None, option: int = 0
    ) -> None:
        super().__init__()
        self.op, self.method, self.option = op, method, option
        m, n = op.outputs, op.inputs
        rows, columns = METHODS[method].shape(m, n, option)
        if columns > max(m, n):
            raise ValueError(f"rank must be at most {max(m, n)}, the larger width, got {option}: use 0 for half of it")
        shape = (rows, columns, *op.shape[2:])
        start = METHODS[method].start
        weight = orthogonal_start(op, generator) if start == "orthogonal" else torch.randn(shape, generator=generator)
        self.weight = nn.Parameter(weight)
        self.gain = nn.Parameter(torch.tensor(0.5 * min(m, n) ** 0.5)) if METHODS[method].limit else None
        self.bias = nn.Parameter(torch.zeros(m)) if bias else None

    def extra_repr(self) -> str:
        """The geometry and the method."""
        return f"{self.op}, {self.method}"

    @full_precision
    def matrices(self, size: tuple[int, ...]) -> Tensor:
        """Q of a dense layer (m, n); of a convolution one matrix a frequency, (height (width // 2 + 1), m, n)."""
        op, method = self.op, METHODS[self.method]
        if self.gain is None:
            W = normalised(self.weight)
        else:
            W = bounded(self.weight, self.gain, method.limit * min(op.outputs, op.inputs) ** 0.5)
        if isinstance(op, Conv):
            check_size(size, op.kernel)
            W = symbol(W, (size[0], size[1]), op.before)
        return method.matrix(W, op.outputs, op.inputs, self.option)

    def forward(self, x: Tensor) -> Tensor:
        """Q x + b."""
        Q = self.matrices(x.shape[-2:])
        return self.op(Q, x, self.bias) if isinstance(self.op, Dense) else fft_correlate(Q, x, self.bias)

    def freeze(self, size: tuple[int, ...] | None) -> nn.Module:
        """A plain nn.Linear, or one FFT product with the equivalent kernel, which is as large as the image."""
        if isinstance(self.op, Dense):
            return self.op.freeze(self.matrices(()), self.bias)
        return CircularConv.from_symbol(self.matrices(size or ()), size or (), self.bias)


class SkewConv(nn.Module):
    """x -> S x + b, S = I + J + J^2 / 2 + J^3 / 6, J an antisymmetric convolution with ||J|| <= sqrt(3) (SOC).

    L[o, c, u] = K[o, c, u] - K[c, o, -u] is antisymmetric under zero and circular padding, so the eigenvalues of J
    are i theta, and |S|^2 = 1 - theta^4 / 12 + theta^6 / 36 there: at most 1 up to theta = sqrt(3). S is therefore a
    contraction, not quite orthogonal (no singular value below 0.94). J = angle L / (bound of ||L||).

    Where the widths differ, channels are filled up with zeros before, or dropped after.

    Args:
        op: a Conv of stride 1 with an odd kernel.
        bias: with a bias or without.
        generator: source of the initial weight.
    """

    def __init__(self, op: Conv, bias: bool, generator: torch.Generator | None) -> None:
        super().__init__()
        n = max(op.inputs, op.outputs)
        self.op, self.skew = op, Conv(n, n, op.kernel, 1, op.padding_mode)
        self.weight = nn.Parameter(torch.randn(self.skew.shape, generator=generator))
        self.gain = nn.Parameter(torch.tensor(0.5))
        self.bias = nn.Parameter(torch.zeros(op.outputs)) if bias else None

    def extra_repr(self) -> str:
        """The geometry."""
        return str(self.op)

    @full_precision
    def generator_kernel(self) -> Tensor:
        """The kernel of J."""
        K = normalised(self.weight)
        L = K - flipped(K)
        t = spectral(self.skew, L, "in")[0]
        limit = math.sqrt(3)
        angle = limit * torch.tanh(self.gain / limit)
        eps = 8 * len(L) * torch.finfo(L.dtype).eps
        return L * (angle / (t * (1 + eps) + eps).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        """S x + b."""
        J = self.generator_kernel()
        return series(lambda z: self.skew(J, z), laid_out(x), self.skew.inputs, self.op.outputs, self.bias)

    def freeze(self, size: tuple[int, ...] | None) -> nn.Module:
        """Circular: one FFT product, where the size is known. Otherwise J as a plain convolution, three times."""
        J, op = self.generator_kernel(), self.op
        if op.padding_mode == "circular" and size and min(size) >= op.kernel:
            at_frequencies = symbol(J, (size[0], size[1]), op.before).conj()  # a correlation, not a convolution
            return CircularConv.from_symbol(taylor(at_frequencies)[:, : op.outputs, : op.inputs], size, self.bias)
        bias = None if self.bias is None else self.bias.detach().clone()
        return FrozenSeries(self.skew.freeze(J, None), self.skew.inputs, op.outputs, bias)


def taylor(J: Tensor) -> Tensor:
    """I + J + J^2 / 2 + J^3 / 6 of square matrices."""
    eye = torch.eye(J.shape[-1], dtype=J.dtype, device=J.device)
    return eye + J @ (eye + J @ (eye + J / 3) / 2)


def series(J: Callable[[Tensor], Tensor], x: Tensor, width: int, outputs: int, b: Tensor | None) -> Tensor:
    """x + J (x + J (x + J x / 3) / 2), channels filled up to `width` before and cut to `outputs` after, plus b."""
    x = F.pad(x, (0, 0, 0, 0, 0, width - x.shape[-3])) if width > x.shape[-3] else x
    z = x
    for j in (3, 2, 1):
        z = torch.add(x, J(z), alpha=1 / j)
    z = z[..., :outputs, :, :]
    return z if b is None else z + b[:, None, None]


class FrozenSeries(nn.Module):
    """x -> x + J (x + J (x + J x / 3) / 2) + b, J a plain convolution: the frozen form of SOC.

    Args:
        conv: J, antisymmetric.
        width: channels of J, to which x is filled up with zeros.
        outputs: channels kept.
        bias: one number for each output channel, or None.
    """

    bias: Tensor | None

    def __init__(self, conv: nn.Module, width: int, outputs: int, bias: Tensor | None) -> None:
        super().__init__()
        self.conv, self.width, self.outputs = conv, width, outputs
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """Three convolutions with J."""
        return series(self.conv, x, self.width, self.outputs, self.bias)


class BlockConv(nn.Module):
    """x -> K * x + b with an orthogonal kernel K (AOC): exact under circular padding, norm 1 under zeros.

    K = R (.) D_1 (.) D'_1 (.) D_2 ...: R is s x s with orthonormal columns (or rows) as a matrix, s the stride, and
    each D = P + (I - P) z is a kernel of two taps along one axis, P a projector, alternately upright and across:
    an isometry, since P and I - P are complementary. k - s pairs of them make the kernel k x k.
    (Boissin et al., ICML 2025; the block convolution is that of Li et al., NeurIPS 2019, written as two-tap factors.)

    Args:
        op: a Conv with a kernel at least as large as its stride.
        bias: with a bias or without.
        generator: source of the initial weights; an odd kernel starts with one orthogonal matrix at its middle tap.
    """

    def __init__(self, op: Conv, bias: bool, generator: torch.Generator | None) -> None:
        super().__init__()
        s, pairs = op.stride, op.kernel - op.stride
        self.op, self.width = op, max(op.inputs, op.outputs // s**2)
        rank = self.width // 2
        start = torch.randn((pairs + 1) // 2, 2, self.width, rank, generator=generator)
        start = start.repeat_interleave(2, dim=0)[:pairs]  # two and two cancel
        self.projectors = nn.Parameter(start) if start.numel() else None
        self.weight = nn.Parameter(torch.randn(op.outputs, self.width * s**2, generator=generator))
        self.gain = nn.Parameter(torch.tensor(0.5 * min(self.weight.shape) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(op.outputs)) if bias else None

    def extra_repr(self) -> str:
        """The geometry."""
        return str(self.op)

    @full_precision
    def kernel(self, size: tuple[int, ...]) -> Float[Tensor, "o c k k"]:
        """K, divided by the stride on wrapped images that the stride does not divide, where windows overlap."""
        op, s = self.op, self.op.stride
        W = bounded(self.weight, self.gain, 4 * min(self.weight.shape) ** 0.5)
        K = cayley(W).view(op.outputs, self.width, s, s)
        if self.projectors is None:  # one channel, or a kernel as large as the stride: nothing to turn
            P = K.new_zeros(op.kernel - s, 2, self.width, self.width)
        else:
            P = projector(self.projectors / peak(self.projectors.flatten(2), dim=2)[..., None])
        for i, (upright, across) in enumerate(P):
            K = _two_taps(_two_taps(K, upright, i % 2 == 0, axis=0), across, i % 2 == 0, axis=1)
        K = K[:, : op.inputs] / (1 if op.for_size(size) == op else s)
        # other strides would make torch reorder the images; a clone, since the compiler's guess of them is wrong here
        return K.clone(memory_format=torch.contiguous_format)

    def forward(self, x: Tensor) -> Tensor:
        """K * x + b."""
        return self.op(self.kernel(x.shape[-2:]), x, self.bias)

    def freeze(self, size: tuple[int, ...] | None) -> nn.Module:
        """A plain convolution."""
        return frozen_for(self.op, self.kernel(size or ()), self.bias, size)


def _two_taps(K: Tensor, P: Tensor, first: bool, axis: int) -> Tensor:
    """K (.) (P + (I - P) z), or K (.) ((I - P) + P z): K P at one tap of the longer kernel, K (I - P) at the next."""
    KP = torch.einsum("ocuv,cd->oduv", K, P)
    one, other = (KP, K - KP) if first else (K - KP, KP)
    before, after = ((0, 0, 0, 1), (0, 0, 1, 0)) if axis == 0 else ((0, 1, 0, 0), (1, 0, 0, 0))
    return F.pad(one, before) + F.pad(other, after)
