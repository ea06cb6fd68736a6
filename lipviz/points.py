"""Points in the plane with labels: drawn from a formula, read from a table, or sent by a browser."""

import csv
import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST = 10_000  # points
REACH = 10.0  # of a coordinate
NAMES = ("moons", "circles", "spirals", "blobs")
_DELIMITERS = ("\t", ";", ",")


@dataclass(frozen=True, eq=False)
class Points:
    """Labelled points in the plane.

    Attributes:
        x: float64 (n, 2), every coordinate within [-10, 10].
        y: int64 (n,), from 0 to classes - 1; a class may have no point.
        classes: 2 or 3.
    """

    x: np.ndarray
    y: np.ndarray
    classes: int

    def __post_init__(self) -> None:
        x, y = np.asarray(self.x), np.asarray(self.y)
        if isinstance(self.classes, bool) or self.classes not in (2, 3):
            raise ValueError(f"classes must be 2 or 3, got {self.classes!r}")
        if x.ndim != 2 or x.shape[1] != 2 or y.shape != x.shape[:1]:
            raise ValueError(f"points need x of shape (n, 2) and y of shape (n,), got {x.shape} and {y.shape}")
        if not 1 <= len(x) <= MOST:
            raise ValueError(f"there must be 1 to {MOST} points, got {len(x)}: add one, or thin them out")
        if x.dtype.kind not in "fiu" or y.dtype.kind not in "iu":
            raise ValueError(f"x must hold numbers and y whole numbers, got {x.dtype} and {y.dtype}")
        x = x.astype(np.float64)
        if not (np.abs(x) <= REACH).all():  # NaN is not within either
            raise ValueError(f"every coordinate must be a number from {-REACH:g} to {REACH:g}: scale the points")
        if y.min() < 0 or y.max() >= self.classes:
            raise ValueError(f"labels must be 0 to {self.classes - 1}, got {y.min()} to {y.max()}")
        for name, values in (("x", x), ("y", y.astype(np.int64))):
            values.setflags(write=False)  # a session trains on them while a page draws them
            object.__setattr__(self, name, values)


def sample(name: str, classes: int = 2, n: int = 300, noise: float | int = 0.1, seed: int = 0) -> Points:
    """Points of a known shape, about evenly many a class, centred, within about [-1.5, 1.5].

        moons     half circles, each turned over and shifted by its radius
        circles   concentric rings
        spirals   arms r = 1.4 s of 3 / classes turns each
        blobs     Gaussians around the corners of a regular polygon (of a segment for two classes)

    Args:
        name: one of `NAMES`.
        classes: 2 or 3.
        n: number of points, 1 to 10 000.
        noise: standard deviation that is added to each coordinate, 0 to 1.
        seed: of the draw.

    Raises:
        ValueError: an unknown name, or a number out of range.

    >>> sample("moons", n=3).y.shape
    (3,)
    """
    if name not in NAMES:
        raise ValueError(f"points must be one of {', '.join(NAMES)}, got {name!r}")
    for what, value, low, high in (("classes", classes, 2, 3), ("n", n, 1, MOST), ("seed", seed, 0, 2**31 - 1)):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{what} must be a whole number from {low} to {high}, got {value!r}")
    if not 0 <= noise <= 1:
        raise ValueError(f"noise must lie between 0 and 1, got {noise!r}")
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % classes)
    s = rng.uniform(0, 1, n)
    x = {"moons": _moons, "circles": _circles, "spirals": _spirals, "blobs": _blobs}[name](s, y, classes)
    spread = noise + (0.2 if name == "blobs" else 0.0)
    x = x + spread * rng.standard_normal((n, 2))
    return Points(np.clip(x, -REACH, REACH), y, classes)


def _polar(r: NDArray, angle: NDArray) -> NDArray:
    return np.asarray(r)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _moons(s: NDArray, y: NDArray, classes: int) -> NDArray:
    """The k-th moon stands at k, turned over and half a unit higher where k is odd; three at 1.2 k, scaled to fit."""
    flip, apart = np.where(y % 2, -1.0, 1.0)[:, None], 1.0 if classes == 2 else 1.2  # else the first meets the third
    x = flip * _polar(np.ones(len(s)), np.pi * s) + np.stack([apart * y, 0.5 * (y % 2)], axis=1)
    return (x - [apart * (classes - 1) / 2, 0.25]) * 3 / (2 + apart * (classes - 1))


def _circles(s: NDArray, y: NDArray, classes: int) -> NDArray:
    return _polar(1.3 * (1 - y / classes), 2 * np.pi * s)


def _spirals(s: NDArray, y: NDArray, classes: int) -> NDArray:
    s = np.sqrt(0.02 + 0.98 * s)  # the root spreads the points evenly, 0.02 keeps the arms apart
    return _polar(1.4 * s, 2 * np.pi * (s * 3 + y) / classes)


def _blobs(s: NDArray, y: NDArray, classes: int) -> NDArray:
    return _polar(np.full(len(s), 0.9), 2 * np.pi * y / classes + (np.pi / 2 if classes == 3 else 0.0))


def from_csv(text: str) -> Points:
    r"""Points from a table with the columns x, y, label, separated by commas, semicolons or tabs.

    A first line of names is allowed; where it names x, y and label they may stand in any order. Labels are numbers
    or words, sorted. Points outside [-2, 2] are moved and scaled, with one factor, into [-1, 1].

    Raises:
        ValueError: what is wrong, with the number of the line.

    >>> from_csv("x,y,label\n0,1,cat\n1,0,ant").y
    array([1, 0])
    """
    lines = text.removeprefix("\ufeff").splitlines()
    numbered = [(i, line) for i, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise ValueError("the table is empty: it needs lines of x, y, label, such as 0.5,1.0,a")
    if len(numbered) > MOST + 1:
        raise ValueError(f"the table must hold 1 to {MOST} points, got {len(numbered)} lines: thin them out")
    delimiter = next((d for d in _DELIMITERS if numbered[0][1].count(d) == 2), ",")
    rows = [(i, _cells(i, line, delimiter)) for i, line in numbered]
    order = [0, 1, 2]
    if not any(_numeric(cell) for cell in rows[0][1][:2]):
        names = [cell.lower() for cell in rows[0][1]]
        order = [names.index(n) for n in ("x", "y", "label")] if {"x", "y", "label"} <= set(names) else order
        rows = rows[1:]
    if not 1 <= len(rows) <= MOST:
        raise ValueError(f"the table must hold 1 to {MOST} points, got {len(rows)}: add one, or thin them out")
    x = np.array([[_coordinate(i, cells[order[k]], "xy"[k]) for k in (0, 1)] for i, cells in rows])
    y = _labels([(i, cells[order[2]]) for i, cells in rows])
    return Points(_fitted(x), y, max(2, int(y.max()) + 1))


def _cells(line: int, text: str, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f"line {line} cannot be read as a table: {error}") from None
    if len(cells) != 3:
        raise ValueError(f"line {line} must have 3 columns, x, y and label, got {len(cells)}: {text.strip()[:60]!r}")
    cells = [cell.strip() for cell in cells]
    # a decimal comma, where the comma does not separate columns
    return cells if delimiter == "," else [cell.replace(",", ".") if _comma(cell) else cell for cell in cells]


def _comma(cell: str) -> bool:
    return cell.count(",") == 1 and _number(cell.replace(",", ".")) is not None


def _numeric(cell: str) -> bool:
    """Whether a cell is written as a number, NaN and infinity included: then its line is no line of names."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float | None:
    """The finite number that a cell holds, or None."""
    return float(cell) if _numeric(cell) and math.isfinite(float(cell)) else None


def _coordinate(line: int, cell: str, name: str) -> float:
    value = _number(cell)
    if value is None or abs(value) > 1e9:
        raise ValueError(f"line {line}: {name} must be a number from -1e9 to 1e9, got {cell[:40]!r}")
    return value


def _labels(cells: list[tuple[int, str]]) -> NDArray[np.int64]:
    """Labels 0, 1, 2 in the order of the numbers, or of the words where one is no number."""
    numeric = all(_number(cell) is not None for _, cell in cells)
    seen: dict[float | str, int] = {}
    keys = []
    for line, cell in cells:
        if not cell:
            raise ValueError(f"line {line} has no label: give every point a number or a word")
        number = _number(cell)
        key: float | str = number if numeric and number is not None else cell
        if key not in seen and len(seen) == 3:
            raise ValueError(f"line {line}: {cell[:40]!r} is a fourth label, and there may be at most 3: merge some")
        seen.setdefault(key, line)
        keys.append(key)
    rank = {key: k for k, key in enumerate(sorted(seen))}  # type: ignore[type-var]
    return np.array([rank[key] for key in keys], dtype=np.int64)


def _fitted(x: NDArray) -> NDArray:
    """Points outside [-2, 2] moved and scaled into [-1, 1] with one factor, so that circles stay circles."""
    if np.abs(x).max() <= 2:
        return x
    low, high = x.min(0), x.max(0)
    span = float((high - low).max())
    return (x - (low + high) / 2) * (2 / span if span > 0 else 1.0)


def to_csv(points: Points) -> str:
    """The table that `from_csv` reads back, digit by digit where the points lie within [-2, 2]."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["x", "y", "label"])
    writer.writerows(
        [repr(a), repr(b), label] for (a, b), label in zip(points.x.tolist(), points.y.tolist(), strict=True)
    )
    return file.getvalue()


def from_message(message: object) -> Points | None:
    """Points sent by a browser, {"x": [[a, b], ...], "y": [label, ...], "classes": 2}; None where anything is off."""
    if not isinstance(message, dict):
        return None
    x, y, classes = message.get("x"), message.get("y"), message.get("classes")
    if not (isinstance(x, list | tuple) and isinstance(y, list | tuple) and len(x) == len(y) <= MOST):
        return None
    rows = all(isinstance(row, list | tuple) and len(row) == 2 and all(map(_real, row)) for row in x)
    if not (rows and all(map(_real, y)) and isinstance(classes, int)):
        return None
    try:
        labels = np.array([int(label) for label in y], dtype=np.int64)
        if not np.array_equal(labels, [float(label) for label in y]):
            return None
        return Points(np.array(x, dtype=np.float64).reshape(-1, 2), labels, classes)
    except (ValueError, OverflowError):  # NaN, huge numbers, and what Points refuses
        return None


def _real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
