"""Spectra of runs as the page shows them: at every stored point of the training, and as distances.

Over training a run keeps 64 quantiles of the singular values of every layer. They are read from its folder without the
weights, so that the picture is there at once; exact values are computed from the weights where they are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipviz.bounds import Bound
from lipviz.digits import rounded_up
from lipviz.layers import LAYERS
from lipviz.networks import Spec
from lipviz.runs import Run, RunError
from lipviz.spectra import Spectrum
from lipviz.tables import as_csv

MOST = 40  # frames sent to the browser
QUANTILES = "64 quantiles, stored while it trained"


@dataclass(frozen=True)
class Layer:
    """One layer over the training.

    Attributes:
        number: counted from 1 among the layers with a weight.
        kind: "affine", "residual" or "sandwich", as in `Spectrum`.
        what: "convolution", "dense" or "logits".
        padding: "zeros" or "circular"; "" for what is no convolution.
        states: singular values, descending, one row for each epoch of the history.
        count: how many singular values the layer has.
        note: where the values come from.
    """

    number: int
    kind: str
    what: str
    padding: str
    states: NDArray
    count: int
    note: str = QUANTILES

    @property
    def title(self) -> str:
        """What the layer is called, its padding named."""
        padding = f", {'zero' if self.padding == 'zeros' else self.padding} padding" if self.padding else ""
        return f"layer {self.number} ({self.what}{padding})"


@dataclass(frozen=True)
class History:
    """All layers of a run; the last one has the logits.

    Attributes:
        name: of the run.
        row: of the LAYERS table.
        epochs: of the states; one number where only the end is known.
        layers: in order.
    """

    name: str
    row: str
    epochs: NDArray
    layers: tuple[Layer, ...]

    def shown(self, number: int | None) -> list[Layer]:
        """The layer of that number (none where there are fewer), or all but the last, which has the logits.

        A network of one layer has nothing but its logits, and shows them.
        """
        if number is not None:
            return [layer for layer in self.layers if layer.number == number]
        return list(self.layers[:-1] or self.layers)

    def index(self, share: float) -> int:
        """The last state within the first `share` (0 to 1) of the training."""
        within = np.searchsorted(self.epochs / max(self.epochs[-1], 1e-9), share + 1e-6, side="right")
        return max(int(within) - 1, 0)


def plan(spec: Spec) -> list[tuple[str, str, str]]:
    """(kind, what, padding) of the layers with a weight that `networks.build` makes of a Spec."""
    row = LAYERS[spec.layer]
    forms = {"residual": "residual", "sandwich": "sandwich"}
    dense = LAYERS[row.partner or spec.layer] if row.dense is None else row
    convolution = (forms.get(row.form, "affine"), "convolution", "circular" if row.fft else "zeros")
    return [
        *([convolution] * (spec.depth if spec.kind == "convnet" else 0)),
        *([(forms.get(dense.form, "affine"), "dense", "")] * spec.dense_depth),
        ("affine", "logits", ""),
    ]


def counts(spec: Spec) -> list[int]:
    """How many singular values each of these layers has."""
    convolution, features = 0, spec.width
    if spec.kind == "convnet":
        h, w = (side // spec.patch for side in spec.input_shape[1:])
        convolution, features = spec.width * h * w, spec.width * (h // spec.pool) * (w // spec.pool)
    numbers = {"convolution": convolution, "dense": features, "logits": min(features, spec.classes)}
    return [numbers[what] for _, what, _ in plan(spec)]


def stored(run: Run) -> History | None:
    """What spectra.npz holds; None where there is none.

    Raises:
        RunError: the file is broken, or does not fit the network of the run.
    """
    path, arrays = run.folder / "spectra.npz", run.spectra
    sigmas = [values for name, values in arrays.items() if name.endswith(".sigma")]
    if not sigmas or "epoch" not in arrays or not np.size(arrays["epoch"]):
        return None
    epochs, made = arrays["epoch"], plan(run.spec)
    if len(sigmas) != len(made):
        raise RunError(f"{path}: it holds {len(sigmas)} layers, the network of this run has {len(made)}")
    for values in (epochs[:, None] if epochs.ndim == 1 else epochs, *sigmas):
        good = values.ndim == 2 and np.issubdtype(values.dtype, np.number) and values.shape[1]
        if not good or len(values) != len(epochs) or not np.isfinite(values).all() or values.min() < 0:
            raise RunError(f"{path}: a table in it does not hold one row of numbers for each epoch")
    if np.any(np.diff(epochs) <= 0):
        raise RunError(f"{path}: its epochs do not rise")
    layers = [
        Layer(i, *described, -np.sort(-values.astype(float), axis=1), count)
        for i, (described, values, count) in enumerate(zip(made, sigmas, counts(run.spec), strict=True), 1)
    ]
    return History(run.name, run.spec.layer, epochs.astype(float), tuple(layers))


def exact(run: Run, spectra: Sequence[Spectrum]) -> History:
    """The end of the training alone, from values computed from the weights."""
    layers = [
        Layer(i, s.kind, what, padding, s.values[None], len(s.values), method_words(s.method))
        for i, (s, (_, what, padding)) in enumerate(zip(spectra, plan(run.spec), strict=True), 1)
    ]
    return History(run.name, run.spec.layer, np.ones(1), tuple(layers))


def shares(histories: Sequence[History]) -> list[float]:
    """Points of the training, 0 to 1, at which some run changes: all of them, or 40 of them with both ends."""
    points = np.unique(np.concatenate([np.ones(1), *(h.epochs / max(h.epochs[-1], 1e-9) for h in histories)]).round(9))
    return [float(p) for p in points[np.unique(np.linspace(0, len(points) - 1, MOST).round().astype(int))]]


def labels(histories: Sequence[History], points: Sequence[float]) -> list[str]:
    """What each point is called, the unit first: its epoch where all runs have the same ones, else a percentage."""
    moving = [h for h in histories if len(h.epochs) > 1]
    if moving and all(np.array_equal(h.epochs, moving[0].epochs) for h in moving):
        return [f"epoch {moving[0].epochs[moving[0].index(p)]:g}" for p in points]
    return [f"training {100 * p:.0f} %" for p in points]


def curves(
    histories: Sequence[History], number: int | None, share: float = 1.0, ends: Sequence[History] = ()
) -> list[dict[str, Any]]:
    """Curves for figures_spectra.spectrum at a point of the training; `ends` take the place of the end of it."""
    found = []
    for h in ends if share >= 1 and ends else histories:
        for layer in h.shown(number):
            found.append(
                {
                    "name": h.name,
                    "row": h.row,
                    "layer": layer.title,
                    "values": layer.states[h.index(share)],
                    "note": layer.note,
                }
            )
    return found


def table(run: Run, spectra: Sequence[Spectrum], bound: Bound | None = None) -> list[dict[str, Any]]:
    """One row a layer: its values from the weights, and the bound that the certificate uses."""
    bounds = {layer.name: layer for layer in bound.layers} if bound else {}
    return [
        {
            "run": run.name,
            "layer": layer.title,
            "kind": layer.kind,
            "largest": round(float(s.values[0]), 4),
            "median": round(float(np.median(s.values)), 4),
            "smallest": round(float(s.values[-1]), 4),
            "distance to orthogonal": round(s.distance, 4),
            "singular values": layer.note,
            **(
                {"bound": rounded_up(bounds[s.layer].value, 6), "bound by": bounds[s.layer].method}
                if s.layer in bounds
                else {}
            ),
        }
        for s, layer in zip(spectra, exact(run, spectra).layers, strict=True)
    ]


def summary(histories: Sequence[History], number: int | None, share: float = 1.0) -> list[dict[str, Any]]:
    """The picture as a table: one row a layer shown."""
    return [
        {
            "run": h.name,
            "layer": layer.title,
            "epoch": float(h.epochs[h.index(share)]) if len(h.epochs) > 1 else None,
            "largest": round(float(values[0]), 4),
            "median": round(float(np.median(values)), 4),
            "smallest": round(float(values[-1]), 4),
            "values": layer.note,
        }
        for h in histories
        for layer in h.shown(number)
        for values in [layer.states[h.index(share)]]
    ]


def csv(histories: Sequence[History]) -> str:
    """Every value of every state: run, layer, epoch, rank from 0 (largest) to 1, singular value."""
    rows: list[tuple[object, ...]] = []
    for h in histories:
        for layer in h.layers:
            ranks = np.linspace(0, 1, layer.states.shape[1])
            for epoch, state in zip(h.epochs, layer.states, strict=True):
                head = (h.name, layer.number, layer.padding, epoch if len(h.epochs) > 1 else "end")
                rows += [(*head, f"{rank:.5f}", f"{value:.7g}") for rank, value in zip(ranks, state, strict=True)]
    return as_csv(["run", "layer", "padding", "epoch", "rank", "sigma"], rows)


def distance(quantiles: NDArray, count: int) -> float:
    """Root mean square of sigma - 1 over `count` singular values, read off their equally spaced quantiles."""
    ranks = np.linspace(0, 1, count) if count > 1 else np.array([0.5])
    sigma = np.interp(ranks, np.linspace(0, 1, len(quantiles)), quantiles) if len(quantiles) > 1 else quantiles
    return float(np.sqrt(np.mean((sigma - 1) ** 2)))


def distances(histories: Sequence[History]) -> list[dict[str, Any]]:
    """Rows for figures_spectra.dumbbells: all layers but the last together (each counts the same), then each."""
    rows = []
    for h in histories:
        body = h.shown(None)
        each = np.array([[distance(state, layer.count) for state in layer.states] for layer in body])
        whole = np.sqrt(np.mean(each**2, axis=0))
        known = len(h.epochs) > 1
        for label, path in (
            ("all layers", whole),
            *((f"layer {x.number}", p) for x, p in zip(body, each, strict=True)),
        ):
            rows.append(
                {
                    "name": h.name,
                    "row": h.row,
                    "label": f"{h.name}: {label}",
                    "before": float(path[0]) if known else None,
                    "after": float(path[-1]),
                    "farthest": float(path.max()),
                    "farthest epoch": float(h.epochs[int(path.argmax())]),
                }
            )
    return rows


def distance_table(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same as a table."""
    return [
        {
            "run and layer": row["label"],
            "before training": None if row["before"] is None else round(row["before"], 4),
            "after training": round(row["after"], 4),
        }
        for row in rows
    ]


def method_words(method: str) -> str:
    """Where the values of a Spectrum come from."""
    return "frequencies of the padded image" if method == "frequencies" else method
