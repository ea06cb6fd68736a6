"""The zoo: the runs that ship, trained from one file by one command, which goes on where it was stopped.

    lipviz zoo checkpoints/zoo.toml --data FOLDER --workers 2

The file has one table a data set: `rows`, `notes`, and for each kind of device (`cpu`, `cuda`) one network `spec`, one
`recipe`, the `lr` of the rows that need another one, and the budget `seconds`: of one core on a CPU, of the clock on a
GPU. How many epochs fit is measured before a run begins. `[[... .best]]` are more runs, each with a table of its own.
"""

import os
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from tqdm import tqdm

from lipviz import data as datasets
from lipviz import runs
from lipviz.certify import Certifier, certified_accuracy
from lipviz.compiled import Choice
from lipviz.layers import LAYERS
from lipviz.networks import Spec
from lipviz.recipes import Recipe, channel_means
from lipviz.train import NOWHERE, Trainer, recipe_of

WARM_UP, TIMED = 3, 12  # steps before and behind the time of one

# of each table: the keys it must have, and those it may have
SET = ({"rows"}, {"notes", "cpu", "cuda"})
PART = ({"seconds", "spec", "recipe"}, {"lr", "best"})
BEST = ({"layer", "seconds"}, {"name", "spec", "recipe"})
# what a file may set; the rest follows from the row, the data and --seeds
SPEC: tuple[set[str], set[str]] = (set(), {f.name for f in fields(Spec)} - {"layer", "kind", "input_shape", "classes"})
RECIPE: tuple[set[str], set[str]] = (set(), {f.name for f in fields(Recipe)} - {"seed", "epochs"})
TRIED = RECIPE[1] | {"epochs"}  # what a try may set: the budget of its own, or so many epochs


@dataclass(frozen=True)
class Entry:
    """One run of the zoo.

    Attributes:
        name: of its folder, such as "cifar10-aol".
        source: the data set, a folder below the one with the data.
        layer: a row of LAYERS.
        seconds: the budget of training, without evaluations.
        spec: fields of Spec apart from those that the data decides.
        recipe: fields of Recipe apart from the epochs.
        notes: sentences on the data, kept beside its numbers.
    """

    name: str
    source: str
    layer: str
    seconds: float
    spec: Mapping[str, Any]
    recipe: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lists = {name: tuple(value) for name, value in self.spec.items() if isinstance(value, list)}
        object.__setattr__(self, "spec", {**self.spec, **lists})  # as a Spec keeps them

    def network(self, data: datasets.Data) -> Spec:
        """The Spec for the data."""
        mean = tuple(round(float(m), 4) for m in channel_means(data.x))
        shape = data.input_shape
        return Spec(self.layer, "convnet", shape, len(data.classes), **{"mean": mean, **self.spec})


def read(path: str | Path, device: str = "cpu") -> list[Entry]:
    """The runs that a zoo file lists for "cpu" or "cuda", rows in their order, `best` last.

    Raises:
        ValueError: a file that is missing, not TOML, or has a table or key that is not known.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable TOML file ({error})") from None
    found = []
    for source, table in tables.items():
        _check(path, source, table, SET)
        part = table.get(device)
        if part is None:
            raise ValueError(f"{path}: {source} has no table for {device!r}: add [{source}.{device}]")
        _check(path, f"{source}.{device}", part, PART)
        _check(path, f"{source}.{device}.spec", part["spec"], SPEC)
        _check(path, f"{source}.{device}.recipe", part["recipe"], RECIPE)
        notes, rates = tuple(table.get("notes", ())), part.get("lr", {})
        if strange := sorted(set(rates) - set(table["rows"])):
            raise ValueError(f"{path}: {source}.{device}.lr names {strange[0]!r}, which is not among its rows")
        for row in table["rows"]:
            recipe = part["recipe"] | ({"lr": rates[row]} if row in rates else {})
            found.append(Entry(f"{source}-{row}", source, row, float(part["seconds"]), part["spec"], recipe, notes))
        bests = part.get("best", [])
        if not isinstance(bests, list):
            raise ValueError(f"{path}: expected tables [[{source}.{device}.best]], got a single one")
        for best in bests:
            where = f"{source}.{device}.best"
            _check(path, where, best, BEST)
            _check(path, f"{where}.spec", best.get("spec", {}), SPEC)
            _check(path, f"{where}.recipe", best.get("recipe", {}), RECIPE)
            name = f"{source}-{best.get('name', 'best')}"
            spec, recipe = part["spec"] | best.get("spec", {}), part["recipe"] | best.get("recipe", {})
            found.append(Entry(name, source, best["layer"], float(best["seconds"]), spec, recipe, notes))
    if strange := sorted({entry.layer for entry in found} - set(LAYERS)):
        raise ValueError(f"{path}: no layer is called {strange[0]!r}, expected one of {', '.join(LAYERS)}")
    return found


def chosen(entries: Sequence[Entry], names: Sequence[str] | None = None) -> list[Entry]:
    """Those of the names in their order, all where there are none; raises ValueError on one that the zoo has not."""
    known = {entry.name: entry for entry in entries}
    if strange := sorted(set(names or ()) - set(known)):
        raise ValueError(f"the zoo has no {strange[0]!r}: choose from {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names or known)]


def _check(path: Path, name: str, table: object, keys: tuple[set[str], set[str]]) -> None:
    needed, optional = keys
    if not isinstance(table, dict):
        raise ValueError(f"{path}: expected a table [{name}], got {table!r}")
    if missing := sorted(needed - set(table)):
        raise ValueError(f"{path}: [{name}] needs the key {missing[0]!r}")
    if strange := sorted(set(table) - needed - optional):
        known = ", ".join(sorted(needed | optional))
        raise ValueError(f"{path}: [{name}] has the key {strange[0]!r}, expected {known}")


def fitting(
    spec: Spec, recipe: Recipe, data: datasets.Data, seconds: float, device: str = "cpu", compile: bool | None = None
) -> tuple[int, Choice]:
    """How many epochs of training take `seconds`, by the time of a few steps of a network that is thrown away.

    Seconds of one core on a CPU, which other work on the machine leaves alone, and of the clock on a GPU. The steps are
    compiled where that was faster, which is returned too; compiling is not part of the seconds.
    """
    trainer = Trainer(NOWHERE, spec, recipe, data, device, budget=seconds, compile=compile)
    choice = trainer.prepare()
    index = torch.arange(recipe.batch, device=trainer.device) % len(trainer.x)

    def now() -> float:
        if trainer.device.type != "cuda":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def steps(count: int) -> None:
        for _ in range(count):
            trainer.step(*trainer.batch(index), recipe.lr)

    steps(WARM_UP)
    started = now()
    steps(TIMED)
    return max(1, int(seconds / ((now() - started) / TIMED * trainer.steps))), choice


def train(
    entry: Entry,
    data: str | Path,
    out: str | Path,
    device: str = "cpu",
    seed: int = 0,
    compile: bool | None = None,
) -> runs.Run:
    """Train one run of the zoo, or go on with it, or return it where it is finished.

    Args:
        entry: which.
        data: the folder that holds the data sets, each a folder or zip of images.
        out: the folder of the run's folder.
        device: "cpu" or "cuda".
        seed: of everything random; from 1 on it is part of the name.
        compile: try the compiler; None on a GPU only.

    Raises:
        ValueError: the folder holds a run that was trained in another way than the entry says.
    """
    folder = Path(out) / (f"{entry.name}-seed{seed}" if seed else entry.name)
    before = _there(folder)
    if before:
        _same(before, entry, seed)
    if before and before.config["state"] == "finished":
        return before
    origin = Path(data) / entry.source
    loaded = _load(origin, seed)
    loaded = replace(loaded, notes=(*entry.notes, *loaded.notes))
    if before and (folder / "resume.safetensors").exists():
        return Trainer(
            folder, before.spec, recipe_of(before), loaded, device, entry.source, resume=True, compile=compile
        ).run(False)
    spec, recipe = entry.network(loaded), Recipe(**entry.recipe, seed=seed)
    epochs, choice = fitting(spec, recipe, loaded, entry.seconds, device, compile)
    recipe = Recipe(**{**entry.recipe, "epochs": epochs, "seed": seed})
    return Trainer(
        folder, spec, recipe, loaded, device, entry.source, budget=entry.seconds, compile=compile, choice=choice
    ).run(False)


@lru_cache(maxsize=1)
def _load(source: Path, seed: int) -> datasets.Data:
    """Runs of one data set follow each other, and decoding its images takes as long as an epoch of training."""
    return datasets.load(source, seed=seed)


def _same(run: runs.Run, entry: Entry, seed: int) -> None:
    """Raise where a stored run is not the entry's: runs of two protocols would stand in one table."""
    spec, recipe = run.spec.to_json(), asdict(recipe_of(run))
    stored = {**spec, **recipe, "budget": run.config.get("budget")}
    asked = {"layer": entry.layer, **entry.spec, **entry.recipe, "seed": seed, "budget": entry.seconds}
    if other := [name for name, value in asked.items() if stored[name] != value]:
        name = other[0]
        raise ValueError(
            f"{run.folder} was trained with {name} {stored[name]}, the zoo asks for {asked[name]}: "
            "move it away, or give another --out"
        )


def changed(entry: Entry, changes: Sequence[str], seconds: float | None = None) -> Entry:
    """An entry with fields of its spec or recipe set anew, such as "lr=0.003" or "depth=6", and another budget.

    Raises:
        ValueError: not NAME=NUMBER, or a name that neither the spec nor the recipe has.
    """
    spec, recipe = dict(entry.spec), dict(entry.recipe)
    for change in changes:
        name, _, value = change.partition("=")
        parts = [part for part, names in ((spec, SPEC[1]), (recipe, TRIED)) if name in names]
        try:
            parts[0][name] = tomllib.loads(f"value = {value}")["value"]
        except (IndexError, tomllib.TOMLDecodeError):
            names = ", ".join(sorted(SPEC[1] | TRIED))
            raise ValueError(f"expected NAME=VALUE such as lr=0.003, with one of {names}, got {change!r}") from None
    return replace(entry, spec=spec, recipe=recipe, seconds=seconds or entry.seconds)


def attempt(
    entry: Entry, data: str | Path, device: str = "cpu", seed: int = 0, compile: bool | None = None
) -> dict[str, object]:
    """Train an entry on the training set but for its held-out part, and say how it does there: for tuning.

    The test set is not looked at. Returns a row of numbers: the accuracies are in percent of the held-out images.
    """
    loaded = _load(Path(data) / entry.source, seed)
    spec, recipe = entry.network(loaded), Recipe(**{**entry.recipe, "seed": seed})
    epochs, choice = entry.recipe.get("epochs"), None
    if epochs is None:
        epochs, choice = fitting(spec, recipe, loaded, entry.seconds, device, compile)
    recipe = replace(recipe, epochs=epochs)
    with tqdm(disable=True) as bar:
        trainer = Trainer(NOWHERE, spec, recipe, loaded, device, compile=compile, choice=choice)
        trainer.prepare()
        worked, started = time.process_time(), time.perf_counter()
        while trainer.epoch < epochs:
            loss = trainer.train_epoch(bar)
            trainer.epoch += 1
        worked, passed = time.process_time() - worked, time.perf_counter() - started
    held = datasets.split(loaded, recipe.held_out, recipe.seed)
    certificate = Certifier(trainer.model, spec.input_shape)(held.x_test)
    right = certificate.label == held.y_test
    row: dict[str, object] = {
        "run": entry.name,
        "epochs": epochs,
        "core_seconds": round(worked),
        "loss": round(loss, 3),
    }
    row |= {"seconds": round(passed), "images": len(right), "clean": _percent(float(right.double().mean()))}
    return row | {
        f"certified_{k}": _percent(certified_accuracy(certificate.radius, right, k / 255)) for k in (*runs.MARKS, 403)
    }


def _percent(share: float) -> float:
    return round(100 * share, 1)


def train_all(
    entries: Sequence[Entry],
    data: str | Path,
    out: str | Path,
    device: str = "cpu",
    seeds: Sequence[int] = (0,),
    workers: int = 1,
    compile: bool | None = None,
) -> Iterator[runs.Run]:
    """Train every run that is not finished yet, `workers` at a time with an equal share of the threads; yields each.

    On a GPU one at a time, whatever `workers` is: two would share it, and the budget is in seconds of the clock.
    A run that fails ends all: those beside it are trained to their end, none is begun any more. What is finished stays,
    and the same call goes on from there.
    """
    workers = 1 if device == "cuda" else workers
    threads = max(1, torch.get_num_threads() // workers)
    asked = iter([(entry, data, out, device, seed, compile) for seed in seeds for entry in entries])
    # no `with`: leaving it would train what is submitted and has not begun, even after a failure
    pool = ProcessPoolExecutor(workers, get_context("spawn"), begin_worker, (threads,))
    running: dict[Future[runs.Run], str] = {}
    try:
        while True:
            for each in islice(asked, workers - len(running)):
                running[pool.submit(train, *each)] = each[0].name
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(done)
                try:
                    yield done.result()
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def begin_worker(threads: int) -> None:
    """Give a new worker its threads; it ends with its parent, even where that is killed, and trains on for nobody."""
    torch.set_num_threads(threads)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _there(folder: Path) -> runs.Run | None:
    try:
        return runs.load(folder)
    except runs.RunError:
        return None
