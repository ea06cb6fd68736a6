"""The square wave: its values, slopes that are lower bounds, fits that resume, and the page against its numbers."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lipviz import squarewave, squarewave_report
from lipviz.cli import main
from lipviz.runs import read_csv
from lipviz.squarewave import SETTINGS, Fit, Scaled, fit, network, slope, square_wave

LBDN = ("aol", "cayley", "sll", "sandwich")
DOCS = Path(__file__).parent.parent / "docs"


def kinked(x, *kinks):
    """0 at x = 0; at each (place, change) the slope changes, from 0 on."""
    return sum(change * torch.relu(x - place) for place, change in kinks)


@pytest.fixture
def quick(monkeypatch):
    """Fits that take no time: the slope is 0.25 (seed + 1), the bound 1; returns what was asked for."""
    asked = []

    def instant(row, gamma, seed, epochs):
        asked.append((row, gamma, seed))
        empty = np.zeros(1)
        return Fit(1, empty, 0.0, 1.0, 0.25 * (seed + 1), empty, empty)

    monkeypatch.setattr(squarewave_report, "fit", instant)
    return asked


def test_square_wave():
    x = torch.tensor([[-2.0], [-1.0], [-0.999], [0.0], [0.001], [1.0], [1.001], [2.0]])
    assert square_wave(x).flatten().tolist() == [1, 1, 0, 0, 1, 1, 0, 0]


def test_slope_of_known_functions():
    steep = slope(lambda x: kinked(x, (-1.0, 0.5), (0.3, -4.0), (0.31, 2.0)))
    assert steep == pytest.approx(3.5, rel=1e-6) and steep <= 3.5 + 1e-12
    assert slope(lambda x: kinked(x, (3.0, 9.0), (0.0, 1.0))) == pytest.approx(1)  # nothing outside counts
    narrow = (0.0, -1.0), (0.049, -6.0), (0.051, 6.0)  # around 0.05, the middle of a cell: the derivative
    assert slope(lambda x: kinked(x, *narrow), 0.0, 1.0, cells=10) == pytest.approx(7)
    assert slope(lambda x: 2 * x.detach() + 0 * x) == pytest.approx(2, rel=1e-6)  # no derivative: the chords


def test_a_step_of_rounding_is_no_slope():
    assert slope(lambda x: 1 + 2.0**-52 * (x > 0).double() + 0 * x) == 0


def test_scaling_is_part_of_the_bound():
    model = Scaled(nn.Linear(1, 1).requires_grad_(False), 5.0)
    model.body.weight.fill_(-3), model.body.bias.fill_(0)
    assert model(torch.tensor([[2.0]])).item() == pytest.approx(-30)
    assert model.bound() == pytest.approx(15) and model.bound() >= 15
    assert slope(Scaled(nn.Linear(1, 1).double(), 1.0)) > 0


@pytest.mark.parametrize("gamma", [0.0, -1.0, float("nan"), float("inf")])
def test_gamma_must_be_positive(gamma):
    with pytest.raises(ValueError, match="gamma must be positive"):
        Scaled(nn.Identity(), gamma)


@pytest.mark.parametrize("row", SETTINGS)
def test_networks_of_equal_size_whose_slope_stays_below_the_bound(row):
    model = network(row, 5.0, 0)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(130_000, rel=0.1)
    frozen = Scaled(squarewave.freeze64(model.body, (1,)), 5.0)
    assert 0 < slope(frozen, cells=500) <= model.bound() <= 5 * (1 + 1e-6)


def test_a_short_fit_learns_something_and_repeats_itself(monkeypatch):
    monkeypatch.setattr(squarewave, "DEPTH", 2)
    monkeypatch.setitem(SETTINGS, "sandwich", replace(SETTINGS["sandwich"], width=16))
    found, again = fit("sandwich", 5.0, 1, epochs=20), fit("sandwich", 5.0, 1, epochs=20)
    assert found.losses[-1] < 0.5 * found.losses[0] and found.test < 0.2
    assert 0.3 < found.tightness <= 1 and found.bound == pytest.approx(5, rel=1e-6)
    assert found.slope == again.slope and np.array_equal(found.losses, again.losses)
    assert np.abs(np.diff(found.y) / np.diff(found.x)).max() <= found.slope * (1 + 1e-6)
    assert found.slope != fit("sandwich", 5.0, 2, epochs=20).slope


def test_the_command_runs_only_what_its_csv_lacks(quick, tmp_path, capsys):
    table, text = tmp_path / "t.csv", tmp_path / "t.md"
    command = ["bench", "tightness", "--rows", "aol", "sll", "--gammas", "1", "--csv", str(table)]
    assert main([*command, "--seeds", "0"]) == 0
    assert quick == [("aol", 1.0, 0), ("sll", 1.0, 0)]
    assert main([*command, "--seeds", "0", "1", "--markdown", str(text)]) == 0
    assert quick[2:] == [("aol", 1.0, 1), ("sll", 1.0, 1)]
    assert [(line["row"], line["seed"]) for line in read_csv(table)] == [
        ("aol", "0"),
        ("aol", "1"),
        ("sll", "0"),
        ("sll", "1"),
    ]
    assert "37.5" in capsys.readouterr().out and "| aol | 1 | 37.5 | 25.0 to 50.0 | 37.5 | 77.2 |" in text.read_text()
    assert main([*command, "--epochs", "7"]) == 2
    assert "another protocol" in capsys.readouterr().err and len(quick) == 4


@pytest.mark.parametrize(
    ("extra", "message"),
    [(["--rows", "nope"], "aol, cayley, sll"), (["--gammas", "-1"], "gamma"), (["--epochs", "0"], "epochs")],
)
def test_refused_before_any_fit(quick, extra, message, capsys):
    assert main(["bench", "tightness", *extra]) == 2
    assert message in capsys.readouterr().err and not quick


def cells(text, title):
    """The rows of the Markdown table under a title, without its header."""
    lines = text.split(f"## {title}\n")[1].split("\n## ")[0].strip().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_page_agrees_with_its_csv():
    with (DOCS / "tightness.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    page = (DOCS / "tightness.md").read_text(encoding="utf-8")
    assert len(lines) == 54 and all(line["protocol"] == squarewave_report.protocol(line["row"]) for line in lines)
    every = iter(cells(page, "Every fit"))
    expected = {}
    for line in lines:
        tight = 100 * float(line["slope"]) / float(line["bound"])
        assert tight <= 100 and tight == pytest.approx(100 * float(line["tightness"]))
        row, gamma, seed, bound, steepest, shown = next(every)[:6]
        assert (row, gamma, seed) == (line["row"], line["gamma"], line["seed"])
        assert (bound, steepest, shown) == (
            f"{float(line['bound']):.4f}",
            f"{float(line['slope']):.4f}",
            f"{tight:.2f}",
        )
        expected.setdefault((row, gamma), []).append(tight)
    found = {(row, gamma): mean for row, gamma, mean, *_ in cells(page, "Means")}
    assert found == {key: f"{np.mean(values):.1f}" for key, values in expected.items()}
    for gamma, aim in (("1", 99.5), ("5", 98.5), ("10", 90.0)):
        assert float(found["sandwich", gamma]) >= aim
        assert gamma == "1" or found["sandwich", gamma] == max((found[row, gamma] for row in LBDN), key=float)
