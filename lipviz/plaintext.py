"""A table for a terminal."""

from collections.abc import Mapping, Sequence


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Aligned columns, one line a row.

    >>> print(table([{"a": 1, "name": "x"}, {"a": 22, "name": "yy"}]))
    a   name
    1   x
    22  yy
    """
    columns = list(rows[0])
    cells = [columns] + [[str(row[c]) for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells)
