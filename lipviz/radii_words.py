"""The words and the code of the page Certified radii."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lipviz.ui import literal

if TYPE_CHECKING:
    from lipviz.ui_radii import Shown

TRY = {
    "Size 108/255: watch the striped gap": {"cr_eps": 108},
    "The tail: see who is certified furthest": {"cr_from": 180, "cr_to": 1020, "cr_who": "right"},
    "Wrong answers: see some be certified all the same": {
        "cr_eps": 36,
        "cr_from": 36,
        "cr_to": 1020,
        "cr_who": "wrong",
    },
}


def notice(shown: Sequence["Shown"], one: "Shown", k: int) -> str:
    """What to look at, in the state the page is in: first the gap of the run in detail, then the other runs."""
    return " ".join(filter(None, (_gap(one, k), _leaders(shown, k))))


def _gap(one: "Shown", k: int) -> str:
    name, c = literal(one.run.name), one.curves
    if c.right and 255 * c.largest <= 1:
        rest = " All that attacks have left is unknown." if one.both else ""
        return f"{name} has no radius above {c.largest:.2g}: at this scale nothing of it is certified.{rest}"
    if k == 0:
        return "At size 0 only answers whose margin is 0 are lost: the curves start at the clean accuracy."
    if one.both is None:
        return ""
    kept, stands, n = int(one.both.kept[k]), int(one.both.stands[k]), one.both.n
    if stands == kept:
        return (
            f"At {k}/255 nothing is unknown: each of the {n} attacked images of {name} is certified, broken or wrong."
        )
    widest = int((one.both.stands - one.both.kept).argmax())
    more = "here the stripes are widest" if widest == k else f"the stripes are widest at {widest}/255: drag eps there"
    return (
        f"At {k}/255, {stands - kept} of {n} attacked images of {name} are unknown, neither proved nor broken; {more}."
    )


def _leaders(shown: Sequence["Shown"], k: int) -> str:
    """Who leads among the runs of one protocol, the most of those shown; the others stand in no ranking with them."""
    from lipviz.protocols import protocol

    if len(shown) < 2:
        return ""
    if not any(item.curves.kept[k] for item in shown):
        return f"No answer of any run here is certified beyond {k}/255."
    alike = defaultdict(list)
    for item in shown:
        alike[protocol(item.run)].append(item)
    ranked = max(alike.values(), key=len)
    apart = [literal(item.run.name) for same in alike.values() if same is not ranked for item in same]
    said = _first(ranked, k, "Of the runs of one protocol " if apart else "") if len(ranked) > 1 else ""
    if not apart:
        return said
    who = f"{', '.join(apart)} had" if ranked[1:] else "They had"
    return f"{said} {who} another budget or protocol: curves to read, no ranking.".strip()


def _first(ranked: Sequence["Shown"], k: int, of: str) -> str:
    best = max(ranked, key=lambda item: item.curves.kept[k] / item.curves.n)
    clean = max(ranked, key=lambda item: item.curves.right / item.curves.n)
    name, share = literal(best.run.name), f"{100 * (best.curves.kept[k] / best.curves.n):.1f} %"
    if not best.curves.kept[k]:
        return ""
    if best is clean:
        return f"{of}{name} leads in clean accuracy and at {k}/255, with {share}. Does it lead further out too?"
    right = f"{100 * (clean.curves.right / clean.curves.n):.1f} %"
    return f"{of}{literal(clean.run.name)} is right most often ({right}), but {name} keeps most at {k}/255, {share}."


def counted(one: "Shown", k: int, unit: str) -> str:
    """What the numbers speak of: norm, unit, samples, the constant."""
    said = (
        f"eps = {k}/255 = {k / 255:.4f}. Norm l2, {unit}. An answer counts as certified where it is right and its "
        f"radius is larger than eps, on all {one.curves.n:,} test inputs."
    )
    if one.both is not None:
        said += (
            f" Under attack: of {one.both.n:,} test inputs, evenly spaced, those answered rightly where the smallest "
            "change that any attack found is larger than eps. The stripes lie between both on these same inputs, so "
            "chance cannot close or open the gap; the thick curve is of the whole test set. The measured Lipschitz "
            "constant is the largest margin / (sqrt(2) distance) of their breaks: the true one is no smaller."
        )
    return (
        f"{said} Intervals (Wilson, 95 %) are for other inputs drawn like these. The Lipschitz bound is that of the "
        "whole network: the true constant is no larger. A radius uses the proved bound of all layers but the last, and "
        "the last one class by class: the constant used is margin / radius, where the radius is not 0."
    )


def attacked(one: "Shown") -> str:
    """How hard the attacks tried."""
    attacks = None if one.both is None else one.run.attacks
    if attacks is None:
        return ""
    how = ", ".join(f"{key} {value}" for key, value in attacks.protocol.items()) or "protocol not kept"
    return f"Attacks: {', '.join(attacks.distance)} ({how}). A stronger attack can only lower the upper curve."


def bug(one: "Shown") -> str:
    """What must never be: attacks that ended inside a certified radius."""
    if one.both is None or not one.both.inside:
        return ""
    return (
        f"{one.both.inside} attacked images of {literal(one.run.name)} changed their answer inside a certified radius. "
        "That is a mistake in the certificate or in the attack: please report it."
    )


def code(folders: Sequence[str], one: str, k: int) -> str:
    """Python that draws the curves of the runs, and both sides of the truth for one of them."""
    return f"""import numpy as np
import plotly.graph_objects as go
import lipviz

eps, at = np.arange(511) / 255, {k}
figure = go.Figure(layout={{"xaxis": {{"title": "eps (l2)"}}, "yaxis": {{"title": "right and certified (%)"}}}})
def draw(radius, right, name):
    share = 100 * (radius[right][:, None] > eps).sum(0) / len(right)
    figure.add_scatter(x=eps, y=share, name=name)
    print(name, f"{{100 * ((radius[right] > at / 255).sum() / len(right)):.1f}} % beyond {{at}}/255")
for folder in {list(folders)!r}:
    found = lipviz.load(folder).certificates
    draw(found.radius, found.correct, folder)
run = lipviz.load({one!r})
if run.attacks:
    row = np.searchsorted(run.certificates.index, run.attacks.index)
    draw(run.certificates.radius[row], run.certificates.correct[row], "certified, the attacked images")
    draw(run.attacks.smallest, run.certificates.correct[row], "under attack")
figure.write_html("radii.html", config={{"showSendToCloud": False}})
"""


IN_WORDS = """
#### What the curves say

Each right answer of a test set has a **certified radius**: no change smaller than that alters it. Sort the answers by
radius, and ask at each size how many are left: that is the curve. It starts at the clean accuracy and can only fall.

An attack looks from the other side. Where it has changed an answer, that answer is lost for certain. So the truth, how
many answers no change of this size could alter, lies between two curves: **certified below, under attack above**. What
lies between is unknown, and drawn in stripes. A better proof lifts the lower curve, a better attack lowers the upper
one. Stripes that are thin mean that both are nearly as good as they can be.

#### The mean hides the tail

A mean radius is made by the answers that are far from every other class. Two networks of the same mean can differ in
what counts: how many answers are left at the size you care about. Look at the histogram, at its left end above all,
and compare the mean in the table with the radius that a tenth of the right answers does not reach.

#### Stable, not right

Wrong answers have radii too (the dashed outline). Inside such a radius the answer is certain to stay, and to stay
wrong. Select a range and switch to the wrong answers to see some.
"""

WITH_MATHEMATICS = """
#### The radius

For an input $x$ with label $y$, logits $s_j = w_j^\\top h(x) + b_j$ and a body $h$ that is $L$-Lipschitz in the l2
norm,

$$ r(x) = \\min_{j \\ne y} \\frac{s_y(x) - s_j(x)}{L \\, \\lVert w_y - w_j \\rVert} . $$

Two logits cannot approach each other faster than $L \\lVert w_y - w_j \\rVert$ per unit of change, so none overtakes
$s_y$ within $r(x)$ (Tsuzuku, Sato & Sugiyama, NeurIPS 2018). $L$ is the product of proved bounds of the layers, the
logits are evaluated in float64 with a bound of their rounding errors, and $r$ is rounded down.

#### Both sides of the truth

Let $\\rho(x)$ be the size of the smallest change that alters the answer, and $d(x)$ the size of the smallest one that
an attack found. Then $r(x) \\le \\rho(x) \\le d(x)$, and for every $\\varepsilon$, over the same right answers,

$$ \\#\\{ r(x) > \\varepsilon \\} \\; \\le \\; \\#\\{ \\rho(x) > \\varepsilon \\} \\; \\le \\;
\\#\\{ d(x) > \\varepsilon \\} . $$

A single $d(x) < r(x)$ would refute the certificate; the page counts them. The interval (Wilson, 95 %) of a share
$p = h/n$ is $\\big( p + z^2/2n \\pm z \\sqrt{p(1-p)/n + z^2/4n^2} \\big) / (1 + z^2/n)$ with $z = 1.96$: it speaks of
other inputs drawn like these, the certificates themselves are not a matter of chance.

#### The mean hides the tail

The area under the certified curve is the mean radius counted over all inputs, with $0$ for a wrong answer:
$\\int_0^\\infty \\#\\{r > \\varepsilon\\} / n \\, d\\varepsilon = \\frac1n \\sum_{\\text{right}} r(x)$. Very different
curves have the same area, so the mean alone does not say how many answers stand at any one $\\varepsilon$.
"""
