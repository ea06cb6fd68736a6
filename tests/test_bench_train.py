"""Images a second of training: the same network of plain layers, calls in turns, what is written. No claim of speed."""

import csv

import pytest
import torch
from torch import nn

from lipviz import bench_train
from lipviz.bench_timing import Spread
from lipviz.bench_train import Rate, plain_network, training
from lipviz.cli import main
from lipviz.layers import LAYERS
from lipviz.networks import Spec, build

ZOO = """
[mnist]
rows = ["aol", "cpl", "soc"]

[mnist.cpu]
seconds = 1
spec = { width = 50, depth = 1, dense_depth = 1, patch = 7, pool = 4 }
recipe = { batch = 4, pad = 1 }

[[mnist.cpu.best]]
layer = "aol"
seconds = 2
"""


@pytest.mark.parametrize("row", [row for row in LAYERS if LAYERS[row].conv])
def test_the_plain_network_has_the_same_shapes_and_no_layer_of_lipviz_but_isometries(row):
    spec = Spec(row, "convnet", (1, 8, 8), 3, 8, depth=1, dense_depth=1, patch=2, pool=2)
    own, plain, x = build(spec), plain_network(spec), torch.randn(2, 1, 8, 8)
    for a, b in zip(own, plain, strict=True):
        y = a(x)
        assert b(x).shape == y.shape
        x = y.detach()
    kinds = {type(module) for module in plain if list(module.parameters())}
    assert all(kind.__module__.startswith("torch.") or kind.__name__ == "PlainResidual" or kind is nn.Sequential
               for kind in kinds)  # fmt: skip
    convolutions = [module for module in plain.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == (2 if LAYERS[row].form in ("residual", "sandwich") else 1)
    assert {c.padding_mode for c in convolutions} == {"circular" if LAYERS[row].fft else "zeros"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A zoo file, and a clock that shows 2 s for the plain network and 2.5 s for the other."""
    (tmp_path / "zoo.toml").write_text(ZOO)
    calls = []

    def seconds(call):
        call()
        calls.append(call)
        return 2.0 if len(calls) % 2 else 2.5

    monkeypatch.setitem(bench_train.SECONDS, "cpu", seconds)
    return tmp_path


def test_rates_are_those_of_the_clock_and_written(place, capsys):
    files = {"csv": place / "training.csv", "markdown": place / "training.md"}
    options = [part for kind, path in files.items() for part in (f"--{kind}", str(path))]
    assert main(["bench", "train", "--zoo", str(place / "zoo.toml"), "--pairs", "2", *options]) == 0
    with files["csv"].open() as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["mnist-aol", "mnist-cpl", "mnist-soc", "mnist-best"]
    assert {(float(row["images"]), float(row["plain_images"]), float(row["ratio"])) for row in rows} == {(1.6, 2, 0.8)}
    page = files["markdown"].read_text()
    assert page.startswith("# Images a second of training\n") and "Load of the machine" in page
    assert "| mnist-cpl | x + conv(relu(conv(x))), zeros | 2 | 2 | 0.80 (0.80..0.80) | no, plain no |" in page
    assert "0.80 (0.80..0.80)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--rows", "bro"], "has no 'bro'"), (["--pairs", "1"], "at least 2 pairs"), (["--zoo", "no.toml"], "no.toml")],
)
def test_slips_are_refused_in_words(options, words, place, capsys):
    assert main(["bench", "train", "--zoo", str(place / "zoo.toml"), *options]) == 2
    assert words in capsys.readouterr().err


def test_a_compiled_network_is_said_to_be_one():
    rate = Rate("mnist-aol", "aol", "conv(x)", "bfloat16", (True, False), 9.0, 10.0, Spread(0.9, 0.8, 1.0))
    assert rate.words()["compiled"] == "yes, plain no"
    assert any("CUDA graphs" in line for line in bench_train.protocol([rate], 5, "cuda"))
    with pytest.raises(ValueError, match="3x3"):
        plain_network(Spec("aol", "convnet", (1, 8, 8), 3, 8, depth=1, kernel=5))
    with pytest.raises(ValueError, match="zoo"):
        training("zoo-that-is-not.toml")
