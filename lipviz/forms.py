"""The forms of a layer: operator x rule for T x form.

    affine      x -> W T^{-1/2} x + b
    residual    x -> x - 2 W T^{-1} relu(W^T x + b)
    orthogonal  x -> Q x + b, Q^T Q = I

`forward` is a pure function of parameters and input: nothing is cached, and training and evaluation do the same.
`freeze` gives the same layer as plain torch modules in which T is absorbed.
"""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import torch
from torch import Tensor, nn

from lipviz import sdp
from lipviz.operators import CircularConv, Conv, Dense, Padded, Side, fft_correlate, symbol
from lipviz.orthogonal import bounded, cayley, normalised

T = TypeVar("T")
Operator = Dense | Conv
Rule = Callable[[Operator, Tensor, Side, Tensor | None], Tensor]


def spectral(op: Operator, W: Tensor, side: Side, q: Tensor | None = None) -> Tensor:
    """t_i = an upper bound of ||W||^2, the same for all i: over the frequencies, or AOL's largest t_i if smaller."""
    F, factor = op.symbols(W)
    t = sdp.aol(op.gram(W, side))  # exact at an orthogonal start, where the frequency grid costs a few percent
    bound = torch.minimum(sdp.spectral(F.mH @ F if side == "in" else F @ F.mH) * factor**2, t.max())
    return bound * torch.ones_like(t)


def aol(op: Operator, W: Tensor, side: Side, q: Tensor | None = None) -> Tensor:
    """t_i = sum_j |W^T W|_ij."""
    return sdp.aol(op.gram(W, side))


def sll(op: Operator, W: Tensor, side: Side, q: Tensor | None = None) -> Tensor:
    """t_i = sum_j |W^T W|_ij q_j / q_i."""
    return sdp.aol(op.gram(W, side)) if q is None else sdp.sll(op.gram(W, side), q)


def full_precision(method: Callable[..., T]) -> Callable[..., T]:
    """Compute a weight outside autocast: T and Q in bfloat16 would bound nothing."""

    @wraps(method)
    def exact(self: "Scaled | Orthogonal", *args: object, **options: object) -> T:
        with torch.autocast(self.weight.device.type, enabled=False):
            return method(self, *args, **options)

    return exact


class Scaled(nn.Module):
    """A weight and the rule that scales it so that W^T W <= T: what the affine and the residual form share.

    Args:
        op: the geometry, Dense or Conv.
        rule: picks T; None leaves the weight as it is.
        bias: with a bias or without.
        generator: source of the initial weight, an orthogonal matrix (at the middle tap of a kernel).
    """

    side: Side

    def __init__(self, op: Operator, rule: Rule | None, bias: bool, generator: torch.Generator | None) -> None:
        super().__init__()
        self.op, self.rule = op, rule
        self.weight = nn.Parameter(orthogonal_start(op, generator))
        self.bias = nn.Parameter(torch.zeros(op.outputs)) if bias else None
        self.log_q = nn.Parameter(torch.zeros(op.outputs)) if rule is sll else None

    def extra_repr(self) -> str:
        """The geometry and the rule."""
        return f"{self.op}, {self.rule.__name__ if self.rule else 'no rule'}"

    def condition(self, size: tuple[int, ...] = ()) -> tuple[Tensor, Tensor, Tensor | None]:
        """(G, t, q) of the condition G <= diag(t), for the weight divided by its largest magnitude.

        G is the Gram matrix (or kernel) on the side the layer scales, q the free vector of SLL or None.
        """
        op, W = self.op.for_size(size), normalised(self.weight)
        return op.gram(W, self.side), self._t(op, W, self.side), self._q()

    @full_precision
    def scaled(self, size: tuple[int, ...]) -> Tensor:
        """W T^{-1/2} (T on the output side where that is `side`), for images of this size."""
        if self.rule is None:
            return self.weight
        op, side = self.op.for_size(size), self.side
        W = normalised(self.weight)
        return op.scale(W, self._t(op, W, side), side)

    def _t(self, op: Operator, W: Tensor, side: Side) -> Tensor:
        if self.rule is None:
            raise ValueError("a plain layer has no T: pick a constrained row such as 'aol'")
        t = self.rule(op, W, side, self._q())
        # T may only grow by rounding: eps is relative, since the largest entry of W is 1
        return t + 4 * len(t) * torch.finfo(t.dtype).eps

    def _q(self) -> Tensor | None:
        """q within e^-8 .. e^8: beyond, the quotients q_j / q_i leave the range of float32."""
        return None if self.log_q is None else (8 * torch.tanh(self.log_q / 8)).exp()


class Affine(Scaled):
    """x -> W T^{-1/2} x + b.

    Where W has fewer rows than columns the condition is put on W^T, that is x -> T^{-1/2} W x + b: the norm is
    the same, the Gram matrix smaller, and orthonormal rows stay as they are.
    """

    def __init__(self, op: Operator, rule: Rule | None, bias: bool, generator: torch.Generator | None) -> None:
        super().__init__(op, rule, bias, generator)
        self.side = op.side

    def forward(self, x: Tensor) -> Tensor:
        """W T^{-1/2} x + b."""
        return self.op(self.scaled(x.shape[-2:]), x, self.bias)

    def freeze(self, size: tuple[int, ...] | None) -> nn.Module:
        """A plain torch layer with W T^{-1/2} as its weight.

        Without a size a strided circular convolution is frozen for images whose sides the stride divides, and
        refuses all others, for which T is another.
        """
        frozen = self.op.freeze(self.scaled(size or ()), self.bias)
        if size is None and isinstance(frozen, Padded) and frozen.padding_mode == "circular" and self.rule:
            frozen.divisor = frozen.conv.stride[0]
        return frozen


class Residual(Scaled):
    """x -> x - 2 W T^{-1} relu(W^T x + b).

    `op` applies W^T. With V = W T^{-1/2} and b = T^{1/2} b', relu being positively homogeneous, this is
    x - 2 V relu(V^T x + b'); b' is the stored bias.
    """

    side: Side = "out"

    def forward(self, x: Tensor) -> Tensor:
        """X - 2 V relu(V^T x + b')."""
        V = self.scaled(x.shape[-2:])
        return x - 2 * self.op.adjoint(V, torch.relu(self.op(V, x, self.bias)))

    def freeze(self, size: tuple[int, ...] | None) -> nn.Module:
        """Two plain torch layers with V^T and -2 V."""
        V = self.scaled(size or ())
        return FrozenResidual(self.op.freeze(V, self.bias), self.op.freeze_adjoint(-2 * V))


class FrozenResidual(nn.Module):
    """x -> x + outer(relu(inner(x))), the frozen form of a residual row: outer = -2 times the adjoint of inner.

    Args:
        inner: V^T and its bias, a plain linear layer or convolution.
        outer: -2 V, the same kind of layer without a bias.
    """

    def __init__(self, inner: nn.Module, outer: nn.Module) -> None:
        super().__init__()
        self.inner, self.outer = inner, outer

    def forward(self, x: Tensor) -> Tensor:
        """X + outer(relu(inner(x)))."""
        return x + self.outer(torch.relu(self.inner(x)))


class Orthogonal(nn.Module):
    """x -> Q x + b with Q = cayley(W), W kept at a bounded, learnable Frobenius norm.

    Args:
        op: Dense, or a circular Conv of stride 1, orthogonalised at every frequency of the image.
        bias: with a bias or without.
        generator: source of the initial weight.
    """

    def __init__(self, op: Operator, bias: bool, generator: torch.Generator | None) -> None:
        super().__init__()
        n = min(op.inputs, op.outputs)
        self.op, self.limit = op, 4 * n**0.5
        self.weight = nn.Parameter(torch.randn(op.shape, generator=generator))
        self.gain = nn.Parameter(torch.tensor(0.5 * n**0.5))
        self.bias = nn.Parameter(torch.zeros(op.outputs)) if bias else None

    def extra_repr(self) -> str:
        """The geometry."""
        return str(self.op)

    @full_precision
    def matrices(self, size: tuple[int, ...]) -> Tensor:
        """Q of a dense layer (m, n); of a convolution one matrix a frequency, (o, c, height, width // 2 + 1)."""
        W = bounded(self.weight, self.gain, self.limit)
        if isinstance(self.op, Dense):
            return cayley(W)
        k = self.op.kernel
        if min(size) < k:
            raise ValueError(
                f"an FFT convolution needs images at least as large as its kernel, {k}x{k}, got "
                f"{size[0]}x{size[1]}: use a smaller kernel, or the row 'aol'"
            )
        height, width = size
        Q = cayley(symbol(W, (height, width), self.op.before)).unflatten(0, (height, width // 2 + 1))
        return Q.permute(2, 3, 0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Q x + b."""
        Q = self.matrices(x.shape[-2:])
        return self.op(Q, x, self.bias) if isinstance(self.op, Dense) else fft_correlate(Q, x, self.bias)

    def freeze(self, size: tuple[int, ...] | None) -> nn.Module:
        """A plain nn.Linear, or one FFT product with the equivalent kernel, which is as large as the image."""
        if isinstance(self.op, Dense):
            return self.op.freeze(self.matrices(()), self.bias)
        if not size:
            raise ValueError(
                "the kernel of an FFT row depends on the image size: call explicit(model, input_shape) with the "
                "shape of one input, without the batch"
            )
        bias = None if self.bias is None else self.bias.detach().clone()
        return CircularConv(torch.fft.irfft2(self.matrices(size), s=size), bias)


def orthogonal_start(op: Operator, generator: torch.Generator | None) -> Tensor:
    """An orthogonal matrix, or a kernel with one at its middle tap: deep stacks keep their signal.

    From Gaussian weights AOL and SLL lose most of it at every layer.
    """
    W = torch.zeros(op.shape)
    middle = W[:, :, op.before, op.before] if isinstance(op, Conv) else W
    nn.init.orthogonal_(middle, generator=generator)
    return W
