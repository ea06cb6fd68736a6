r"""A table as LaTeX, with the booktabs package: \caption above, names escaped, numbers on the right."""

from collections.abc import Mapping, Sequence

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "µ": r"\textmu{}",
    "·": r"\textperiodcentered{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}


def escape(text: str) -> str:
    r"""Text as it stands, in one line.

    >>> print(escape("cifar10_aol & 5 %"))
    cifar10\_aol \& 5 \%
    """
    return " ".join("".join(_ESCAPED.get(mark, mark) for mark in text).split())


def table(rows: Sequence[Mapping[str, object]], caption: str, label: str = "tab:lipviz") -> str:
    r"""The rows as a table environment; None is an empty cell.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("a table needs a row: choose a protocol that has runs")
    columns = list(dict.fromkeys(column for row in rows for column in row))
    right = [all(isinstance(row.get(c), int | float | None) for row in rows) for c in columns]
    lines = [r"% \usepackage{booktabs}", r"\begin{table}", r"  \centering", f"  \\caption{{{escape(caption)}}}"]
    lines += [f"  \\label{{{label}}}", f"  \\begin{{tabular}}{{{''.join('lr'[number] for number in right)}}}"]
    lines += [r"    \toprule", f"    {_line(columns)}", r"    \midrule"]
    lines += [f"    {_line([row.get(c) for c in columns])}" for row in rows]
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""])


def _line(cells: Sequence[object]) -> str:
    return " & ".join("" if cell is None else escape(str(cell)) for cell in cells) + r" \\"
