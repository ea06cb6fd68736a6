"""Tables of rows: in Markdown, for a terminal, as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence


def markdown(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The lines of a Markdown table; raises ValueError without rows."""
    if not rows:
        raise ValueError("a table needs a row")
    cells = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells]


def plain(rows: Sequence[Mapping[str, object]]) -> str:
    """Aligned columns for a terminal, one line a row.

    >>> print(plain([{"a": 1, "name": "x"}, {"a": 22, "name": "yy"}]))
    a   name
    1   x
    22  yy
    """
    columns = list(rows[0])
    cells = [columns] + [[str(row[c]) for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def as_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of CSV, floats in full; names with commas are quoted.

    >>> as_csv(["run", "radius"], [("a, b", 0.5)]).splitlines()
    ['run,radius', '"a, b",0.5']
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def counted(n: int, what: str) -> str:
    """A count with its noun.

    >>> counted(1, "run"), counted(1200, "run")
    ('1 run', '1,200 runs')
    """
    return f"{n:,} {what}{'s' * (n != 1)}"


def fixed(value: float | None, digits: int) -> str:
    """A number with so many digits; "-" where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"
