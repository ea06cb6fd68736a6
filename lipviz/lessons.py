"""What the page on Gershgorin discs shows: Gram matrices, small or of a layer, their discs, and what to see in them.

Arrays out, no torch. A matrix here is G = W^T W, real or, at a frequency of a convolution, complex Hermitian.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lipviz import runs, sdp
from lipviz.forms import Scaled
from lipviz.operators import Dense, symbol
from lipviz.orthogonal import normalised
from lipviz.rotations import BlockConv, Orthogonal, SkewConv, taylor
from lipviz.sandwich import Sandwich

Layer = Scaled | Orthogonal | SkewConv | BlockConv | Sandwich

WHY = """
#### Why the discs bound a layer

**Gershgorin.** Take the entry of largest magnitude of an eigenvector, number $i$. Row $i$ of $G v = \\lambda v$
then says $|\\lambda - G_{ii}| \\le \\sum_{j \\ne i} |G_{ij}|$: the eigenvalue lies in disc $i$.

**Why $q$ moves discs but not crosses.** With $Q = \\mathrm{diag}(q)$ the matrix $Q^{-1} G Q$ has the
eigenvalues of $G$, but its entries are $G_{ij} q_j / q_i$: a larger $q_i$ shrinks disc $i$ and widens all others.

**From discs to a 1-Lipschitz layer.** If $T - G$ has no negative eigenvalue, $T$ diagonal, then
$x \\mapsto W T^{-1/2} x + b$ and $x \\mapsto x - 2 W T^{-1} \\mathrm{relu}(W^\\top x + b)$ are 1-Lipschitz.
$T_{ii} = \\sum_j |G_{ij}| q_j / q_i$ pushes every disc of $T - G$ to the right of zero, where each touches it: this is
SLL, and with all $q = 1$ it is AOL. No $q$ makes the largest $T_{ii}$ smaller than $\\rho(|G|)$. Discs look at $|G|$
only; where signs in $G$ cancel, the largest eigenvalue is smaller still. A spectral $T = \\lambda_{\\max}(G)\\, I$
uses that, and the discs cannot confirm it.

**Convolutions.** A convolution is one such matrix $G(\\omega)$ for each frequency $\\omega$, complex and Hermitian. The
layer's $T$ sums magnitudes over all taps of the kernel, so it holds at every frequency and every image size.
"""
SIZES = range(2, 9)
DRAWN = 96  # more discs than this hide each other
SHOWN = 24  # rows and columns of a matrix on the page
FREQUENCIES = 9  # from 0 to pi
GRID = 2 * (FREQUENCIES - 1)


@dataclass(frozen=True)
class Gram:
    """A Gram matrix, and how its layer uses it.

    Attributes:
        G: W^T W, or W W^T where that is smaller, of the weight divided by its largest magnitude.
        t: the diagonal of the layer's T, None where the row has none.
        q: the free vector of SLL, None for the other rows.
        row: the row of LAYERS.
        convolution: whether G is the matrix of a convolution at one frequency.
    """

    G: NDArray
    t: NDArray | None = None
    q: NDArray | None = None
    row: str = ""
    convolution: bool = False


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


def to_text(W: NDArray) -> str:
    """A small matrix for the address: rows separated by semicolons.

    >>> to_text(np.array([[1.0, -0.5], [0.0, 2.0]]))
    '1 -0.5; 0 2'
    """
    return "; ".join(" ".join(f"{w:.6g}" for w in row) for row in W)


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
    if not np.abs(W).max() <= 1e6:  # also false for NaN
        raise ValueError("the entries of W must lie between -1e6 and 1e6")
    return W


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
    q = sdp.perron(torch.from_numpy(np.abs(G))).numpy()
    return q / np.exp(np.log(q).mean())


def best_edge(G: NDArray) -> float:
    """rho(|G|): the smallest right-most edge that any q reaches."""
    return float(np.linalg.eigvalsh(np.abs(G))[-1])


def rule(name: str, G: NDArray, q: NDArray) -> NDArray:
    """The diagonal of T that a rule picks for a small G: "AOL", "SLL" (with this q) or "spectral"."""
    if name == "spectral":
        return np.full(len(G), np.linalg.eigvalsh(G)[-1])
    return sdp.sll(torch.from_numpy(G), torch.from_numpy(q if name == "SLL" else np.ones(len(G)))).numpy()


def powers(exponents: Sequence[float]) -> NDArray:
    """q = 2^e for the exponents e of the sliders."""
    return 2.0 ** np.array(exponents)


def exponents(q: NDArray, reach: float = 3.0) -> list[float]:
    """The sliders that show q, to two decimals and within +-`reach`."""
    return [float(x) for x in np.log2(q).round(2).clip(-reach, reach)]


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
    words += [f"the first {SHOWN} rows and columns of the matrix"] if n > SHOWN else []
    return "; ".join(words) + "."


def layers(folder: str | Path) -> list[str]:
    """Names of the layers of a run that have a Gram matrix, in order."""
    return [f"{i + 1}: {_described(m)}" for i, m in enumerate(_modules(folder))]


def layer(folder: str | Path, index: int, frequency: int = 0) -> Gram:
    """The Gram matrix of a layer of a run; of a convolution at the frequency pi k / 8 along both axes.

    Raises:
        RunError: the weights cannot be read.
        ValueError: there is no such layer or frequency.
    """
    modules = _modules(folder)
    if not (0 <= index < len(modules) and 0 <= frequency < FREQUENCIES):
        raise ValueError(f"this run has layers 1 to {len(modules)} and frequencies 0 to {FREQUENCIES - 1}")
    module = modules[index]
    row = runs.load(folder).spec.layer
    with torch.no_grad():
        if not isinstance(module, Scaled):
            F = _matrix(module)
            F = F if F.ndim == 2 else F.unflatten(0, (GRID, -1))[frequency, frequency]
            G, t, q = (F.mH @ F if F.shape[1] <= F.shape[0] else F @ F.mH), None, None
        else:
            G, t, q = module.condition() if module.rule else (_gram(module), None, None)
            if G.ndim == 4:
                G = symbol(G, (GRID, GRID), G.shape[-1] // 2).unflatten(0, (GRID, -1))[frequency, frequency]
    T, Q = (None if x is None else x.numpy() for x in (t, q))
    return Gram(G.numpy(), T, Q, row, not isinstance(module.op, Dense))


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
            ("right-most edge", f"{found.right:.4g}", "max over i of sum_j |G_ij| q_j / q_i: a proved bound of ‖W‖²"),
            ("best edge of any q", f"{best_edge(G):.4g}", "ρ(|G|), reached by the Perron vector of |G|"),
            ("largest eigenvalue", f"{found.eigenvalues[-1]:.4g}", "‖W‖² itself: no bound can be lower"),
        ]
    slack = float(found.eigenvalues[0])
    return [
        ("left-most edge", _near_zero(found.left, t.max()), "below 0 the discs prove nothing"),
        (
            "smallest eigenvalue",
            _near_zero(slack, t.max()),
            "of T - G: the condition G ≤ T says that it is not negative",
        ),
        ("condition G ≤ T", verdict(slack, float(t.max())), "to a relative tolerance of 1e-6"),
    ]


def _near_zero(value: float, scale: float) -> str:
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


def _modules(folder: str | Path) -> list[Layer]:
    model = runs.load(folder).model.double()
    return [module for module in model.modules() if isinstance(module, Layer)]


def _matrix(module: Orthogonal | SkewConv | BlockConv | Sandwich) -> torch.Tensor:
    """The matrix of a layer without a T, of a convolution one at each frequency; of a sandwich row 2 A^T B."""
    grid = () if isinstance(module.op, Dense) else (GRID, GRID)
    if isinstance(module, Orthogonal):
        return module.matrices(grid)
    if isinstance(module, SkewConv):
        return taylor(symbol(module.generator_kernel(), (GRID, GRID), module.op.before))
    if isinstance(module, BlockConv):
        return symbol(module.op.fold(module.kernel((GRID, GRID))), (GRID, GRID))
    inner, outer, _ = module.factors(grid)
    return outer @ inner


def _gram(module: Scaled) -> torch.Tensor:
    return module.op.gram(normalised(module.weight), module.side)


def _described(module: Layer) -> str:
    op = module.op
    if isinstance(op, Dense):
        return f"dense, {op.inputs} to {op.outputs}"
    return f"convolution {op.kernel}×{op.kernel}, {op.inputs} to {op.outputs} channels"
