"""Spectra of runs as the page shows them: now, at an earlier point of the training, and in words.

Over training a run keeps 64 quantiles of the singular values of every layer; the values of now are exact.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipviz.bounds import Bound
from lipviz.pictures import rounded_up
from lipviz.runs import Run
from lipviz.spectra import Spectrum

Spectra = Sequence[Spectrum]

WORDS = """
#### What is drawn

* **Affine and orthogonal rows** (AOL, spectral, Cayley, SOC, plain and the like): the singular values of the layer's
  matrix as it runs, $W T^{-1/2}$ or $Q$.
* **Sandwich rows**: those of $2 A^\\top B$, the layer without its relu.
* **Residual rows** (SLL, CPL): those of $V = W T^{-1/2}$ in $x - 2 V \\,\\mathrm{relu}(V^\\top x + b)$. A value near 0
  loses nothing: the layer leaves that direction as it is. No value above 1 makes the whole layer 1-Lipschitz.
* **Convolutions** have one small matrix for each frequency of the image. Under circular padding their singular values
  are exactly those of the layer. Zero padding has no such formula: small layers are written out in full, large ones
  are shown through the frequencies of an image padded to its full reach, which come close. Bounds never rely on that.
* **The last layer** has rows of norm 1, one for each class. It need not be 1-Lipschitz, since the certified radius
  divides by the distance between two of its rows; so the product over all layers may exceed 1.

AOL stands for almost orthogonal: its authors observe that training moves the layers close to orthogonal ones. The table
above says whether that holds for the runs chosen here. They start orthogonal, so look at what training leaves.
"""


def snapshot(run: Run, progress: int) -> int | None:
    """Index of the last stored snapshot within the first `progress` percent of the training; None without any."""
    epochs = run.spectra.get("epoch", np.empty(0))
    if not len(epochs):
        return None
    return int(np.searchsorted(epochs, progress / 100 * epochs[-1] + 1e-9, side="right")) - 1


def now(run: Run, spectra: Spectra, layer: int | None = None, note: str = "") -> list[dict[str, Any]]:
    """Curves for figures.spectrum: of number `layer`, counted from 1, or of all layers but the last, the head."""
    row, name = run.spec.layer, f"{run.name}{note}"
    return [
        {"name": name, "row": row, "layer": _name(i), "values": s.values, "note": _method(s.method)}
        for i, s in _chosen(spectra, layer)
    ]


def then(run: Run, spectra: Spectra, progress: int, layer: int | None = None) -> list[dict[str, Any]]:
    """The same from the stored quantiles; empty where nothing was stored."""
    index = snapshot(run, progress)
    if index is None:
        return []
    name, row = f"{run.name}, epoch {run.spectra['epoch'][index]}", run.spec.layer
    return [
        {"name": name, "row": row, "layer": _name(i), "values": stored[index], "note": "quantiles"}
        for i, s in _chosen(spectra, layer)
        if (stored := run.spectra.get(f"{s.layer}.sigma")) is not None
    ]


def table(run: Run, spectra: Spectra, bound: Bound) -> list[dict[str, Any]]:
    """One row a layer: its values, and the bound that the certificate uses."""
    bounds = {layer.name: layer for layer in bound.layers}
    return [
        {
            "run": run.name,
            "layer": i,
            "kind": s.kind,
            "largest": round(float(s.values[0]), 4),
            "median": round(float(np.median(s.values)), 4),
            "smallest": round(float(s.values[-1]), 4),
            "distance to orthogonal": round(s.distance, 4),
            "singular values": _method(s.method),
            "bound": rounded_up(bounds[s.layer].value, 6),
            "bound by": bounds[s.layer].method,
        }
        for i, s in enumerate(spectra, 1)
    ]


def distances(run: Run, spectra: Spectra) -> tuple[float, float] | None:
    """Distance to orthogonal of all layers but the head together, at the first snapshot and at the last."""
    names = [f"{s.layer}.sigma" for s in spectra[:-1]]
    stored = [run.spectra[name] for name in names if name in run.spectra]
    if not stored:
        return None
    first, last = (np.concatenate([values[i] for values in stored]) for i in (0, -1))
    return _distance(first), _distance(last)


def notice(picked: Sequence[tuple[Run, Spectra]], progress: int) -> str:
    """What to see in the curves."""
    if progress < 100:
        return "The thick curves are the chosen point of the training, the thin ones are now."
    told = [words for run, spectra in picked if (words := _told(run, spectra))]
    return " ".join(told)


def _told(run: Run, spectra: Spectra) -> str:
    """What is special about a run, in one sentence."""
    body = np.concatenate([s.values for s in spectra[:-1]] or [np.ones(1)])
    if spectra and spectra[0].kind == "sandwich":
        return f"**{run.name}** is a sandwich: the curve is its linear part, $2 A^\\top B$, and never exceeds 1."
    if spectra and spectra[0].kind == "residual":
        return f"**{run.name}** is residual: a value near 0 is a direction its layers leave as it is, none above 1."
    if body.max() > 1.001:
        return f"**{run.name}** reaches {body.max():.3g}: nothing holds its values below 1."
    if _distance(body) < 1e-3:
        return f"**{run.name}** is flat at 1: its layers lose no direction."
    small = 100 * float(np.mean(body < 0.9))
    return f"**{run.name}** stays below 1: {small:.0f} % of its values lie under 0.9, directions that it damps."


def _distance(values: NDArray) -> float:
    return float(np.sqrt(np.mean((values - 1) ** 2)))


def _chosen(spectra: Spectra, layer: int | None) -> list[tuple[int, Spectrum]]:
    return [(i, s) for i, s in enumerate(spectra, 1) if i == layer or (layer is None and i < len(spectra))]


def _name(index: int) -> str:
    return f"layer {index}"


def _method(method: str) -> str:
    return "frequencies of the padded image" if method == "frequencies" else method
