"""What the page on spectra says: what to notice, whether a claim holds, two depths of text, the code."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lipviz.history import History, distance
from lipviz.layers import LAYERS

CLOSE = 0.1  # root mean square of sigma - 1 below which layers are called close to orthogonal
ALL = ": all layers"

IN_WORDS = """
#### What is drawn

A layer without its activation is a matrix. It turns the unit ball into an ellipsoid, and its **singular values**
are the half axes: by how much each direction is stretched. At 1 a direction passes unchanged, at 0.5 it is halved,
at 0 it is lost. None above 1 means that the layer brings no two inputs further apart.

The **rank plot** sorts them, the largest on the left. A flat line at 1 is an orthogonal layer. The **histogram**
says how many there are of each size, the **cumulative** curve how many are at or below a size. While the training
plays, the thin lines stay at its end.

A **convolution** treats each frequency of an image by a small matrix of its own. The **frequency map** shows the
largest and the smallest singular value of each: slow changes of the image in the middle, fast ones at the edges.
Where the layer wraps the image around (circular padding) these are all its singular values. Where it pads with
zeros, the map is that of the same kernel with a wrapped image, and only comes close.

#### Which matrix

* **AOL, spectral, SR, plain, and the orthogonal rows**: the matrix that runs.
* **SLL and CPL** (residual): the layer is its input minus something; drawn is the matrix inside. A value near 0 there
  loses nothing, since the layer leaves that direction as it is. What the layer as a whole does to a picture depends on
  the picture: see **Jacobian at an input**.
* **Sandwich**: the product of its two matrices, without the activation between them.
* **The last layer** makes the logits. Its rows have length 1, and it may exceed 1; the certified radius accounts
  for it.
"""

WITH_MATHEMATICS = """
#### What is drawn

* **Affine and orthogonal rows**: $\\sigma(W T^{-1/2})$, or $\\sigma(Q)$. **Residual rows** (SLL, CPL): $\\sigma(V)$,
  $V = W T^{-1/2}$, of $x - 2 V \\,\\mathrm{relu}(V^\\top x + b)$; $\\lVert V \\rVert \\le 1$ makes that layer
  1-Lipschitz, its Jacobian being $I - 2 V D V^\\top$ with a diagonal $0 \\le D \\le I$. **Sandwich rows**:
  $\\sigma(2 A^\\top B)$, the layer without its relu.
* **Convolutions** under circular padding are block diagonal in the Fourier basis, with the blocks
  $\\hat K(\\omega) = \\sum_u K_u e^{-i \\omega^\\top u}$, and $\\sigma$ of the layer is the union of all
$\\sigma(\\hat K(\\omega))$ (Sedghi, Gupta & Long, ICLR 2019). Zero padding has no such formula: a layer with at
most 1024 inputs is written out in full; a larger one is shown through the frequencies of an image padded to its
full reach. Certified bounds never rely on that.
* **Distance to orthogonal**: $\\min_{Q^\\top Q = I} \\lVert W - Q \\rVert_F / \\sqrt{r} =
  \\big(\\tfrac1r \\sum_{i \\le r} (\\sigma_i - 1)^2\\big)^{1/2}$, $r$ the smaller side of $W$; the nearest $Q$ is the
polar factor. Over training it comes from 64 stored quantiles of $\\sigma$; for layers together it
is the root mean square over the layers.

#### Bounds and gain

$$ \\sup_x \\lVert J(x) \\rVert = \\mathrm{Lip}(f) \\le \\prod_k L_k . $$

The right side is what is certified: each $L_k$ is proved from the weights in float64, rounding included, and the
product is rounded up. No tighter bound of the whole is computed: between two of these layers stands an activation,
so their matrices cannot be multiplied first. The left side is only ever sampled: $\\lVert J(x) \\rVert$ at some
inputs is a
*lower* bound of the constant, no more. The true constant lies between the two.
"""


def notice(histories: Sequence[History], kind: str, number: int | None, share: float) -> str:
    """What to see in the picture as it is now."""
    if kind == "frequency map":
        return (
            "Middle: slow changes of the image; edges: fast ones. An orthogonal layer has both maps at 1 everywhere; "
            "a pale spot in the right map is a frequency at which some direction is damped."
        )
    told = [words for h in histories if (words := _told(h, number))]
    if share < 1:
        told.insert(0, f"Thick: {100 * share:.0f} % of the training; thin: its end.")
    if kind == "cumulative":
        told.append("A jump at 1 is a share of directions that pass unchanged.")
    if kind == "histogram":
        told.append("Each layer counts the same.")
    return " ".join(told)


def _told(h: History, number: int | None) -> str:
    """What is special about a run, in one sentence."""
    layers, name = h.shown(number), f"**{escaped(h.name)}**"
    if not layers:
        return f"{name} has no layer {number}."
    ends = np.concatenate([layer.states[-1] for layer in layers])
    far = float(np.sqrt(np.mean([distance(layer.states[-1], layer.count) ** 2 for layer in layers])))
    top = f"{ends.max():.3g}"
    if layers[0].what == "logits":
        return f"{name}: the last layer has rows of norm 1 and need not stay below 1; it reaches {top}."
    if layers[0].kind == "sandwich":
        return f"{name} is a sandwich: the curve is its linear part, $2 A^\\top B$, and never exceeds 1."
    if layers[0].kind == "residual":
        return f"{name} is residual: a value near 0 is a direction its layers leave as it is."
    if ends.max() > 1.001:
        return f"{name} reaches {top}: nothing holds its values below 1."
    if far < 1e-3:
        return f"{name} is flat at 1: its layers lose no direction."
    lost = f" Values of 0: {100 * np.mean(ends < 1e-6):.0f} %, directions that vanish." if ends.min() < 1e-6 else ""
    return f"{name} stays below 1: {100 * np.mean(ends < 0.9):.0f} % of its values lie under 0.9, damped.{lost}"


def verdict(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whether training brought each run close to orthogonal, one sentence for each run of `history.distances`."""
    return [_verdict(row) for row in rows if row["label"].endswith(ALL)]


def _verdict(row: Mapping[str, Any]) -> str:
    name, after, before = f"**{escaped(row['name'])}**", row["after"], row["before"]
    known = LAYERS.get(row["row"])
    if known and known.form == "residual":
        return f"{name}: the inner matrix ends at {after:.2g}. Nothing asks a residual layer for an orthogonal one."
    if known and known.form == "orthogonal" and after < 1e-3:
        return f"{name} is orthogonal by construction, before and after."
    ends = f"ends at {after:.2g}, {'' if after < CLOSE else 'not '}close to orthogonal"
    if before is None:
        return f"{name} {ends}. How it started was not stored."
    if before < 0.01:
        path = "stayed near it" if after < CLOSE else "moved away"
        back = ""
        if row["farthest"] > 1.05 * after:
            back = (
                f" It was farthest at epoch {row['farthest epoch']:g}, {row['farthest']:.2g}, and came back from there."
            )
        return f"{name} started orthogonal and {path}: it {ends}.{back}"
    way = "brought it closer" if after < before else "did not bring it closer"
    return f"{name} started at {before:.2g}. Training {way}: it {ends}."


def claim(rows: Sequence[Mapping[str, Any]]) -> str:
    """The observation of the AOL paper, held against those AOL runs that are chosen."""
    said = (
        "AOL stands for almost orthogonal: its authors observe that training brings the layers close to orthogonal "
        f"ones. Close means here: a distance below {CLOSE}."
    )
    ends = [row for row in rows if row["label"].endswith(ALL) and row["row"] == "aol"]
    if not ends:
        return f"{said} Choose an AOL run to see whether that holds for it."
    holds = sum(row["after"] < CLOSE for row in ends)
    if holds == len(ends):
        return f"{said} For the AOL runs chosen here **it holds**."
    if holds:
        return f"{said} **It holds for {holds} of {len(ends)}** AOL runs chosen here."
    start = all(row["before"] is not None and row["before"] < 0.01 for row in ends)
    left = " They start orthogonal, so training could only lead away; it led far." if start else ""
    return f"{said} For the AOL runs chosen here **it does not hold**.{left}"


def escaped(text: str) -> str:
    """A name in Markdown, as it stands."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]()#+-.!|$~<>:" else c for c in text)


def code(folders: Sequence[str], kind: str, number: int | None, log: bool) -> str:
    """Lines of Python that redraw the picture from the folders of the runs, with exact values."""
    if kind == "frequency map":
        return _code_of_maps(folders, number)
    part = "found[:-1] or found" if number is None else f"found[{number - 1}:{number}]"
    draw = {
        "rank": ("np.linspace(0, 1, len(s.values)), s.values", "relative rank", "singular value", "yaxis"),
        "cumulative": (
            "s.values[::-1], 100 * np.arange(1, len(s.values) + 1) / len(s.values)",
            *("singular value", "share at or below it (%)", "xaxis"),
        ),
        "histogram": (
            "np.arange(48) / 48 * s.values[0], 100 * np.histogram(s.values, 48, (0, s.values[0]))[0] / len(s.values)",
            *("singular value", "share (%)", "xaxis"),
        ),
    }
    xy, x, y, axis = draw[kind]
    scale = f'figure.update_layout({axis}_type="log")\n' if log else ""
    return f"""import numpy as np
import plotly.graph_objects as go
import lipviz
from lipviz.spectra import spectra

figure = go.Figure(layout={{"xaxis": {{"title": {x!r}}}, "yaxis": {{"title": {y!r}}}}})
for folder in {list(folders)!r}:
    run = lipviz.load(folder)
    found = spectra(run.model, run.spec.input_shape)
    for s in {part}:  # the last layer makes the logits
        x, y = {xy}
        figure.add_scatter(x=x, y=y, name=f"{{folder}}, layer {{s.layer}}")
        print(folder, s.layer, s.method, f"{{s.values[0]:.6f}} to {{s.values[-1]:.6f}}, distance {{s.distance:.6f}}")
{scale}figure.write_html("spectra.html", config={{"showSendToCloud": False}})
"""


def _code_of_maps(folders: Sequence[str], number: int | None) -> str:
    return f"""import numpy as np
import plotly.graph_objects as go
import lipviz
from lipviz.spectra import frequencies

for folder in {list(folders)!r}:
    run = lipviz.load(folder)
    found = frequencies(run.model, run.spec.input_shape, {number or 1})
    if found is None:
        print(folder, "this layer is no convolution")
        continue
    print(folder, found.padding, f"{{found.largest.max():.6f}} at most, {{found.smallest.min():.6f}} at least")
    figure = go.Figure(go.Heatmap(z=np.fft.fftshift(found.largest), zmin=0, zmax=1))
    figure.update_yaxes(scaleanchor="x")
    figure.write_html("frequencies.html", config={{"showSendToCloud": False}})
"""
