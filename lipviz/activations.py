"""Activations with constant 1 that lose nothing: their Jacobians are orthogonal wherever they exist.

ReLU has constant 1 too, but its Jacobian is a projection: stacked behind orthogonal layers it loses gradient at
every step (Anil, Lucas, Grosse, ICML 2019).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class MaxMin(nn.Module):
    """(a, b) -> (max(a, b), min(a, b)), a the first and b the second half of the channels (dim 1).

    The Jacobian is a permutation: constant 1, and no signal is lost (Anil, Lucas, Grosse, ICML 2019).
    """

    lipschitz = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Sort the two halves; raises ValueError on an odd number of channels."""
        if x.shape[1] % 2:
            raise ValueError(
                f"MaxMin sorts pairs and needs an even number of channels, got {x.shape[1]}: use an even width, or ReLU"
            )
        a, b = x.chunk(2, dim=1)
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=1)


class GroupSort(nn.Module):
    """(a, b, ..., z) -> the same, sorted from large to small, entry by entry; a, b, ... are the parts of the channels.

    The channels (dim 1) are cut into `size` parts, so that c / size entries make a group with one from each part:
    GroupSort(2) is MaxMin. The Jacobian is a permutation, constant 1 (Anil, Lucas, Grosse, ICML 2019).

    Args:
        size: entries of a group.

    >>> GroupSort(3)(torch.tensor([[1.0, 9.0, 2.0, 7.0, 3.0, 8.0]]))
    tensor([[3., 9., 2., 8., 1., 7.]])
    """

    lipschitz = 1.0

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = whole("the size of a group", size)

    def extra_repr(self) -> str:
        """The size of a group."""
        return str(self.size)

    def forward(self, x: Tensor) -> Tensor:
        """Sort the parts; raises ValueError where they are not equally large."""
        if x.shape[1] % self.size:
            raise ValueError(
                f"GroupSort({self.size}) needs a number of channels divisible by {self.size}, got {x.shape[1]}: "
                "use a size that divides the width, or Abs"
            )
        return x.unflatten(1, (self.size, -1)).sort(dim=1, descending=True).values.flatten(1, 2)


class Abs(nn.Module):
    """x -> |x|: slopes 1 and -1, constant 1."""

    lipschitz = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """|x|."""
        return x.abs()


class HouseholderActivation(nn.Module):
    """z -> z - 2 v min(v^T z, 0), v = (cos t, sin t), for each pair z: z itself, or its image in the mirror v^T z = 0.

    z is (a, b), a from the first and b from the second half of the channels (dim 1). A reflection is orthogonal and
    leaves its mirror in place: constant 1, and continuous (Singla, Singla, Feizi, ICLR 2022). v is stored as its
    angle t, so it cannot vanish. The initial t = -pi / 4 is MaxMin.

    Args:
        channels: number of channels, even; one angle for each pair.
    """

    lipschitz = 1.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        if whole("channels", channels) % 2:
            raise ValueError(
                f"HouseholderActivation reflects pairs and needs an even number of channels, got {channels}: "
                "use an even width, or NActivation"
            )
        self.angle = nn.Parameter(torch.full((channels // 2,), -math.pi / 4))

    def extra_repr(self) -> str:
        """The number of channels."""
        return str(2 * len(self.angle))

    def forward(self, x: Tensor) -> Tensor:
        """Reflect the pairs that lie behind their mirror; raises ValueError on another number of channels."""
        _expect_channels(self, x, 2 * len(self.angle))
        a, b = x.chunk(2, dim=1)
        c, s = _channelwise(self.angle.cos(), x), _channelwise(self.angle.sin(), x)
        # clamp, unlike torch.minimum, keeps the whole gradient on the mirror itself, where padded zeros lie
        p = 2 * (c * a + s * b).clamp(max=0)
        return torch.cat([a - c * p, b - s * p], dim=1)


class NActivation(nn.Module):
    """x -> x - 2 t1 (x < t1), -x (t1 <= x < t2), x - 2 t2 (t2 <= x), with thresholds t1 <= t2 for each channel.

    That is x - 2 clamp(x, t1, t2): up, down, up like the letter, continuous, with slopes 1 and -1, constant 1
    (Prach, Lampert, arXiv 2311.06103). The thresholds are sorted before use. As in the authors' code the first half
    of the channels (dim 1) starts at (-100, 0), the absolute value of all x >= -100, and the rest at (0, 0), the
    identity; they train the thresholds with a hundredth of the learning rate.

    Args:
        channels: number of channels.
    """

    lipschitz = 1.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        theta = torch.zeros(whole("channels", channels), 2)
        theta[: (channels + 1) // 2, 0] = -100
        self.theta = nn.Parameter(theta)

    def extra_repr(self) -> str:
        """The number of channels."""
        return str(len(self.theta))

    def thresholds(self) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """t1 and t2. Equal ones keep a gradient each, which torch.minimum and torch.maximum would share out."""
        low, high = self.theta.sort(dim=1).values.unbind(1)
        return low, high

    def forward(self, x: Tensor) -> Tensor:
        """The three pieces; raises ValueError on another number of channels."""
        _expect_channels(self, x, len(self.theta))
        low, high = (_channelwise(t, x) for t in self.thresholds())
        return x - 2 * torch.where(x < low, low, torch.where(x < high, x, high))


def whole(what: str, value: int) -> int:
    """`value` itself; raises ValueError where it is no whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{what} must be a whole number of at least 1, got {value!r}")
    return value


def _channelwise(v: Float[Tensor, " c"], x: Tensor) -> Tensor:
    """One number a channel, shaped to broadcast along dim 1 of x."""
    return v.view(-1, *[1] * (x.ndim - 2))


def _expect_channels(module: nn.Module, x: Tensor, channels: int) -> None:
    if x.shape[1] != channels:
        name = type(module).__name__
        raise ValueError(
            f"{name} holds parameters for {channels} channels, got {x.shape[1]}: build it with {name}({x.shape[1]})"
        )
