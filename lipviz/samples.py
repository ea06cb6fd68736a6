"""Pictures to begin with, from files inside installed packages: nothing is downloaded."""

import gzip
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from lipviz.images import Picture, open_picture


@dataclass(frozen=True)
class Sample:
    """Where a picture lies, and what it shows in the words of CIFAR-10 or MNIST ("" for neither)."""

    package: str
    path: str
    truth: str = ""
    row: int = -1  # of a table of digits; a photograph has none


_DIGITS = ("sklearn", "datasets/data/digits.csv.gz")
SAMPLES: dict[str, Sample] = {
    "Cat": Sample("skimage", "data/chelsea.png", "cat"),
    "Horse": Sample("skimage", "data/horse.png", "horse"),
    "Astronaut": Sample("skimage", "data/astronaut.png"),
    "Coffee": Sample("skimage", "data/coffee.png"),
    "Rocket": Sample("skimage", "data/rocket.jpg"),
    "Flower": Sample("sklearn", "datasets/images/flower.jpg"),
    "Palace": Sample("sklearn", "datasets/images/china.jpg"),
    "Digit 3": Sample(*_DIGITS, "3", 13),
    "Digit 6": Sample(*_DIGITS, "6", 34),
    "Digit 9": Sample(*_DIGITS, "9", 19),
}


def names() -> list[str]:
    """The samples whose file is really there."""
    return [name for name, sample in SAMPLES.items() if _file(sample).is_file()]


def load(name: str, shape: tuple[int, ...] = (3, 32, 32)) -> Picture:
    """The sample picture of that name, for a network of this input shape.

    Only digits depend on the shape: a network of 8x8 pixels gets their exact pixels, a larger one the digit on a
    black frame, the way MNIST centres 20 pixels in 28.

    Raises:
        ValueError: no such sample, or its package does not hold the file.
    """
    if name not in names():
        raise ValueError(f"There is no sample picture {name!r}, expected one of {', '.join(names())}.")
    sample = SAMPLES[name]
    if sample.row < 0:
        return open_picture(_file(sample))
    pixels = _digit(_file(sample), sample.row)
    note = "One of the 8×8 digits of scikit-learn; networks of the digits data may have seen it in training."
    side = min(shape[-2:])
    if side <= 8:
        return Picture(_rgb(pixels), (note,))
    inner = round(side * 20 / 28)
    large = np.zeros((side, side), np.uint8)
    start = (side - inner) // 2
    part = Image.fromarray(pixels).resize((inner, inner), Image.Resampling.BICUBIC)
    large[start : start + inner, start : start + inner] = np.asarray(part)
    return Picture(_rgb(large), (note, f"Enlarged to {inner}×{inner} pixels in a black frame of {side}×{side}."))


def _rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


@cache
def _digit(path: Path, row: int) -> np.ndarray:
    """Line `row` of the table: 64 values from 0 to 16, then the label. Read here, since scikit-learn loads slowly."""
    with gzip.open(path, "rt") as lines:
        values = np.loadtxt(lines, delimiter=",", skiprows=row, max_rows=1)
    return np.rint(values[:64] * (255 / 16)).astype(np.uint8).reshape(8, 8)


def _file(sample: Sample) -> Path:
    """The path of the sample; an empty one where its package is missing. The package is not imported."""
    found = find_spec(sample.package)
    places = list(found.submodule_search_locations or ()) if found else []
    return Path(places[0], sample.path) if places else Path()
