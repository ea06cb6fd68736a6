"""The forms of a layer: operator x rule for T x form.

    affine      x -> W T^{-1/2} x + b
    residual    x -> x - 2 W T^{-1} relu(W^T x + b)

and, in rooms of their own, orthogonal (`rotations`) and sandwich. `forward` is a pure function of parameters and
input: nothing is cached, and training and evaluation do the same. `freeze` gives the same layer as plain torch
modules in which T is absorbed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TypeVar

import torch
from torch import Tensor, nn

from lipviz import sdp
from lipviz.operators import Conv, Dense, Padded, Side, laid_out
from lipviz.orthogonal import normalised
from lipviz.products import gram

T = TypeVar("T")
Operator = Dense | Conv
Rule = Callable[[Operator, Tensor, Side, Tensor | None], Tensor]


def spectral(op: Operator, W: Tensor, side: Side, q: Tensor | None = None) -> Tensor:
    """t_i = an upper bound of ||W||^2, the same for all i: over the frequencies, or AOL's largest t_i if smaller."""
    with torch.no_grad():  # the gradient needs the one frequency that decides
        F, _ = op.symbols(W)
        worst = sdp.power_row_sums(gram(F if side == "in" else F.mH)).argmax()
    F, factor = op.symbols(W, at=worst[None])
    F = F[0] if side == "in" else F[0].mH
    t = sdp.aol(op.gram(W, side))  # exact at an orthogonal start, where the frequency grid costs a few percent
    bound = torch.minimum(sdp.spectral(gram(F)) * factor**2, t.max())
    return bound * torch.ones_like(t)


def aol(op: Operator, W: Tensor, side: Side, q: Tensor | None = None) -> Tensor:
    """t_i = sum_j |W^T W|_ij."""
    return op.row_sums(W, W.new_ones(op.rows(side)), side)


def sll(op: Operator, W: Tensor, side: Side, q: Tensor | None = None) -> Tensor:
    """t_i = sum_j |W^T W|_ij q_j / q_i."""
    return aol(op, W, side) if q is None else op.row_sums(W, q, side) / q


@dataclass(frozen=True)
class Rescaling:
    """t_i = (sum_j |((W^T W)^p)_ij|)^{1/p}, p = 2^k: the rule of "sr"."""

    k: int

    @property
    def __name__(self) -> str:
        """What the layer prints."""
        return f"sr({self.k})"

    def __call__(self, op: Operator, W: Tensor, side: Side, q: Tensor | None = None) -> Tensor:
        """The diagonal of T."""
        return sdp.sr(op.gram(W, side), self.k)


def full_precision(method: Callable[..., T]) -> Callable[..., T]:
    """Compute a weight outside autocast: T and Q in bfloat16 would bound nothing."""

    @wraps(method)
    def exact(self: nn.Module, *args: object, **options: object) -> T:
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
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
    def kernel(self, size: tuple[int, ...]) -> Tensor:
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
        eps = torch.finfo(t.dtype).eps  # T may only grow by rounding; the largest entry of W is 1
        return t * (1 + 4 * len(t) * eps) + eps

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
        return self.op(self.kernel(x.shape[-2:]), x, self.bias)

    def freeze(self, size: tuple[int, ...] | None) -> nn.Module:
        """A plain torch layer with W T^{-1/2} as its weight.

        Without a size a strided circular convolution is frozen for images whose sides the stride divides, and
        refuses all others, for which T is another.
        """
        return frozen_for(self.op, self.kernel(size or ()), self.bias, size if self.rule else ())


class Residual(Scaled):
    """x -> x - 2 W T^{-1} relu(W^T x + b).

    `op` applies W^T. With V = W T^{-1/2} and b = T^{1/2} b', relu being positively homogeneous, this is
    x - 2 V relu(V^T x + b'); b' is the stored bias.
    """

    side: Side = "out"

    def forward(self, x: Tensor) -> Tensor:
        """X - 2 V relu(V^T x + b')."""
        V, x = self.kernel(x.shape[-2:]), laid_out(x)
        return x + self.op.adjoint(-2 * V, torch.relu(self.op(V, x, self.bias)))

    def freeze(self, size: tuple[int, ...] | None) -> nn.Module:
        """Two plain torch layers with V^T and -2 V."""
        V = self.kernel(size or ())
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


class Transposed(nn.Module):
    """x -> W^T x + b, W the weight of an affine or block convolution: the same norm, and the image grows by the stride.

    Args:
        layer: has a method `kernel`, maps the output of this layer to its input, and has no bias.
        op: the geometry of `layer`.
        bias: with a bias or without.
    """

    def __init__(self, layer: nn.Module, op: Conv, bias: bool) -> None:
        super().__init__()
        self.layer, self.op = layer, op
        self.bias = nn.Parameter(torch.zeros(op.inputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """W^T x + b."""
        y = self.op.adjoint(self._kernel(x.shape[-2:]), x)
        return y if self.bias is None else y + self.bias[:, None, None]

    def freeze(self, size: tuple[int, ...] | None) -> nn.Module:
        """A plain transposed convolution (a plain one for stride 1)."""
        return self.op.freeze_adjoint(self._kernel(size or ()), self.bias)

    def _kernel(self, size: tuple[int, ...]) -> Tensor:
        return self.layer.kernel(tuple(n * self.op.stride for n in size))  # type: ignore[operator]


def frozen_for(op: Operator, W: Tensor, b: Tensor | None, size: tuple[int, ...] | None) -> nn.Module:
    """The plain layer with the weight W, for wrapped images whose sides the stride divides, unless `size` is another.

    Args:
        op: the geometry.
        W: the weight, a kernel or a matrix.
        b: the bias.
        size: sides of the image; None for images that the stride divides, () for a weight that any image may have.
    """
    frozen = op.freeze(W, b)
    if size != () and isinstance(frozen, Padded) and frozen.padding_mode == "circular":
        stride = frozen.conv.stride[0]  # other images have another T
        frozen.divisor = stride if all(n % stride == 0 for n in size or ()) else 1
    return frozen


STARTS = ("orthogonal", "identity", "gaussian")


def started(model: nn.Module, start: str, seed: int = 0) -> nn.Module:
    """The model with other initial weights where a rule scales them: to see what the start is worth.

    Args:
        model: as built, which is the start "orthogonal"; changed in place.
        start: "orthogonal", "identity" (a rectangular one where sizes differ) or "gaussian" (all taps of a kernel).
        seed: of the Gaussian weights.

    Raises:
        ValueError: another word, or no layer of the model is scaled by a rule.
    """
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(STARTS)}, got {start!r}")
    if start == "orthogonal":
        return model
    scaled = [module for module in model.modules() if isinstance(module, Scaled) and module.rule]
    if not scaled:
        raise ValueError(f"only layers that a rule scales, as in 'aol', can start {start!r}: use 'orthogonal'")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in scaled:
            W, op = layer.weight, layer.op
            if start == "gaussian":
                W.normal_(generator=generator)
            else:
                nn.init.eye_(W.zero_()[:, :, op.before, op.before] if isinstance(op, Conv) else W)
    return model


def orthogonal_start(op: Operator, generator: torch.Generator | None) -> Tensor:
    """An orthogonal matrix, or a kernel with one at its middle tap: deep stacks keep their signal.

    From Gaussian weights AOL and SLL lose most of it at every layer.
    """
    W = torch.zeros(op.shape)
    middle = W[:, :, op.before, op.before] if isinstance(op, Conv) else W
    nn.init.orthogonal_(middle, generator=generator)
    return W
