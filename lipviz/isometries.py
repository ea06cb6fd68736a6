"""Layers without weights (and the head), each with its exact l2 Lipschitz constant in `.lipschitz`.

The constants hold between Euclidean norms of whole tensors and are attained.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lipviz.operators import Dense


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
        h, w = x.shape[-2:]
        if h % self.size or w % self.size:
            raise ValueError(f"Pool({self.size}) needs sides divisible by {self.size}, got {h}x{w}")
        return F.avg_pool2d(x, self.size, divisor_override=self.size)


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


class Center(nn.Module):
    """x -> x - mean, one fixed number a channel: a translation, constant 1.

    Dividing by a standard deviation is not offered: it multiplies the constant by 1 / std.

    Args:
        mean: one value a channel (or a feature), stored with the weights.
    """

    lipschitz = 1.0
    mean: Tensor

    def __init__(self, mean: Float[Tensor, " c"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean)

    def forward(self, x: Tensor) -> Tensor:
        """Subtract the mean of each channel; raises ValueError where there is not one mean for each."""
        if x.shape[1] != len(self.mean):
            raise ValueError(f"Center holds {len(self.mean)} means, one a channel, got {x.shape[1]} channels")
        return x - self.mean.view(-1, *[1] * (x.ndim - 2))


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
