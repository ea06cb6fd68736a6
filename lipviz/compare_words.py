"""The words of the page Compare: what to notice now, suggestions, two depths of text, the code."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lipviz import ui

if TYPE_CHECKING:
    from lipviz.standings import Standing

TRY: dict[str, dict[str, Any]] = {
    "From 0 to 255: drag, and watch who passes whom": {"co_eps": 0, "co_axis": "clean"},
    "At 108/255: who pays least for the radius?": {"co_eps": 108, "co_axis": "clean"},
    "Against seconds per epoch: what does a percent cost?": {"co_eps": 36, "co_axis": "seconds per epoch"},
}

IN_WORDS = """
#### What may be compared

A number of certified accuracy hangs on the loss, the budget and the data as much as on the layer. So a ranking here
holds runs of **one protocol** only: same data, norm and unit, network, loss, augmentation, split and budget. Another
protocol is another entry of the menu, never another mark in the same picture.

**Published results** are a second layer: hollow and grey, each with its source. They were trained with other budgets,
on other machines, on the original pixels. They show where the field stands; they are not in the ranking.

**The size eps.** At 0 every mark stands at its clean accuracy. Drag eps up and each falls: an answer is lost as soon as
eps reaches its certified radius. Some fall faster than others: the best at 36/255 need not be the best at 255/255.

A mark on the **Pareto front** is beaten by no other run in both numbers at once.

**Maps.** Networks that answer to points of a plane can be seen whole: each map shows the answers of one run, and the
probe stands at the same place in all of them. Its circle is the certified radius there: the same point, other proofs.
Networks trained on moons, circles or spirals (the page Train) have such maps.
"""

WITH_MATHEMATICS = """
#### What is counted

With $r_i$ the certified radius of test input $i$ and $\\hat y_i$ its prediction, certified accuracy is the share

$$ A(\\varepsilon) = \\tfrac{1}{n} \\, \\# \\{ i : \\hat y_i = y_i, \\; r_i > \\varepsilon \\} , $$

which never rises with $\\varepsilon$. So between two published radii $a < \\varepsilon < b$ all that is known is
$A(b) \\le A(\\varepsilon) \\le A(a)$: the grey bars.

One run has the error of a sample: with $n$ inputs about $\\sqrt{A (1 - A) / n}$, half a percent for $n = 10\\,000$.
Several seeds are shown with their mean, and from the smallest to the largest.
"""


def notice(lines: Sequence["Standing"], k: int, of: int = 0) -> str:
    """What to look at, in the state the page is in; `of` lines of the ranking the filter has left these."""
    from lipviz.standings import ranks

    told = [line for line in lines if line.clean is not None and line.certified(k) is not None]
    if len(told) < 2 and len(lines) < of:
        return (
            "The chosen families leave fewer than two runs to rank: choose another family beside them, or none for all."
        )
    if len(told) < 2:
        return "One run makes no ranking: choose another protocol, or train a second run with the same numbers."
    clean, certified = ([line.certified(at) or 0.0 for line in told] for at in (0, k))
    best = max(range(len(told)), key=lambda i: certified[i])
    if k == 0:
        return "At size 0 every mark stands at its clean accuracy. Drag eps to the right and watch who falls fastest."
    if certified[best] == 0:
        return f"No run here certifies anything at {k}/255. Move eps to the left until the first mark lifts."
    name, before, now = ui.literal(told[best].name), ranks(clean), ranks(certified)
    shifts = [before[i] - now[i] for i in range(len(told))]
    # a network without a certificate falls to nothing: that is no news of the order
    most = max((i for i in range(len(told)) if certified[i] > 0), key=lambda i: abs(shifts[i]))
    leads = f"At {k}/255 {name} leads with {certified[best]:.1f} %."
    if shifts[most] == 0:
        return f"{leads} The order is that of clean accuracy: eps has changed no place yet."
    way = "up" if shifts[most] > 0 else "down"
    return (
        f"{leads} Against the order of clean accuracy {ui.literal(told[most].name)} moved most: {way} from place "
        f"{before[most]:g} to {now[most]:g} of {len(told)}."
    )


BESIDE = "results of papers on the same data set, under their own protocols"


def numbers(lines: Sequence["Standing"], k: int, published: int, of: int) -> list[tuple[str, str, str]]:
    """The line of numbers: (label, value, what it means); `of` lines of the ranking the filter has left these."""
    told = [line for line in lines if line.certified(k) is not None]
    if not told:
        return []
    best = max(told, key=lambda line: line.certified(k) or 0.0)
    clean = max(told, key=lambda line: line.clean or 0.0)
    return [
        (f"most certified at {k}/255", f"{best.certified(k):.1f} %", f"{best.name}, l2, share of the test set"),
        ("highest clean accuracy", f"{clean.clean or 0.0:.1f} %", f"{clean.name}, clean accuracy on the test set"),
        (
            "in this ranking",
            str(of) if len(lines) == of else f"{len(lines)} shown of {of}",
            "runs of one protocol; several seeds count as one",
        ),
        *([("published, beside it", str(published), BESIDE)] if published else []),
    ]


def code(folders: Sequence[str], k: int) -> str:
    """Runnable Python that makes the ranking again."""
    return f"""import plotly.graph_objects as go
import lipviz

eps, ranking = {k} / 255, []
for folder in {list(folders)!r}:
    run = lipviz.load(folder)
    found = run.certificates
    ranking.append((found.accuracy(eps), found.accuracy(), run.name))
ranking.sort(reverse=True)
for certified, clean, name in ranking:
    print(f"{{name:20}} clean {{100 * clean:.1f}} %, certified at {k}/255 {{100 * certified:.1f}} %")
figure = go.Figure(layout={{"xaxis": {{"title": "clean"}}, "yaxis": {{"title": "certified at {k}/255 (l2)"}}}})
for certified, clean, name in ranking:
    figure.add_scatter(x=[clean], y=[certified], name=name, mode="markers")
figure.write_html("compare.html", config={{"showSendToCloud": False}})
"""
