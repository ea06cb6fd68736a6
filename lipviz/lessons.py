"""What the page on Gershgorin discs shows: small Gram matrices, discs, what to see in them; arrays in, arrays out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from lipviz import sdp
from lipviz.grams import Gram

SIZES = range(2, 9)
DRAWN = 96  # more discs than this hide each other
SHOWN = 24  # rows and columns of a matrix on the page
LARGEST = 1e6  # entries of W
RULES = ("AOL", "SLL", "spectral", "own")


@dataclass(frozen=True)
class Discs:
    """Gershgorin discs of G, or of T - G, after the similarity with Q = diag(q), and the exact eigenvalues."""

    centers: NDArray
    radii: NDArray
    eigenvalues: NDArray

    @property
    def right(self) -> float:
        """The right-most point of all discs: no eigenvalue lies beyond."""
        return float((self.centers + self.radii).max())

    @property
    def left(self) -> float:
        """The left-most point of all discs: no eigenvalue lies before it."""
        return float((self.centers - self.radii).min())

    def drawn(self, side: str) -> tuple[NDArray, NDArray, NDArray, list[int]]:
        """(centers, radii, eigenvalues, numbers) of the discs that reach furthest to `side`, at most 96."""
        reach = self.centers + self.radii if side == "right" else self.radii - self.centers
        kept = np.sort(np.argsort(reach)[-DRAWN:])
        return self.centers[kept], self.radii[kept], self.eigenvalues, [int(i) + 1 for i in kept]


def example(n: int, seed: int) -> NDArray:
    """A random n x n weight, numbers to one decimal, its columns of different lengths so that q matters."""
    rng = np.random.default_rng(seed)
    return np.round(rng.standard_normal((n, n)) * np.exp(0.5 * rng.standard_normal(n)), 1)


def example_gram() -> NDArray:
    """G of the example that the page opens with."""
    W = example(5, 410)
    return W.T @ W


def to_text(W: ArrayLike) -> str:
    """A small matrix for the address: rows separated by semicolons.

    >>> to_text(np.array([[1.0, -0.5], [0.0, 2.0]]))
    '1 -0.5; 0 2'
    """
    return "; ".join(" ".join(f"{w:.6g}" for w in row) for row in np.asarray(W))


def from_text(text: str) -> NDArray:
    """The matrix of such a text; raises ValueError, in a sentence, where it is none."""
    try:
        rows = [[float(word) for word in row.replace(",", " ").split()] for row in text.split(";") if row.strip()]
    except ValueError:
        raise ValueError(f"W holds something that is no number: {text[:60]!r}. Write it like 1 0.5; -2 1") from None
    widths = {len(row) for row in rows}
    if len(widths) != 1 or widths.pop() not in SIZES or not 1 <= len(rows) <= max(SIZES):
        raise ValueError(f"W needs 1 to 8 rows of the same 2 to 8 numbers, separated by semicolons, got {text[:60]!r}")
    W = np.array(rows)
    if not np.abs(W).max() <= LARGEST:  # also false for NaN
        raise ValueError("the entries of W must lie between -1e6 and 1e6")
    return W


def diagonal_from_text(text: str, n: int) -> NDArray:
    """The diagonal of T that a text holds, n numbers; raises ValueError, in a sentence, where it is none."""
    try:
        t = np.array([float(word) for word in text.replace(",", " ").replace(";", " ").split()])
    except ValueError:
        raise ValueError(f"T holds something that is no number: {text[:60]!r}. Write it like 3 2.5 4") from None
    if len(t) != n or not (t >= 0).all() or not t.max() <= 16 * LARGEST**2:
        raise ValueError(f"T needs {n} numbers from 0 to 1.6e13, one for each column of W, got {text[:60]!r}")
    return t


def discs(G: NDArray, q: NDArray | None = None, t: NDArray | None = None) -> Discs:
    """Discs of Q^{-1} G Q, or of Q^{-1} (T - G) Q where `t` is given; the same radii in both."""
    centers, radii = (x.numpy() for x in sdp.discs(torch.from_numpy(G), None if q is None else torch.from_numpy(q)))
    if t is None:
        return Discs(centers, radii.clip(0), np.linalg.eigvalsh(G))
    return Discs(t - centers, radii.clip(0), np.linalg.eigvalsh(np.diag(t) - G))


def balanced(G: NDArray, q: NDArray, t: NDArray | None = None) -> NDArray:
    """Q^{-1} G Q, or Q^{-1} (T - G) Q: row i has the centre of disc i on the diagonal, its radius in the others.

    The first rows and columns only; of a complex matrix the magnitudes, which is all that a disc sees.
    """
    M = ((G if t is None else np.diag(t) - G) * q / q[:, None])[:SHOWN, :SHOWN]
    return np.abs(M) if np.iscomplexobj(M) else M


def best_q(G: NDArray) -> NDArray:
    """The q for which the right-most edge is smallest, the Perron vector of |G|; its geometric mean is 1."""
    A, edge = np.abs(G), best_edge(G)
    q = sdp.perron(torch.from_numpy(A)).numpy()
    for _ in range(30 if edge > 0 else 0):  # no step raises the largest edge, and each lifts those that fall short
        q = (q + A @ q / edge) / 2
    return q / np.exp(np.log(q).mean())


def best_edge(G: NDArray) -> float:
    """rho(|G|): the smallest right-most edge that any q reaches."""
    return float(np.linalg.eigvalsh(np.abs(G))[-1])


def rule(name: str, G: NDArray, q: NDArray) -> NDArray:
    """The diagonal of T that a rule picks for G: "AOL", "SLL" (with this q) or "spectral"."""
    if name == "spectral":
        return np.full(len(G), np.linalg.eigvalsh(G)[-1])
    return sdp.sll(torch.from_numpy(G), torch.from_numpy(q if name == "SLL" else np.ones(len(G)))).numpy()


def powers(exponents: Sequence[float]) -> NDArray:
    """q = 2^e for the exponents e of the sliders."""
    return 2.0 ** np.array(exponents)


def exponents(q: NDArray, reach: float = 3.0) -> list[float]:
    """The exponents e of q = 2^e, to three decimals and within +-`reach`; a common factor is dropped if it helps."""
    e = np.log2(q)
    if np.abs(e).max() > reach:
        e = e - (e.max() + e.min()) / 2
    return [float(x) for x in e.round(3).clip(-reach, reach)]


def scalings(gram: Gram) -> dict[str, NDArray]:
    """The q to look at a layer with: its own where it has one, all equal, the best."""
    own = {"its own q": gram.q} if gram.q is not None else {}
    return {**own, "all q = 1": np.ones(len(gram.G)), "Perron, the best q": best_q(gram.G)}


def diagonal(gram: Gram) -> NDArray:
    """T of the layer; raises ValueError where its row has none."""
    if gram.t is None:
        raise ValueError(f"a {gram.row} layer has no T: look at the discs of G, or choose a run with AOL or SLL layers")
    return gram.t


def about(gram: Gram) -> str:
    """What is shown of a layer, in words."""
    n = len(gram.G)
    words = ["G of the trained weight, divided by its largest entry"]
    words += ["at one frequency, the same along both axes"] if gram.convolution else []
    words += [f"the {DRAWN} discs of {n} that reach furthest, all eigenvalues"] if n > DRAWN else [f"all {n} discs"]
    words += [f"the first {SHOWN} rows and columns of the matrix beside it"] if n > SHOWN else []
    return "; ".join(words) + "."


def notice(G: NDArray, q: NDArray) -> str:
    """What to see in the discs of G under Q = diag(q)."""
    now, best = discs(G, q), best_edge(G)
    top = float(now.eigenvalues[-1])
    if best <= 0:
        return "G is zero: every disc is the point 0."
    if now.radii.max() <= 1e-5 * now.right:
        return "G is diagonal: every disc is a point, and the points are the eigenvalues."
    if now.right <= 1.01 * best:
        if best <= 1.001 * top:
            return "All right edges meet, and they meet at the largest eigenvalue itself: nothing is lost here."
        return (
            f"All right edges meet at {best:.4g}: no q pulls further. What is left down to the largest eigenvalue, "
            f"{top:.4g}, is the price of forgetting the signs (|G| instead of G)."
        )
    worst = int(np.argmax(now.centers + now.radii)) + 1
    if np.ptp(np.log(q)) < 1e-9:
        return (
            f"All q are equal, which is AOL: the bound is the largest row sum of |G|, that of disc {worst}. "
            f"Some q pulls it to {best:.4g}; the crosses will not move."
        )
    return (
        f"Disc {worst} reaches furthest. A larger q{worst} shrinks it and widens the others: {best:.4g} can be reached."
    )


def facts(G: NDArray, q: NDArray, t: NDArray | None = None) -> list[tuple[str, str, str]]:
    """The line of numbers: (label, value, what it means)."""
    found = discs(G, q, t)
    if t is None:
        return [
            ("right-most edge", f"{found.right:.4g}", "max over i of sum_j |G_ij| q_j / q_i: a bound of ‖W‖²"),
            ("best edge of any q", f"{best_edge(G):.4g}", "ρ(|G|), reached by the Perron vector of |G|"),
            ("largest eigenvalue", f"{found.eigenvalues[-1]:.4g}", "‖W‖² itself: no bound can be lower"),
        ]
    slack = float(found.eigenvalues[0])
    return [
        ("left-most edge", near_zero(found.left, t.max()), "below 0 the discs prove nothing"),
        (
            "smallest eigenvalue",
            near_zero(slack, t.max()),
            "of T - G: the condition G ≤ T says that it is not negative",
        ),
        ("condition G ≤ T", verdict(slack, float(t.max())), "to a relative tolerance of 1e-6"),
    ]


def near_zero(value: float, scale: float) -> str:
    """A number as text, 0 where it is small against `scale`."""
    return "0" if abs(value) <= 1e-6 * scale else f"{value:.4g}"


def verdict(slack: float, scale: float) -> str:
    """The condition G <= T in a word, from the smallest eigenvalue of T - G."""
    tolerance = 1e-6 * scale
    return "fails" if slack < -tolerance else "on the edge" if slack <= tolerance else "holds"


def notice_slack(picture: Discs, scale: float) -> str:
    """What to see in the discs of T - G."""
    slack, tolerance = float(picture.eigenvalues[0]), 1e-5 * scale
    if slack < -tolerance:
        return "An eigenvalue lies left of zero: the condition fails, and the layer can stretch some direction."
    if picture.left < -tolerance:
        return (
            "Discs reach left of zero, though no eigenvalue does: the condition holds, but Gershgorin cannot see it "
            "under this q. Another proof is needed, or another q."
        )
    if np.abs(picture.centers - picture.radii).max() <= tolerance:
        return (
            "Every disc touches zero from the right: T is the row sum, as small as this q allows. That is the whole "
            "proof of AOL and SLL."
        )
    return "No disc reaches left of zero: the condition holds, and the discs prove it."


def table(found: Discs, q: NDArray) -> list[dict[str, float | int]]:
    """The picture in numbers: one row a disc, and the eigenvalues in ascending order, which belong to no disc."""
    rows = zip(q, found.centers, found.radii, found.eigenvalues, strict=True)
    return [
        {
            "disc": i,
            "q": _short(factor),
            "centre": _short(c),
            "radius": _short(r),
            "left edge": _short(c - r),
            "right edge": _short(c + r),
            "eigenvalue": _short(value),
        }
        for i, (factor, c, r, value) in enumerate(rows, 1)
    ]


def csv(found: Discs, q: NDArray) -> str:
    """The same with all digits."""
    lines = ["disc,q,centre,radius,eigenvalue"]
    rows = zip(q, found.centers, found.radii, found.eigenvalues, strict=True)
    lines += [f"{i},{','.join(repr(float(x)) for x in row)}" for i, row in enumerate(rows, 1)]
    return "\n".join([*lines, ""])


def _short(value: float) -> float:
    return float(f"{value:.6g}")
