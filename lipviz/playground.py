"""A small network that is trained live on points in the plane, or on the square wave, and seen step by step."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from lipviz.bounds import bound_frozen, freeze64, product
from lipviz.certify import Certifier
from lipviz.data import evenly
from lipviz.ops import evaluate, frozen_ops, gradient_norm, nearest_break, ops, radii, tightness
from lipviz.points import Points
from lipviz.recipes import offset_cross_entropy
from lipviz.setups import LIMITS, MODES, Setup, build, network
from lipviz.squarewave import TRAIN, Scaled, square_wave

__all__ = [
    "LIMITS",
    "MODES",
    "Frame",
    "Session",
    "Setup",
    "build",
    "evaluate",
    "gradient_norm",
    "nearest_break",
    "ops",
    "probe",
    "proved",
    "radii",
    "tightness",
]

EVALUATED = 2000  # points behind the numbers of a frame, evenly spaced, at most
KEEP = 50  # steps from one copy of good weights to the next
LARGEST = 1e6  # of a good weight
HALF_LIFE = 3000  # steps after which the rate has fallen by sqrt(2)
WARM = 20  # steps over which it rises
CELLS = 1000  # on which the slope of the wave is measured


@dataclass(frozen=True, eq=False)
class Frame:
    """A training at one moment: every number belongs to the weights in `ops`.

    Attributes:
        step: steps so far.
        epoch: passes over the points so far.
        loss: over the points, in float64; the mean squared error of the wave.
        clean: share of the points that are classified as labelled; None for the wave.
        certified: share of them with a positive certified radius too; None for the wave.
        bound: rigorous upper bound of the Lipschitz constant of the whole network, in float64.
        lipschitz: the same of everything but the head, as in the radius.
        steps_per_second: since the frame before.
        state: "running", "paused", "finished" or "diverged".
        sentence: what there is to say about the state, or "".
        ops: the network in numbers, see `lipviz.ops`.
        setup: what was built.
        classes: logits of it.
        weights: the stored parameters, from which `probe` certifies.
        evaluated: points behind loss, clean and certified.
        tightness: steepest slope found / bound, for the wave; else None.
    """

    step: int
    epoch: float
    loss: float
    clean: float | None
    certified: float | None
    bound: float
    lipschitz: float
    steps_per_second: float
    state: str
    sentence: str
    ops: list[dict[str, Any]]
    setup: Setup
    classes: int
    weights: Mapping[str, NDArray[np.float32]]
    evaluated: int
    tightness: float | None = None


class Session:
    """A training that can be stepped, looked at, and given other points at any time.

    Adam(0.9, 0.99) on mini-batches from a generator of its own: the same setup, points and steps give the same
    weights. The rate rises over the first steps and then falls as 1 / sqrt(1 + step / 3000): training is open ended.

    Args:
        setup: the network and how it is trained.
        points: what to classify; the wave has points of its own.

    Attributes:
        steps: so far.
        state: "paused", "running" or "finished", as whoever drives the session says, or "diverged".
        sentence: what there is to say about the state.
        version: changes with the points and with a divergence, which a frame shows though no step was made.
    """

    def __init__(self, setup: Setup, points: Points | None = None) -> None:
        if setup.mode == "plane" and points is None:
            raise ValueError("a classifier needs points: sample some, or draw them")
        self.setup, self.version = setup, 0
        self._begin(points)

    def _begin(self, points: Points | None) -> None:
        self.classes = points.classes if points and self.setup.mode == "plane" else 1
        self.model = network(self.setup, self.classes)
        self.generator = torch.Generator().manual_seed(self.setup.seed)
        self.steps, self.epoch, self.state, self.sentence = 0, 0.0, "paused", ""
        self._parameters = list(self.model.parameters())
        self.__dict__.pop("optimizer", None)
        self._good = (0, 0.0, [p.detach().clone() for p in self._parameters])
        self._frame: tuple[tuple[int, int], Frame] | None = None
        self._seen = (0, time.perf_counter())
        self._feed(points)

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Made at the first step: it brings 70 MB of torch along, which a server that only shows frames can spare."""
        return torch.optim.Adam(self._parameters, betas=(0.9, 0.99), fused=True)

    def _feed(self, points: Points | None) -> None:
        self.points = points
        if self.setup.mode == "wave":
            x = 4 * torch.rand(TRAIN, 1, generator=torch.Generator().manual_seed(0)) - 2
            self._exact, self._y = x.double(), square_wave(x)
        else:
            assert points is not None
            self._exact, self._y = torch.tensor(points.x), torch.tensor(points.y)
        self._x = self._exact.float()
        self._batch = min(self.setup.batch, len(self._x))
        self._order, self._next = torch.empty(0, dtype=torch.long), 0
        self.version += 1

    def replace(self, points: Points) -> None:
        """Train on other points from now on; the weights stay unless the number of classes changes."""
        if self.setup.mode == "plane" and points.classes != self.classes:
            self._begin(points)
        else:
            self._feed(points)

    def step(self, n: int = 1) -> None:
        """Train n mini-batches; nothing happens once the training has diverged."""
        for _ in range(n):
            if self.state == "diverged":
                return
            if self.steps % KEEP == 0:
                if not self._sound():
                    return self._diverge()
                self._good = self.steps, self.epoch, [p.detach().clone() for p in self._parameters]
            self.optimizer.param_groups[0]["lr"] = self._rate()
            index = self._draw()
            self.optimizer.zero_grad(set_to_none=True)
            try:
                loss = self._loss(self.model(self._x[index]), self._y[index])
                loss.backward()
            except torch.linalg.LinAlgError:  # an inverse of weights that overflow
                return self._diverge()
            if not math.isfinite(loss.item()):
                return self._diverge()
            self.optimizer.step()
            self.steps += 1
            self.epoch += self._batch / len(self._x)

    def _rate(self) -> float:
        return self.setup.rate * min(1.0, (self.steps + 1) / WARM) / math.sqrt(1 + self.steps / HALF_LIFE)

    def _draw(self) -> Tensor:
        """The next points of a random order; what is left of one that does not fill a batch is passed over."""
        if self._next + self._batch > len(self._order):
            self._order, self._next = torch.randperm(len(self._x), generator=self.generator), 0
        self._next += self._batch
        return self._order[self._next - self._batch : self._next]

    def _loss(self, s: Tensor, y: Tensor) -> Tensor:
        if self.setup.mode == "wave":
            return (s - y).square().mean()
        # a radius of r needs a difference of sqrt(2) r between logits with orthonormal rows
        return offset_cross_entropy(s, y, math.sqrt(2) * self.setup.margin, float(self.setup.temperature))

    def _sound(self) -> bool:
        """Whether the weights are finite, and far from where a bound overflows."""
        peak = torch.stack([p.detach().abs().max() for p in self._parameters]).max()
        return float(peak) < LARGEST  # NaN is not

    @torch.no_grad()
    def _diverge(self) -> None:
        failed = self.steps
        self.steps, self.epoch, weights = self._good
        for p, kept in zip(self._parameters, weights, strict=True):
            p.copy_(kept)
        self.state, self.version = "diverged", self.version + 1
        self.sentence = (
            f"The loss was no longer finite after step {failed}: these are the weights of step {self.steps}. "
            "Lower the rate, then press Reset."
        )

    def frame(self) -> Frame:
        """The weights as they are now, with numbers that belong to them, in float64."""
        if self.state != "diverged" and not self._sound():
            self._diverge()
        key = (self.steps, self.version)
        if self._frame is None or self._frame[0] != key:
            self._frame = (key, self._measure())
        return replace(self._frame[1], state=self.state, sentence=self.sentence, steps_per_second=self._speed())

    def _speed(self) -> float:
        """Steps a second since the frame before."""
        (steps, then), now = self._seen, time.perf_counter()
        self._seen = (self.steps, now)
        return max(0.0, (self.steps - steps) / max(now - then, 1e-6))

    @torch.no_grad()
    def _measure(self) -> Frame:
        weights = {name: p.detach().numpy().copy() for name, p in self.model.named_parameters()}
        common: dict[str, Any] = {
            "steps_per_second": 0.0,
            "state": "",
            "sentence": "",
            "setup": self.setup,
            "weights": weights,
        }
        kept = evenly(len(self._x), EVALUATED)
        x, y = self._exact[kept], self._y[kept]
        if isinstance(self.model, Scaled):
            return self._measure_wave(self.model, x, y, common)
        certifier = Certifier(self.model, (2,))
        certificate = certifier(x)
        correct = certificate.label == y
        return Frame(
            step=self.steps,
            epoch=self.epoch,
            loss=float(self._loss(certificate.logits, y)),
            clean=float(correct.double().mean()),
            certified=float((correct & (certificate.radius > 0)).double().mean()),
            bound=certifier.bound.value,
            lipschitz=certifier.body,
            ops=frozen_ops(certifier.frozen),
            classes=self.classes,
            evaluated=len(kept),
            **common,
        )

    def _measure_wave(self, model: Scaled, x: Tensor, y: Tensor, common: dict[str, Any]) -> Frame:
        frozen = freeze64(model, (1,))
        assert isinstance(frozen, Scaled)
        value = product([model.root, bound_frozen(frozen.body, (1,)).value, model.root])
        found = frozen_ops(frozen, 1)
        with torch.enable_grad():
            tight = tightness(found, value, cells=CELLS)
        return Frame(
            step=self.steps,
            epoch=self.epoch,
            loss=float(self._loss(frozen(x), y.double())),
            clean=None,
            certified=None,
            bound=value,
            lipschitz=value,
            ops=found,
            classes=1,
            evaluated=len(x),
            tightness=tight,
            **common,
        )


def certifier(source: Session | Frame) -> Certifier:
    """The network of a session, or of one frame of it, frozen and bounded in float64."""
    return Certifier(source.model if isinstance(source, Session) else _restored(source), (2,))


def probe(source: Session | Frame, x: ArrayLike, known: Certifier | None = None) -> dict[str, Any]:
    """What `certify` proves at one point, in float64, from the stored weights: label, radius, margin, logits, bounds.

    Args:
        source: a session, or one frame of it.
        x: two numbers.
        known: its `certifier`, where there is one already: to build it takes most of the time.

    Raises:
        ValueError: not a point, or a network of the wave, which has no classes.
    """
    if source.setup.mode != "plane":
        raise ValueError("the square wave has no classes, so no radius: probe a network on points")
    return proved(known or certifier(source), x)


def proved(known: Certifier, x: ArrayLike) -> dict[str, Any]:
    """The same of any network of points.

    Raises:
        ValueError: not a point.
    """
    try:
        point = torch.tensor(np.asarray(x, dtype=np.float64).reshape(1, 2))
    except (ValueError, TypeError, OverflowError):
        point = torch.full((1, 2), math.nan)
    if not point.isfinite().all():
        raise ValueError(f"a point of the plane is two finite numbers, got {str(x)[:60]}")
    found = known(point)
    return {
        "label": int(found.label[0]),
        "radius": float(found.radius[0]),
        "margin": float(found.margin[0]),
        "logits": found.logits[0].tolist(),
        "lipschitz": known.body,
        "bound": known.bound.value,
    }


def _restored(frame: Frame) -> nn.Module:
    model = network(frame.setup, frame.classes)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.tensor(frame.weights[name]))
    return model
