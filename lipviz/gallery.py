"""Test images of a run by their index: where they are at hand, and never those of another test set.

A run folder holds no images. They are looked for where the run was trained from, in LIPVIZ_DATA, and among the
downloads; nothing is downloaded for it. A place is taken only where its classes, the number of its test images and all
their labels are those of the run's certificates, and the network answers to some of them as it did: another copy of a
data set may have other pixels, or another order within a class.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from lipviz import archives, data, downloads
from lipviz.data import evenly
from lipviz.images import fit, open_picture
from lipviz.runs import Certificates, Run, RunError

ASKED = 8  # images that the network answers again

Pixels = UInt8[np.ndarray, "c h w"]
Part = tuple[tuple[str, ...], Int[np.ndarray, " n"], Callable[[int], Pixels]]  # classes, labels, index -> pixels


@dataclass(frozen=True, eq=False)
class Gallery:
    """Test images of a run.

    Attributes:
        origin: where they come from, in words.
        pixels: index in the test set -> what the network sees, 0 to 255; opens this one image, and raises ValueError
            or OSError where it cannot be read.
    """

    origin: str
    pixels: Callable[[int], Pixels]


def find(run: Run, found: Certificates, hidden: Path | None = None) -> Gallery:
    """The test images of the run.

    Args:
        run: the run.
        found: its certificates.
        hidden: images below this folder are not shown: those that visitors have sent.

    Raises:
        ValueError: one or more sentences: there are none at hand, or those at hand are not those of the run.
    """
    if len(run.spec.input_shape) != 3:
        raise ValueError(f"The inputs of {run.name} are points in the plane: there are no images to show.")
    faults = []
    for origin, opened in _places(run, hidden):
        try:
            classes, labels, pixels = opened()
            fault = _unfit(run, found, classes, labels) or _answered(run, found, pixels)
        except (ValueError, OSError) as error:
            faults.append(f"{origin} cannot be used: {error}")
            continue
        if fault:
            faults.append(f"{origin} does not fit {run.name}: {fault}.")
            continue
        return Gallery(origin, pixels)
    raise ValueError(" ".join([*faults, _wanted(run, hidden)]))


def points(run: Run, found: Certificates) -> tuple[Float[np.ndarray, "n 2"], Int[np.ndarray, " n"]]:
    """The test points of a run of the plane, in the order of its certificates, and their labels.

    Raises:
        ValueError: it was not trained on the points of a formula, or these are not its points.
    """
    source = str(_source(run))
    if run.spec.input_shape != (2,) or source not in data.TOYS:
        raise ValueError(f"The points of {run.name} are not at hand: they come from none of {', '.join(data.TOYS)}.")
    drawn = data.toy(source, seed=run.seed)
    if fault := _unfit(run, found, drawn.classes, drawn.y_test.numpy()):
        raise ValueError(f"The points of {source} do not fit {run.name}: {fault}.")
    return drawn.x_test.double().numpy()[found.index], found.label


def _wanted(run: Run, hidden: Path | None) -> str:
    name = run.config["data"].get("name") or "its data"
    what = f"There are no images of {name} at hand"
    if hidden and _source(run).is_relative_to(hidden):
        what = f"The images of {name} were sent by a visitor, and are not shown to others"
    lacks = name in data.DOWNLOADS and not downloads.kept(name)
    more = f", or fetch them with lipviz.data.load({name!r})" * lacks
    return f"{what}: put their folder, with train and test, at {name} below the folder that LIPVIZ_DATA names{more}."


def _unfit(run: Run, found: Certificates, classes: tuple[str, ...], labels: Int[np.ndarray, " n"]) -> str:
    """Why these are not the images of the run; "" where they are."""
    if classes != run.classes:
        return f"its classes are {', '.join(classes[:12])}"
    if len(labels) != len(found.index) or not np.array_equal(np.sort(found.index), np.arange(len(labels))):
        return f"it has {len(labels):,} test images, the run {len(found.index):,}"
    return "" if np.array_equal(labels[found.index], found.label) else "its labels come in another order"


def _answered(run: Run, found: Certificates, pixels: Callable[[int], Pixels]) -> str:
    """Why its answers to a few of them say that these are not its images; "" where they are, or it has no weights."""
    rows = evenly(len(found.index), ASKED)
    try:
        model = run.model
    except RunError:
        return ""
    x = np.stack([pixels(int(i)) for i in found.index[rows]])
    with torch.no_grad():
        top = model(data.as_float(torch.from_numpy(x))).topk(2)
    margin = (top.values[:, 0] - top.values[:, 1]).numpy()
    same = np.array_equal(top.indices[:, 0].numpy(), found.prediction[rows])
    return "" if same and np.allclose(margin, found.margin[rows], rtol=1e-3, atol=1e-3) else "its pixels are others"


def _source(run: Run) -> Path:
    return Path(str(run.config["data"].get("source") or "")).expanduser()


def _places(run: Run, hidden: Path | None) -> Iterator[tuple[str, Callable[[], Part]]]:
    """Where the images may be: (in words, what opens them), the most likely first."""
    source, name, root = _source(run), str(run.config["data"].get("name") or ""), os.environ.get("LIPVIZ_DATA")
    if str(source) == "digits":
        yield "scikit-learn's digits", partial(_digits, run)
        return
    named = str(source) in data.DOWNLOADS
    if not named and source.name and not (hidden and source.is_relative_to(hidden)) and source.exists():
        yield f"The data of its training, {source.name},", partial(_folder, run, source)
    for below in dict.fromkeys((source.name, Path(name).name)) if root else ():
        path = Path(str(root), below)
        if below and path.exists():
            yield f"The folder {below} of LIPVIZ_DATA", partial(_folder, run, path)
    if name in data.DOWNLOADS and downloads.kept(name):
        yield f"The download of {name}", partial(_download, name)
        yield f"The download of {name}, sorted by class,", partial(_download, name, True)  # as in folders of classes


def _digits(run: Run) -> Part:
    digits = data.digits(run.seed)
    x = digits.x_test.numpy()
    return digits.classes, digits.y_test.numpy(), lambda i: x[i]


def _download(name: str, by_class: bool = False) -> Part:
    (x, y), classes = downloads.test_part(name)
    order = np.argsort(y, kind="stable") if by_class else np.arange(len(y))
    return classes, y[order], lambda i: x[order[i]]


def _folder(run: Run, path: Path) -> Part:
    """The test set of a folder or zip; its images are opened one at a time, when they are asked for."""
    classes, names, labels = data.test_files(path, _names(path), run.seed, run.notes)
    channels, height, width = run.spec.input_shape

    def pixels(i: int) -> Pixels:
        if path.is_dir():
            return fit(open_picture(path / names[i], names[i]), (channels, height, width))[0]
        with archives.open_zip(path, path.name) as archive:
            return fit(open_picture(archives.member(archive, names[i]), names[i]), (channels, height, width))[0]

    return classes, labels.numpy(), pixels


def _names(path: Path) -> list[str]:
    """The files of a folder or zip; of a training set in class folders only one a class, which names the class."""
    train, test = path / "train", path / "test"
    folders = [folder for folder in train.iterdir() if folder.is_dir()] if train.is_dir() and test.is_dir() else []
    if not folders:
        with data.opened(path) as (names, _):
            return names
    one = [next(_files(folder), None) for folder in folders]
    return [file.relative_to(path).as_posix() for file in [*filter(None, one), *_files(test)]]


def _files(folder: Path) -> Iterator[Path]:
    for top, _, names in os.walk(folder):
        yield from (Path(top, name) for name in names if archives.is_picture((name,)))
