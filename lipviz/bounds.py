"""Rigorous upper bounds of Lipschitz constants, in float64, from the weights alone.

`bound` freezes the model (`explicit`), bounds every layer of the result (`norms`), and multiplies. Nothing is believed
about how a weight was made.
"""

import math
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks

from lipviz import isometries
from lipviz.forms import FrozenResidual
from lipviz.isometries import ResidualAverage
from lipviz.layers import explicit
from lipviz.norms import U, conv_bound, geometry, norm_bound, symbol_bound
from lipviz.operators import CircularConv, Padded, PaddedTranspose, flipped
from lipviz.rotations import FrozenSeries
from lipviz.sandwich import FrozenSandwich


@dataclass(frozen=True)
class LayerBound:
    """The bound of one layer: its name in the frozen model, the value, and the method that gave it.

    Attributes:
        branch: the layers inside a ResidualAverage.
    """

    name: str
    value: float
    method: str
    branch: tuple["LayerBound", ...] = ()


@dataclass(frozen=True)
class Bound:
    """The bound of a model: `.value` is the product of the values of `.layers`, rounded up."""

    value: float
    layers: tuple[LayerBound, ...]


def bound(model: nn.Module, input_shape: tuple[int, ...]) -> Bound:
    """An upper bound of the l2 Lipschitz constant of `model` on inputs of shape `input_shape` (without batch).

    The parameters are taken as float64 numbers, whatever the model computes in.

    Raises:
        ValueError: a module without a known constant, or weights that are not finite.

    >>> bound(nn.Sequential(nn.Flatten(), nn.ReLU()), (2,)).value
    1.0
    """
    return bound_frozen(freeze64(model, input_shape), input_shape)


def freeze64(model: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """`explicit(model)` in float64 on the CPU, from a copy; raises ValueError on weights that are not finite."""
    for module in model.modules():
        hooks = module._forward_hooks or module._forward_pre_hooks or _global_forward_hooks or _global_forward_pre_hooks
        if hooks or "forward" in vars(module):
            raise ValueError(
                f"{type(module).__name__} has a forward hook or a forward of its own: no bound covers that"
            )
        for kinds, reason in REASONS.items():
            if isinstance(module, kinds):
                raise ValueError(f"no Lipschitz bound is given for {type(module).__name__}, which {reason}")
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"weights must be finite, got NaN or infinity in {name!r}")
    frozen = explicit(deepcopy(model).cpu().double(), input_shape)
    for module in frozen.modules():
        if hasattr(module, "inplace"):  # the caller's images are not ours to change
            module.inplace = False  # type: ignore[assignment]
    return frozen


def bound_frozen(frozen: nn.Module, input_shape: tuple[int, ...], prefix: str = "") -> Bound:
    """`bound` of a model that is explicit and in float64 already; its layers are named from `prefix` on."""
    layers = []
    x = torch.zeros(TRACED, *input_shape, dtype=torch.float64)
    for name, module in leaves(frozen, prefix):
        shape = tuple(x.shape[1:])
        if isinstance(module, ResidualAverage) and type(module) is ResidualAverage:
            inside = bound_frozen(module.branch, shape, f"{name}.branch")
            layers.append(LayerBound(name, _averaged(module, inside.value), "a + (1 - a) L", inside.layers))
        else:
            layers.append(LayerBound(name, *bound_layer(module, shape)))
        with torch.no_grad():
            y = module(x)
        mixes = type(module) in (nn.Flatten, nn.Unflatten) and _first(module) % x.ndim == 0
        if mixes or len(y) != TRACED:
            kind = type(module).__name__
            raise ValueError(f"{kind} mixes the inputs of a batch, a certificate is about one: keep the first axis")
        if type(module) in KEEPS_SHAPE and y.shape != x.shape:
            raise ValueError(
                f"{type(module).__name__} changed the shape {shape} to {tuple(y.shape[1:])}: a parameter or attribute "
                "of it was replaced by one of another shape, and no bound covers that"
            )
        x = y
    return Bound(product([layer.value for layer in layers]), tuple(layers))


def _first(module: nn.Module) -> int:
    """The first axis that a Flatten or an Unflatten changes."""
    return int(module.start_dim if isinstance(module, nn.Flatten) else module.dim)  # type: ignore[arg-type]


def product(values: Sequence[float]) -> float:
    """The product of factors >= 0, rounded up, without underflow; raises ValueError where it overflows.

    >>> product([1e-200, 1e-200, 1e300]) >= 1e-100
    True
    """
    if not all(math.isfinite(value) for value in values):
        raise ValueError("the weights are too large: the bound of a layer overflows")
    if 0 in values or all(value == 1 for value in values):
        return float(all(values))
    mantissas, exponents = zip(*map(math.frexp, values), strict=True)
    mantissa, exponent = 1.0, sum(exponents)
    for m in mantissas:  # renormalised, so that a thousand factors do not underflow either
        mantissa, shift = math.frexp(mantissa * m)
        exponent += shift
    try:
        return max(math.ldexp(mantissa * (1 + 2 * len(values) * U), exponent), sys.float_info.min)
    except OverflowError:
        raise ValueError("the weights are too large: the product of the layer bounds overflows") from None


def leaves(frozen: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """The layers of nested nn.Sequential modules in order, with their names."""
    if type(frozen) is not nn.Sequential:
        return [(prefix or "model", frozen)]
    return [
        leaf
        for name, child in frozen._modules.items()  # not named_children, which leaves out a module used twice
        if child is not None
        for leaf in leaves(child, f"{prefix}.{name}" if prefix else name)
    ]


def bound_layer(module: nn.Module, shape: tuple[int, ...], enough: float = 0.0) -> tuple[float, str]:
    """(value, method) of one frozen layer on inputs of shape `shape`; raises ValueError on an unknown module.

    A convolution is bounded by several methods, the cheap ones first, until one gives `enough` or less.
    """
    _check_bias(module)
    if type(module) in CONSTANTS:
        return CONSTANTS[type(module)](module), "constant"
    if isinstance(module, nn.Linear) and type(module) is nn.Linear:
        return norm_bound(module.weight.double()), "cholesky"
    if type(module) in (nn.Conv2d, Padded, PaddedTranspose):
        return conv_bound(module, shape, enough)
    if type(module) is CircularConv:
        height, width = module.weight.shape[-2:]
        return symbol_bound(module.weight, (height, width), 1.0), "cholesky at every frequency"
    if type(module) is FrozenResidual:
        return _residual_bound(module, shape)
    if type(module) is FrozenSeries:
        return _series_bound(module, shape)
    if type(module) is FrozenSandwich:
        return _sandwich_bound(module)
    if type(module) is ResidualAverage:
        (layer,) = bound_frozen(module, shape).layers
        return layer.value, layer.method
    known = sorted({t.__name__ for t in (*CONSTANTS, nn.Linear, nn.Conv2d, nn.Sequential, ResidualAverage)})
    raise ValueError(
        f"no Lipschitz bound is known for {type(module).__name__}: use one of {', '.join(known)}, or lipviz layers"
    )


def _check_bias(module: nn.Module) -> None:
    """A bias that is longer than the channels would spread one output over many."""
    if isinstance(module, CircularConv):
        channels, bias = module.weight.shape[0], module.bias
    elif isinstance(module, FrozenSeries):
        channels, bias = module.outputs, module.bias
    elif isinstance(module, PaddedTranspose):
        channels, bias = module.conv.weight.shape[1], module.conv.bias
    else:
        return
    if bias is not None and tuple(bias.shape) != (channels,):
        raise ValueError(f"a bias must hold {channels} numbers, one a channel, got shape {tuple(bias.shape)}")


def _residual_bound(module: FrozenResidual, shape: tuple[int, ...]) -> tuple[float, str]:
    """x - 2 V D V^T x with 0 <= D <= I has norm at most max(1, 2 ||V||^2 - 1)."""
    if not _adjoint(module.inner, module.outer):
        raise ValueError("a FrozenResidual is bounded only where `outer` is -2 times the adjoint of `inner`")
    outer = module.outer.conv if isinstance(module.outer, Padded) else module.outer
    if outer.bias is not None:
        raise ValueError("a FrozenResidual is bounded only without a bias outside: put it into a layer behind")
    value, method = bound_layer(module.inner, shape, enough=1.0)
    nu = value * value * (1 + 2 * U)
    # the last factor keeps a Jacobian that is measured in float64 below the bound of 1 it attains
    return max(1.0, (2 * nu - 1) * (1 + 2 * U)) * (1 + 1e-12), f"1 + 2 d, {method}"


def _series_bound(module: FrozenSeries, shape: tuple[int, ...]) -> tuple[float, str]:
    """|1 + z + z^2 / 2 + z^3 / 6|^2 = 1 - r^4 / 12 + r^6 / 36 at z = i r, the eigenvalues of an antisymmetric J."""
    if not isinstance(module.conv, nn.Conv2d | Padded) or type(module.conv) not in (nn.Conv2d, Padded):
        got = type(module.conv).__name__
        raise ValueError(f"a FrozenSeries is bounded only where it holds a convolution, got {got}")
    geometry(module.conv)  # refuses options that do not agree
    before, mode, W = _padding(module.conv)
    if before < 0 or not torch.equal(W, -flipped(W)):
        raise ValueError("a FrozenSeries is bounded only where its convolution is antisymmetric and keeps the size")
    if 2 * before != W.shape[-1] - 1 or mode not in ("zeros", "circular"):
        raise ValueError("a FrozenSeries is bounded only where its convolution is padded alike on both sides")
    r, method = bound_layer(module.conv, (len(W), *shape[1:]), enough=math.sqrt(3))
    value = math.sqrt(max(1.0, 1 - r * r * r * r / 12 + r * r * r * r * r * r / 36))
    return value * (1 + 1e-12), f"|1 + z + z^2/2 + z^3/6|, {method}"


def _sandwich_bound(module: FrozenSandwich) -> tuple[float, str]:
    """c with (Ah^T Ah + Bh Bh^T) / 2 <= c I, Bh = Lambda^{1/2} inner, Ah = outer Lambda^{-1/2}: see `sandwich`."""
    inner, outer, root = module.inner, module.outer, module.multiplier.sqrt()
    if not (module.multiplier > 0).all() or outer.bias is not None:
        raise ValueError("a FrozenSandwich is bounded only with a positive multiplier, and no bias outside")
    if type(inner) is nn.Linear and type(outer) is nn.Linear:
        # a few roundings an entry, far below the 1e-12 that is added
        pair = torch.cat([outer.weight / root, (inner.weight * root[:, None]).mT])
        value, method = norm_bound(pair), "cholesky of [A B]"
    elif type(inner) is CircularConv and type(outer) is CircularConv:
        _check_bias(inner)
        pair = torch.cat([outer.weight / root[:, None, None], flipped(inner.weight * root[:, None, None, None])])
        # flipped turns the true convolution with K into its adjoint, up to a shift of one pixel: a phase
        grid = (pair.shape[-2], pair.shape[-1])
        value, method = symbol_bound(pair, grid, 1.0), "cholesky of [A B], each frequency"
    else:
        raise ValueError("a FrozenSandwich is bounded only where both halves are linear layers, or both FFT layers")
    return max(value * value / 2 * (1 + 1e-12), sys.float_info.min if value else 0.0), method


def _adjoint(inner: nn.Module, outer: nn.Module) -> bool:
    """Whether `outer` is, number by number, -2 times the adjoint of `inner`."""
    if type(inner) is nn.Linear and type(outer) is nn.Linear:
        return torch.equal(outer.weight, -2 * inner.weight.mT)
    if not (isinstance(inner, nn.Conv2d | Padded) and isinstance(outer, nn.Conv2d | Padded)):
        return False
    if {type(inner), type(outer)} - {nn.Conv2d, Padded}:
        return False
    geometry(inner), geometry(outer)  # refuses dilation, groups and options that do not agree
    (before, mode, W), (after, other, V) = _padding(inner), _padding(outer)
    keeps = before >= 0 and after >= 0 and before + after == W.shape[-1] - 1
    return keeps and mode == other and torch.equal(V, -2 * flipped(W))


def _padding(layer: nn.Conv2d | Padded) -> tuple[int, str, Tensor]:
    """Pixels padded before the image, how, and the kernel; -1 pixels where the image shrinks or is strided."""
    conv = layer.conv if isinstance(layer, Padded) else layer
    before = layer.before if isinstance(layer, Padded) else conv.padding[0]
    alike = isinstance(layer, Padded) or len(set(conv.padding)) == 1
    keeps = isinstance(before, int) and alike and set(conv.stride) == {1}
    return int(before) if keeps else -1, layer.padding_mode, conv.weight


def _averaged(module: ResidualAverage, inside: float) -> float:
    """a + (1 - a) L, rounded up; an average is no more than the larger of 1 and L. The computed a is off by a few u."""
    a = float(module.alpha())
    return min(max(1.0, inside), (a + (1 - a) * inside) * (1 + 4 * U) + 8 * U * (1 + inside))


def _leaky(module: nn.LeakyReLU) -> float:
    if not math.isfinite(module.negative_slope):
        raise ValueError(f"the slope of a LeakyReLU must be finite to be bounded, got {module.negative_slope}")
    return max(1.0, abs(module.negative_slope))


def _average(module: nn.AvgPool2d) -> float:
    k, s = module.kernel_size, module.stride
    if not (isinstance(k, int) and k == s and module.padding == 0 and not module.ceil_mode):
        raise ValueError(f"only average pooling of square blocks that do not overlap is bounded, got {module}")
    return k / abs(module.divisor_override or k * k)


def _max_pool(module: nn.MaxPool2d) -> float:
    k, s = module.kernel_size, module.stride
    if not (isinstance(k, int) and isinstance(s, int) and module.dilation == 1 and not module.return_indices):
        raise ValueError(f"only max pooling of square blocks without dilation is bounded, got {module}")
    return float(math.ceil(k / s))


# exact types: a subclass may do anything in its forward
CONSTANTS: dict[type[nn.Module], Callable[..., float]] = {
    **{
        layer: lambda m: type(m).lipschitz
        for layer in (
            isometries.MaxMin,
            isometries.GroupSort,
            isometries.Abs,
            isometries.HouseholderActivation,
            isometries.NActivation,
            isometries.Pool,
            isometries.L2Pool,
            isometries.PadChannels,
            isometries.FirstChannels,
            isometries.Center,
            isometries.LayerCenter,
        )
    },
    isometries.MaxPool: lambda m: float(math.ceil(m.size / m.stride)),  # 1, as long as nobody moves the stride
    **{
        layer: lambda m: 1.0
        for layer in (
            nn.Identity,
            nn.Flatten,
            nn.Unflatten,
            nn.PixelUnshuffle,
            nn.PixelShuffle,
            nn.ReLU,
            nn.Tanh,
        )
    },
    nn.Sigmoid: lambda m: 0.25,
    nn.LeakyReLU: _leaky,
    nn.AvgPool2d: _average,
    nn.MaxPool2d: _max_pool,
}

TRACED = 3  # inputs that are sent through to see the shapes
KEEPS_SHAPE = (
    *(isometries.MaxMin, isometries.GroupSort, isometries.Abs, isometries.HouseholderActivation),
    *(isometries.NActivation, isometries.Center, isometries.LayerCenter, FrozenResidual, ResidualAverage),
)

# why the best-known layers without a constant here are refused, and what to use in their place
REASONS: dict[tuple[type[nn.Module], ...], str] = {
    (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d): (
        "divides by the standard deviation of its input: its constant grows as the input gets flatter, up to "
        "1 / sqrt(eps), 316 for the usual eps; use LayerCenter"
    ),
    (nn.RMSNorm,): (
        "divides by the root mean square of its input: its constant grows as the input gets smaller, up to "
        "1 / sqrt(eps); use LayerCenter, or nothing"
    ),
    (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm): (
        "divides by a standard deviation, so that its constant reaches 1 / sqrt(eps), and in training ties the "
        "examples of a batch together; use Center with the mean of the data, or LayerCenter"
    ),
    (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout): (
        "multiplies what it keeps by 1 / (1 - p) in training; leave it out of the model that is bounded, where it "
        "does nothing"
    ),
    (nn.GELU, nn.SiLU, nn.Mish): (
        "is steeper than 1 in places (GELU 1.129, SiLU 1.100, Mish 1.089); use MaxMin, NActivation or ReLU"
    ),
    (nn.Softmax, nn.Softmax2d, nn.LogSoftmax): (
        "belongs in the loss, since certificates compare logits; leave it out of the model that is bounded"
    ),
    (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer): (
        "has no finite constant, since attention reacts to a change the more strongly the larger the input; use "
        "convolutions or dense layers"
    ),
}
