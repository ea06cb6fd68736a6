"""Figures hold the arrays they are given, keep circles round, and leave plotly's placeholders behind."""

import json
import re
import tomllib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from lipviz import drawing, figures, figures_spectra


def _curves():
    values = np.linspace(1.0, 0.0, 20)
    return [
        {"name": "a", "row": "aol", "layer": "first", "values": values, "note": "computed to 1e-3"},
        {"name": "a", "row": "aol", "layer": "last", "values": values[:1]},
        {"name": "b", "row": "cayley", "layer": "first", "values": np.ones(5)},
    ]


def _map():
    values = np.linspace(0, 1.2, 24).reshape(4, 6)
    return {"name": "a, layer 1", "largest": values, "smallest": values / 2}


def _ends():
    return [
        {"name": "a", "row": "aol", "label": f"a: {i}", "before": before, "after": 0.5}
        for i, before in enumerate((0.1, None))
    ]


def _metrics():
    half = np.linspace(0.0, 0.5, 4)
    return [
        {
            "name": "a",
            "row": "aol",
            "epoch": np.arange(4),
            "train_loss": 1 - half,
            "accuracy": half,
            "certified_36": half / 2,
        }
    ]


FIGURES = {
    "rank": lambda dark: figures_spectra.spectrum(_curves(), dark=dark),
    "rank, log": lambda dark: figures_spectra.spectrum(_curves(), log=True, dark=dark),
    "histogram": lambda dark: figures_spectra.spectrum(_curves(), kind="histogram", dark=dark),
    "histogram, log": lambda dark: figures_spectra.spectrum(_curves(), kind="histogram", log=True, dark=dark),
    "cumulative": lambda dark: figures_spectra.spectrum(_curves(), kind="cumulative", dark=dark),
    "frames": lambda dark: figures_spectra.spectrum(
        _curves(), "rank", True, dark, [_curves()] * 2, ["epoch 0", "epoch 1"]
    ),
    "frequencies": lambda dark: figures_spectra.frequency_map(_map(), dark=dark),
    "frequencies, log": lambda dark: figures_spectra.frequency_map(_map(), True, dark),
    "distances": lambda dark: figures_spectra.dumbbells(_ends(), dark),
    "training": lambda dark: figures.training(_metrics(), dark=dark),
    "margin": lambda dark: figures.margin_line([0, 0.5, 1], [0.9, 0.6, 0.2], 0.4, dark=dark),
}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", FIGURES)
def test_export_is_readable_and_private(name, dark):
    fig = FIGURES[name](dark)
    html = fig.to_html(include_plotlyjs=False, config=figures.config(name))
    assert not re.search(r"#0000(0[1-9]|[1-3]\d|40)", html)
    assert '"showSendToCloud": false' in html
    assert fig.layout.template.layout.paper_bgcolor == ("#14171c" if dark else "#ffffff")
    assert fig.layout.uirevision and fig.layout.height and fig.layout.dragmode is False
    json.loads(fig.to_json())


@pytest.mark.parametrize("name", FIGURES)
def test_axes_have_titles(name):
    fig = FIGURES[name](False)
    lowest = "xaxis2" if name == "training" else "xaxis"
    assert fig.layout[lowest].title.text and (fig.layout.yaxis.title.text or fig.layout.yaxis.ticktext)


def test_palettes_are_ten_distinct_colours_and_those_of_the_theme():
    theme = tomllib.loads((Path(__file__).parents[1] / ".streamlit" / "config.toml").read_text())["theme"]
    for palette, mode in ((figures.LIGHT, "light"), (figures.DARK, "dark")):
        assert len(set(palette)) == 10
        assert list(palette) == theme[mode]["chartCategoricalColors"]
        paper = FIGURES["rank"](mode == "dark").layout.template.layout.paper_bgcolor
        assert theme[mode]["backgroundColor"] == paper
        assert min(_contrast(colour, paper) for colour in palette) >= 3.0


def _contrast(a, b):
    dim, bright = sorted((_luminance(a), _luminance(b)))
    return (bright + 0.05) / (dim + 0.05)


def _luminance(colour):
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def test_rows_of_a_family_differ_by_dash_and_marker():
    for a, b in combinations(figures.STYLE.values(), 2):
        assert a.colour != b.colour or (a.dash != b.dash and a.marker != b.marker)


def test_layers_of_one_run_look_alike():
    first, last, other = figures_spectra.spectrum(_curves()).data
    np.testing.assert_array_equal(first.y, _curves()[0]["values"])
    assert (first.x[0], first.x[-1], tuple(last.x)) == (0.0, 1.0, (0.0,))
    assert first.line == last.line != other.line
    assert (first.showlegend, last.showlegend, other.showlegend) == (True, False, True)
    assert "computed to 1e-3" in first.hovertemplate


def test_two_runs_of_one_row_stay_apart():
    first, second = drawing.looks([{"name": "a", "row": "aol"}, {"name": "b", "row": "aol"}], False)
    assert first["line"]["color"] == second["line"]["color"] and first["line"]["width"] != second["line"]["width"]


def test_zero_stays_visible_on_a_log_axis():
    fig = figures_spectra.spectrum(_curves(), log=True)
    assert fig.layout.yaxis.ticktext[0] == "0"
    assert fig.data[0].y[-1] == fig.layout.yaxis.tickvals[0] > 0
    assert fig.data[0].customdata[-1] == 0.0


def test_histogram_of_singular_values_is_a_share():
    fig = figures_spectra.spectrum(_curves(), kind="histogram")
    assert [trace.name for trace in fig.data] == ["a", "b"]
    assert sum(fig.data[0].y) == pytest.approx(100)


def test_nothing_to_draw_is_no_error():
    assert not figures_spectra.spectrum([], log=True).data
    assert not figures.training([]).data


def test_training_shows_percent_above_loss():
    clean, certified, loss = figures.training(_metrics()).data
    np.testing.assert_allclose(clean.y, 100 * _metrics()[0]["accuracy"])
    assert certified.name == "a: certified at 36/255" and certified.line.dash == "dash"
    np.testing.assert_allclose(loss.y, _metrics()[0]["train_loss"])
    assert (clean.yaxis, loss.yaxis) == ("y", "y2")


def test_rows_of_a_family_share_a_colour_and_differ_in_dash_and_marker():
    from lipviz.layers import LAYERS

    families = {}
    for name, row in LAYERS.items():
        families.setdefault(row.family, []).append(figures.STYLE[name])
    for styles in families.values():
        assert len({style.colour for style in styles}) == 1
        assert len({style.dash for style in styles}) == len({style.marker for style in styles}) == len(styles)
    assert len({styles[0].colour for styles in families.values()}) == len(families)
