"""Which runs may stand in one ranking: those of equal protocol, and what sets two protocols apart.

Equal: data with its notes, unit and norm, network but for its layers, initial weights, loss, schedule, augmentation,
held-out share, test inputs, number format, and the budget of training. The budget is in seconds where run.json has one,
else in epochs. What a row may choose for itself is its peak learning rate and its batch; and the seed, which is what a
spread is taken over.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeGuard

from lipviz.recipes import Recipe

if TYPE_CHECKING:
    from lipviz.runs import Run

WORDS = {
    "data": "the data set",
    "notes": "the notes on the data",
    "unit": "norm and unit",
    "network": "the network",
    "offset": "the loss offset",
    "temperature": "the temperature",
    "focus": "the focus of the loss",
    "rise": "the rise of the learning rate",
    "start": "the initial weights",
    "augmentation": "the augmentation",
    "held_out": "the held-out share",
    "test_images": "the number of test inputs",
    "precision": "the number format",
    "budget": "the budget",
}
UNSAID = "not said"
# the recipes of older runs lack these
LATER: dict[str, Any] = {name: getattr(Recipe, name) for name in ("focus", "rise", "start")}


@dataclass(frozen=True)
class Protocol:
    """All that must be equal, in words; UNSAID where run.json does not say."""

    data: str
    notes: str
    unit: str
    network: str
    offset: str
    temperature: str
    focus: str
    rise: str
    start: str
    augmentation: str
    held_out: str
    test_images: str
    precision: str
    budget: str

    def sentence(self) -> str:
        """What the runs of a group share."""
        notes = f" ({self.notes.rstrip('.')})" if self.notes else ""
        return (
            f"Data: {self.data}{notes}, {self.test_images} test inputs. Norm: {self.unit}. Network: {self.network}. "
            f"Loss: offset cross-entropy with offset {self.offset}, temperature {self.temperature}"
            f"{f' and focus {self.focus}' if self.focus != '0' else ''}. "
            f"The learning rate rises over {self.rise} of the steps. "
            f"{f'Weights start {self.start}. ' if self.start != Recipe.start else ''}"
            f"Augmentation: {self.augmentation}. Held out for the curves: {self.held_out} of the training set. "
            f"Number format of training: {self.precision}. Budget: {self.budget}."
        )


@dataclass(frozen=True)
class Group:
    """Runs of one protocol.

    Attributes:
        label: short and its own.
        protocol: what they share.
        runs: by name.
    """

    label: str
    protocol: Protocol
    runs: tuple["Run", ...]


def protocol(run: "Run") -> Protocol:
    """The protocol of a finished run."""
    config = run.config
    recipe, results = LATER | run.recipe, run.results
    return Protocol(
        data=run.data_name,
        notes=" ".join(run.notes),
        unit=str(results.get("norm") or UNSAID),
        network=_network(config["spec"]),
        offset=_number(recipe.get("offset")),
        temperature=_number(recipe.get("temperature")),
        focus=_number(recipe["focus"]),
        rise=_percent(recipe["rise"]),
        start=str(recipe["start"]),
        augmentation=_augmentation(recipe),
        held_out=_percent(recipe.get("held_out")),
        test_images=_number(results.get("test_images")),
        precision=str(config.get("precision") or "float32"),
        budget=budget(run),
    )


def budget(run: "Run") -> str:
    """Seconds of one core on a CPU or of the clock on a GPU where the run was made to fit them, else its epochs."""
    seconds, recipe = run.config.get("budget"), run.recipe
    if is_number(seconds):
        return f"{seconds:g} s of one CPU core" if on_cpu(run) else f"{seconds:g} s on {_hardware(run)}"
    epochs = recipe.get("epochs")
    return f"{epochs} epochs, whatever they took" if is_number(epochs) else UNSAID


def on_cpu(run: "Run") -> bool:
    """Whether the run was trained on a CPU, where seconds are those that cores worked."""
    return _hardware(run).startswith("CPU")


def _hardware(run: "Run") -> str:
    return str(run.config.get("hardware") or UNSAID)


def groups(runs: Iterable["Run"]) -> list[Group]:
    """Runs by protocol: images first, CIFAR-10 before others, the larger group before the smaller.

    A label says what its group is, never how large it is: addresses hold labels, and more runs may come.
    """
    found: dict[Protocol, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.name):
        found.setdefault(protocol(run), []).append(run)

    def rank(item: tuple[Protocol, list["Run"]]) -> tuple[bool, bool, str, int, str]:
        shared, members = item
        shape = members[0].config["spec"].get("input_shape", ())
        return len(shape) != 3, shared.data != "cifar10", shared.data, -len(members), repr(shared)

    labels = _labels(list(found))
    return [Group(labels[shared], shared, tuple(members)) for shared, members in sorted(found.items(), key=rank)]


LONGEST = 40  # characters of what sets labels apart


def _labels(protocols: Sequence[Protocol]) -> dict[Protocol, str]:
    """Data and budget, and what differs between those of which both are the same."""
    alike: dict[str, list[Protocol]] = {}
    for each in protocols:
        alike.setdefault(f"{each.data}, {each.budget.partition(',')[0]}", []).append(each)
    made = {}
    for label, those in alike.items():
        apart = [", ".join(_apart(each, those)) for each in those]
        clear = len(set(apart)) == len(those) and max(map(len, apart)) <= LONGEST
        for each, said in zip(those, apart, strict=True):
            short = said if clear else f"protocol {sha256(repr(each).encode()).hexdigest()[:6]}"
            made[each] = f"{label}, {short}" if those[1:] else label
    return made


def _apart(one: Protocol, those: Sequence[Protocol]) -> Iterator[str]:
    """What this protocol says and not all of those do, such as "offset 0.5"; of the network its parts."""
    for field in fields(Protocol):
        values = [getattr(each, field.name) for each in those]
        if len(set(values)) > 1 and field.name == "network":
            shared = set.intersection(*(set(value.split(", ")) for value in values))
            yield from (part for part in one.network.split(", ") if part not in shared)
        elif len(set(values)) > 1:
            yield f"{field.name.replace('_', ' ')} {getattr(one, field.name) or 'none'}"


def differ(a: Protocol, b: Protocol) -> str:
    """How two protocols differ, in one sentence."""
    found = [
        f"{WORDS[field.name]} ({getattr(a, field.name) or 'none'} against {getattr(b, field.name) or 'none'})"
        for field in fields(Protocol)
        if getattr(a, field.name) != getattr(b, field.name)
    ]
    if not found:
        return "They have one protocol."
    return f"They differ in {', '.join(found[:-1])}{' and ' if found[1:] else ''}{found[-1]}."


def one_seed(run: "Run") -> str:
    """The same for runs that differ in the seed only; with a budget the epochs that fitted it may differ too."""
    recipe = LATER | run.recipe
    recipe.pop("seed", None)
    if is_number(run.config.get("budget")):
        recipe.pop("epochs", None)
    return json.dumps([repr(protocol(run)), run.config["spec"], recipe], sort_keys=True, default=str)


def seeds(runs: Sequence["Run"]) -> list[list["Run"]]:
    """The runs, those that differ in the seed only together, the smallest seed first.

    A seed that is there already opens another line: two trainings of one seed are no spread over seeds.
    """
    found: dict[tuple[str, int], list[Run]] = {}
    times: Counter[tuple[str, float]] = Counter()
    for run in runs:
        key = one_seed(run)
        found.setdefault((key, times[key, seed(run)]), []).append(run)
        times[key, seed(run)] += 1
    return [sorted(each, key=lambda run: (seed(run), run.name)) for each in found.values()]


def seed(run: "Run") -> float:
    """The seed of the run; infinite where it is not said."""
    value = run.recipe.get("seed")
    return float(value) if is_number(value) else float("inf")


def _network(spec: Mapping[str, Any]) -> str:
    """All of the Spec but its layers."""
    rest = {key: value for key, value in spec.items() if key not in ("layer", "kind")}
    shape = rest.pop("input_shape", ())
    size = "x".join(map(str, shape)) if isinstance(shape, list | tuple) else str(shape)
    parts = [f"{key.replace('_', ' ')} {_plain(value)}" for key, value in rest.items()]
    return f"{spec.get('kind', UNSAID)} on {size}, {', '.join(parts)}"


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _augmentation(recipe: Mapping[str, Any]) -> str:
    pad, flip = recipe.get("pad"), recipe.get("flip")
    if pad is None and flip is None:
        return UNSAID
    parts = [f"crop {pad}"] * bool(pad) + ["flip"] * bool(flip)
    return " and ".join(parts) or "none"


def _percent(share: object) -> str:
    return f"{100 * float(share):.4g} %" if is_number(share) else UNSAID


def _number(value: object) -> str:
    return (
        f"{value:.6g}" if is_number(value) and not isinstance(value, int) else UNSAID if value is None else str(value)
    )


def is_number(value: object) -> TypeGuard[float]:
    """Whether run.json says a number that can be reckoned with: finite, and not too large for a float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(abs(value) < 1e300)
