"""Published certified results, as lipviz/published.csv holds them: never measured here, never in one ranking with runs.

Each entry names its paper or repository, the protocol, and how it was checked: V read in the text of the paper, R
printed in or computed from the named repository, S the authors' own table in a review thread. Accuracies in percent, l2
norm, pixels in [0, 1]; an empty cell was not reported. Runs that became NaN and ablations of the kernel size are left
out.
"""

import csv
import math
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("published.csv")
MARKS = {
    "V": "read in the paper",
    "R": "from the named repository",
    "S": "the authors' table in a review thread",
    "V+R": "read in the paper and from its repository",
}
RADII = (36, 72, 108, 255)
COMPARISON = "1-Lipschitz Layers Compared"
_REQUIRED = ("data", "source", "year", "method", "protocol", "mark")


@dataclass(frozen=True)
class Entry:
    """One published result.

    Attributes:
        data: data set, named as the runs name it.
        source: paper, venue, table; or repository and file.
        year: of the source.
        method: as the source calls it.
        row: the row of LAYERS that it corresponds to, "" where there is none.
        size: of the network, in the words of the source.
        budget: of training, in the words of the source.
        parameters: of the network, None where not given.
        clean: accuracy in percent; the same for `certified_k`, right with a certified radius above k/255.
        certified_36: see `clean`.
        certified_72: see `clean`.
        certified_108: see `clean`.
        certified_255: see `clean`.
        protocol: how it was trained, as far as the source says.
        mark: a key of MARKS.
        note: what a reader must know, such as a certificate that was corrected later.
    """

    data: str
    source: str
    year: int
    method: str
    row: str
    size: str
    budget: str
    parameters: int | None
    clean: float | None
    certified_36: float | None
    certified_72: float | None
    certified_108: float | None
    certified_255: float | None
    protocol: str
    mark: str
    note: str = ""

    @property
    def name(self) -> str:
        """Method, size and budget in a line."""
        return ", ".join(filter(None, (self.method, self.size, self.budget)))

    def certified(self, k: int) -> float | None:
        """Certified accuracy at k/255 in percent; at 0 the clean accuracy, None where the source does not say."""
        found = self.clean if k == 0 else getattr(self, f"certified_{k}", None)
        return found

    def between(self, k: int) -> tuple[float, float] | None:
        """What is known of the certified accuracy at k/255, as it never rises with the radius; None if nothing.

        (low, high) from the next published radius on either side; they are equal where k itself was published.
        """
        known = [(0, self.clean)] + [(radius, self.certified(radius)) for radius in RADII]
        low = [value for radius, value in known if value is not None and radius >= k]
        high = [value for radius, value in known if value is not None and radius <= k]
        return (max(low), min(high)) if low and high else None


COLUMNS = tuple(field.name for field in fields(Entry))
_WHOLE = ("year", "parameters")
_PERCENT = ("clean", *(f"certified_{k}" for k in RADII))


def read(path: str | Path = FILE) -> list[Entry]:
    """The entries of a CSV file, in its order.

    Raises:
        ValueError: other columns than COLUMNS, a required cell that is empty, a number outside 0 to 100, a certified
            accuracy above one at a smaller radius, or an unknown mark; the message names the line.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(
                f"{path}: expected the columns {', '.join(COLUMNS)}, got {', '.join(reader.fieldnames or ())}"
            )
        return [_entry(row, f"{path}, line {reader.line_num}") for row in reader]


@cache
def of(data: str) -> tuple[Entry, ...]:
    """The shipped entries on one data set."""
    return tuple(entry for entry in read() if entry.data == data)


def _entry(row: dict[str, str], where: str) -> Entry:
    if None in row or None in row.values():
        raise ValueError(f"{where}: expected {len(COLUMNS)} cells")
    for name in _REQUIRED:
        if not row[name].strip():
            raise ValueError(f"{where}: {name} is empty")
    if row["mark"] not in MARKS:
        raise ValueError(f"{where}: mark must be one of {', '.join(MARKS)}, got {row['mark']!r}")
    numbers = {name: _number(row[name], name, where) for name in (*_WHOLE, *_PERCENT)}
    reported = [value for name in _PERCENT if (value := numbers[name]) is not None]
    if reported != sorted(reported, reverse=True):
        raise ValueError(f"{where}: certified accuracy cannot rise with the radius, got {reported}")
    return Entry(**{**row, **numbers})  # type: ignore[arg-type]


def _number(text: str, name: str, where: str) -> float | int | None:
    if not text.strip():
        return None
    try:
        value = int(text) if name in _WHOLE else float(text)
    except ValueError:
        raise ValueError(f"{where}: {name} must be a number, got {text!r}") from None
    top = 100.0 if name in _PERCENT else math.inf
    if not 0 <= value <= top:
        raise ValueError(f"{where}: {name} must lie between 0 and {top:g}, got {text}")
    return value
