"""The picture of a false certificate: what is claimed, what is proven, and what happens. No torch, no streamlit."""

import plotly.graph_objects as go
from numpy.typing import NDArray

from lipviz.drawing import DARK, INK, LIGHT, figure, rgba

BEYOND = 5.0  # of the claimed line as many times the size of the break are drawn


def claim(
    sizes: NDArray,
    margins: NDArray,
    margin: float,
    claimed: float,
    certified: float | None,
    broken: float | None = None,
    dark: bool = False,
) -> go.Figure:
    """The margin on a straight way out, the line of the claim, and the line of the proof.

    Args:
        sizes: of the change, l2, ascending from 0.
        margins: of the first answer at each size, below 0 where it has changed.
        margin: the one that the claim starts from.
        claimed: where its line meets zero.
        certified: where the line of the proof does; None where that is still being computed.
        broken: size of the nearest other answer that was found.
        dark: the theme.
    """
    palette, text = DARK if dark else LIGHT, INK[dark].text
    end = 1.15 * max(claimed, certified or 0.0, 1e-12)
    if broken is not None:
        end = max(min(end, BEYOND * broken), 1.3 * broken)
    fig = figure(dark, 300, "size of the change (l2, pixels in [0, 1])", "margin of the answer")
    lines = (
        ("claimed: never below", margin, claimed, 4, "dash", 0.10),
        ("certified: never below", float(margins[0]), certified, 0, "solid", 0.18),
    )
    for name, start, radius, colour, dash, alpha in lines:
        if radius is None:
            continue
        # cut where the picture ends, so that the axes need no room for what is beyond
        x = min(radius, end)
        fig.add_scatter(
            x=[0.0, x],
            y=[start, start * (1 - x / radius) if radius > 0 else start],
            name=name,
            mode="lines",
            fill="tozeroy",
            fillcolor=rgba(palette[colour], alpha),
            line={"color": palette[colour], "width": 3, "dash": dash},
            hovertemplate="size %{x:.3g}: margin %{y:.3g}",
        )
    near = sizes <= end
    fig.add_scatter(
        x=sizes[near],
        y=margins[near],
        name="margin on the way found",
        mode="lines+markers",
        line={"color": palette[5], "width": 2, "dash": "dot"},
        marker={"symbol": "triangle-down", "size": 8, "maxdisplayed": 9},
        hovertemplate="size %{x:.3g}: margin %{y:.3g}",
    )
    notes = [_note(claimed, end, "claimed", palette[4], text, -40)]
    if certified is not None:
        notes.append(_note(certified, end, "certified", palette[0], text, 24))
    if broken is not None:
        inside = broken < claimed
        fig.add_scatter(
            x=[broken],
            y=[0.0],
            name="broken: another answer" if inside else "another answer, outside the claim",
            mode="markers",
            marker={"symbol": "x", "size": 15, "color": palette[4] if inside else palette[5]},
            hovertemplate="another answer at size %{x:.4g}",
        )
    fig.update_layout(annotations=notes)
    fig.update_xaxes(range=[-0.01 * end, 1.02 * end])
    return fig.update_yaxes(zeroline=True)


def _note(radius: float, end: float, name: str, colour: str, text: str, up: int) -> dict[str, object]:
    """Where a line meets zero; at the right edge where that is beyond the picture."""
    outside = radius > end
    size = f"{radius:#.3g}".rstrip(".")
    words = f"{name} {size}, far beyond →" if outside else f"{name} {size}"
    right = outside or radius > (0.6 if up < 0 else 0.2) * end
    place = {"x": min(radius, end), "y": 0, "text": words, "font": {"color": text, "size": 12}}
    arrow = {"showarrow": not outside, "ax": -30 if right else 30, "ay": up, "arrowcolor": colour, "arrowwidth": 2}
    return (
        place | arrow | {"xanchor": "right" if right else "left", "yshift": (14 if up < 0 else -14) if outside else 0}
    )
