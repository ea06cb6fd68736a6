"""The LAYERS table, and the functions that build a layer from a row of it.

A row is operator x rule for T x form. Adding one is one entry here: it then appears in the tests, the README
table, every menu and the bound.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from lipviz.forms import Affine, Operator, Orthogonal, Residual, Rule, aol, sll, spectral
from lipviz.isometries import UnitRows
from lipviz.operators import Conv, Dense


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
        "CPL", "spectral", "residual", "t_i = bound of ||W||^2", "bounded",
        "Meunier et al., ICML 2022", _residual(spectral),
    ),
    "sll": Row(
        "SLL", "sll", "residual", "t_i = sum_j |W^T W|_ij q_j / q_i", "bounded",
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
        raise ValueError(f"{name!r} is orthogonal only under circular padding, got {mode!r}: leave padding_mode out")
    if stride not in (1, 2):
        raise ValueError(f"stride must be 1 or 2, got {stride!r}: put nn.PixelUnshuffle(s) before a stride-1 layer")
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


FREEZABLE = (Affine, Residual, Orthogonal, UnitRows)


@torch.no_grad()
def explicit(model: nn.Module, input_shape: tuple[int, ...] | None = None) -> nn.Module:
    """The same function as `model` with every T, inverse and normalisation absorbed into plain torch layers.

    The result is frozen, in evaluation mode, of the same dtype and device, and shares no tensor with `model`.

    Args:
        model: a module built from lipviz and torch layers.
        input_shape: shape of one input without the batch; FFT rows need it, and strided circular convolutions on
            images whose sides the stride does not divide.

    Raises:
        ValueError: the shape is missing where it is needed.

    >>> explicit(dense("cayley", 2, 2))
    Linear(in_features=2, out_features=2, bias=True)
    """
    sizes = {} if input_shape is None else _image_sizes(model, input_shape)
    frozen = _freeze(model, sizes)
    return frozen.requires_grad_(False).eval()


def _freeze(module: nn.Module, sizes: dict[nn.Module, tuple[int, ...]]) -> nn.Module:
    if isinstance(module, FREEZABLE) and type(module) in FREEZABLE:  # a subclass may compute anything
        return module.freeze(sizes.get(module))
    copy = deepcopy(module)
    for name, child in module._modules.items():  # not named_children, which leaves out a module used twice
        if child is not None:
            setattr(copy, name, _freeze(child, sizes))
    return copy


def _image_sizes(model: nn.Module, input_shape: tuple[int, ...]) -> dict[nn.Module, tuple[int, ...]]:
    """Height and width of the input of every layer, seen by running one zero input through a copy of the model."""
    twin = deepcopy(model).eval()
    original = dict(zip(twin.modules(), model.modules(), strict=True))
    sizes: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        size = tuple(inputs[0].shape[2:])
        if sizes.setdefault(original[module], size) != size:
            raise ValueError(
                f"one {type(module).__name__} layer is used on images of two sizes, {sizes[original[module]]} and "
                f"{size}: give each place a layer of its own"
            )

    for module in twin.modules():
        if isinstance(module, FREEZABLE):
            module.register_forward_pre_hook(note)
    reference = next(iter(model.state_dict().values()), torch.zeros(()))
    twin(torch.zeros(1, *input_shape, dtype=reference.dtype, device=reference.device))
    return sizes
