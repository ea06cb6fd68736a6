"""The LAYERS table, and the functions that build a layer from a row of it.

A row is operator x rule for T (or orthogonal map) x form. Adding one is one entry here: it then appears in the
tests, the README table, every menu, the benchmark and the bound.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import nn

from lipviz.forms import Affine, Rescaling, Residual, Rule, Transposed, aol, sll, spectral
from lipviz.isometries import UnitRows
from lipviz.operators import Conv, Dense
from lipviz.rotations import BlockConv, Orthogonal, SkewConv
from lipviz.sandwich import Sandwich

Build = Callable[..., nn.Module]  # (op, bias, generator, **options)


@dataclass(frozen=True)
class Row:
    """One row of the table: a method, what it is built from, and where it comes from.

    Attributes:
        title: the name people use.
        family: rows of one family share a colour everywhere.
        form: affine, residual, orthogonal or sandwich.
        formula: what makes it 1-Lipschitz.
        guarantee: "exact" (all singular values 1; of a convolution under circular padding, on images that its stride
            divides), "bounded" (none above 1) or "none".
        reference: authors, venue, year.
        cost: what a training step pays on top of the plain layer; the frozen layer pays nothing unless said.
        dense: (op, bias, generator, **options) -> module; None where there is no dense form.
        conv: the same for convolutions.
        fft: the convolution works at every frequency, so it is circular and made for one image size.
        unshuffles: stride 2 is made by PixelUnshuffle(2).
        partner: a convnet of a row without a dense form has the dense layers of this one.
        options: name -> default of the whole number that the row takes besides the geometry.
    """

    title: str
    family: str
    form: str
    formula: str
    guarantee: str
    reference: str
    cost: str
    dense: Build | None
    conv: Build | None
    fft: bool = False
    unshuffles: bool = False
    partner: str = ""
    options: Mapping[str, int] = field(default_factory=dict)


def _affine(rule: Rule | None) -> Build:
    return lambda op, bias, generator: Affine(op, rule, bias, generator)


def _residual(rule: Rule) -> Build:
    return lambda op, bias, generator: Residual(op, rule, bias, generator)


def _orthogonal(method: str, option: str = "") -> Build:
    return lambda op, bias, generator, **options: Orthogonal(op, method, bias, generator, options.get(option, 0))


def _rescaled(op: Dense | Conv, bias: bool, generator: torch.Generator | None, k: int) -> nn.Module:
    return Affine(op, Rescaling(k), bias, generator)


def _row(title: str, family: str, form: str, build: Build | None, formula: str, guarantee: str, reference: str,
         cost: str, **more: object) -> Row:  # fmt: skip
    """A Row with the same builder for matrices and convolutions, unless `dense` or `conv` say otherwise."""
    return Row(title, family, form, formula, guarantee, reference, cost, **{"dense": build, "conv": build, **more})  # type: ignore[arg-type]


_FREQUENCIES = {"fft": True, "unshuffles": True}

LAYERS: dict[str, Row] = {
    "spectral": _row(
        "Spectral normalisation", "spectral", "affine", _affine(spectral), "t_i = bound of ||W||^2", "bounded",
        "Miyato et al., ICLR 2018; here with an upper bound in place of power iteration",
        "six squarings of W^T W (of one matrix a frequency)",
    ),
    "aol": _row(
        "AOL", "gershgorin", "affine", _affine(aol), "t_i = sum_j |W^T W|_ij", "bounded",
        "Prach & Lampert, ECCV 2022", "W^T W",
    ),
    "sr": _row(
        "Spectral rescaling", "gershgorin", "affine", _rescaled, "t_i = (sum_j |(W^T W)^p|_ij)^(1/p), p = 2^k",
        "bounded", "Delattre, Barthelemy & Allauzen 2024 (arXiv 2402.00240)", "W^T W and k squarings", options={"k": 1},
    ),
    "cpl": _row(
        "CPL", "spectral", "residual", _residual(spectral), "t_i = bound of ||W||^2", "bounded",
        "Meunier et al., ICML 2022", "six squarings of W^T W (of one matrix a frequency)",
    ),
    "sll": _row(
        "SLL", "sll", "residual", _residual(sll), "t_i = sum_j |W^T W|_ij q_j / q_i", "bounded",
        "Araujo et al., ICLR 2023", "W^T W",
    ),
    "cayley": _row(
        "Cayley", "orthogonal", "orthogonal", _orthogonal("cayley"), "W^T W = I", "exact",
        "Trockman & Kolter, ICLR 2021", "one inverse (a frequency)", **_FREQUENCIES,
    ),
    "exponential": _row(
        "Exponential", "orthogonal", "orthogonal", _orthogonal("exponential"), "W^T W = I", "exact",
        "Lezcano-Casado & Martinez-Rubio, ICML 2019; here by a Pade approximant, which is orthogonal itself",
        "one linear system and five products", conv=None,
    ),
    "bjorck": _row(
        "Bjorck", "orthogonal", "orthogonal", _orthogonal("polar", "steps"), "W <- W (3 I - W^T W) / 2 from AOL",
        "bounded", "Bjorck & Bowie 1971; Anil, Lucas & Grosse, ICML 2019", "two products a step", conv=None,
        options={"steps": 3},
    ),
    "householder": _row(
        "Householder", "orthogonal", "orthogonal", _orthogonal("householder"), "W = H_1 ... H_n", "exact",
        "Mhammedi et al., ICML 2017", "two products and one triangular system", conv=None,
    ),
    "bro": _row(
        "BRO", "orthogonal", "orthogonal", _orthogonal("bro", "rank"), "W = I - 2 V (V^T V)^-1 V^T", "exact",
        "Lai et al., ICML 2025", "one QR factorisation (a frequency)", options={"rank": 0}, **_FREQUENCIES,
    ),
    "soc": _row(
        "SOC", "orthogonal", "orthogonal", SkewConv, "W = exp(J) to third order, J^T = -J, ||J|| <= sqrt(3)",
        "bounded", "Singla & Feizi, ICML 2021", "three convolutions and a bound of ||J||; frozen, three convolutions",
        dense=None, unshuffles=True, partner="cayley",
    ),
    "aoc": _row(
        "AOC", "orthogonal", "orthogonal", BlockConv, "K = block convolution of projectors", "exact",
        "Boissin et al., ICML 2025; Li et al., NeurIPS 2019", "a small kernel from QR factorisations", dense=None,
        partner="cayley",
    ),
    "lot": _row(
        "LOT", "orthogonal", "orthogonal", _orthogonal("polar", "steps"),
        "W <- W (3 I - W^T W) / 2 from AOL, a frequency", "bounded", "Xu, Li & Li, NeurIPS 2022",
        "two products a step and frequency", dense=None, partner="cayley", options={"steps": 8}, **_FREQUENCIES,
    ),
    "sandwich": _row(
        "Sandwich", "sandwich", "sandwich", Sandwich, "A A^T + B B^T = I", "bounded", "Wang & Manchester, ICML 2023",
        "one inverse (a frequency)", **_FREQUENCIES,
    ),
    "plain": _row(
        "Plain", "plain", "affine", _affine(None), "nothing", "none", "the unconstrained baseline", "nothing"
    ),
}  # fmt: skip


def dense(
    name: str,
    in_features: int,
    out_features: int,
    bias: bool = True,
    *,
    generator: torch.Generator | None = None,
    **options: int,
) -> nn.Module:
    """A fully connected layer of the row `name`; x is (batch, in_features).

    `options` are those of the row: `k` of "sr", `steps` of "bjorck", `rank` of "bro".

    Raises:
        ValueError: an unknown row or option, a size below 1, unequal widths for a residual row, or a row that has
            convolutions only.

    >>> dense("aol", 3, 2)
    Affine(Dense(inputs=3, outputs=2), aol)
    """
    row = _named(name, in_features=in_features, out_features=out_features)
    if row.dense is None:
        raise ValueError(f"{name!r} has no dense form: use conv2d, or a dense orthogonal row such as 'cayley'")
    _equal_widths(name, row, in_features, out_features)
    return row.dense(Dense(in_features, out_features), bias, generator, **_options(name, row, options))


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
    **options: int,
) -> nn.Module:
    """A convolution of the row `name`; x is (batch, in_channels, height, width).

    `padding="same"` pads (k - 1) // 2 pixels before and the rest after, convolves, and keeps every stride-th
    pixel. `padding_mode=None` is "circular" for the FFT rows and "zeros" for the others. For an FFT row and "soc",
    stride 2 returns a Sequential of PixelUnshuffle(2) and a convolution of its 4 times as many channels.
    `options` are those of the row: `k` of "sr", `steps` of "lot", `rank` of "bro".

    Raises:
        ValueError: an option the row cannot honour, with the alternative in words.
    """
    row = _named(name, in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size)
    if row.conv is None:
        raise ValueError(f"{name!r} has no convolution: use dense, or an orthogonal convolution such as 'aoc'")
    mode = padding_mode or ("circular" if row.fft else "zeros")
    _geometry(name, row, kernel_size, stride, padding, mode)
    _equal_widths(name, row, in_channels, out_channels)
    found = _options(name, row, options)
    if row.unshuffles and stride == 2:
        conv = Conv(4 * in_channels, out_channels, kernel_size, 1, mode)
        return nn.Sequential(nn.PixelUnshuffle(2), row.conv(conv, bias, generator, **found))
    return row.conv(Conv(in_channels, out_channels, kernel_size, stride, mode), bias, generator, **found)


def conv_transpose2d(
    name: str,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    padding_mode: str | None = None,
    bias: bool = True,
    *,
    generator: torch.Generator | None = None,
    **options: int,
) -> nn.Module:
    """The adjoint of a convolution of the row `name`: the image grows `stride` times, the norm is the same.

    For the rows whose convolution is one kernel: spectral, aol, sr, aoc and plain.

    Raises:
        ValueError: another row, or an option the row cannot honour.
    """
    inner = {"in_channels": out_channels, "out_channels": in_channels, "kernel_size": kernel_size, "stride": stride}
    layer = conv2d(name, **inner, **options, padding_mode=padding_mode, bias=False, generator=generator)  # type: ignore[arg-type]
    if not (isinstance(layer, Affine | BlockConv) and isinstance(layer.op, Conv)):
        raise ValueError(f"{name!r} has no transposed convolution: use 'aoc' or 'aol', or nn.PixelShuffle after it")
    return Transposed(layer, layer.op, bias)


def _geometry(name: str, row: Row, kernel: int, stride: int, padding: str, mode: str) -> None:
    if padding != "same":
        raise ValueError(f"padding must be 'same', got {padding!r}: crop the output for 'valid'")
    if mode not in ("zeros", "circular"):
        raise ValueError(
            f"padding_mode must be 'zeros' or 'circular', got {mode!r}: reflecting or replicating the border has a "
            "Lipschitz constant above 1"
        )
    if row.fft and mode != "circular":
        raise ValueError(
            f"{name!r} works at every frequency and needs circular padding, got {mode!r}: leave padding_mode out, or "
            "use 'aoc'"
        )
    if isinstance(stride, bool) or not isinstance(stride, int) or stride not in (1, 2):
        raise ValueError(f"stride must be 1 or 2, got {stride!r}: put nn.PixelUnshuffle(s) before a stride-1 layer")
    if row.form == "residual" and stride != 1:
        raise ValueError(f"{name!r} is residual and keeps the image size: put nn.PixelUnshuffle(2) before it")
    if row.conv is SkewConv and kernel % 2 == 0:
        raise ValueError(f"{name!r} needs an odd kernel, to be antisymmetric, got {kernel}: use 3 or 5, or 'aoc'")
    if row.conv is BlockConv and kernel < stride:
        raise ValueError(
            f"{name!r} needs a kernel at least as large as its stride, got {kernel} and stride {stride}: use {stride}"
        )


def _named(name: str, **sizes: int) -> Row:
    if name not in LAYERS:
        raise ValueError(f"unknown layer {name!r}: choose one of {', '.join(LAYERS)}")
    for what, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{what} must be a whole number of at least 1, got {size!r}")
    return LAYERS[name]


_LIMITS = {"k": (1, 3), "steps": (1, 50), "rank": (0, 1 << 20)}


def _options(name: str, row: Row, options: Mapping[str, int]) -> dict[str, int]:
    for option, value in options.items():
        if option not in row.options:
            alternative = {
                "groups": "split the channels and use one layer for each group",
                "dilation": "use PixelUnshuffle before an undilated layer",
            }.get(option, f"{name!r} takes {', '.join(map(repr, row.options)) or 'no options'}")
            raise ValueError(f"{option!r} is not an option of {name!r}: {alternative}")
        low, high = _LIMITS[option]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{option} must be a whole number from {low} to {high}, got {value!r}")
    return {**row.options, **options}


def _equal_widths(name: str, row: Row, inputs: int, outputs: int) -> None:
    if row.form == "residual" and inputs != outputs:
        raise ValueError(
            f"{name!r} is residual and needs equal widths, got {inputs} and {outputs}: "
            "put PadChannels before it, or use an affine row such as 'aol'"
        )


FREEZABLE = (Affine, Residual, Orthogonal, SkewConv, BlockConv, Sandwich, Transposed, UnitRows)


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
