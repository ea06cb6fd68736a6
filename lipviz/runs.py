"""A run is a folder: what was trained, how, and what came out.

    run.json              spec, data, recipe, versions, hardware, wall time, state, final numbers, costs
    metrics.csv           one row per evaluation, on images held out of the training set
    weights.safetensors   the free parameters, nothing derived
    certificates.csv      one row per test image: index, label, prediction, margin, radius
    spectra.npz           singular values, T and Gershgorin discs of every layer over training
    attacks.npz           smallest changes that attacks found, with their protocol (`lipviz attack`)
    autoattack.json       what AutoAttack left of the right answers at one radius (`lipviz attack --auto`)
    resume.safetensors    parameters, optimiser and generator of the last evaluation; never committed

Every file is written beside its name and renamed, so a kill at any moment leaves the last complete one.
"""

import csv
import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from lipviz.networks import Spec, build

STATES = ("queued", "running", "stopped", "finished", "failed", "interrupted")
KEYS = ("spec", "data", "recipe", "state")
OWN = ("run.json", "weights.safetensors", "certificates.csv")  # a folder that holds one of them is meant to be a run
LOCK = "train.lock"  # held by whoever trains in the folder, gone afterwards
MARKS = (36, 72, 108, 255)
PROTOCOL = ("steps", "restarts", "seed")  # of attacks.npz, beside index and radius; all other arrays are distances


class RunError(ValueError):
    """A run folder that cannot be read: the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Certificates:
    """The columns of certificates.csv, one entry a test image."""

    index: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    margin: np.ndarray
    radius: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether the prediction is the label."""
        return self.prediction == self.label

    def accuracy(self, eps: float | None = None) -> float:
        """Share of all images that are correct, and certified beyond `eps` (strictly) where it is given."""
        return float(np.mean(self.correct if eps is None else self.correct & (self.radius > eps)))


@dataclass(frozen=True)
class Attacks:
    """What attacks.npz holds.

    Attributes:
        index: of the attacked images in the test set.
        radius: certified, one an image.
        distance: attack -> l2 distance of the change of the prediction it found, infinite where it found none.
        protocol: how hard they tried, as far as it was kept: steps, restarts, seed.
    """

    index: np.ndarray
    radius: np.ndarray
    distance: dict[str, np.ndarray]
    protocol: dict[str, int]

    @property
    def smallest(self) -> np.ndarray:
        """The best of all attacks, image by image."""
        return np.min(list(self.distance.values()), axis=0)

    @property
    def broken(self) -> int:
        """Images whose prediction was changed within the radius: must be 0."""
        return int(np.sum(self.smallest < self.radius))

    @property
    def tightness(self) -> np.ndarray:
        """Certified radius / smallest distance found, 0 where none was."""
        distance = self.smallest
        known = np.isfinite(distance) & (distance > 0)
        return np.divide(self.radius, distance, out=np.zeros_like(self.radius), where=known)


@dataclass(frozen=True)
class Run:
    """A run folder, read when asked. `load` makes it."""

    folder: Path
    config: dict[str, Any]
    alias: str = ""

    @property
    def name(self) -> str:
        """The alias where one was given to tell two runs apart, else the name of the folder."""
        return self.alias or self.folder.name

    @cached_property
    def spec(self) -> Spec:
        """The network; raises RunError where run.json does not describe one."""
        try:
            return Spec.from_json(self.config["spec"])
        except (ValueError, TypeError, IndexError) as error:
            raise RunError(f"{self.folder / 'run.json'}: {error}") from None

    @cached_property
    def model(self) -> nn.Module:
        """The trained network in float32; raises RunError on weights that are missing, foreign or not finite."""
        path = self.folder / "weights.safetensors"
        tensors, digest = _parsed(path)
        model = build(self.spec)
        expected = model.state_dict()
        if missing := sorted(set(expected) - set(tensors)):
            raise RunError(f"{path}: tensor {missing[0]!r} is missing, these are not weights of this run's network")
        if extra := sorted(set(tensors) - set(expected)):
            raise RunError(f"{path}: tensor {extra[0]!r} is unknown, these are not weights of this run's network")
        for name, tensor in tensors.items():
            if tensor.shape != expected[name].shape:
                shapes = f"{tuple(tensor.shape)}, expected {tuple(expected[name].shape)}"
                raise RunError(f"{path}: tensor {name!r} has shape {shapes}")
            if not tensor.isfinite().all():
                raise RunError(f"{path}: tensor {name!r} holds NaN or infinity, train the run again")
        model.load_state_dict(tensors)
        # of these bytes, whatever the file holds later: certificates name it
        model.weights_sha256 = digest  # type: ignore[assignment]
        return model.eval()

    @cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """The columns of metrics.csv, empty before the first evaluation."""
        path = self.folder / "metrics.csv"
        if not path.exists():
            return {}
        rows = read_csv(path)
        if rows and not {"epoch", "accuracy"} <= rows[0].keys():
            raise RunError(f"{path}: the columns epoch and accuracy are missing, expected what training writes")
        return {key: _column(rows, key, path) for key in rows[0]} if rows else {}

    @cached_property
    def certificates(self) -> Certificates | None:
        """certificates.csv, or None where the run did not come to its end."""
        path = self.folder / "certificates.csv"
        if not path.exists():
            return None
        rows = read_csv(path)
        fields = Certificates.__dataclass_fields__
        try:
            columns = {key: _column(rows, key, path) for key in fields}
        except KeyError as error:
            raise RunError(f"{path}: column {error} is missing, expected {', '.join(fields)}") from None
        whole = {key: columns[key] for key in ("index", "label", "prediction")}
        if not all(np.isfinite(c).all() and (np.abs(c) < 2**53).all() and not (c % 1).any() for c in whole.values()):
            raise RunError(f"{path}: index, label and prediction must be whole numbers")
        if np.isnan(columns["radius"]).any():
            raise RunError(f"{path}: a radius is not a number, expected one for each image")
        return Certificates(**columns | {key: column.astype(int) for key, column in whole.items()})

    @cached_property
    def spectra(self) -> dict[str, np.ndarray]:
        """The arrays of spectra.npz, empty where there is none."""
        path = self.folder / "spectra.npz"
        if not path.exists():
            return {}
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise RunError(f"{path}: not a readable npz file ({error})") from None

    @cached_property
    def attacks(self) -> Attacks | None:
        """attacks.npz, or None where nothing attacked the run.

        Raises:
            RunError: the file is not what `lipviz attack` writes.
        """
        path = self.folder / "attacks.npz"
        if not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = dict(stored)
            index, radius = np.asarray(arrays.pop("index"), dtype=int), np.asarray(arrays.pop("radius"), dtype=float)
            protocol = {key: int(arrays.pop(key)) for key in PROTOCOL if key in arrays}
            distance = {key: np.asarray(found, dtype=float) for key, found in arrays.items()}
            tables = (index, radius, *distance.values())
            if not distance or not index.size or any(t.shape != (index.size,) or np.isnan(t).any() for t in tables):
                raise ValueError("not one number for each image")
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            raise RunError(f"{path}: not a file of `lipviz attack`: run it again") from None
        return Attacks(index, radius, distance, protocol)

    @property
    def readable(self) -> bool:
        """Whether run.json describes a network."""
        try:
            return bool(self.spec)
        except RunError:
            return False

    @property
    def recipe(self) -> dict[str, Any]:
        """That of run.json, unchecked (`train.recipe_of` checks it); empty where it is no table."""
        return table(self.config.get("recipe"))

    @property
    def results(self) -> dict[str, Any]:
        """Those of run.json; empty where it has none, or no table of them."""
        return table(self.config.get("results"))

    @property
    def seed(self) -> int:
        """Of the training; 0 where the recipe does not say."""
        seed = self.recipe.get("seed")
        return seed if isinstance(seed, int) and seed >= 0 else 0

    @property
    def data_name(self) -> str:
        """What the run was trained on."""
        return str(self.config["data"].get("name") or "unnamed data")

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known about the data."""
        notes = self.config["data"].get("notes")
        return tuple(str(note) for note in notes) if isinstance(notes, list) else ()

    def class_name(self, label: int) -> str:
        """Name of a class; its number where run.json has no name for it."""
        return self.classes[label] if label < len(self.classes) else str(label)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        names = self.config["data"].get("classes") or range(self.spec.classes)
        return tuple(str(name) for name in names)


def table(value: object) -> dict[str, Any]:
    """The value where it is a table of JSON, else an empty one: run.json may have been written by anyone."""
    return value if isinstance(value, dict) else {}


def load(folder: str | Path) -> Run:
    """The run in `folder`.

    Raises:
        RunError: no such folder, no run.json in it, or a run.json that is broken or incomplete.
    """
    folder = Path(folder)
    path = folder / "run.json"
    if not path.is_file():
        raise RunError(f"{folder}: not a run, there is no run.json in it (`lipviz runs` lists what there is)")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise RunError(f"{path}: not readable as JSON ({error})") from None
    for key in KEYS:
        if not isinstance(config, dict) or key not in config:
            raise RunError(f"{path}: key {key!r} is missing, expected {', '.join(KEYS)}")
    if not isinstance(config["data"], dict) or not isinstance(config["spec"], dict):
        raise RunError(f"{path}: 'data' and 'spec' must be objects")
    return Run(folder, config)


def find(*roots: str | Path) -> list[Run]:
    """The readable runs directly below the given folders, sorted by name; broken folders are left out."""
    found = []
    for root in map(Path, roots):
        for path in sorted(root.glob("*/run.json")):
            try:
                found.append(load(path.parent))
            except RunError:
                continue
    return found


def unreadable(*roots: str | Path) -> list[tuple[Path, str]]:
    """What looks like a run directly below the given folders and is none: (folder, why), sorted by name.

    It holds weights, certificates or a run.json, which is missing, broken, or describes no network.
    """
    found = []
    for root in map(Path, roots):
        for folder in sorted({path.parent for file in OWN for path in root.glob(f"*/{file}")}):
            try:
                _ = load(folder).spec
            except RunError as error:
                missing, why = not (folder / "run.json").is_file(), str(error).replace(f"{folder}{os.sep}", "")
                found.append((folder, "run.json is missing" if missing else why))
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; raises RunError where it is missing, truncated or something else."""
    return _parsed(path)[0]


def _parsed(path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors, and the SHA-256 of the file that held them."""
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    if not path.is_file():
        raise RunError(f"{path}: the file is missing")
    try:
        content = path.read_bytes()
        return parse(content), hashlib.sha256(content).hexdigest()
    except (SafetensorError, ValueError, KeyError) as error:
        raise RunError(f"{path}: not a complete safetensors file ({error})") from None


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, atomically."""
    from safetensors.torch import save

    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def write_arrays(path: Path, arrays: Mapping[str, object]) -> None:
    """Write a compressed npz file, atomically."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    write_bytes(path, packed.getvalue())


def write_json(path: Path, value: object) -> None:
    """Write indented JSON, atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def write_csv(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows with the keys of the first as the header, atomically."""
    rows = list(rows)
    lines = [",".join(rows[0])] + [",".join(str(value) for value in row.values()) for row in rows]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside the file, then rename over it."""
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    os.replace(beside, path)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header; raises RunError on what is none, or where a row is cut off."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error):
        raise RunError(f"{path}: not readable as CSV") from None
    if any(None in row or None in row.values() for row in rows):
        raise RunError(f"{path}: a row does not have as many fields as the header")
    return rows


def _column(rows: list[dict[str, str]], key: str, path: Path) -> np.ndarray:
    """The numbers of one column; a KeyError where there is none."""
    column = []
    for row in rows:
        try:
            column.append(float(row[key]))
        except ValueError:
            raise RunError(f"{path}: expected a number, got {row[key]!r}") from None
    return np.array(column)
