"""Cells and tables of the Markdown pages that are generated."""

from collections.abc import Mapping, Sequence


def markdown(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The lines of a Markdown table; raises ValueError without rows."""
    if not rows:
        raise ValueError("a table needs a row")
    cells = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells]


def fixed(value: float | None, digits: int) -> str:
    """A number with so many digits; "-" where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"
