"""Toys, digits, downloads and image folders: one tensor of inputs, one of labels, and a test set apart from them.

Images stay uint8 until `as_float` turns them into [0, 1], the unit of every radius.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Shaped, UInt8
from torch import Tensor

from lipviz import archives
from lipviz.archives import MAX_UNPACKED
from lipviz.images import ImageError, Picture, fit, open_picture

TOYS = ("moons", "circles", "spirals")
NAMES = (*TOYS, "digits")
DOWNLOADS = ("mnist", "cifar10")
MAX_PICTURES = 200_000

Shape = tuple[int, int, int]
_Read = Callable[[str], bytes | Path]


@dataclass(frozen=True, eq=False)
class Data:
    """A classification data set in memory.

    Attributes:
        name: what to call it.
        classes: class names; label k is `classes[k]`.
        x: training inputs, uint8 (n, channels, height, width) from 0 to 255, or float32 points (n, 2).
        y: training labels; `x_test` and `y_test` are the like for the test.
        notes: sentences about what was left out.
    """

    name: str
    classes: tuple[str, ...]
    x: Shaped[Tensor, " n *shape"]
    y: Int64[Tensor, " n"]
    x_test: Shaped[Tensor, " m *shape"]
    y_test: Int64[Tensor, " m"]
    notes: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch."""
        return tuple(self.x.shape[1:])


def as_float(x: Shaped[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Images from 0 to 255 -> float32 in [0, 1]; floats stay as they are."""
    return x.float() / 255 if x.dtype == torch.uint8 else x


def load(source: str | Path, shape: Shape | None = None, seed: int = 0, training: bool = True) -> Data:
    """Any data set by its name or its path.

    Args:
        source: one of `NAMES` or `DOWNLOADS`, or a path for `folder`; a `Path` is never taken for a name.
        shape: (channels, height, width) to bring pictures to; the named sets have their own.
        seed: of the points of a toy, and of the split where a set has no test set of its own.
        training: False leaves training pictures unread, and x and y empty, where a folder has a test set of its own.

    Raises:
        ValueError: unknown name, a folder that holds no data set, a shape that a named set does not have, or a
            download that failed.
    """
    if source in (*NAMES, *DOWNLOADS):
        data = _named(str(source), seed)
        if shape is not None and tuple(shape) != data.input_shape:
            raise ValueError(f"{source} has shape {data.input_shape}, got {shape}: leave shape out.")
        return data
    if not Path(source).expanduser().exists():
        names = ", ".join((*NAMES, *DOWNLOADS))
        raise ValueError(f"Expected {names}, or a path to a folder or zip, got {str(source)!r}.")
    return folder(source, shape, seed, training=training)


def _named(name: str, seed: int) -> Data:
    if name not in DOWNLOADS:
        return digits(seed) if name == "digits" else toy(name, seed=seed)
    from lipviz.downloads import fetch

    train, test, classes = fetch(name)
    return Data(name, classes, *train, *test)


def toy(name: str, n: int = 1000, noise: float = 0.08, seed: int = 0) -> Data:
    """Two classes of points in the plane: n points to train on and another draw of n to test on.

    The curves reach about 1 to 2 from the origin; `noise` is the standard deviation added to each coordinate.
    """
    if name not in TOYS or n < 2 or noise < 0:
        raise ValueError(f"Expected one of {TOYS}, n >= 2 and noise >= 0, got {name!r}, {n} and {noise}.")
    classes = {"moons": ("upper", "lower"), "circles": ("outer", "inner")}.get(name, ("first", "second"))
    draws = [_draw(name, n, noise, int(word)) for word in np.random.SeedSequence(seed).generate_state(2)]
    return Data(name, classes, *draws[0], *draws[1])


def _draw(name: str, n: int, noise: float, seed: int) -> tuple[Float[Tensor, "n 2"], Int64[Tensor, " n"]]:
    from sklearn.datasets import make_circles, make_moons

    if name == "moons":
        x, y = make_moons(n, noise=noise, random_state=seed)
    elif name == "circles":
        x, y = make_circles(n, noise=noise, factor=0.5, random_state=seed)
    else:
        x, y = _spirals(n, noise, np.random.default_rng(seed))
    return torch.from_numpy(x).float(), torch.from_numpy(y)


def _spirals(n: int, noise: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two arms r = 2 s of one and a half turns, angle = 3 pi s, the second turned by half a turn."""
    y = rng.permutation(np.arange(n) % 2)
    s = np.sqrt(rng.uniform(0.02, 1, n))  # the root spreads the points evenly, 0.02 keeps the arms apart
    angle = 3 * np.pi * s + np.pi * y
    x = 2 * s[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return x + noise * rng.standard_normal((n, 2)), y


def digits(seed: int = 0) -> Data:
    """The 1797 handwritten digits of scikit-learn, uint8 (n, 1, 8, 8), a fifth of each class for the test."""
    from sklearn.datasets import load_digits

    values, target = load_digits(return_X_y=True)  # values from 0 to 16
    x = torch.from_numpy(np.rint(values * (255 / 16)).astype(np.uint8)).reshape(-1, 1, 8, 8)
    y = torch.from_numpy(target)
    held = _held_out(y, 0.2, seed)
    return Data("digits", tuple("0123456789"), x[~held], y[~held], x[held], y[held])


def split(data: Data, share: float, seed: int) -> Data:
    """A share of each training class in place of the test set, so that tuning never sees the real one."""
    held = _held_out(data.y, share, seed)
    return replace(data, x=data.x[~held], y=data.y[~held], x_test=data.x[held], y_test=data.y[held])


def augment(
    x: UInt8[Tensor, "b c h w"], generator: torch.Generator, pad: int = 4, flip: bool = True
) -> UInt8[Tensor, "b c h w"]:
    """A random crop of each image, padded by reflection, and its mirror image with probability 1/2.

    Args:
        x: images on any device.
        generator: makes all draws, on its own device.
        pad: pixels on each side; at most side - 1 is used, since a reflection reaches no further.
        flip: mirror left and right at all.
    """
    if pad < 0:
        raise ValueError(f"pad must be 0 or more pixels, got {pad}.")
    b, c, h, w = x.shape
    rows = _shifted(h, b, pad, generator)
    columns = _shifted(w, b, pad, generator)
    if flip:
        mirror = torch.randint(2, (b, 1), generator=generator, device=generator.device).bool()
        columns = torch.where(mirror, columns.flip(1), columns)
    source = (rows[:, :, None] * w + columns[:, None]).view(b, 1, h * w).to(x.device)
    return x.flatten(2).gather(2, source.expand(b, c, h * w)).view(b, c, h, w)


def _shifted(side: int, b: int, pad: int, generator: torch.Generator) -> Int64[Tensor, "b side"]:
    """For each of b images, the source index of every pixel along one side."""
    pad = min(pad, side - 1)
    shift = torch.randint(-pad, pad + 1, (b, 1), generator=generator, device=generator.device)
    index = (torch.arange(side, device=generator.device) + shift).abs()  # -1 reflects to 1
    return torch.where(index < side, index, 2 * (side - 1) - index)


def folder(
    path: str | Path, shape: Shape | None = None, seed: int = 0, test_share: float = 0.2, training: bool = True
) -> Data:
    """Pictures in class-named folders, on disk or in a zip, which is never unpacked to disk.

    Either `train/<class>/...` and `test/<class>/...`, or `<class>/...`, which is split here; both may stand
    inside single folders. Pictures outside of these, other files, dotfiles and `__MACOSX` are passed over; a
    picture that cannot be read is skipped and named in the notes. Pictures come in the order of their names.

    Args:
        path: the folder or zip.
        shape: (channels, height, width) to bring all pictures to. None takes their own size where all share
            one of at most 64 pixels a side, else 32 x 32, and one channel where all are grey.
        seed: of the split, where there is no test folder.
        test_share: of each class, likewise; at least one picture of a class that has two.
        training: as in `load`.

    Raises:
        ValueError: a sentence on what was found in place of two or more classes of readable pictures.
    """
    path = Path(path).expanduser().absolute()  # absolute, so that "." has a name
    with opened(path) as (names, read):
        places = _places(names, path.name)
        tests = [name for name, (part, _) in places.items() if part == "test"]
        unread = set() if training or not tests else set(places) - set(tests)
        arrays, notes = _arrays([name for name in places if name not in unread], read, shape)
    known = [name for name in places if name in arrays or name in unread]
    classes, y, held = _parted([places[name] for name in known], path.name, test_share, seed)
    decoded = torch.tensor([name in arrays for name in known])
    y, held = y[decoded], held[decoded]
    x = _stacked(list(arrays.values()), shape)
    return Data(path.stem, classes, x[~held], y[~held], x[held], y[held], tuple(notes))


def test_files(
    path: Path, names: list[str], seed: int = 0, notes: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], list[str], Int64[Tensor, " m"]]:
    """Classes, files and labels of the test set that `folder` makes of these names, in its order; none is opened.

    `notes` are those of the Data: a picture that they name could not be read then, and is left out.
    """
    skipped = tuple(note for note in notes if note.startswith("Skipped: "))
    places = {n: p for n, p in _places(names, path.name).items() if not any(f" {n} " in note for note in skipped)}
    classes, y, held = _parted(list(places.values()), path.name, 0.2, seed)
    return classes, [name for name, test in zip(places, held.tolist(), strict=True) if test], y[held]


def _parted(
    places: list[tuple[str, str]], where: str, share: float, seed: int
) -> tuple[tuple[str, ...], Int64[Tensor, " n"], Bool[Tensor, " n"]]:
    """The classes, the label of each picture, and which pictures are the test set."""
    parts, labels = zip(*places, strict=True)
    classes = _classes(parts, labels, where)
    number = {label: i for i, label in enumerate(classes)}
    y = torch.tensor([number[label] for label in labels])
    is_test = torch.tensor([part == "test" for part in parts])
    return classes, y, is_test if is_test.any() else _held_out(y, share, seed)


@contextmanager
def opened(path: Path) -> Iterator[tuple[list[str], _Read]]:
    """The names of all files below a folder or inside a zip, and from a name to what `open_picture` takes."""
    if path.is_dir():
        below = (Path(top, name) for top, _, names in os.walk(path) for name in names)
        yield [file.relative_to(path).as_posix() for file in below], path.joinpath
        return
    if not path.exists():
        raise ValueError(f"There is nothing called {path.name}: expected a folder or a zip of pictures.")
    with archives.open_zip(path, path.name, MAX_UNPACKED, "neither a folder nor a zip") as archive:
        yield archive.namelist(), lambda name: archives.member(archive, name)


def _places(names: list[str], where: str) -> dict[str, tuple[str, str]]:
    """Name -> (train, test or "", class) of every picture, in sorted order; "" where the split is ours."""
    paths = {name: archives.parts(name) for name in sorted(names)}
    paths = {name: path for name, path in paths.items() if len(path) > 1 and archives.is_picture(path)}
    if len(paths) > MAX_PICTURES:
        raise ValueError(f"{where} has {len(paths)} pictures, at most {MAX_PICTURES} fit: choose fewer.")
    while len({path[0] for path in paths.values()}) == 1 and any(len(path) > 2 for path in paths.values()):
        paths = {name: path[1:] for name, path in paths.items() if len(path) > 2}
    if not paths:
        raise ValueError(f"{where} has no class folders of pictures: expected <class>/ or train/<class>/.")
    # A folder train of pictures is a class of trains, a folder train of folders is the training set.
    if all(len(path) == 2 for path in paths.values() if path[0] == "train"):
        return {name: ("", path[0]) for name, path in paths.items()}
    if not any(path[0] == "test" for path in paths.values()):
        raise ValueError(f"{where} has a folder train beside others but none called test: rename one.")
    return {n: (p[0], p[1]) for n, p in paths.items() if p[0] in ("train", "test") and len(p) > 2}


def _arrays(names: list[str], read: _Read, shape: Shape | None) -> tuple[dict[str, np.ndarray], list[str]]:
    """Every readable picture as (channels, height, width), and a sentence for each of the others."""
    arrays, faults = {}, []
    for name in names:
        try:
            picture = open_picture(read(name), name)
        except ImageError as error:
            faults.append(f"Skipped: {error}")
            continue
        height, width = picture.pixels.shape[:2] if max(picture.pixels.shape) <= 64 else (32, 32)
        arrays[name] = fit(picture, shape or (3, height, width))[0]
    if not arrays:
        raise ValueError(f"None of the {len(names)} pictures can be read. {faults[0]}")
    if len(faults) > 20:
        faults[20:] = [f"Skipped: {len(faults) - 20} more."]
    return arrays, faults


def _stacked(arrays: list[np.ndarray], shape: Shape | None) -> UInt8[Tensor, "n c h w"]:
    if len({array.shape for array in arrays}) > 1:
        arrays = [fit(Picture(array.transpose(1, 2, 0)), (3, 32, 32))[0] for array in arrays]
    x = np.stack(arrays)
    grey = shape is None and (x[:, :1] == x).all()
    return torch.from_numpy(x[:, :1].copy() if grey else x)


def _classes(parts: tuple[str, ...], labels: tuple[str, ...], where: str) -> tuple[str, ...]:
    places = Counter(label for _, label in set(zip(parts, labels, strict=True)))
    odd = sorted(label for label in places if any(parts) and places[label] == 1)
    if odd:
        raise ValueError(f"{where} has readable pictures of {', '.join(odd)} only in train or only in test.")
    if len(places) < 2:
        raise ValueError(f"{where} has one class only, {labels[0]}: a classifier needs two or more.")
    return tuple(sorted(places))


def _held_out(y: Int64[Tensor, " n"], share: float, seed: int) -> Bool[Tensor, " n"]:
    """A mask that holds the share of each class out, at least one of a class that has two."""
    if not 0 < share < 1:
        raise ValueError(f"The share held out must lie between 0 and 1, got {share}.")
    rng = np.random.default_rng(seed)
    labels = y.cpu().numpy()
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held[members[: min(max(round(share * len(members)), 1), len(members) - 1)]] = True
    return torch.from_numpy(held).to(y.device)


def evenly(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` places, evenly spaced, the first and the last among them.

    >>> evenly(9, 3).tolist(), evenly(2, 5).tolist()
    ([0, 4, 8], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))
