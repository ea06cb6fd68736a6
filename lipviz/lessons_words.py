"""The texts of the page on Gershgorin discs: explanations, words over a training, the Python of a picture."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lipviz.grams import Frames
from lipviz.lessons import discs, facts, near_zero, notice, notice_slack

IN_WORDS = """
#### Why the discs bound a layer

A layer first multiplies by a matrix $W$. How much it can stretch is decided by the largest eigenvalue of
$G = W^\\top W$. Eigenvalues of large matrices take long to find. Discs are cheap: one for each row of $G$, its centre
the entry on the diagonal, its radius the sum of the sizes of all the other entries of that row. **Every eigenvalue lies
in some disc**, so none lies to the right of the right-most edge.

The factors $q$ weigh the neurons against each other. A larger $q_3$ makes disc 3 smaller and all the others larger. The
crosses stay where they are: $q$ changes what the discs say about the matrix, not the matrix.

* **AOL** takes the discs as they are, all $q = 1$, and divides by their right edges.
* **SLL** learns the factors $q$ together with the weights.
* **The best q** brings all right edges to one place. No other q does better. What is left between that place and the
  right-most cross is lost because discs look at sizes only, not at signs.

In the view $T - G$ the layer $x \\mapsto W T^{-1/2} x$ is 1-Lipschitz exactly when no cross lies left of zero. Discs
that stay right of zero prove it; discs that cross zero prove nothing, neither that it holds nor that it fails.
"""

WITH_MATHEMATICS = """
#### Why the discs bound a layer

**Gershgorin.** Take the entry of largest magnitude of an eigenvector, number $i$. Row $i$ of $G v = \\lambda v$
then says $|\\lambda - G_{ii}| \\le \\sum_{j \\ne i} |G_{ij}|$: the eigenvalue lies in disc $i$.

**Why $q$ moves discs but not crosses.** With $Q = \\mathrm{diag}(q)$ the matrix $Q^{-1} G Q$ has the
eigenvalues of $G$, but its entries are $G_{ij} q_j / q_i$: a larger $q_i$ shrinks disc $i$ and widens all others.

**From discs to a 1-Lipschitz layer.** If $T - G$ has no negative eigenvalue, $T$ diagonal, then
$x \\mapsto W T^{-1/2} x + b$ and $x \\mapsto x - 2 W T^{-1} \\mathrm{relu}(W^\\top x + b)$ are 1-Lipschitz.
$T_{ii} = \\sum_j |G_{ij}| q_j / q_i$ pushes every disc of $T - G$ to the right of zero, where each touches it: this is
SLL, and with all $q = 1$ it is AOL.

**Perron.** No $q$ makes the largest $T_{ii}$ smaller than $\\rho(|G|)$, by Collatz and Wielandt, and the Perron vector
of $|G|$ reaches it: then all right edges meet. Discs look at $|G|$ only; where signs in $G$ cancel,
$\\lambda_{\\max}(G) < \\rho(|G|)$. A spectral $T = \\lambda_{\\max}(G)\\, I$ uses that, and the discs cannot confirm
it.

**Convolutions.** A convolution is one such matrix $G(\\omega)$ for each frequency $\\omega$, complex and Hermitian: the
centres are real, and so are the eigenvalues. The layer's $T$ sums magnitudes over all taps of the kernel, so it holds
at every frequency and every image size.
"""


def numbers(
    G: NDArray, q: NDArray, t: NDArray | None, frames: Frames | None = None, index: int | None = None
) -> list[tuple[str, str, str]]:
    """The line of numbers, (label, value, what it means): of now, or of a frame of the training."""
    if frames is None or index is None:
        return facts(G, q, t)
    when, stored = f", epoch {frames.epoch[index]}", "stored in float32 while the run was trained"
    if t is not None and frames.left is not None and frames.slack is not None:
        left, scale = float(frames.left[index].min()), float(frames.right[index].max())
        return [
            (f"left-most edge{when}", near_zero(left, scale), stored),
            (f"smallest eigenvalue{when}", near_zero(float(frames.slack[index]), scale), stored),
        ]
    return [
        (f"right-most edge{when}", f"{frames.right[index].max():.4g}", stored),
        (f"largest eigenvalue{when}", f"{frames.eigenvalues[index].max():.4g}", stored),
    ]


def told(G: NDArray, q: NDArray, t: NDArray | None, frames: Frames | None = None, index: int | None = None) -> str:
    """What to see in the picture: of now, or of a frame of the training."""
    if frames is None or index is None:
        return notice(G, q) if t is None else notice_slack(discs(G, q, t), float(max(t)))
    first, then, last = (
        float(frames.right[i].max()) / max(float(frames.eigenvalues[i].max()), 1e-30) for i in (0, index, -1)
    )
    return (
        f"At epoch {frames.epoch[index]} the right-most edge of G is {then:.3g} times its largest eigenvalue. Before "
        f"training it was {first:.3g} times, at the end {last:.3g} times: what the layer gives away for a cheap bound. "
        "Under its own q; of a convolution at frequency 0."
    )


def code(W: NDArray, exponents: Sequence[float], t: NDArray | str | None = None) -> str:
    """Python that draws the discs of G = W^T W again; `t` as numbers or the name of a rule: those of T - G."""
    given = f"""W = np.array({np.asarray(W).tolist()})
q = 2.0 ** np.array({list(exponents)})
G = W.T @ W"""
    if t is None:
        return _code("import numpy as np", given, "")
    rules = {"AOL": "np.abs(G).sum(1)", "SLL": "np.abs(G) @ q / q", "spectral": "np.full(len(G), eigenvalues[-1])"}
    return _code("import numpy as np", given, rules[t] if isinstance(t, str) else f"np.array({t.tolist()})")


def layer_code(folder: str, index: int, frequency: int, scaling: str, slack: bool) -> str:
    """The same for a layer of a run."""
    q = {"its own q": "gram.q", "all q = 1": "np.ones(len(G))"}.get(scaling, "best_q(G)")
    given = f"""gram = layer({folder!r}, {index}, {frequency})  # run, layer from 0, frequency in pi / 8
G = gram.G
q = {q}"""
    imports = "import numpy as np\nfrom lipviz.grams import layer" + (
        "\nfrom lipviz.lessons import best_q" if q.startswith("best") else ""
    )
    return _code(imports, given, "gram.t" if slack else "")


def _code(imports: str, given: str, t: str) -> str:
    slack = (
        f"""
t = {t}
centers, eigenvalues = t - centers, np.linalg.eigvalsh(np.diag(t) - G)"""
        if t
        else ""
    )
    return f"""{imports}
import plotly.graph_objects as go

{given}
centers, eigenvalues = np.diag(G).real, np.linalg.eigvalsh(G)
radii = np.abs(G) @ q / q - np.abs(centers){slack}
left, right = (centers - radii).min(), (centers + radii).max()
print("discs from", left, "to", right, "and eigenvalues from", eigenvalues[0], "to", eigenvalues[-1])

angle = np.linspace(0, 2 * np.pi, 121)
figure = go.Figure(layout={{"yaxis": {{"scaleanchor": "x"}}, "xaxis": {{"title": "real part"}}}})
for i, (c, r) in enumerate(zip(centers, radii), 1):
    figure.add_scatter(x=c + r * np.cos(angle), y=r * np.sin(angle), name=f"disc {{i}}")
figure.add_scatter(x=eigenvalues, y=0 * eigenvalues, mode="markers", marker_symbol="x", name="eigenvalues")
figure.write_html("discs.html", config={{"showSendToCloud": False}})
"""
