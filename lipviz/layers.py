"""Layers: operator x rule for T x form, and the LAYERS table that names them.

    affine      x -> W T^{-1/2} x + b
    residual    x -> x - 2 W T^{-1} relu(W^T x + b)
    orthogonal  x -> Q x + b, Q^T Q = I

`forward` is a pure function of parameters and input: nothing is cached, and training and evaluation do the same.
`explicit` turns a trained model into plain torch layers in which every T is absorbed.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lipviz import sdp
from lipviz.operators import CircularConv, Conv, Dense, Side, fft_correlate, symbol
from lipviz.orthogonal import bounded, cayley, normalised

Operator = Dense | Conv
Rule = Callable[[Operator, Tensor, Side, Tensor | None], Tensor]


def spectral(op: Operator, W: Tensor, side: Side, q: Tensor | None = None) -> Tensor:
    """t_i = an upper bound of ||W||^2, the same for every i."""
    F, factor = op.symbols(W)
    G = F.mH @ F if side == "in" else F @ F.mH
    return sdp.spectral(G) * factor**2 * torch.ones(G.shape[-1], dtype=W.dtype, device=W.device)


def aol(op: Operator, W: Tensor, side: Side, q: Tensor | None = None) -> Tensor:
    """t_i = sum_j |W^T W|_ij."""
    return sdp.aol(op.gram(W, side))


def sll(op: Operator, W: Tensor, side: Side, q: Tensor | None = None) -> Tensor:
    """t_i = sum_j |W^T W|_ij q_j / q_i."""
    return sdp.sll(op.gram(W, side), q)


class Scaled(nn.Module):
    """A weight and the rule that scales it so that W^T W <= T: what the affine and the residual form share.

    Args:
        op: the geometry, Dense or Conv.
        rule: picks T; None leaves the weight as it is.
        bias: with a bias or without.
        generator: source of the initial weight, an orthogonal matrix (at the middle tap of a kernel).
    """

    def __init__(
        self, op: Operator, rule: Rule | None, bias: bool, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.op, self.rule = op, rule
        self.weight = nn.Parameter(orthogonal_start(op, generator))
        self.bias = nn.Parameter(torch.zeros(op.outputs)) if bias else None
        self.log_q = nn.Parameter(torch.zeros(op.outputs)) if rule is sll else None

    def extra_repr(self) -> str:
        """The geometry and the rule."""
        return f"{self.op}, {self.rule.__name__ if self.rule else 'no rule'}"

    def condition(
        self, size: tuple[int, ...] = (), side: Side | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """(G, t, q) of the condition G <= diag(t), for the weight divided by its largest magnitude.

        G is the Gram matrix (or kernel) on the side the layer scales, q the free vector of SLL or None.
        """
        op, side = self.op.for_size(size), side or self.side
        W = normalised(self.weight)
        return op.gram(W, side), self._t(op, W, side), self._q()

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

    @property
    def side(self) -> Side:
        """The side that T scales."""
        return self.op.side

    def forward(self, x: Tensor) -> Tensor:
        """W T^{-1/2} x + b."""
        return self.op(self.scaled(x.shape[2:]), x, self.bias)

    def freeze(self, size: tuple[int, ...] | None) -> nn.Module:
        """A plain torch layer with W T^{-1/2} as its weight."""
        if size is None and self.op.for_size((1, 1)) != self.op:
            raise ValueError(
                "a strided circular convolution wraps in a way that depends on the image size: "
                "call explicit(model, input_shape) with the shape of one input, without the batch"
            )
        return self.op.freeze(self.scaled(size or ()), self.bias)


class Residual(Scaled):
    """x -> x - 2 W T^{-1} relu(W^T x + b).

    `op` applies W^T. With V = W T^{-1/2} and b = T^{1/2} b', relu being positively homogeneous, this is
    x - 2 V relu(V^T x + b'); b' is the stored bias.
    """

    side: Side = "out"

    def forward(self, x: Tensor) -> Tensor:
        """X - 2 V relu(V^T x + b')."""
        V = self.scaled(x.shape[2:])
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
        Q = cayley(symbol(W, size, self.op.before)).unflatten(0, (height, width // 2 + 1))
        return Q.permute(2, 3, 0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Q x + b."""
        Q = self.matrices(x.shape[2:])
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
        return CircularConv(torch.fft.irfft2(self.matrices(size), s=size), self.bias)


def orthogonal_start(op: Operator, generator: torch.Generator | None) -> Tensor:
    """An orthogonal matrix, or a kernel with one at its middle tap: deep stacks keep their signal.

    From Gaussian weights AOL and SLL lose most of it at every layer.
    """
    W = torch.zeros(op.shape)
    middle = W[:, :, op.before, op.before] if isinstance(op, Conv) else W
    nn.init.orthogonal_(middle, generator=generator)
    return W


@dataclass(frozen=True)
class Row:
    """One row of the table: a method, what it is built from, and where it comes from.

    Attributes:
        title: the name people use.
        family: rows of one family share a colour everywhere.
        form: affine, residual or orthogonal.
        formula: what makes it 1-Lipschitz.
        guarantee: "exact" (all singular values 1), "bounded" (none above 1) or "none".
        reference: authors, venue, year.
        build: (op, bias, generator) -> module.
    """

    title: str
    family: str
    form: str
    formula: str
    guarantee: str
    reference: str
    build: Callable[[Operator, bool, torch.Generator | None], nn.Module]


def _affine(rule: Rule | None) -> Callable[[Operator, bool, torch.Generator | None], nn.Module]:
    return lambda op, bias, generator: Affine(op, rule, bias, generator)


def _residual(rule: Rule) -> Callable[[Operator, bool, torch.Generator | None], nn.Module]:
    return lambda op, bias, generator: Residual(op, rule, bias, generator)


LAYERS: dict[str, Row] = {
    "spectral": Row(
        "Spectral normalisation", "spectral", "affine", "t_i = bound of ||W||^2", "bounded",
        "Miyato et al., ICLR 2018; here with an upper bound in place of power iteration", _affine(spectral),
    ),
    "aol": Row(
        "AOL", "gershgorin", "affine", "t_i = sum_j |W^T W|_ij", "bounded", "Prach & Lampert, ECCV 2022", _affine(aol)
    ),
    "cpl": Row(
        "CPL", "spectral", "residual", "t_i = bound of ||W||^2", "bounded", "Meunier et al., ICML 2022", _residual(spectral)
    ),
    "sll": Row(
        "SLL", "gershgorin", "residual", "t_i = sum_j |W^T W|_ij q_j / q_i", "bounded",
        "Araujo et al., ICLR 2023", _residual(sll),
    ),
    "cayley": Row(
        "Cayley", "orthogonal", "orthogonal", "W^T W = I", "exact", "Trockman & Kolter, ICLR 2021", Orthogonal
    ),
    "plain": Row("Plain", "plain", "affine", "nothing", "none", "the unconstrained baseline", _affine(None)),
}  # fmt: skip


def dense(
    name: str,
    in_features: int,
    out_features: int,
    bias: bool = True,
    *,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """A fully connected layer of the row `name`; x is (batch, in_features).

    Raises:
        ValueError: an unknown row, a size below 1, or unequal widths for a residual row.

    >>> dense("aol", 3, 2)
    Affine(Dense(inputs=3, outputs=2), aol)
    """
    row = _row(name, in_features=in_features, out_features=out_features)
    _equal_widths(name, row, in_features, out_features)
    return row.build(Dense(in_features, out_features), bias, generator)


def conv2d(
    name: str,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    padding: str = "same",
    padding_mode: str | None = None,
    bias: bool = True,
    *,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """A convolution of the row `name`; x is (batch, in_channels, height, width).

    `padding="same"` pads (k - 1) // 2 pixels before and the rest after, convolves, and keeps every stride-th
    pixel. `padding_mode=None` is "circular" for the FFT rows and "zeros" for the others. For an FFT row, stride 2
    returns a Sequential of PixelUnshuffle(2) and a convolution of its 4 times as many channels.

    Raises:
        ValueError: an option the row cannot honour, with the alternative in words.
    """
    row = _row(name, in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size)
    fft = row.form == "orthogonal"
    mode = padding_mode or ("circular" if fft else "zeros")
    if padding != "same":
        raise ValueError(f"padding must be 'same', got {padding!r}: crop the output for 'valid'")
    if mode not in ("zeros", "circular"):
        raise ValueError(
            f"padding_mode must be 'zeros' or 'circular', got {mode!r}: reflecting or replicating the border has a "
            "Lipschitz constant above 1"
        )
    if fft and mode != "circular":
        raise ValueError(
            f"{name!r} is orthogonal only under circular padding, got {mode!r}: leave padding_mode out"
        )
    if stride not in (1, 2):
        raise ValueError(
            f"stride must be 1 or 2, got {stride!r}: put nn.PixelUnshuffle(s) before a stride-1 layer"
        )
    if row.form == "residual" and stride != 1:
        raise ValueError(f"{name!r} is residual and keeps the image size: put nn.PixelUnshuffle(2) before it")
    _equal_widths(name, row, in_channels, out_channels)
    if fft and stride == 2:
        conv = Conv(4 * in_channels, out_channels, kernel_size, 1, mode)
        return nn.Sequential(nn.PixelUnshuffle(2), row.build(conv, bias, generator))
    return row.build(Conv(in_channels, out_channels, kernel_size, stride, mode), bias, generator)


def _row(name: str, **sizes: int) -> Row:
    if name not in LAYERS:
        raise ValueError(f"unknown layer {name!r}: choose one of {', '.join(LAYERS)}")
    for what, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{what} must be a whole number of at least 1, got {size!r}")
    return LAYERS[name]


def _equal_widths(name: str, row: Row, inputs: int, outputs: int) -> None:
    if row.form == "residual" and inputs != outputs:
        raise ValueError(
            f"{name!r} is residual and needs equal widths, got {inputs} and {outputs}: "
            "put PadChannels before it, or use an affine row such as 'aol'"
        )


@torch.no_grad()
def explicit(model: nn.Module, input_shape: tuple[int, ...] | None = None) -> nn.Module:
    """The same function as `model` with every T, inverse and normalisation absorbed into plain torch layers.

    The result is frozen, in evaluation mode, of the same dtype and device, and shares no tensor with `model`.

    Args:
        model: a module built from lipviz and torch layers.
        input_shape: shape of one input without the batch; FFT rows and strided circular convolutions need it.

    Raises:
        ValueError: the shape is missing where it is needed.

    >>> explicit(dense("cayley", 2, 2))
    Linear(in_features=2, out_features=2, bias=True)
    """
    sizes = {} if input_shape is None else _image_sizes(model, input_shape)
    frozen = _freeze(model, sizes)
    return frozen.requires_grad_(False).eval()


def _freeze(module: nn.Module, sizes: dict[nn.Module, tuple[int, ...]]) -> nn.Module:
    if hasattr(module, "freeze"):
        return module.freeze(sizes.get(module))
    if not any(hasattr(m, "freeze") for m in module.modules()):
        return deepcopy(module)
    copy = deepcopy(module)
    for name, child in module.named_children():
        setattr(copy, name, _freeze(child, sizes))
    return copy


def _image_sizes(model: nn.Module, input_shape: tuple[int, ...]) -> dict[nn.Module, tuple[int, ...]]:
    """Height and width of the input of every module, seen by running one zero input through the model."""
    sizes: dict[nn.Module, tuple[int, ...]] = {}
    hooks = [
        m.register_forward_pre_hook(lambda m, args: sizes.update({m: tuple(args[0].shape[2:])}))
        for m in model.modules()
    ]
    reference = next(iter(model.state_dict().values()), torch.zeros(()))
    try:
        model(torch.zeros(1, *input_shape, dtype=reference.dtype, device=reference.device))
    finally:
        for hook in hooks:
            hook.remove()
    return sizes
