"""Linear operators: Dense and Conv, the geometry without the weights.

An operator knows how a weight acts on a signal (`op(W, x)`), how its adjoint acts, its Gram matrix or kernel,
and how a diagonal T is absorbed into the weight. It holds no tensors, so everything is a pure function of W.

A convolution is the cross-correlation y[o, i] = sum_{c, u} K[o, c, u] x[c, s i + u - p]: pad (k - 1) // 2 pixels
before and the rest after, then keep every s-th pixel. With stride s it is the stride-1 convolution of the
image folded by PixelUnshuffle(s), an isometry; `fold` does that to the kernel, and every bound is taken there.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor, nn

from lipviz import sdp
from lipviz.products import gram, gram_kernel, row_sums

Side = Literal["in", "out"]
Plain = TypeVar("Plain", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class Dense:
    """x -> W x + b with W of shape (out, in); x is (..., in)."""

    inputs: int
    outputs: int

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the weight."""
        return self.outputs, self.inputs

    @property
    def side(self) -> Side:
        """The side with the smaller Gram matrix: W and W^T have the same norm."""
        return "in" if self.inputs <= self.outputs else "out"

    def rows(self, side: Side) -> int:
        """Side of the Gram matrix."""
        return self.inputs if side == "in" else self.outputs

    def __call__(self, W: Tensor, x: Tensor, b: Tensor | None = None) -> Tensor:
        """W x + b."""
        return F.linear(x, W, b)

    def adjoint(self, W: Tensor, y: Tensor) -> Tensor:
        """W^T y."""
        return F.linear(y, W.mT)

    def gram(self, W: Float[Tensor, "m n"], side: Side = "in") -> Float[Tensor, "r r"]:
        """W^T W on the input side, W W^T on the output side."""
        return gram(W if side == "in" else W.mT)

    def row_sums(self, W: Float[Tensor, "m n"], q: Float[Tensor, " r"], side: Side) -> Float[Tensor, " r"]:
        """sum_j |G_ij| q_j of the Gram matrix G of that side."""
        return row_sums(W if side == "in" else W.mT, q)

    def scale(self, W: Float[Tensor, "m n"], t: Float[Tensor, " r"], side: Side = "in") -> Float[Tensor, "m n"]:
        """W T^{-1/2} on the input side, T^{-1/2} W on the output side."""
        return W * t.rsqrt() if side == "in" else W * t.rsqrt()[:, None]

    def symbols(self, W: Float[Tensor, "m n"], at: Tensor | None = None) -> tuple[Float[Tensor, "1 m n"], float]:
        """Matrices whose largest norm, times the factor, bounds the norm of the operator: W itself, times 1."""
        return W[None], 1.0

    def for_size(self, size: tuple[int, ...]) -> "Dense":
        """The operator itself: a dense layer has no image size."""
        return self

    def freeze(self, W: Tensor, b: Tensor | None) -> nn.Module:
        """A plain nn.Linear with these numbers."""
        return _filled(nn.Linear(self.inputs, self.outputs, b is not None, W.device, W.dtype), W, b)

    def freeze_adjoint(self, W: Tensor) -> nn.Module:
        """A plain nn.Linear that applies W^T."""
        return _filled(nn.Linear(self.outputs, self.inputs, False, W.device, W.dtype), W.mT, None)


@dataclass(frozen=True)
class Conv:
    """x -> K * x + b with K of shape (out, in, k, k); x is (batch, in, height, width), padding "same"."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding_mode: str = "zeros"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the weight."""
        return self.outputs, self.inputs, self.kernel, self.kernel

    @property
    def side(self) -> Side:
        """The side with fewer channels, the input counted after folding: K and its adjoint have the same norm."""
        return "in" if self.inputs * self.stride**2 <= self.outputs else "out"

    @property
    def before(self) -> int:
        """Pixels padded before the image; kernel - 1 - before come after."""
        return (self.kernel - 1) // 2

    def for_size(self, size: tuple[int, ...]) -> "Conv":
        """The operator whose Gram kernel bounds this one on images of this size.

        A wrapped image folds only where the stride divides its sides. Elsewhere the layer is a stride-1
        convolution of which some outputs are dropped, and is bounded as that.
        """
        folds = self.padding_mode == "zeros" or all(n % self.stride == 0 for n in size)
        return self if folds else replace(self, stride=1)

    def rows(self, side: Side) -> int:
        """Channels of the Gram kernel."""
        return self.inputs * self.stride**2 if side == "in" else self.outputs

    def __call__(self, W: Tensor, x: Tensor, b: Tensor | None = None) -> Tensor:
        """K * x + b."""
        return _correlate(x, W, b, self.before, self.stride, self.padding_mode)

    def adjoint(self, W: Tensor, y: Tensor) -> Tensor:
        """K^T * y: the flipped kernel with the flipped padding; with stride s the image grows s times."""
        if self.stride == 1:
            return _correlate(y, flipped(W), None, self.kernel - 1 - self.before, 1, self.padding_mode)
        return _crop(F.conv_transpose2d(y, W, stride=self.stride), y, self.before, self.stride, self.padding_mode)

    def fold(self, W: Float[Tensor, "o c k k"]) -> Float[Tensor, "o f l l"]:
        """The stride-1 kernel that acts on PixelUnshuffle(stride)(x): f = c s^2 channels."""
        s, k = self.stride, self.kernel
        if s == 1:
            return W
        lead = -self.before % s
        taps = math.ceil((lead + k) / s)
        W = F.pad(W, 2 * (lead, taps * s - lead - k))
        return W.unflatten(3, (taps, s)).unflatten(2, (taps, s)).permute(0, 1, 3, 5, 2, 4).flatten(1, 3)

    def unfold(self, W: Float[Tensor, "o f l l"]) -> Float[Tensor, "o c k k"]:
        """The inverse of `fold`."""
        s, k = self.stride, self.kernel
        if s == 1:
            return W
        lead = -self.before % s
        W = W.unflatten(1, (self.inputs, s, s)).permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)
        return W[:, :, lead : lead + k, lead : lead + k]

    def gram(self, W: Float[Tensor, "o c k k"], side: Side = "in") -> Float[Tensor, "r r d d"]:
        """Gram kernel R[i, j, d] = sum_{., u} K[., i, u + d] K[., j, u] of the folded kernel, every shift d."""
        K = self.fold(W)
        return gram_kernel(K.transpose(0, 1) if side == "in" else K)

    def row_sums(self, W: Float[Tensor, "o c k k"], q: Float[Tensor, " r"], side: Side) -> Float[Tensor, " r"]:
        """sum_j |R_ij| q_j of the Gram kernel R of that side, over every shift."""
        return sdp.magnitudes(self.gram(W, side)) @ q

    def scale(self, W: Float[Tensor, "o c k k"], t: Float[Tensor, " r"], side: Side) -> Float[Tensor, "o c k k"]:
        """K T^{-1/2} on the (folded) input side, T^{-1/2} K on the output side."""
        if side == "out":
            return W * t.rsqrt()[:, None, None, None]
        return self.unfold(self.fold(W) * t.rsqrt()[:, None, None])

    def symbols(
        self, W: Float[Tensor, "o c k k"], points: int | None = None, at: Tensor | None = None
    ) -> tuple[Complex[Tensor, "w o f"], float]:
        """Matrices of the Fourier symbol on a grid (or at some of its points), and the factor to the whole torus.

        The supremum over all frequencies, which bounds every image size under zero and circular padding, is at
        most the largest norm on an M x M grid divided by cos^2(pi (l - 1) / 2 M), for l x l taps: along each
        axis u^H F v is, up to a phase, of exponential type (l - 1) / 2, and near a maximum such a function
        stays above the cosine of its type (M. Riesz).
        """
        K = self.fold(W)
        points = points or max(1, 8 * (K.shape[-1] - 1))
        return symbol(K, (points, points), at=at), self.grid_factor(points)

    def grid_factor(self, points: int) -> float:
        """1 / cos^2(pi (l - 1) / 2 M) for a grid of M = `points` frequencies along each axis."""
        lead = -self.before % self.stride
        reach = math.ceil((lead + self.kernel) / self.stride) - 1
        return math.cos(math.pi * reach / 2 / points) ** -2

    def freeze(self, W: Tensor, b: Tensor | None) -> nn.Module:
        """A plain nn.Conv2d with these numbers, inside a `Padded` where torch's own padding does not do."""
        return _frozen_conv(W, b, self.before, self.stride, self.padding_mode)

    def freeze_adjoint(self, W: Tensor, b: Tensor | None = None) -> nn.Module:
        """A plain torch layer that applies the adjoint: flipped kernel and padding, or a transposed convolution."""
        if self.stride == 1:
            return _frozen_conv(flipped(W), b, self.kernel - 1 - self.before, 1, self.padding_mode)
        conv = nn.ConvTranspose2d(
            self.outputs, self.inputs, self.kernel, self.stride, bias=b is not None, device=W.device, dtype=W.dtype
        )
        return PaddedTranspose(_filled(conv, W, b), self.before, self.padding_mode)


def flipped(W: Float[Tensor, "o c k k"]) -> Float[Tensor, "c o k k"]:
    """The kernel of the adjoint: channels exchanged, taps in reverse order."""
    return W.transpose(0, 1).flip(2, 3)


def symbol(
    K: Float[Tensor, "o c kh kw"], grid: tuple[int, int], before: int = 0, at: Tensor | None = None
) -> Complex[Tensor, "w o c"]:
    """F_w = sum_u K[:, :, u] e^{-i w (u - before)} on half of a grid of frequencies; the rest is its conjugate.

    `at` picks some of the frequencies by number.

    On the n x n grid these are the blocks of the circular convolution on n x n images, taps beyond the image
    wrapped as they must be (`torch.fft` would cut them off).
    """
    (n, m), (k, l) = grid, K.shape[2:]
    E, H = _waves(n, n, k, before, K.device), _waves(m, m // 2 + 1, l, before, K.device)
    if at is None and k * l > n + m:  # axis by axis: n k + m l terms each, not k l
        E, H = (wave.to(_complex(K)) for wave in (E, H))
        return torch.einsum("ocuv,mu,nv->mnoc", K.to(_complex(K)), E, H).flatten(0, 1)
    waves = (E[:, None, :, None] * H[None, :, None, :]).flatten(2).flatten(0, 1)  # (frequencies, taps)
    waves = waves if at is None else waves.index_select(0, at)
    taps = K.permute(2, 3, 0, 1).flatten(2).flatten(0, 1)
    parts = (part.to(K.dtype) @ taps for part in (waves.real, waves.imag))
    return torch.complex(*parts).unflatten(1, K.shape[:2])


def _complex(K: Tensor) -> torch.dtype:
    return torch.complex128 if K.dtype == torch.float64 else torch.complex64


def _waves(n: int, frequencies: int, taps: int, before: int, device: torch.device) -> Tensor:
    """e^{-2 pi i w (u - before) / n}, one row a frequency."""
    angles = torch.outer(torch.arange(frequencies, device=device), torch.arange(taps, device=device) - before).double()
    return torch.polar(torch.ones_like(angles), -2 * math.pi / n * angles)


class Padded(nn.Module):
    """A plain nn.Conv2d behind the padding that it cannot do itself; bounded as one operator.

    Args:
        conv: the convolution, without padding of its own.
        before: pixels padded before the image along both axes; kernel - 1 - before come after.
        padding_mode: "zeros" or "circular".

    Attributes:
        divisor: what the sides of the image must be divisible by.
    """

    def __init__(self, conv: nn.Conv2d, before: int, padding_mode: str) -> None:
        super().__init__()
        self.conv, self.before, self.padding_mode, self.divisor = conv, before, padding_mode, 1

    def extra_repr(self) -> str:
        """The padding in words."""
        return f"before={self.before}, padding_mode={self.padding_mode!r}"

    def forward(self, x: Tensor) -> Tensor:
        """Pad, then convolve; raises ValueError where the image does not have the sides it was frozen for."""
        if any(n % self.divisor for n in x.shape[-2:]):
            got = "x".join(map(str, x.shape[-2:]))
            raise ValueError(
                f"this convolution was frozen for images with sides divisible by {self.divisor}, got {got}: "
                "call explicit(model, input_shape)"
            )
        return self.conv(_pad(x, self.before, self.conv.kernel_size[0], self.padding_mode))


class PaddedTranspose(nn.Module):
    """A plain nn.ConvTranspose2d, cropped (or wrapped) to `stride` times the image: the adjoint of a `Padded`.

    Args:
        conv: the transposed convolution, without padding of its own.
        before: pixels cropped before the image along both axes.
        padding_mode: "zeros" or "circular".
    """

    def __init__(self, conv: nn.ConvTranspose2d, before: int, padding_mode: str) -> None:
        super().__init__()
        self.conv, self.before, self.padding_mode = conv, before, padding_mode

    def extra_repr(self) -> str:
        """The padding in words."""
        return f"before={self.before}, padding_mode={self.padding_mode!r}"

    def forward(self, y: Tensor) -> Tensor:
        """Convolve transposed, crop or wrap, add the bias."""
        conv = self.conv
        full = F.conv_transpose2d(y, conv.weight, stride=conv.stride[0])
        x = _crop(full, y, self.before, conv.stride[0], self.padding_mode)
        return x if conv.bias is None else x + conv.bias[:, None, None]


class CircularConv(nn.Module):
    """Circular convolution with a kernel as large as the image, through the FFT: the frozen form of FFT rows.

    y = irfft2( sum_c rfft2(K)[o, c] rfft2(x)[c] ) is the circular true convolution with K (out, in, n, m).

    Args:
        weight: K, real, of the size of the image.
        bias: one number for each output channel, or None.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Float[Tensor, "o c n m"], bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    @classmethod
    def from_symbol(cls, W: Complex[Tensor, "w o c"], size: tuple[int, ...], b: Tensor | None) -> "CircularConv":
        """The layer that applies the matrix W[w] at every frequency w of images of this size."""
        n, m = size
        K = torch.fft.irfft2(W.unflatten(0, (n, m // 2 + 1)).permute(2, 3, 0, 1), s=(n, m))
        return cls(K.contiguous(), None if b is None else b.detach().clone())

    def forward(self, x: Float[Tensor, "b c n m"]) -> Float[Tensor, "b o n m"]:
        """Multiply in the frequency domain; the image must have the size of the kernel."""
        if x.shape[-2:] != self.weight.shape[-2:]:
            n, m = self.weight.shape[-2:]
            got = "x".join(map(str, x.shape[-2:]))
            raise ValueError(f"this frozen FFT layer is made for {n}x{m} images, got {got}: call explicit() again")
        W = torch.fft.rfft2(self.weight).permute(2, 3, 0, 1).flatten(0, 1)
        return fft_correlate(W, x, self.bias)


def check_size(size: tuple[int, ...], kernel: int) -> None:
    """Raise a ValueError where an FFT layer cannot be made for images of this size."""
    if not size:
        raise ValueError(
            "the kernel of an FFT row depends on the image size: call explicit(model, input_shape) with the "
            "shape of one input, without the batch"
        )
    if min(size) < kernel:
        raise ValueError(
            f"an FFT convolution needs images at least as large as its kernel, {kernel}x{kernel}, got "
            f"{size[0]}x{size[1]}: use a smaller kernel, or the row 'aol'"
        )


def fft_correlate(W: Complex[Tensor, "w o c"], x: Tensor, b: Tensor | None) -> Tensor:
    """Apply the matrix W[w] at every frequency w of x, then add b; x is taken to the precision of W."""
    X = torch.fft.rfft2(x.to(W.real.dtype))
    n, h = X.shape[2:]
    Y = X.permute(2, 3, 0, 1).flatten(0, 1) @ W.mT
    y = torch.fft.irfft2(Y.unflatten(0, (n, h)).permute(2, 3, 0, 1), s=x.shape[-2:])
    return y if b is None else y + b[:, None, None]


def channels_last(x: Tensor) -> bool:
    """Whether a convolution should see the channels of a pixel side by side: on a GPU, in the bfloat16 of training.

    That is how tensor cores read; PixelUnshuffle undoes it, MaxMin and pooling keep it. FFT rows do not come here:
    a transform wants each channel in one piece.
    """
    return x.is_cuda and torch.is_autocast_enabled(x.device.type)


def laid_out(x: Tensor) -> Tensor:
    """The same numbers as convolutions want them; a skip connection takes it too, or the sum would go back."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 and channels_last(x) else x


def _correlate(x: Tensor, W: Tensor, b: Tensor | None, before: int, stride: int, padding_mode: str) -> Tensor:
    """Pad and cross-correlate; torch pads by itself where both sides get the same number of zeros."""
    after = W.shape[-1] - 1 - before
    x = laid_out(x)
    if padding_mode == "zeros" and before == after:
        return F.conv2d(x, W, b, stride, before)
    return F.conv2d(_pad(x, before, W.shape[-1], padding_mode), W, b, stride)


def _pad(x: Tensor, before: int, kernel: int, padding_mode: str) -> Tensor:
    after = kernel - 1 - before
    if padding_mode == "zeros":
        return F.pad(x, 2 * (before, after))
    for axis in (-2, -1):  # F.pad refuses to wrap more than once
        n = x.shape[axis]
        x = x.index_select(axis, torch.arange(-before, n + after, device=x.device) % n)
    return x


def _crop(full: Tensor, y: Tensor, before: int, stride: int, padding_mode: str) -> Tensor:
    """The adjoint of `_pad` on the result of a transposed convolution of y."""
    for axis in (-2, -1):
        n = stride * y.shape[axis]
        if padding_mode == "circular":
            index = (torch.arange(full.shape[axis], device=full.device) - before) % n
            shape = [*full.shape]
            shape[axis] = n
            full = full.new_zeros(shape).index_add(axis, index, full)
        else:
            full = F.pad(full.transpose(axis, -1), (-before, n + before - full.shape[axis])).transpose(axis, -1)
    return full


def _frozen_conv(W: Tensor, b: Tensor | None, before: int, stride: int, padding_mode: str) -> nn.Module:
    out, inputs, kernel, _ = W.shape
    own = padding_mode == "zeros" and 2 * before == kernel - 1
    conv = nn.Conv2d(
        inputs, out, kernel, stride, before if own else 0, bias=b is not None, device=W.device, dtype=W.dtype
    )
    _filled(conv, W, b)
    return conv if own else Padded(conv, before, padding_mode)


def _filled(layer: Plain, W: Tensor, b: Tensor | None) -> Plain:
    with torch.no_grad():
        layer.weight.copy_(W)
        if b is not None and layer.bias is not None:
            layer.bias.copy_(b)
    return layer
