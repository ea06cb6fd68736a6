"""What the page on the condition shows: G = W^T W <= T with T = diag(t), for two neurons, three, up to eight.

Arrays in, arrays and sentences out; float64, no torch but for the semidefinite program. The condition says that T - G
has no negative eigenvalue; its edge is where the smallest one is zero. Then, and only then, |W T^{-1/2}| <= 1.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lipviz.tables import as_csv

TOLERANCE = 1e-12  # relative, of the smallest eigenvalue: what float64 leaves of a zero
THREE = np.array([[1.2, 0.5, 0.4], [-0.1, 1.1, 0.2], [0.2, 0.1, 1.2]])
PAIRS = {"G12": (0, 1), "G13": (0, 2), "G23": (1, 2)}


def aol(G: NDArray) -> NDArray:
    """t_i = sum_j |G_ij|."""
    return np.abs(G).sum(1)


def sll(G: NDArray, q: NDArray) -> NDArray:
    """t_i = sum_j |G_ij| q_j / q_i."""
    return np.abs(G) @ q / q


def cpl(G: NDArray) -> NDArray:
    """t_i = the largest eigenvalue of G, the same for all: CPL, and spectral normalisation."""
    return np.full(len(G), max(float(np.linalg.eigvalsh(G)[-1]), 0.0))


def sr(G: NDArray) -> NDArray:
    """t_i = (sum_j |(G^2)_ij|)^{1/2}: spectral rescaling with one squaring."""
    scale = float(np.abs(G).max()) or 1.0
    return scale * np.sqrt(np.abs(G / scale @ (G / scale)).sum(1))


def perron(G: NDArray) -> NDArray:
    """The q for which SLL gives every neuron (nearly) the same t, rho(|G|); ones where G = 0."""
    A = np.abs(G)
    rho = float(np.linalg.eigvalsh(A)[-1])
    if rho <= 0:
        return np.ones(len(G))
    q = np.linalg.solve((1 + 1e-7) * np.eye(len(G)) - A / rho, np.ones(len(G)))
    return q / q.max()


def smallest(G: NDArray) -> NDArray:
    """The t of smallest sum with G <= diag(t), by semidefinite programming.

    Raises:
        ImportError: cvxpy is not installed.
        ValueError: G is too uneven for a proof in float64.
        RuntimeError: the solver gives up.
    """
    import torch

    from lipviz.semidefinite import smallest_trace

    return smallest_trace(torch.from_numpy(G)).numpy()


def slack(G: NDArray, t: NDArray) -> float:
    """The smallest eigenvalue of T - G: the condition holds exactly when it is not negative."""
    return float(np.linalg.eigvalsh(np.diag(t) - G)[0])


def state(G: NDArray, t: NDArray) -> str:
    """The condition in a word: "holds", "on the edge" (to 1e-12 of the largest entry) or "fails"."""
    low, tolerance = slack(G, t), TOLERANCE * float(max(np.abs(t).max(), np.abs(G).max()))
    return "fails" if low < -tolerance else "on the edge" if low <= tolerance else "holds"


def to_edge(G: NDArray, t: NDArray) -> NDArray:
    """The one point of the edge on the line t + s (1, ..., 1): s = -slack, since a multiple of I moves eigenvalues.

    >>> to_edge(np.array([[1.0, -2.0], [-2.0, 5.0]]), np.array([4.0, 8.0]))
    array([3., 7.])
    """
    return t - slack(G, t)


def norm(W: NDArray, t: NDArray) -> float:
    """The largest singular value of W T^{-1/2}; a column of zeros stays one, whatever its t_i is."""
    length = np.abs(W).max(0)
    if (t[length > 0] <= 0).any():
        return float("inf")
    return float(np.linalg.norm(W[:, length > 0] / np.sqrt(t[length > 0]), 2)) if length.any() else 0.0


def direction(W: NDArray, t: NDArray) -> tuple[NDArray, float, float]:
    """(v, |W v|^2, v^T T v) for the unit v whose v^T (T - G) v is smallest; the largest entry of v is positive."""
    v = np.linalg.eigh(np.diag(t) - W.T @ W)[1][:, 0]
    v = v * (1.0 if v[np.abs(v).argmax()] > 0 else -1.0)
    return v, float(((W @ v) ** 2).sum()), float((t * v * v).sum())


def balanced(G: NDArray) -> bool:
    """Whether signs x_i = +-1 exist with x_i x_j G_ij >= 0, in one connected part of the graph of G at least.

    With AOL's T, x^T (T - G) x = sum_{i<j} |G_ij| (x_i - sign(G_ij) x_j)^2: a signed graph Laplacian. It is singular
    exactly if such signs exist, so exactly then AOL stands on the edge.

    >>> G = np.array([[2.0, 1, 1], [1, 2, 1], [1, 1, 2]])
    >>> balanced(G), balanced(2 * np.diag(np.diag(G)) - G), balanced(np.diag(np.diag(G)))
    (True, False, True)
    """
    x = np.zeros(len(G))
    for start in range(len(G)):
        if x[start]:
            continue
        x[start], part, fits = 1.0, [start], True
        for i in part:
            for j in np.flatnonzero(G[i]):
                if x[j] == 0:
                    x[j] = x[i] * np.sign(G[i, j])
                    part.append(int(j))
                fits &= bool(i == j or x[i] * x[j] * G[i, j] > 0)
        if fits:
            return True
    return False


def flipped(W: NDArray, pairs: Sequence[tuple[int, int]]) -> NDArray:
    """A weight whose G is that of W, but with the opposite sign at `pairs`.

    Where no weight has such a G, all of its diagonal is raised by as little as serves; no sum of |G_ij| over j != i
    changes, so AOL's T - G stays what the signs make of it.
    """
    if not pairs:
        return W
    G = W.T @ W
    for i, j in pairs:
        G[i, j] = G[j, i] = -G[i, j]
    values, vectors = np.linalg.eigh(G)
    return vectors * np.sqrt((values - min(values[0], 0.0)).clip(0)) @ vectors.T


def surface(G: NDArray, reach: float, turns: int = 96, steps: int = 32) -> tuple[NDArray, NDArray, NDArray]:
    """The edge of {t : G <= diag(t)} for three neurons, as far as t_i <= G_ii + reach: t_1, t_2, t_3 over a grid.

    Every line along (1, 1, 1) meets the edge once (`to_edge`), so the grid lies in the plane across it: rays from the
    middle. How far each may go is found by bisection: max_i (t_i - G_ii) is a convex function on that plane.
    """
    angle = np.linspace(0, 2 * np.pi, turns + 1)[:, None]
    across = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2.0], [6.0]])
    way = np.cos(angle) * across[0] + np.sin(angle) * across[1]

    def edge(length: NDArray) -> NDArray:
        t = np.diag(G) + length[..., None] * way[:, None]
        return t - np.linalg.eigvalsh(t[..., None] * np.eye(3) - G)[..., :1]

    low, high = np.zeros((len(way), 1)), np.full((len(way), 1), 2.0 * reach)
    for _ in range(40):
        middle = (low + high) / 2
        inside = (edge(middle) <= np.diag(G) + reach).all(-1)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    t = edge(low * np.linspace(0, 1, steps))
    return t[..., 0], t[..., 1], t[..., 2]


def rules(G: NDArray, q: NDArray | None = None) -> dict[str, NDArray]:
    """t of each rule; SLL with this q, or with the Perron vector of |G|."""
    return {"AOL": aol(G), "SLL": sll(G, perron(G) if q is None else q), "CPL, spectral": cpl(G)}


def table(G: NDArray, found: Mapping[str, NDArray]) -> list[dict[str, str]]:
    """One row for each T: rule, state, slack, trace, that over the smallest trace (where it is there), t."""
    best = float(found["smallest trace"].sum()) if "smallest trace" in found else 0.0
    rows = []
    for name, t in found.items():
        word = state(G, t)
        if name == "smallest trace" and word == "holds":  # its T is a hair inside, so that it could be proved
            word = "on the edge" if slack(G, t) <= 1e-6 * float(t.max()) else word
        row = {"rule": name, "condition": word, "slack": near_zero(G, t), "trace": f"{t.sum():.5g}"}
        if best > 0:
            row["trace / smallest"] = f"{t.sum() / best:.3f}"
        rows.append({**row, "t": vector(t)})
    return rows


def csv(G: NDArray, found: Mapping[str, NDArray]) -> str:
    """The same as a file, in full digits."""
    head = ["rule", "condition", "trace", "slack", *(f"t{i + 1}" for i in range(len(G)))]
    return as_csv(head, [[name, state(G, t), t.sum(), slack(G, t), *t] for name, t in found.items()])


def vector(t: NDArray) -> str:
    """Numbers in brackets.

    >>> vector(np.array([1.0, 2.34567]))
    '(1, 2.346)'
    """
    return "(" + ", ".join(f"{x:.4g}" for x in t) + ")"


def number(x: float) -> str:
    """A norm in six digits; "none" where T is zero but W is not."""
    return f"{x:.6g}" if np.isfinite(x) else "none"


def near_zero(G: NDArray, t: NDArray) -> str:
    """The smallest eigenvalue of T - G with its sign, "0" on the edge."""
    return "0" if state(G, t) == "on the edge" else f"{slack(G, t):+.4g}"


def facts(W: NDArray, t: NDArray, form: str = "affine") -> list[tuple[str, str, str]]:
    """The line of numbers: (label, value, what it means)."""
    G, size = W.T @ W, norm(W, t)
    line = [
        ("smallest eigenvalue of T - G", near_zero(G, t), "the condition G ≤ T says that it is not negative"),
        ("trace of T", f"{t.sum():.5g}", "the sum of all t: the smaller, the less the layer shrinks"),
        ("condition", state(G, t), "computed in float64, to a relative tolerance of 1e-12"),
        ("norm of W T^(-1/2)", number(size), "largest singular value: the Lipschitz constant of the affine layer"),
    ]
    if form == "residual":
        worst = max(1.0, 2 * size**2 - 1)
        line.append(("worst piece", number(worst), "largest stretch of any piece: max(1, 2 σ² - 1), σ that norm"))
    return line


def code(W: NDArray, t: NDArray) -> str:
    """Python that recomputes what is shown for this W and T, and draws the edge (two neurons) or bars of t."""
    draw = """right = np.linspace(G[0, 0] + 0.02 * t.max(), 2 * t.max() + G[0, 0], 400)
edge = G[1, 1] + G[0, 1] ** 2 / (right - G[0, 0])
figure = go.Figure(layout={"xaxis": {"title": "t1"}, "yaxis": {"title": "t2", "scaleanchor": "x"}})
figure.add_scatter(x=right, y=edge, name="edge of G <= T", line={"dash": "dash"})
for name, (x, y) in rules.items():
    figure.add_scatter(x=[x], y=[y], name=name, mode="markers")"""
    bars = """figure = go.Figure(layout={"xaxis": {"title": "neuron"}, "yaxis": {"title": "t"}})
for name, row in rules.items():
    figure.add_bar(x=np.arange(1, len(row) + 1), y=row, name=name)"""
    return f"""import numpy as np
import plotly.graph_objects as go
import torch
from lipviz import sdp
from lipviz.tables import as_csv

W = np.array({W.tolist()})
t = np.array({t.tolist()})
G = W.T @ W
top = np.full(len(G), np.linalg.eigvalsh(G)[-1])
rules = {{"AOL": sdp.aol(torch.from_numpy(G)).numpy(), "CPL, spectral": top, "own T": t}}
slack = {{name: np.linalg.eigvalsh(np.diag(x) - G)[0] for name, x in rules.items()}}
for name, x in rules.items():
    print(name, "t", x, "trace", x.sum(), "smallest eigenvalue of T - G", slack[name])
{draw if len(t) == 2 else bars}
figure.write_html("condition.html", config={{"showSendToCloud": False}})
"""
