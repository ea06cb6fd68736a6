"""The numbers of runs that stand beside each other: a line for each setting, its seeds together with their spread.

Everything comes from the run folders. What a folder does not hold is None, and `missing` says in words what that costs.
"""

import math
import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from lipviz import protocols
from lipviz.runs import MARKS, Run, RunError, table

T = TypeVar("T")

REACH = 510  # the largest radius asked for, in 1/255

# what can stand against certified accuracy: key -> (name, unit in the table, digits)
AXES = {
    "clean": ("clean accuracy", "%", 1),
    "parameters": ("parameters", "", 0),
    "epoch_seconds": ("seconds an epoch", "", 1),
    "forward": ("frozen forward pass", "µs an image", 1),
    "memory": ("memory of a training step", "MiB", 1),
}


@dataclass(frozen=True)
class Standing:
    """One line of a ranking: the mean over the seeds of one setting.

    Attributes:
        name: of the run, of the one with the smallest seed.
        row: of LAYERS.
        runs: all seeds.
        curves: for each seed certified accuracy in percent at 0, 1, 2, ... /255; the first is the clean accuracy. Empty
            where certificates.csv of a seed is missing: no mean is over fewer seeds than the others.
        numbers: key -> mean over the seeds that have it; see `measured`.
        lacks: sentences on what the folders do not hold.
        broken: names of the runs in which an attack ended inside a certified radius: a bug.
    """

    name: str
    row: str
    runs: tuple[Run, ...]
    curves: tuple[tuple[float, ...], ...]
    numbers: Mapping[str, float | None]
    lacks: tuple[str, ...] = field(default=())
    broken: tuple[str, ...] = field(default=())

    @property
    def clean(self) -> float | None:
        """Clean accuracy in percent."""
        return self.numbers["clean"]

    def certified(self, k: int) -> float | None:
        """Certified accuracy at k/255 in percent, the mean over the seeds.

        Where certificates.csv is missing, from run.json at the radii that it holds.
        """
        if k == 0:
            return self.clean
        if self.curves:
            return statistics.fmean(curve[min(k, len(curve) - 1)] for curve in self.curves)
        return self.numbers.get(f"certified_{k}")

    def spread(self, k: int) -> tuple[float, float] | None:
        """Smallest and largest over the seeds of the certified accuracy at k/255; None with one seed."""
        values = [curve[min(k, len(curve) - 1)] for curve in self.curves]
        return (min(values), max(values)) if len(values) > 1 else None


def standings(runs: Iterable[Run]) -> list[Standing]:
    """A line for each setting, by name; runs that differ in the seed only share one."""
    found = [_standing(seeds) for seeds in protocols.seeds(sorted(runs, key=lambda run: run.name))]
    return sorted(found, key=lambda standing: standing.name)


def _standing(runs: Sequence[Run]) -> Standing:
    lacks: list[str] = []
    curves = [curve for run in runs if (curve := _told(run, certified_curve, lacks, "certificates.csv", CURVE))]
    each = [measured(run, lacks) for run in runs]
    keys = dict.fromkeys(key for numbers in each for key in numbers)
    means = {key: _mean([numbers.get(key) for numbers in each]) for key in keys}
    first, whole = runs[0], tuple(curves) if len(curves) == len(runs) else ()
    broken = tuple(run.name for run, numbers in zip(runs, each, strict=True) if numbers.get("broken"))
    return Standing(first.name, first.spec.layer, tuple(runs), whole, means, tuple(dict.fromkeys(lacks)), broken)


CURVE = "it is ranked at 36, 72, 108 and 255/255 only, from run.json"
ATTACK = "there is no median of certified radius / distance found"


def certified_curve(run: Run) -> tuple[float, ...] | None:
    """Percent of the test inputs that are right (first entry) and right with a radius above k/255 for k = 1, 2, ...

    Up to the largest radius, at most REACH; the last entry holds for all that follow. None without certificates.
    """
    found = run.certificates
    if found is None or not len(found.radius):
        return None
    radii = np.sort(found.radius[found.correct])
    top = math.ceil(min(255 * radii.max(initial=0.0), REACH))
    eps = np.arange(1, max(top, MARKS[-1]) + 1) / 255
    above = len(radii) - np.searchsorted(radii, eps, side="right")
    return tuple(100 * (np.concatenate([[len(radii)], above]) / len(found.radius)))  # as of the shares in run.json


def measured(run: Run, lacks: list[str] | None = None) -> dict[str, float | None]:
    """The numbers of one run.

    clean, certified_k (percent), parameters, epochs, seconds (of training), core_seconds, epoch_seconds (see
    `epoch_seconds`), images_per_second, bound, forward (µs an image) and memory (MiB) where run.json has them,
    tightness (median of certified radius / smallest distance an attack found), attacked (inputs), broken (attacks that
    ended inside a radius: a bug).
    """
    lacks = [] if lacks is None else lacks
    config = run.config
    results, certified = run.results, table(run.results.get("certified"))
    numbers: dict[str, float | None] = {"clean": _percent(results.get("accuracy"))}
    numbers |= {f"certified_{k}": _percent(certified.get(str(k))) for k in MARKS}
    numbers |= {"parameters": _number(config.get("parameters")), "epochs": _number(config.get("epoch"))}
    numbers |= {"seconds": _number(config.get("train_seconds")), "core_seconds": _number(config.get("core_seconds"))}
    numbers["epoch_seconds"] = epoch_seconds(run)
    forward, memory = _number(config.get("forward_seconds")), _number(config.get("memory_bytes"))
    numbers["forward"] = None if forward is None else 1e6 * forward
    numbers["memory"] = None if memory is None else memory / 2**20
    numbers["bound"] = _number(results.get("bound"))
    metrics = _told(run, lambda run: run.metrics or None, lacks, "metrics.csv", "there are no images a second") or {}
    speed = metrics.get("images_per_second")
    numbers["images_per_second"] = _number(speed[-1]) if speed is not None and len(speed) else None
    return numbers | (_told(run, attacks, lacks, "attacks.npz", ATTACK) or {"tightness": None})


def epoch_seconds(run: Run) -> float | None:
    """What an epoch of training took: core-seconds on a CPU, where other work slows the clock, else seconds.

    The training as a whole says nothing here: within a ranking it is the same budget for all.
    """
    whole = _number(run.config.get("core_seconds" if protocols.on_cpu(run) else "train_seconds"))
    epochs = _number(run.config.get("epoch"))
    return None if whole is None or not epochs else whole / epochs


def epoch_title(runs: Iterable[Run]) -> str:
    """What `epoch_seconds` counts for these runs."""
    kinds = {"core-seconds" if protocols.on_cpu(run) else "seconds" for run in runs}
    return f"{' or '.join(sorted(kinds))} an epoch"


def attacks(run: Run) -> dict[str, float | None] | None:
    """tightness, attacked and broken of attacks.npz; None where there is none.

    Raises:
        RunError: the file is not what `lipviz attack` writes.
    """
    found = run.attacks
    if found is None:
        return None
    tightness, attacked = float(np.median(found.tightness)), float(len(found.index))
    return {"tightness": tightness, "attacked": attacked, "broken": float(found.broken)}


def ranks(values: Sequence[float]) -> list[float]:
    """1 for the largest; equal values share the mean of their places.

    >>> ranks([5.0, 7.0, 5.0])
    [2.5, 1.0, 2.5]
    """
    return [1 + sum(w > v for w in values) + (sum(w == v for w in values) - 1) / 2 for v in values]


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation: that of Pearson between the ranks; None with fewer than three or all equal.

    >>> spearman([1.0, 2.0, 3.0], [1.0, 4.0, 9.0]), spearman([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]), spearman([1.0], [1.0])
    (1.0, -1.0, None)
    """
    x, y = (np.array(ranks(values)) for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if len(a) > 2 and size > 0 else None


def unranked(runs: Iterable[Run]) -> list[tuple[str, str]]:
    """(run, why) of runs that cannot stand in a ranking: not finished, or without numbers of a test set."""
    found = []
    for run in runs:
        if run.config["state"] != "finished":
            found.append((run.name, f"is {run.config['state']}"))
        elif _percent(run.results.get("accuracy")) is None:
            found.append((run.name, "has no results in its run.json"))
    return found


def _told(run: Run, get: Callable[[Run], T | None], lacks: list[str], file: str, cost: str) -> T | None:
    """What `get` finds; None, and a sentence in `lacks`, where the file is missing or broken."""
    try:
        found = get(run)
    except RunError as error:
        said = str(error).replace(f"{run.folder}{os.sep}", "")
        lacks.append(f"{run.name}: {said}; {cost}.")
        return None
    if found is None:
        lacks.append(f"{run.name} has no {file}: {cost}.")
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _number(value: Any) -> float | None:  # noqa: ANN401
    return float(value) if protocols.is_number(value) else None


def _percent(share: Any) -> float | None:  # noqa: ANN401
    number = _number(share)
    return None if number is None or not 0 <= number <= 1 else 100 * number
