"""AutoAttack at one radius: how many right answers it leaves, beside how many are certified.

Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks", ICML
2020, by the package pyautoattack, `version="standard"`: APGD on the cross-entropy, targeted APGD on the ratio of logit
differences, targeted FAB, and Square, each on what those before it left. It attacks answers that are right by the
labels of the data set; `lipviz.attacks` attacks every prediction and looks for the smallest change.

Nothing it returns is believed. Each example is drawn back to the radius, and counts only where it lies in [0, 1], its
float64 norm is at most the radius and the float64 network answers something else. What came out is kept in the run
folder as autoattack.json.

On an answer that holds, of the runs that ship, Square takes half of the processor time of the standard protocol, FAB a
third and APGD the rest: where time is short, fewer images, or APGD alone (`parts`), which is not the standard protocol
and says so.
"""

import json
import logging
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lipviz.attacks import images_of
from lipviz.certify import Certifier, in_unit
from lipviz.runs import Run, RunError, write_json

FILE = "autoattack.json"
PARTS = ("apgd-ce", "apgd-t", "fab-t", "square")
TARGETS = 9  # classes that the targeted parts go for, where there are as many
BATCH = 100
INWARD = 1 - 1e-12  # rounding of a norm

Evaluate = Callable[[nn.Module, Tensor, Tensor, "Plan"], Tensor]


@dataclass(frozen=True)
class Plan:
    """What is run; as it stands, the standard protocol at 36/255.

    Attributes:
        eps: the radius, l2, pixels in [0, 1].
        parts: of PARTS, in their order; the standard protocol has all four.
        steps: of each run of APGD and FAB; 100 in the standard protocol.
        queries: of Square; 5,000 in the standard protocol.
        seed: of the starting points.
    """

    eps: float = 36 / 255
    parts: tuple[str, ...] = PARTS
    steps: int = 100
    queries: int = 5000
    seed: int = 0

    def __post_init__(self) -> None:
        if not (isinstance(self.eps, float) and 0 < self.eps < math.inf):
            raise ValueError(f"eps must be a radius above 0 such as 36/255, got {self.eps!r}")
        if not self.parts or list(self.parts) != [part for part in PARTS if part in self.parts]:
            raise ValueError(f"parts must be some of {', '.join(PARTS)}, in this order, got {', '.join(self.parts)}")
        for name, least in (("steps", 1), ("queries", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")

    @property
    def standard(self) -> bool:
        """Whether it is the reference protocol, nothing left out or cut short."""
        return (self.parts, self.steps, self.queries) == (PARTS, Plan.steps, Plan.queries)

    def __str__(self) -> str:
        of = "standard" if self.standard else f"not the standard protocol, only {' + '.join(self.parts)}"
        sizes = [f"{self.steps} steps"] if set(self.parts) != {"square"} else []
        sizes += [f"{self.queries:,} queries"] if "square" in self.parts else []
        return f"AutoAttack ({of}; {', '.join(sizes)}, seed {self.seed}) at {radius_text(self.eps)}, l2, in [0, 1]"


@dataclass(frozen=True)
class Outcome:
    """What AutoAttack left of the right answers on evenly spaced test images.

    Attributes:
        plan: what was run.
        package: with its version.
        images: of the test set.
        right: answered right.
        certified: right, with a certified radius above eps.
        broken: right, and a checked change within eps gave another answer.
        inside: of these, within the certified radius: must be 0.
        remarks: warnings of the package.
    """

    plan: Plan
    package: str
    images: int
    right: int
    certified: int
    broken: int
    inside: int
    remarks: tuple[str, ...] = ()

    @property
    def left(self) -> int:
        """Right answers that no checked change within eps altered; an upper bound of what is robust."""
        return self.right - self.broken

    def text(self) -> str:
        """The outcome in words."""
        share = {name: f"{100 * getattr(self, name) / self.images:.1f} %" for name in ("right", "certified", "left")}
        where = radius_text(self.plan.eps)
        return "\n".join([
            f"{self.images} test images, {self.plan}, {self.package}",
            f"right {share['right']}, under attack {share['left']}, certified at {where} {share['certified']}",
            f"{self.broken} right answers changed, {self.inside} inside a certified radius",
            *(f"note: {remark}" for remark in self.remarks),
        ])  # fmt: skip


def radius_text(eps: float) -> str:
    """A radius as k/255 where it is one.

    >>> radius_text(36 / 255), radius_text(0.5)
    ('36/255', '0.5')
    """
    k = round(255 * eps)
    return f"{k}/255" if abs(255 * eps - k) < 1e-9 else f"{eps:g}"


def attack_run(run: Run, source: str, images: int = 200, plan: Plan | None = None) -> Outcome:
    """Run AutoAttack on evenly spaced test images of a run, and keep the outcome in its autoattack.json.

    Raises:
        ValueError: the data is not that of the run, or the network has too few classes.
    """
    x, y, _ = images_of(run, source, images)
    outcome = evaluate(Certifier(run.model, run.spec.input_shape), x, y, plan)
    write_json(run.folder / FILE, asdict(outcome))
    return outcome


def evaluate(
    certifier: Certifier,
    images: Tensor,
    label: Int64[Tensor, " b"],
    plan: Plan | None = None,
    by: Evaluate | None = None,
) -> Outcome:
    """Attack the images that are answered right, and check what comes back.

    Args:
        certifier: of the network.
        images: as a Certifier takes them.
        label: of the data set.
        plan: what is run.
        by: stands in for the package: (float32 network, images, labels, plan) -> examples.

    Raises:
        ValueError: points instead of images, or fewer than four classes.
    """
    plan = plan or Plan()
    x = in_unit(images)
    certificate = certifier(x)
    if x.ndim != 4 or certificate.logits.shape[1] < 4 or min(x.shape[2:]) < 5:
        got = f"{certificate.logits.shape[1]} classes of inputs {tuple(x.shape[1:])}"
        raise ValueError(
            f"AutoAttack needs images of at least 5x5 pixels and four classes, got {got}: attack without --auto"
        )
    with _listening() as remarks:
        package = "a stand-in" if by else f"pyautoattack {_pyautoattack_version()}"
        fast = deepcopy(certifier.frozen).float().eval()
        right = certificate.label == label
        some, goal, radius = x[right], label[right], certificate.radius[right]
        found = [(by or _standard)(fast, a.float(), b, plan) for a, b in _batches(some, goal)]
    distance = checked(certifier.frozen, some, torch.cat(found) if found else some, goal, plan.eps)
    masks = right, radius > plan.eps, distance.isfinite(), distance < radius
    answered, certified, broken, inside = (int(mask.sum()) for mask in masks)
    return Outcome(plan, package, len(x), answered, certified, broken, inside, tuple(remarks))


@torch.no_grad()
def checked(
    model: nn.Module, x: Float[Tensor, "b ..."], found: Tensor, label: Int64[Tensor, " b"], eps: float
) -> Float[Tensor, " b"]:
    """l2 norm of each change, drawn back to eps; infinite where the point leaves [0, 1] or the label stays.

    Args:
        model: float64.
        x: images in [0, 1].
        found: what an attack returned, of any precision.
        label: to be changed.
        eps: the radius.
    """
    change = found.detach().to(x) - x
    size = change.flatten(1).norm(dim=1).clamp_min(1e-300)
    shrink = (eps / size * INWARD).clamp_max(1.0)
    point = (x + shrink.view(-1, *[1] * (x.ndim - 1)) * change).clamp(0, 1)  # between two pictures but for rounding
    distance = (point - x).flatten(1).norm(dim=1)
    inside = ((found >= 0) & (found <= 1)).flatten(1).all(1) & (distance <= eps)
    return torch.where(inside & (model(point).argmax(1) != label), distance, torch.inf)


def _batches(x: Tensor, label: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(x.split(BATCH), label.split(BATCH), strict=True) if len(x) else iter(())


def _pyautoattack_version() -> str:
    try:
        import pyautoattack  # noqa: F401
    except ModuleNotFoundError:
        raise ModuleNotFoundError("AutoAttack needs pyautoattack: pip install -e '.[attack]'") from None
    return version("pyautoattack")


def _standard(model: nn.Module, x: Tensor, label: Tensor, plan: Plan) -> Tensor:
    """The examples of the package for a few images, the images themselves where it found none."""
    from pyautoattack import AutoAttack

    # with all four parts and 9 targets the lines below set what "standard" sets
    run = AutoAttack(
        model, norm="L2", eps=plan.eps, seed=plan.seed, device=x.device, version="custom", attacks=list(plan.parts)
    )
    with torch.no_grad():
        classes = model(x[:1]).shape[1]
    run.apgd.n_restarts = run.apgd_targeted.n_restarts = run.fab.n_restarts = 1
    run.apgd_targeted.n_target_classes = run.fab.n_target_classes = min(TARGETS, classes - 1)
    run.apgd.n_iter = run.apgd_targeted.n_iter = run.fab.n_iter = plan.steps
    run.square.n_queries = plan.queries
    trace = sys.gettrace()  # it looks for dynamic networks with a tracer of its own, and leaves none behind
    try:
        with torch.random.fork_rng(devices=[]):
            return run.run_standard_evaluation(x, label, batch_size=BATCH)[0]
    finally:
        sys.settrace(trace)


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What the package warns of, instead of on standard error."""
    said: dict[str, None] = {}

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said[" ".join(record.getMessage().split())] = None

    logger, kept = logging.getLogger("auto-attack"), Kept(logging.WARNING)
    remarks: list[str] = []
    before, logger.propagate = logger.propagate, False
    logger.addHandler(kept)
    try:
        yield remarks
    finally:
        logger.removeHandler(kept)
        logger.propagate = before
        remarks += said


def read(run: Run) -> Outcome | None:
    """The outcome kept in a run folder; None where there is none.

    Raises:
        RunError: the file is not what `lipviz attack --auto` writes.
    """
    path = run.folder / FILE
    if not path.exists():
        return None
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        given = kept.pop("plan")
        plan = Plan(**{**given, "parts": tuple(given["parts"])})
        outcome = Outcome(**{**kept, "plan": plan, "remarks": tuple(kept["remarks"])})
        counts = [outcome.images, outcome.right, outcome.certified, outcome.broken, outcome.inside]
        ordered = counts[0] >= counts[1] >= max(counts[2:4]) and counts[3] >= counts[4]
        if not ordered or any(type(count) is not int or count < 0 for count in counts):
            raise ValueError("impossible counts")
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise RunError(f"{path}: not a file of `lipviz attack --auto`: run it again") from None
    return outcome
