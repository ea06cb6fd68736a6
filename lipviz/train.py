"""Training, top to bottom: one loop, one schedule, one generator.

The data set lives on the device as one uint8 tensor. Metrics are taken on a part held out of the training set;
the test set is read once, at the end, for certificates.csv.
"""

import copy
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm import tqdm

from lipviz import data as datasets
from lipviz import grams, runs
from lipviz.certify import Certifier, certified_accuracy
from lipviz.compiled import Choice, choose, ready
from lipviz.costs import costs
from lipviz.digits import seven_digits
from lipviz.forms import Scaled, started
from lipviz.networks import Spec, build
from lipviz.provenance import hardware, revision
from lipviz.recipes import Recipe, default_recipe, default_spec, learning_rate
from lipviz.spectra import spectra
from lipviz.step import Step, pick_device, precision

NOWHERE = Path()  # the folder of a Trainer that only steps: nothing is written before `run`
EVALUATIONS = 24  # at most so many rows of metrics.csv
HELD_OUT = 1000  # at most so many images behind each of them


class Trainer:
    """One run: the state of training, and the folder it is written to.

    Args:
        folder: where the run is written, if it is run; made if missing.
        spec: the network.
        recipe: how it is trained.
        source: the data.
        device: "cpu", "cuda", or "auto" for CUDA where there is one.
        origin: what the data was loaded from, kept so that a resumed run finds it again.
        resume: continue the run of the folder.
        budget: seconds that the epochs were chosen to fit, where they were; kept beside the numbers.
        compile: whether to try the compiler; None on a GPU only.
        choice: what trying it gave, where that is known.
    """

    def __init__(
        self,
        folder: Path,
        spec: Spec,
        recipe: Recipe,
        source: datasets.Data,
        device: str = "auto",
        origin: str = "",
        resume: bool = False,
        budget: float | None = None,
        compile: bool | None = None,
        choice: Choice | None = None,
    ) -> None:
        self.budget, self.compile, self.choice = budget, compile, choice
        self.folder, self.spec, self.recipe, self.source, self.origin = folder, spec, recipe, source, origin
        self.device = pick_device(device)
        # on the device: what it draws need not be copied, and no step waits for the host
        self.generator = torch.Generator(self.device).manual_seed(recipe.seed)
        split = datasets.split(source, recipe.held_out, recipe.seed)
        self.x, self.y = split.x.to(self.device), split.y.to(self.device)
        # evenly spaced: folders of images come sorted by class
        kept = datasets.evenly(len(split.y_test), HELD_OUT)
        self.held_out = split.x_test[kept], split.y_test[kept]
        self.model = started(build(spec, recipe.seed), recipe.start, recipe.seed).to(self.device)
        self.step = Step(self.model, recipe, self.device, precision(self.device, spec.kind))
        self.epoch, self.seconds, self.core_seconds = 0, 0.0, 0.0
        self.metrics: list[dict[str, float | int]] = []
        self.history: list[dict[str, np.ndarray]] = []
        self.resume = resume

    @property
    def steps(self) -> int:
        """Steps of one epoch; the last, smaller batch is left out where there is a full one."""
        return max(1, len(self.x) // self.recipe.batch)

    def run(self, show: bool = True, after: Callable[["Trainer"], None] | None = None) -> runs.Run:
        """Train to the end and write certificates; Ctrl-C stops with a folder that loads and can be resumed.

        Raises:
            ValueError: another process trains in this folder, or what is to be resumed does not fit this device.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with alone(self.folder):
            return self._run(show, after)

    def _run(self, show: bool, after: Callable[["Trainer"], None] | None) -> runs.Run:
        if self.resume:  # not before the folder is ours: another may have trained on
            self._restore()
        self._write_config("running")
        try:
            self.prepare()
            if not self.metrics:
                self.evaluate(math.nan)
            self._epochs(show, after)
            self._finish(show)
        except KeyboardInterrupt:
            self._write_config("stopped")
            raise
        except BaseException as error:
            self._write_config("failed", error=f"{type(error).__name__}: {error}")
            raise
        return runs.load(self.folder)

    def prepare(self) -> Choice:
        """Decide once whether steps are compiled, and compile them; draws nothing and changes no weight."""
        batch = self.x[: self.recipe.batch], self.y[: self.recipe.batch]
        if self.choice is None:
            steps = None if self.budget is not None else self.recipe.epochs * self.steps
            self.choice = choose(self.step, *batch, self.compile, steps)
        self.choice = ready(self.step, *batch, self.choice)
        return self.choice

    def _epochs(self, show: bool, after: Callable[["Trainer"], None] | None) -> None:
        total = self.recipe.epochs
        every = math.ceil(total / EVALUATIONS)
        done = self.epoch * self.steps * self.recipe.batch
        whole = total * self.steps * self.recipe.batch
        with tqdm(
            total=whole, initial=done, unit="img", unit_scale=True, disable=not show, desc=self.folder.name
        ) as bar:
            while self.epoch < total:
                started, worked = time.perf_counter(), time.process_time()
                loss = self.train_epoch(bar)
                self.seconds += time.perf_counter() - started
                self.core_seconds += time.process_time() - worked
                self.epoch += 1
                if self.epoch % every == 0 or self.epoch == total:
                    row = self.evaluate(loss)
                    bar.set_postfix_str(f"loss {loss:.3f} held-out {row['accuracy']:.1%}", refresh=False)
                    if after:
                        after(self)

    def train_epoch(self, bar: tqdm) -> float:
        """One pass in a fresh order; returns the mean loss."""
        r = self.recipe
        order = torch.randperm(len(self.x), generator=self.generator, device=self.device)
        total = torch.zeros((), device=self.device)
        for i in range(self.steps):
            index = order[i * r.batch : (i + 1) * r.batch]
            total += self.step(
                *self.batch(index), learning_rate(self.epoch * self.steps + i, r.epochs * self.steps, r.lr, r.rise)
            )
            bar.update(r.batch)
        mean = float(total) / self.steps
        if not math.isfinite(mean):
            raise FloatingPointError("the loss is not finite: lower the learning rate")
        return mean

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and labels of some training images, augmented."""
        r, x = self.recipe, self.x[index]
        if x.dtype == torch.uint8 and (r.pad or r.flip):
            x = datasets.augment(x, self.generator, r.pad, r.flip)
        return x, self.y[index]

    def evaluate(self, loss: float) -> dict[str, float | int]:
        """Metrics on the held-out images; then everything is written, so that a kill loses nothing before it."""
        certifier = Certifier(self.model, self.spec.input_shape)
        x, y = self.held_out
        certificate = certifier(x)
        correct = certificate.label == y
        row: dict[str, float | int] = {
            "epoch": self.epoch,
            "train_loss": round(loss, 6),
            "accuracy": round(float(correct.double().mean()), 6),
            "certified_36": round(certified_accuracy(certificate.radius, correct, 36 / 255), 6),
            "mean_radius": round(float(certificate.radius.mean()), 6),
            "bound": certifier.bound.value,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.epoch * self.steps * self.recipe.batch / max(self.seconds, 1e-9), 1),
        }
        self.metrics.append(row)
        self.history.append(self._snapshot())
        self._save()
        return row

    def _snapshot(self) -> dict[str, np.ndarray]:
        """Singular values (64 quantiles), T and discs of every layer, and the epoch."""
        taken = {"epoch": np.array(self.epoch)}
        for spectrum in spectra(self.model, self.spec.input_shape):
            quantiles = np.quantile(spectrum.values, np.linspace(1, 0, 64))
            taken[f"{spectrum.layer}.sigma"] = quantiles.astype(np.float32)
        for name, module in self.model.named_modules():
            if isinstance(module, Scaled) and module.rule:
                with torch.no_grad():
                    taken[f"{name}.t"] = module.condition()[1].cpu().numpy()
        return taken | grams.snapshot(copy.deepcopy(self.model).cpu().double())

    def _save(self) -> None:
        f = self.folder
        runs.write_tensors(f / "weights.safetensors", self.model.state_dict())
        runs.write_csv(f / "metrics.csv", self.metrics)
        columns = {k: np.stack([h[k] for h in self.history]) for k in self.history[0]}
        runs.write_arrays(f / "spectra.npz", columns)
        runs.write_tensors(f / "resume.safetensors", self._resume_tensors())  # last: it decides what a resume sees
        self._write_config("running")

    def _resume_tensors(self) -> dict[str, Tensor]:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for i, state in self.step.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{key}": value for key, value in state.items()}
        progress = torch.tensor([self.epoch, self.seconds, self.core_seconds], dtype=torch.float64)
        return tensors | {"generator": self.generator.get_state(), "progress": progress}

    def _restore(self) -> None:
        """Back to the last evaluation: parameters, optimiser, generator, metrics and spectra up to there."""
        stored = runs.read_tensors(self.folder / "resume.safetensors")
        model = {k.removeprefix("model."): v for k, v in stored.items() if k.startswith("model.")}
        self.model.load_state_dict(model)
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in stored.items():
            if key.startswith("optimizer."):
                _, i, name = key.split(".")
                state.setdefault(int(i), {})[name] = value
        self.step.optimizer.load_state_dict({**self.step.optimizer.state_dict(), "state": state})
        if len(stored["generator"]) != len(self.generator.get_state()):  # each kind of device draws in its own way
            here, there = ("a GPU", "cpu") if self.device.type == "cuda" else ("a CPU", "cuda")
            raise ValueError(f"{self.folder} cannot go on on {here}, it was not begun on one: use --device {there}")
        self.generator.set_state(stored["generator"])
        epoch, self.seconds, *rest = stored["progress"].tolist()
        self.epoch, self.core_seconds = int(epoch), sum(rest)  # older runs did not count the seconds of cores
        before = runs.load(self.folder)
        self.budget = before.config.get("budget")
        # where the processor lacks bfloat16, it is slower there, but the run stays what it says
        self.step.precision = before.config.get("precision", self.step.precision)
        if self.compile is not False and before.config.get("hardware") == hardware(self.device):
            self.choice = Choice.from_json(before.config)  # another arithmetic would reach another state
        rows = runs.read_csv(self.folder / "metrics.csv")
        self.metrics = [
            {k: int(v) if k == "epoch" else float(v) for k, v in row.items()}
            for row in rows
            if int(row["epoch"]) <= self.epoch
        ]
        self.history = [{k: v[i] for k, v in before.spectra.items()} for i in range(len(self.metrics))]

    def _finish(self, show: bool) -> None:
        """Certify the whole test set, the only time it is read, and write the final numbers."""
        self.step.eager()  # nothing is trained from now on
        certifier = Certifier(self.model, self.spec.input_shape)
        x, y = self.source.x_test, self.source.y_test
        batches = tqdm(x.split(500), disable=not show, desc="certify the test set", unit="batch")
        parts = [certifier(batch) for batch in batches]
        label, margin, radius = (torch.cat([getattr(p, k) for p in parts]) for k in ("label", "margin", "radius"))
        kept = [(seven_digits(m), seven_digits(r)) for m, r in zip(margin.tolist(), radius.tolist(), strict=True)]
        rows = zip(y.tolist(), label.tolist(), kept, strict=True)
        runs.write_csv(
            self.folder / "certificates.csv",
            [
                {"index": i, "label": a, "prediction": b, "margin": m, "radius": r}
                for i, (a, b, (m, r)) in enumerate(rows)
            ],
        )
        correct, radius = label == y, torch.tensor([float(r) for _, r in kept], dtype=torch.float64)
        results = {
            "test_images": len(y),
            "accuracy": float(correct.double().mean()),
            "certified": {str(k): certified_accuracy(radius, correct, k / 255) for k in runs.MARKS},
            "bound": certifier.bound.value,
            "norm": "l2, inputs in [0, 1]" if len(self.spec.input_shape) == 3 else "l2, in the unit of the plane",
        }
        measured = costs(self.model, self.spec.input_shape, self.recipe, self.x, self.y, self.step.precision)
        speed = self.metrics[-1]["images_per_second"]
        self._write_config("finished", results=results, images_per_second=speed, **measured)

    def _write_config(self, state: str, **more: object) -> None:
        config = {
            "state": state,
            "spec": self.spec.to_json(),
            "data": {
                "name": self.source.name,
                "source": self.origin,
                "classes": list(self.source.classes),
                "train_images": len(self.x),
                "held_out_images": len(self.held_out[1]),
                "test_images": len(self.source.y_test),
                "notes": list(self.source.notes),
            },
            "recipe": {**asdict(self.recipe), "loss": "offset cross-entropy", "optimiser": "Adam(0.9, 0.99)"},
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "epoch": self.epoch,
            **({} if self.budget is None else {"budget": self.budget}),
            "train_seconds": round(self.seconds, 2),
            "core_seconds": round(self.core_seconds, 2),
            "precision": self.step.precision,
            **(self.choice.to_json() if self.choice else {}),
            "hardware": hardware(self.device),
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "lipviz": revision()},
            "pid": os.getpid(),
            **more,
        }
        if state == "finished":
            config.pop("pid")
        runs.write_json(self.folder / "run.json", config)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of the one that trains in a folder; a folder that nobody trains in has no such file.

    Raises:
        ValueError: another process, or another Trainer of this one, holds it.
    """
    lock = FileLock(folder / runs.LOCK)
    try:
        lock.acquire(timeout=2)  # whoever only looks whether it is held has it for a moment
    except Timeout:
        raise ValueError(f"{folder} is being trained already: wait for its end, or give another folder") from None
    try:
        yield
    finally:
        with suppress(OSError):  # where a file in use cannot be removed it stays, and is free
            (folder / runs.LOCK).unlink(missing_ok=True)
        lock.release()


def train(
    folder: str | Path,
    source: str,
    layer: str | None = None,
    *,
    data: datasets.Data | None = None,
    spec: Spec | None = None,
    recipe: Recipe | None = None,
    device: str = "auto",
    resume: bool = False,
    show: bool = True,
    compile: bool | None = None,
) -> runs.Run:
    """Train one run into `folder` and return it.

    Args:
        folder: the run folder.
        source: what `lipviz.data.load` takes: a name, a folder or a zip of images.
        layer: a row of LAYERS; or give a whole `spec`.
        data: `source` where it is loaded already.
        spec: the network; by default one that suits the data.
        recipe: how to train; by default one that suits the data.
        device: "auto", "cpu" or "cuda".
        resume: continue the run of the folder to the state it would have reached without the stop.
        show: a progress bar on standard error.
        compile: try torch.compile and keep it where it is faster; by default on a GPU only.

    Raises:
        ValueError: arguments or data that do not fit together, in a sentence.
    """
    folder = Path(folder)
    if resume:
        stored = runs.load(folder)
        spec, recipe = stored.spec, recipe_of(stored)
    seed = recipe.seed if recipe else 0
    shape = spec.input_shape if spec and len(spec.input_shape) == 3 else None
    loaded = data or datasets.load(source, shape, seed)
    if spec is None:
        if layer is None:
            raise ValueError("give a layer, such as 'aol', or a whole spec")
        spec = default_spec(loaded, layer)
    if spec.classes != len(loaded.classes):
        raise ValueError(f"the network has {spec.classes} classes, the data {len(loaded.classes)}: they must agree")
    recipe = recipe or default_recipe(loaded)
    return Trainer(folder, spec, recipe, loaded, device, str(source), resume, compile=compile).run(show)


def recipe_of(run: runs.Run) -> Recipe:
    """The Recipe a run was trained with; raises RunError where run.json does not hold one."""
    known = Recipe.__dataclass_fields__
    try:
        return Recipe(**{k: v for k, v in run.config["recipe"].items() if k in known})
    except (TypeError, ValueError, AttributeError) as error:
        raise runs.RunError(f"{run.folder / 'run.json'}: the recipe is broken ({error})") from None
