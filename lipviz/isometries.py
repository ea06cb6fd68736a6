"""Layers between the weights (and the head), each with its exact l2 Lipschitz constant in `.lipschitz`.

The constants hold between Euclidean norms of whole tensors and are attained. Only a ResidualAverage depends on what
is inside it. docs/isometries.md compares them with the layers of torch.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lipviz.activations import Abs, GroupSort, HouseholderActivation, MaxMin, NActivation, whole
from lipviz.operators import Dense

__all__ = [
    "Abs",
    "Center",
    "FirstChannels",
    "GroupSort",
    "HouseholderActivation",
    "L2Pool",
    "LayerCenter",
    "MaxMin",
    "MaxPool",
    "NActivation",
    "PadChannels",
    "Pool",
    "ResidualAverage",
    "UnitRows",
]


class Pool(nn.Module):
    """k x k blocks -> their sum / k: mean pooling times k, constant 1 (attained by a constant block).

    Args:
        size: k, the side of the blocks, which do not overlap.
    """

    lipschitz = 1.0

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def extra_repr(self) -> str:
        """The block size."""
        return str(self.size)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c i j"]:
        """Sum each block and divide by k; raises ValueError where the blocks do not fill the image."""
        _expect_sides(self, x, self.size)
        return F.avg_pool2d(x, self.size, divisor_override=self.size)


class L2Pool(nn.Module):
    """k x k blocks -> the norm of each, sqrt(sum x^2); constant 1, attained wherever no block is zero.

    | |p| - |q| | <= |p - q| for each block, and the blocks share no pixel. No epsilon is added: at a zero block the
    gradient is 0, the smallest subgradient of the norm. (Inside the root an epsilon would shrink the gradient to
    |x| / sqrt(|x|^2 + eps) < 1; outside it would not help.)

    Args:
        size: k, the side of the blocks, which do not overlap.
    """

    lipschitz = 1.0

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = whole("the size of a block", size)

    def extra_repr(self) -> str:
        """The block size."""
        return str(self.size)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c i j"]:
        """The norm of each block; raises ValueError where the blocks do not fill the image."""
        _expect_sides(self, x, self.size)
        k = self.size
        return torch.linalg.vector_norm(x.unflatten(3, (-1, k)).unflatten(2, (-1, k)), dim=(3, 5))


class MaxPool(nn.Module):
    """k x k windows -> their largest entry, s pixels apart; constant 1 where no two windows overlap, s >= k.

    Windows that overlap count one pixel up to ceil(k / s)^2 times, which makes the constant ceil(k / s): a lone peak
    attains it. They are refused here; `bound` knows the constant of nn.MaxPool2d.

    Args:
        size: k, the side of the windows.
        stride: s, k if None.
    """

    lipschitz = 1.0

    def __init__(self, size: int, stride: int | None = None) -> None:
        super().__init__()
        self.size = whole("the size of a window", size)
        self.stride = size if stride is None else whole("the stride", stride)
        if self.stride < self.size:
            constant = math.ceil(size / self.stride)
            raise ValueError(
                f"MaxPool needs windows that do not overlap, got size {size} and stride {stride}, whose constant is "
                f"ceil({size} / {stride}) = {constant}: use stride {size}, or nn.MaxPool2d({size}, {stride}) at the "
                f"price of a bound {constant} times as large"
            )

    def extra_repr(self) -> str:
        """The size, and the stride where it is another."""
        return str(self.size) if self.stride == self.size else f"{self.size}, stride={self.stride}"

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c i j"]:
        """The largest entry of each window; raises ValueError on sides that the stride does not divide."""
        _expect_sides(self, x, self.stride)
        return F.max_pool2d(x, self.size, self.stride)


class PadChannels(nn.Module):
    """x -> (x, 0): zero channels appended up to `channels`; an isometry, constant 1.

    Args:
        channels: number of channels (dim 1) after padding.
    """

    lipschitz = 1.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def extra_repr(self) -> str:
        """The number of channels."""
        return str(self.channels)

    def forward(self, x: Tensor) -> Tensor:
        """Append zeros; raises ValueError where there are more channels already."""
        missing = self.channels - x.shape[1]
        if missing < 0:
            raise ValueError(f"PadChannels({self.channels}) only adds channels, got {x.shape[1]}: use a larger width")
        return F.pad(x, (0, 0) * (x.ndim - 2) + (0, missing))


class FirstChannels(nn.Module):
    """(x, y) -> x: the first n channels (dim 1), a projection, constant 1. Undoes PadChannels.

    Args:
        channels: n, the number of channels kept.
    """

    lipschitz = 1.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = whole("channels", channels)

    def extra_repr(self) -> str:
        """The number of channels."""
        return str(self.channels)

    def forward(self, x: Tensor) -> Tensor:
        """Drop the rest; raises ValueError where there are fewer channels."""
        n = self.channels
        if x.shape[1] < n:
            raise ValueError(f"FirstChannels({n}) only drops channels, got {x.shape[1]}: use PadChannels({n})")
        return x[:, :n]


class Center(nn.Module):
    """x -> x - mean, one fixed number a channel: a translation, constant 1.

    Dividing by a standard deviation is not offered: it multiplies the constant by 1 / std.

    Args:
        mean: one value a channel (or a feature), stored with the weights.
    """

    lipschitz = 1.0
    mean: Tensor

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        if not mean.is_floating_point() or mean.ndim != 1:
            got = f"{mean.dtype} of shape {tuple(mean.shape)}"
            raise ValueError(f"Center needs a tensor of floats with one mean a channel, got {got}")
        self.register_buffer("mean", mean)

    def forward(self, x: Tensor) -> Tensor:
        """Subtract the mean of each channel; raises ValueError where there is not one mean for each."""
        if x.shape[1] != len(self.mean):
            raise ValueError(f"Center holds {len(self.mean)} means, one a channel, got {x.shape[1]} channels")
        return x - self.mean.view(-1, *[1] * (x.ndim - 2))


class LayerCenter(nn.Module):
    """x -> x - mean(x), the mean over all features of one example: an orthogonal projection, constant 1.

    It is LayerNorm without the division, whose constant grows to 1 / sqrt(eps) as x gets flatter.
    """

    lipschitz = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Subtract the mean of each example."""
        return x - x.mean(dim=tuple(range(1, x.ndim)), keepdim=True)


class ResidualAverage(nn.Module):
    """x -> a x + (1 - a) f(x), a = sigmoid(r) in (0, 1): constant a + (1 - a) L for a branch f with constant L.

    The sum x + f(x) has constant up to 1 + L. The free r starts at 0, where a = 1/2.

    Args:
        branch: f, which keeps the shape of x.
    """

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.logit = nn.Parameter(torch.zeros(()))

    def alpha(self) -> Float[Tensor, ""]:
        """The share of x."""
        return torch.sigmoid(self.logit)

    def forward(self, x: Tensor) -> Tensor:
        """a x + (1 - a) f(x); raises ValueError where f changes the shape."""
        a = self.alpha()
        kept = a * x  # first: a branch may work in place
        y = self.branch(x)
        if y.shape != kept.shape:
            raise ValueError(
                f"the branch of a ResidualAverage must keep the shape, got {tuple(y.shape[1:])} from "
                f"{tuple(kept.shape[1:])}: change the size before it, with PadChannels, FirstChannels or a pooling"
            )
        return kept + (1 - a) * y


class UnitRows(nn.Module):
    """s_j = <w_j / |w_j|, x> + b_j: each logit has constant 1, the vector of K logits at most sqrt(K).

    Certificates use the distances |w_i - w_j| of the unit rows, pair by pair (Singla, Singla, Feizi, ICLR 2022).

    Args:
        in_features: length of x.
        classes: number of logits.
        generator: source of the initial rows, orthonormal where classes <= in_features.
    """

    def __init__(self, in_features: int, classes: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, in_features))
        self.bias = nn.Parameter(torch.zeros(classes))
        nn.init.orthogonal_(self.weight, generator=generator)

    def rows(self) -> Float[Tensor, "k n"]:
        """The unit rows."""
        W = self.weight / self.weight.detach().abs().amax(1, keepdim=True).clamp_min(
            torch.finfo(self.weight.dtype).tiny
        )
        return W / (W.square().sum(1, keepdim=True) + torch.finfo(W.dtype).eps).sqrt()

    def forward(self, x: Float[Tensor, "b n"]) -> Float[Tensor, "b k"]:
        """One logit a class."""
        return F.linear(x, self.rows(), self.bias)

    def freeze(self, size: tuple[int, ...] | None = None) -> nn.Module:
        """A plain nn.Linear with the unit rows."""
        return Dense(*reversed(self.weight.shape)).freeze(self.rows(), self.bias)


def _expect_sides(module: nn.Module, x: Tensor, step: int) -> None:
    h, w = x.shape[-2:]
    if h % step or w % step:
        raise ValueError(f"{module} needs sides divisible by {step}, got {h}x{w}: use a number that divides both")
