"""What the page of certified radii draws: curves, histogram and numbers of runs on one data set."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ui

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lipviz.runs import Run

PIXELS = "pixels in [0, 1]"
Curve = dict[str, Any]  # name, row, radius, correct, bound: of one run


def data_names(found: Sequence["Run"]) -> list[str]:
    """The data sets of the runs: pictures before points, CIFAR-10 first."""
    shapes = {ui.data_name(run): len(run.spec.input_shape) for run in found}
    return sorted(shapes, key=lambda name: (-shapes[name], name != "cifar10", name))


def unit(run: "Run") -> str:
    """What a radius of the run is measured in."""
    return PIXELS if len(run.spec.input_shape) == 3 else "in the unit of the plane the points lie in"


def curve(run: "Run") -> list[Curve]:
    """The run's certificates as figures take them; nothing, and a sentence, where it has none."""
    found = ui.certificates(run)
    if found is None:
        st.warning(f"{ui.literal(run.name)} has no certificates: its training did not come to its end.")
        return []
    results = run.config.get("results")
    bound = results.get("bound") if isinstance(results, dict) else None
    bound = float(bound) if isinstance(bound, (int, float)) else math.nan
    return [{"name": run.name, "row": run.spec.layer, "radius": found.radius, "correct": found.correct, "bound": bound}]


def show_curves(curves: Sequence[Curve], eps: float, unit: str) -> None:
    """Certified accuracy against the radius."""
    from lipviz import figures

    figure = figures.certified_curve(curves, _marks(unit), eps, ui.dark())
    best = max(curves, key=lambda c: _share(c, eps))
    alt = f"Certified accuracy falls with the radius; at {eps:.3f} {best['name']} keeps most, {_share(best, eps):.1%}."
    ui.show(_in_unit(figure, "radius eps", unit), "certified", alt)


def show_histogram(curves: Sequence[Curve], unit: str) -> None:
    """How often each radius occurs among the right answers; runs that would fill one bin are told, not drawn."""
    from lipviz import figures

    end = max(float(c["radius"].max()) for c in curves)
    wide = [c for c in curves if c["radius"].max() > end / 30]
    figure = figures.radius_histogram(wide, _marks(unit), ui.dark())
    figure.update_layout(height=420)  # as high as the curve beside it
    ui.show(_in_unit(figure, "certified radius", unit), "radii", "Histogram of the certified radii of right answers.")
    for c in curves:
        if c["radius"].max() <= end / 30:
            st.caption(f"Not drawn: {ui.literal(c['name'])}, whose radii all lie below {c['radius'].max():.2g}.")


def summary(curves: Sequence[Curve], eps: float) -> list[dict[str, Any]]:
    """A row of numbers for each run; accuracies in percent of the whole test set."""
    import numpy as np

    from lipviz.pictures import rounded_up

    rows = []
    for c in curves:
        radii, n = c["radius"][c["correct"]], len(c["radius"])
        kept = int((radii > eps).sum())
        low, high = wilson(kept, n)
        rows.append(
            {
                "run": c["name"],
                "clean %": round(100 * len(radii) / n, 1),
                "certified at eps %": round(100 * kept / n, 1),
                "95 % interval": f"{100 * low:.1f} to {100 * high:.1f}",
                "median radius of right answers": float(f"{np.median(radii):.4f}") if len(radii) else None,
                "test inputs": n,
                "Lipschitz bound": rounded_up(c["bound"]),
            }
        )
    return rows


def csv(curves: Sequence[Curve]) -> str:
    """Radius and rightness of every test input of every run, one line each."""
    lines = ["run,input,right,radius"]
    for c in curves:
        pairs = zip(c["correct"], c["radius"], strict=True)
        lines += [f"{c['name']},{i},{int(right)},{radius!r}" for i, (right, radius) in enumerate(pairs)]
    return "\n".join([*lines, ""])


def notice(rows: Sequence[dict[str, Any]], k: int) -> str:
    """What to look at, in the state the page is in."""
    if k == 0:
        return "At size 0 only answers whose margin is 0 are lost: the curves start at the clean accuracy, the dots."
    best, clean = (max(rows, key=lambda row: row[key]) for key in ("certified at eps %", "clean %"))
    if best["certified at eps %"] == 0:
        return f"No answer of any run here is certified beyond {k}/255. Move the size down until the first curve lifts."
    name, share = ui.literal(best["run"]), best["certified at eps %"]
    if best is clean:
        return f"{name} leads in clean accuracy and at {k}/255, where it keeps {share} %. Does it lead further out too?"
    return (
        f"{ui.literal(clean['run'])} is right most often ({clean['clean %']} %), but at {k}/255 {name} keeps "
        f"most, {share} %: being right and being certified are two things."
    )


def notes(chosen: Sequence["Run"]) -> list[str]:
    """What is to be known about the data, each sentence once."""
    found = [run.config["data"].get("notes") for run in chosen]
    return list(dict.fromkeys(str(note) for entry in found if isinstance(entry, list) for note in entry))


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share, after Wilson: it stays in [0, 1] and is not empty at 0 or n hits.

    >>> [round(end, 4) for end in wilson(0, 10)], [round(end, 4) for end in wilson(50, 100)]
    ([0.0, 0.2775], [0.4038, 0.5962])
    """
    share, spread = hits / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / n / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def _share(c: Curve, eps: float) -> float:
    return float((c["correct"] & (c["radius"] > eps)).mean())


def _marks(unit: str) -> tuple[int, ...]:
    return (36, 72, 108, 255) if unit == PIXELS else ()  # the sizes of the literature speak of pixels


def _in_unit(figure: "go.Figure", title: str, unit: str) -> "go.Figure":
    return figure.update_xaxes(title=f"{title} (l2, {unit})")
