"""How networks are trained: the recipe, the loss, the schedule, and defaults that suit a data set."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from lipviz import data as datasets
from lipviz.forms import STARTS
from lipviz.layers import LAYERS
from lipviz.networks import Spec


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the same for every row that is compared.

    Attributes:
        epochs: passes over the training set.
        batch: images a step.
        lr: peak learning rate of Adam; it rises linearly over the first steps, then falls to 0.
        rise: share of the steps over which it rises.
        offset: u of the loss, in units of the logits; u = sqrt(2) r asks for radius r.
        temperature: t of the loss.
        focus: beta of the loss, 0 or at least 1: how much less an input counts that is right already.
        start: initial weights of layers that a rule scales, one of STARTS; other layers have their own.
        seed: of the weights, the split, the order and the augmentation.
        held_out: share of the training set kept for the metrics.
        pad: pixels of the random crop; 0 turns it off.
        flip: random horizontal flips.
    """

    epochs: int = 10
    batch: int = 256
    lr: float = 0.01
    offset: float = 2 * math.sqrt(2) * 36 / 255
    temperature: float = 0.25
    focus: float = 0.0
    rise: float = 0.3
    start: str = "orthogonal"
    seed: int = 0
    held_out: float = 0.05
    pad: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        for name in ("lr", "temperature"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise ValueError(f"{name} must be positive, got {getattr(self, name)!r}")
        if not (self.offset >= 0 and math.isfinite(self.offset)):
            raise ValueError(f"offset must not be negative, got {self.offset!r}")
        if not (self.focus == 0 or (self.focus >= 1 and math.isfinite(self.focus))):
            raise ValueError(f"focus must be 0, which turns it off, or at least 1, got {self.focus!r}")
        for name in ("held_out", "rise"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)!r}")
        if self.start not in STARTS:
            raise ValueError(f"start must be one of {', '.join(STARTS)}, got {self.start!r}")


def offset_cross_entropy(
    s: Float[Tensor, "b k"], y: Int64[Tensor, " b"], offset: float, temperature: float, focus: float = 0.0
) -> Float[Tensor, ""]:
    """-t (1 - p)^beta log p with p = softmax((s - u e_y) / t)_y, the mean over the batch.

    Without a focus beta it is the loss of Prach & Lampert (ECCV 2022): as t -> 0 it becomes max_j (s_j - s_y + u)_+
    over j != y, so it asks for a margin of u. With one, logit annealing (Lai et al., ICML 2025), which asks less of
    inputs whose margin is there.
    """
    own = y[:, None] == torch.arange(s.shape[1], device=s.device)  # F.one_hot asks the host for the range of y
    shifted = s - offset * own
    if focus == 0:
        return temperature * F.cross_entropy(shifted / temperature, y)
    minus_log_p = F.cross_entropy(shifted / temperature, y, reduction="none")
    return temperature * ((1 - (-minus_log_p).exp()) ** focus * minus_log_p).mean()


def default_spec(data: datasets.Data, layer: str, width: int = 64) -> Spec:
    """A small network for the data: dense layers for points and small images, convolutions for other images.

    Of small images a row that is convolutions only gets a convnet too. The patch is the largest whose channels fit
    the width, and what is left is pooled to a small grid.
    """
    shape, classes = data.input_shape, len(data.classes)
    mean = tuple(round(float(m), 4) for m in channel_means(data.x))
    flat = layer not in LAYERS or LAYERS[layer].dense is not None  # an unknown row is for the Spec to refuse
    if len(shape) == 1 or (min(shape[1:]) < 16 and flat):
        width = max(width, 2 * math.ceil(math.prod(shape) / 2))
        return Spec(layer, "mlp", shape, classes, width, dense_depth=3, mean=mean)
    channels, height, width_px = shape
    width = max(width, 2 * math.ceil(channels / 2))
    side = math.gcd(height, width_px)
    fits = [p for p in range(1, side + 1) if side % p == 0 and channels * p * p <= width]
    patch = max([p for p in fits if side // p >= 4], default=1)  # a kernel needs an image around it
    grid = side // patch
    pool = max((p for p in range(1, grid // 2 + 1) if grid % p == 0), default=1)
    pool = pool if grid // pool <= 4 else grid  # a large prime grid would make huge dense layers
    return Spec(layer, "convnet", shape, classes, width, depth=4, patch=patch, pool=pool, mean=mean)


def default_recipe(data: datasets.Data, **changes: float | int) -> Recipe:
    """Points and digits: many short epochs; images: ten, with random crops (and flips of colour images)."""
    if len(data.input_shape) == 1:
        base: dict[str, float | int] = {"epochs": 100, "batch": 64, "held_out": 0.2}
    elif min(data.input_shape[1:]) < 16:
        base = {"epochs": 40, "batch": 64, "held_out": 0.1}
    else:
        base = {"epochs": 10, "pad": data.input_shape[1] // 16, "flip": data.input_shape[0] == 3}
    return Recipe(**{**base, **changes})  # type: ignore[arg-type]


def channel_means(x: Tensor) -> Float[Tensor, " c"]:
    """Mean of each channel (or coordinate), in the unit of the network's input."""
    axes = (0, *range(2, x.ndim))
    mean = x.double().mean(axes) if x.is_floating_point() else x.float().mean(axes).double() / 255
    return mean.float()


def learning_rate(step: int, steps: int, peak: float, rise: float = Recipe.rise) -> float:
    """Piecewise linear: 0 to the peak over the first `rise` of the steps, then down to 0.

    >>> [learning_rate(step, 10, 1.0) for step in (0, 3, 10)]
    [0.25, 1.0, 0.0]
    """
    top = max(1, round(rise * steps))
    return peak * min((step + 1) / (top + 1), (steps - step) / (steps - top) if steps > top else 1.0)
