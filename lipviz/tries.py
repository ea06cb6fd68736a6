"""Attempts to break an answer: searches for a small change that alters it, and the line that none may cross.

The proof gives more than a radius. With logits s of the picture, answer y, and L the constant of all layers but the
last, a change of size e leaves the margin at

    floor(e) = min_{j != y} (s_y - s_j) - L ||w_y - w_j|| e

at least, for every e: the margin against one class falls no faster than its line. A point below it is a bug, or more
rounding than is accounted for, and is kept to be shown. The radius is where the floor is 0.

A search is of the kind of Rony et al. (CVPR 2019) and Pintor et al. (NeurIPS 2021): down the normalised gradient of the
margin on a sphere that shrinks while the answer is broken and grows while it holds. All of it runs in float64 on the
frozen network that the certificate speaks of, so what is found needs no second check in another precision.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Shaped, UInt8
from torch import Tensor

from lipviz.certify import Certifier, in_unit
from lipviz.margins import margin, on_sphere

STEPS = 30  # of one attempt
BUDGETS = (10, STEPS, 100, 300)  # that a visitor may choose from
PRESS = 10  # attempts at a time
MOST = 1000  # of one network on one picture
HALVINGS = 12  # of the way from the picture to a break, once one is found
KEPT = 5  # points below the line that are kept whole
RATE = (0.02, 0.3)  # by how much the sphere changes in a step, in the last and the first: coarse, then fine
STEP = (0.05, 1.0)  # gradient steps in units of the sphere, in the last and the first
_ROUNDING = 1 + 1e-12  # a norm is a sum of squares


@dataclass(frozen=True, eq=False)
class Point:
    """A changed picture in [0, 1], the l2 norm of its change, its margin, and the index of its class."""

    pixels: Float64[np.ndarray, "c h w"]
    size: float
    margin: float
    label: int


@dataclass(frozen=True, eq=False)
class Tries:
    """What the attempts on one picture found.

    Attributes:
        size: of the best point of each attempt: its smallest break, or else the point of its lowest margin.
        margin: there; not above 0 if it is a break.
        under: whether the attempt came below the floor anywhere.
        best: the smallest break of all, None where there is none.
        below: points under the floor, `KEPT` of them at most.
    """

    size: Float64[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0))
    margin: Float64[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0))
    under: Bool[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, bool))
    best: Point | None = None
    below: tuple[Point, ...] = ()

    def __add__(self, more: "Tries") -> "Tries":
        """These attempts and more of them."""
        size, margin, under = (
            np.concatenate([getattr(self, k), getattr(more, k)]) for k in ("size", "margin", "under")
        )
        return Tries(size, margin, under, smaller(self.best, more.best), (self.below + more.below)[:KEPT])


def smaller(a: Point | None, b: Point | None) -> Point | None:
    """The break with the smaller change, of two that may be missing."""
    return min((point for point in (a, b) if point), key=lambda point: point.size, default=None)


class Target:
    """A picture, its answer, and the floor below which its margin cannot fall."""

    def __init__(self, certifier: Certifier, pixels: UInt8[np.ndarray, "c h w"]) -> None:
        self.certifier = certifier
        self.x = in_unit(torch.tensor(pixels)[None])
        with torch.no_grad():
            s, e = certifier.logits(self.x)
        self.y = int(s.argmax())
        self.radius = float(certifier.radius(s, e, s.argmax(1))[0])
        distance = certifier.distance
        self.classes = s.shape[1]
        self.others = [j for j in range(s.shape[1]) if j != self.y]
        gap = s[0, self.y] - s[0, self.others]
        self.gap = gap - 2 * e[0]
        slope = torch.full_like(self.gap, math.sqrt(2)) if distance is None else distance[self.y, self.others]
        self.slope = certifier.body * slope
        self.nearest = [self.others[j] for j in gap.argsort().tolist()]

    def floor(self, size: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The smallest margin that the proof allows at each size."""
        return (self.gap - size[:, None] * _ROUNDING * self.slope).amin(1)

    def aim(self, number: int) -> list[int]:
        """The classes that an attempt goes for: all, or one of them, the closest first."""
        return self.nearest if number % 2 == 0 else [self.nearest[(number // 2) % len(self.nearest)]]

    def size(self, z: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
        """l2 norm of the change from the picture to each z."""
        return (z - self.x).flatten(1).norm(dim=1)

    @torch.no_grad()
    def check(self, z: Float[Tensor, "n ..."]) -> tuple[list[Point], Bool[np.ndarray, " n"]]:
        """Each point in numbers, and whether it lies under the floor or is a break within the radius.

        A margin is under the floor where not even the largest rounding error of its logits would lift it up to it.
        """
        s, e = self.certifier.logits(z)
        size, lead, label = self.size(z), margin(s, self.y), s.argmax(1)
        under = (lead + 2 * e < self.floor(size)) | ((label != self.y) & (size * _ROUNDING < self.radius))
        numbers = zip(z.numpy(), size.tolist(), lead.tolist(), label.tolist(), strict=True)
        return [Point(*point) for point in numbers], under.numpy()

    @torch.no_grad()
    def shortened(self, z: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Breaks drawn back on their straight way to the picture, to where they are breaks still."""
        held, fallen = torch.zeros(len(z), dtype=torch.float64), torch.ones(len(z), dtype=torch.float64)
        for _ in range(HALVINGS if len(z) else 0):
            middle = (held + fallen) / 2
            broken = self.certifier.frozen(self._between(z, middle)).argmax(1) != self.y
            held, fallen = torch.where(broken, held, middle), torch.where(broken, middle, fallen)
        return self._between(z, fallen)

    def _between(self, z: Tensor, t: Tensor) -> Tensor:
        return self.x + _wide(t) * (z - self.x)


def attempts(
    certifier: Certifier,
    pixels: UInt8[np.ndarray, "c h w"],
    first: int = 0,
    count: int = PRESS,
    steps: int = STEPS,
) -> Tries:
    """Attempts number `first` to `first + count - 1`; the number is the seed, so each can be made again.

    Every attempt begins at a random point. Those with an even number go for whichever class comes nearest, the others
    for one class, the closest first.

    Args:
        certifier: of the network.
        pixels: what the network sees, 0 to 255.
        first: number of the first attempt.
        count: how many.
        steps: of each.
    """
    target = Target(certifier, pixels)
    found, lowest = _search(target, range(first, first + count), steps)
    best, under = target.check(found)
    beside, under_beside = target.check(lowest)
    breaks = [point for point in best if point.label != target.y]
    suspects = [p for p, u in zip([*best, *beside], [*under, *under_beside], strict=True) if u]
    return Tries(
        np.array([point.size for point in best]),
        np.array([point.margin for point in best]),
        under | under_beside,
        min(breaks, key=lambda point: point.size, default=None),
        tuple(suspects[:KEPT]),
    )


def walked(certifier: Certifier, pixels: UInt8[np.ndarray, "c h w"], steps: Float64[np.ndarray, "n c h w"]) -> Tries:
    """The same of points that something else found, all of them checked; the first break is drawn back."""
    target = Target(certifier, pixels)
    z = torch.tensor(steps)
    points, under = target.check(z)
    first = [i for i, point in enumerate(points) if point.label != target.y][:1]
    [best], _ = target.check(target.shortened(z[first])) if first else ([None], None)
    sizes, margins = (np.array([getattr(point, k) for point in points]) for k in ("size", "margin"))
    below = tuple(point for point, u in zip(points, under, strict=True) if u)
    return Tries(sizes, margins, under, best, below[:KEPT])


def _search(
    target: Target, numbers: Sequence[int], steps: int
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]]:
    """For each attempt its best point, and the point that came nearest to the floor, or furthest below it."""
    x, model, d = target.x, target.certifier.frozen, target.x.numel()
    noise = torch.cat([torch.randn(x.shape, generator=_seeded(k), dtype=torch.float64) for k in numbers])
    aim = torch.full((len(numbers), target.classes), -math.inf, dtype=torch.float64)
    for row, k in enumerate(numbers):
        aim[row, target.aim(k)] = 0.0
    eps: Tensor | None = None
    z = on_sphere(x, noise, torch.full((len(numbers),), min(max(target.radius, 1e-3), 1.0)).double())
    best, lowest = z.clone(), z.clone()
    best_key = torch.full((len(numbers), 2), math.inf, dtype=torch.float64)  # (0, size) of a break, (1, margin) without
    slack = torch.full((len(numbers),), math.inf, dtype=torch.float64)
    for step in range(steps + 1):
        z = z.detach().requires_grad_()
        s = model(z)
        aimed = s[:, target.y] - (s + aim).amax(1)
        (g,) = torch.autograd.grad(aimed.sum(), z)
        with torch.no_grad():
            lead, size, broken = margin(s, target.y), target.size(z), s.argmax(1) != target.y
            key = torch.stack([(~broken).double(), torch.where(broken, size, lead)], 1)
            ahead = (key[:, 0] < best_key[:, 0]) | ((key[:, 0] == best_key[:, 0]) & (key[:, 1] < best_key[:, 1]))
            best_key[ahead], best[ahead] = key[ahead], z[ahead]
            nearer = (gap := lead - target.floor(size)) < slack
            slack[nearer], lowest[nearer] = gap[nearer], z[nearer]
            turn = (1 + math.cos(math.pi * step / steps)) / 2  # from 1 down to 0
            length = g.flatten(1).norm(dim=1)
            if eps is None:  # where the margin would be 0 if the network were linear
                eps = (size + aimed.clamp_min(0) / length.clamp_min(1e-12)).clamp(1e-6, math.sqrt(d))
            rate, step_size = (last + (first - last) * turn for last, first in (RATE, STEP))
            eps = torch.where(broken, torch.minimum(eps, size) * (1 - rate), eps * (1 + rate)).clamp(1e-9, math.sqrt(d))
            g = torch.where(_wide(length > 0), g, -noise)  # flat here: no better choice
            down = g / _wide(g.flatten(1).norm(dim=1))
            z = on_sphere(x, z - x - _wide(eps * step_size) * down, eps)
    broken = best_key[:, 0] == 0
    best[broken] = target.shortened(best[broken])
    return best, lowest


def _wide(v: Shaped[Tensor, " n"]) -> Shaped[Tensor, "n 1 1 1"]:
    """One number for each picture."""
    return v[:, None, None, None]


def _seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)
