"""Certificates of a test set as the page Certified radii shows them: arrays in, arrays out.

Sizes are whole multiples of 1/255: entry k of a count is what holds beyond k/255, strictly, as `lipviz.certify` counts.
For each size, certified <= truth <= under attack, all three on the same images.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from lipviz.runs import Attacks, Certificates

REACH = 1020  # the largest size, in 1/255
BIN = 4  # of the histogram, in 1/255
ROUNDED = 2e-6  # l2, what rounding 3072 pixels to float32 moves them at most: older attacks began there


@dataclass(frozen=True, eq=False)
class Curves:
    """How many answers of a run are certified, at every size.

    Attributes:
        n: test inputs.
        right: right answers.
        kept: right answers with a radius above k/255, for k from 0 to REACH.
        largest: radius of a right answer.
        histogram: radii of right answers in bins of BIN/255; the last one holds all that lie further out.
        wrong: the same of wrong answers.
        class_n: test inputs of each class.
        class_right: right answers of each class.
        class_kept: a row of `kept` for each class.
    """

    n: int
    right: int
    kept: Int[np.ndarray, " sizes"]
    largest: float
    histogram: Int[np.ndarray, " bins"]
    wrong: Int[np.ndarray, " bins"]
    class_n: Int[np.ndarray, " classes"]
    class_right: Int[np.ndarray, " classes"]
    class_kept: Int[np.ndarray, "classes sizes"]


@dataclass(frozen=True, eq=False)
class Sandwich:
    """Both sides of the truth, on the images that were attacked.

    Attributes:
        n: attacked images.
        right: of them are answered rightly.
        kept: right and certified beyond k/255, for k from 0 to REACH.
        stands: right, and no attack found a change of k/255 or smaller.
        inside: attacks that ended inside a certified radius: must be 0.
        distance: smallest found, image by image.
        row: of each attacked image in the certificates.
    """

    n: int
    right: int
    kept: Int[np.ndarray, " sizes"]
    stands: Int[np.ndarray, " sizes"]
    inside: int
    distance: Float[np.ndarray, " images"]
    row: Int[np.ndarray, " images"]


def above(values: Float[np.ndarray, " n"]) -> Int[np.ndarray, " sizes"]:
    """How many values lie above k/255, for k from 0 to REACH.

    >>> above(np.array([0.0, 1 / 255, 0.005]))[:3].tolist()
    [2, 1, 0]
    """
    values = np.sort(values[~np.isnan(values)])
    return len(values) - np.searchsorted(values, np.arange(REACH + 1) / 255, side="right")


def curves(found: Certificates, classes: int) -> Curves:
    """Every count of a run; answers whose label is none of the classes belong to no class."""
    right, member = found.correct, np.array([found.label == c for c in range(classes)])
    return Curves(
        len(found.radius),
        int(right.sum()),
        above(found.radius[right]),
        float(np.max(found.radius[right & np.isfinite(found.radius)], initial=0.0)),
        _histogram(found.radius[right]),
        _histogram(found.radius[~right]),
        member.sum(1),
        (member & right).sum(1),
        np.array([above(found.radius[m & right]) for m in member]),
    )


def _histogram(radius: Float[np.ndarray, " n"]) -> Int[np.ndarray, " bins"]:
    """Bin i counts BIN i / 255 < r <= BIN (i + 1) / 255; a radius of 0 is in the first."""
    last = REACH // BIN - 1
    bins = np.ceil(np.minimum(255 * radius[~np.isnan(radius)], REACH) / BIN - 1e-9) - 1
    return np.bincount(bins.clip(0, last).astype(int), minlength=last + 1)


def sandwich(found: Certificates, attacks: Attacks) -> Sandwich:
    """Both sides at every size, of the images that were attacked.

    Raises:
        ValueError: the attacks are of another training of the run.
    """
    order = np.argsort(found.index, kind="stable")
    place = np.searchsorted(found.index, attacks.index, sorter=order).clip(max=len(order) - 1)
    row = order[place]
    same = len(np.unique(row)) == len(row) and np.array_equal(found.index[row], attacks.index)
    if not same or not np.allclose(found.radius[row], attacks.radius, rtol=1e-3, atol=1e-6):
        raise ValueError(
            "attacks.npz and certificates.csv are not of one training: their images or radii differ. Attack the run "
            "again with `lipviz attack`"
        )
    right, radius, distance = found.correct[row], found.radius[row], attacks.smallest
    inside = int(np.sum(distance < radius))
    return Sandwich(len(row), int(right.sum()), above(radius[right]), above(distance[right]), inside, distance, row)


def constants(found: Certificates) -> tuple[float, float] | None:
    """The smallest and the largest constant that a radius was made with, margin / radius; None where no radius is one.

    Radii that are 0 or infinite are left out. With the bound L of the body, the runner-up j and the class i that binds,
    L ||w_y - w_j|| <= margin / radius <= L ||w_y - w_i||: not one number, and not the bound of the whole network.

    >>> constants(Certificates(*np.zeros((3, 3)), np.array([1.0, 3.0, 0.0]), np.array([1.0, 2.0, 0.0])))
    (1.0, 1.5)
    """
    some = (found.radius > 0) & np.isfinite(found.radius)
    with np.errstate(over="ignore"):  # of radii that are nearly 0
        used = found.margin[some] / found.radius[some]
    used = used[np.isfinite(used)]
    return (float(used.min()), float(used.max())) if len(used) else None


def measured(found: Certificates, both: Sandwich) -> float | None:
    """A lower bound of the Lipschitz constant of the whole network, from the breaks that attacks found; None without.

    A break at distance d turned a margin m > 0 into one of 0 or less. A difference of two logits of an L-Lipschitz
    network is sqrt(2) L-Lipschitz, hence L >= m / (sqrt(2) d): the largest of all images is taken.
    """
    margin = found.margin[both.row]
    broken = (margin > 0) & np.isfinite(both.distance)
    steep = margin[broken] / (math.sqrt(2) * (both.distance[broken] + ROUNDED))
    return float(steep.max()) if len(steep) else None


def end(parts: list[Curves], both: Sandwich | None, eps: int = 0) -> int:
    """Where the axis of sizes ends, in 1/255: a thousandth of the inputs is certified, a tenth stands under attack."""
    far = [108, eps, *(_falls(part.kept, part.n / 1000) for part in parts)]
    if both is not None:
        far.append(_falls(both.stands, both.n / 10))
    return min(REACH, BIN * math.ceil(1.02 * max(far) / BIN))


def _falls(counts: Int[np.ndarray, " sizes"], below: float) -> int:
    """The first size at which the count is no larger."""
    return int(np.argmax(counts <= below)) if counts[-1] <= below else REACH


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share, after Wilson: it stays in [0, 1] and is not empty at 0 or n hits.

    >>> [round(end, 4) for end in wilson(0, 10)], [round(end, 4) for end in wilson(50, 100)], wilson(0, 0)
    ([0.0, 0.2775], [0.4038, 0.5962], (0.0, 1.0))
    """
    if n == 0:
        return 0.0, 1.0
    share, spread = hits / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / n / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def just(found: Certificates, eps: float, most: int) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    """Rows of right answers: those certified at eps with the smallest radii, those missed with the largest ones."""
    order = _by_radius(found, found.correct)
    cut = int(np.searchsorted(found.radius[order], eps, side="right"))
    return order[cut : cut + most], order[max(cut - most, 0) : cut][::-1]


def within(found: Certificates, low: float, high: float, right: bool = True) -> Int[np.ndarray, " rows"]:
    """Rows of right (or wrong) answers with low < radius <= high, the smallest radius first.

    They are certified at `low`, and no more at `high`.
    """
    return _by_radius(found, (found.correct == right) & (found.radius > low) & (found.radius <= high))


def _by_radius(found: Certificates, wanted: Bool[np.ndarray, " n"]) -> Int[np.ndarray, " rows"]:
    rows = np.flatnonzero(wanted & ~np.isnan(found.radius))
    return rows[np.argsort(found.radius[rows], kind="stable")]


def spread(rows: Int[np.ndarray, " rows"], most: int) -> Int[np.ndarray, " some"]:
    """At most `most` of the rows, evenly spaced, both ends among them.

    >>> spread(np.arange(10), 4).tolist(), spread(np.arange(3), 4).tolist()
    ([0, 3, 6, 9], [0, 1, 2])
    """
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]


def confusion(found: Certificates, classes: int, eps: float) -> Int[np.ndarray, "classes columns"]:
    """Test inputs by class (row) and by what is certified at eps: an answer (column), or none (the last column).

    An answer counts here whether it is right or not: a certificate says that it is stable.
    """
    known = (found.label >= 0) & (found.label < classes) & (found.prediction >= 0) & (found.prediction < classes)
    column = np.where(found.radius > eps, found.prediction, classes)
    table = np.zeros((classes, classes + 1), dtype=int)
    np.add.at(table, (found.label[known], column[known]), 1)
    return table
