"""The benchmark: calls in turns, ratios, bytes, tables. Nothing here depends on how long anything takes."""

import csv
import io
import math
import re
import warnings
from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest
import torch
from torch import nn

from lipviz import bench, bench_peers, bench_report, bench_timing
from lipviz.bench import LAYERS, OWN, Measurement, Mode, Shape
from lipviz.bench_peers import PEERS, Candidate
from lipviz.bench_timing import Spread, in_turns, peak_bytes, predict, step
from lipviz.cli import main
from lipviz.drawing import DARK, LIGHT, STYLE, UNKNOWN
from lipviz.figures_bench import bench as draw

CONV, DENSE = Shape(4, 2, 8), Shape(8, 4)
MIB = 2**20
FLOAT32 = Mode("float32")


@pytest.fixture
def clock(monkeypatch):
    """A clock that runs what it is given, notes it, and shows 2 s for the plain layer and 3 s for the other."""
    calls = []

    def seconds(call):
        call()
        calls.append((call.func, call.args[0]))
        return 2.0 + (len(calls) + 1) % 2

    monkeypatch.setitem(bench.SECONDS, "cpu", seconds)
    return calls


@pytest.fixture
def tiny(monkeypatch):
    """The command measures small shapes."""
    monkeypatch.setattr(bench, "SHAPES", (CONV, DENSE))


def failing(error):
    def build():
        raise error

    return Candidate("other 1.0", "Broken", "affine", "zeros", "zeros", build)


def measured(**changes):
    spread = Spread(1.5, 1.25, 2.0)
    numbers = {"train": spread, "forward": Spread(1.0, 0.5, 1.125), "train_ms": 3.25, "forward_ms": 1.5}
    about = Measurement(str(CONV), "float32", OWN, "aol", "affine", "zeros", "conv(x), zeros", **numbers)
    return replace(about, memory=1.75, memory_mib=12.5, **changes)


def test_calls_take_turns_and_the_ratio_is_that_of_neighbours():
    called, times = [], iter([1.0, 2.0, 4.0, 4.0, 2.0, 6.0, 1.0, 10.0, 2.0, 3.0])

    def seconds(call):
        call()
        return next(times)

    spread, ms = in_turns(lambda: called.append("plain"), lambda: called.append("layer"), 5, seconds)
    assert called == ["plain", "layer"] * (bench_timing.WARM_UP + 5)
    assert spread == Spread(median=2.0, low=1.5, high=3.0)  # of 2, 1, 3, 10 and 1.5
    assert ms == 4000.0  # the median of 2, 4, 6, 10 and 3 s


def test_quartiles_are_those_of_numpy():
    values = list(np.random.default_rng(0).random(16))
    spread = Spread.of(values)
    assert [spread.low, spread.median, spread.high] == pytest.approx(np.percentile(values, [25, 50, 75]))


def test_a_step_has_the_gradients_of_the_sum_of_squares_for_parameters_and_input():
    class Kept(nn.Linear):
        def forward(self, x):
            self.x = x
            return super().forward(x)

    layer, x = Kept(3, 2), torch.randn(5, 3)
    for _ in range(2):  # the second step adds nothing to the first
        step(layer, x, "float32")
    y = 2 * nn.functional.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(layer.weight.grad, y.T @ x)
    torch.testing.assert_close(layer.x.grad, y @ layer.weight)


def test_a_forward_pass_keeps_no_graph():
    outputs, layer = [], nn.Linear(3, 2)
    layer.register_forward_hook(lambda module, inputs, y: outputs.append(y))
    predict(layer, torch.randn(5, 3), "float32")
    assert not outputs[0].requires_grad


def test_bfloat16_is_autocast():
    seen = []
    layer = nn.Linear(3, 2)
    layer.register_forward_hook(lambda module, inputs, y: seen.append(y.dtype))
    for run in (step, predict):
        run(layer, torch.randn(5, 3), "bfloat16")
        run(layer, torch.randn(5, 3), "float32")
    assert seen == [torch.bfloat16, torch.float32] * 2 and layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("shape", [CONV, DENSE], ids=str)
@pytest.mark.parametrize("form,formula", [
    ("affine", lambda f, g, x: f(x)),
    ("orthogonal", lambda f, g, x: f(x)),
    ("residual", lambda f, g, x: x + g(torch.relu(f(x)))),
    ("sandwich", lambda f, g, x: g(torch.relu(f(x)))),
])  # fmt: skip
def test_the_plain_layer_computes_what_it_says(shape, form, formula):
    model, words = bench.plain(form, shape, "circular")
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    x = torch.randn(2, *shape.input)
    torch.testing.assert_close(model(x), formula(layers[0], layers[-1], x))
    assert model(x).shape == x.shape
    assert words.count("conv(" if shape.side else "linear(") == len(layers)
    assert words.startswith("x + ") == (form == "residual")
    if shape.side:
        assert all(m.padding_mode == "circular" for m in layers) and words.endswith(", circular")
        assert bench.plain(form, shape, "zeros")[1].endswith(", zeros")


def test_every_row_is_measured_once_at_every_shape_it_has():
    state = torch.get_rng_state()
    found = bench.layers(2, [CONV, DENSE])
    assert torch.equal(torch.get_rng_state(), state)
    mine = [(m.shape, m.row) for m in found if m.source == OWN]
    kinds = {str(CONV): "conv", str(DENSE): "dense"}
    assert mine == [(s, name) for s, kind in kinds.items() for name, row in LAYERS.items() if getattr(row, kind)]
    (control,) = (m for m in found if m.source != OWN)
    assert (control.row, control.padding, control.reference) == ("plain", "circular", "conv(x), zeros")
    for m in found:
        numbers = [m.train_ms, m.forward_ms, m.memory, m.memory_mib]
        for spread in (m.train, m.forward):
            assert spread.low <= spread.median <= spread.high
            numbers += [spread.low, spread.high]
        assert all(math.isfinite(value) and value > 0 for value in numbers)
        if m.source == OWN:
            row = LAYERS[m.row]
            assert m.form == row.form and all(f"{option} " in m.note for option in row.options)
            assert m.padding == ("-" if m.shape == str(DENSE) else "circular" if row.fft else "zeros")
            assert m.reference.endswith(m.padding) or m.padding == "-"
    plain = next(m for m in found if m.row == "plain")
    assert plain.memory == 1.0


@pytest.mark.parametrize("row", ["aol", "sll", "cayley"])
def test_the_clock_sees_the_step_of_the_layer_and_then_the_forward_of_the_frozen_one(clock, row):
    (m,) = bench.layers(3, [CONV], [row])
    assert m.train == m.forward == Spread(1.5, 1.5, 1.5) and m.train_ms == m.forward_ms == 3000.0
    assert [run for run, _ in clock] == [step] * 6 + [predict] * 6
    plain, layer = clock[0][1], clock[1][1]
    assert all(module is (plain, layer)[i % 2] for i, (_, module) in enumerate(clock[:6]))
    assert type(plain) is (bench.PlainResidual if row == "sll" else nn.Conv2d)
    assert type(layer) is type(bench.conv2d(row, 4, 4, 3))
    assert clock[6][1] is plain
    frozen = clock[7][1]
    assert type(frozen) is type(bench.explicit(layer, CONV.input)) and not any(
        p.requires_grad for p in frozen.parameters()
    )


def test_a_layer_of_another_package_is_evaluated_as_it_is(clock):
    candidate = Candidate("other 1.0", "Linear", "affine", "-", "-", lambda: nn.Linear(8, 8), "evaluation mode")
    m = bench.measure(candidate, DENSE, FLOAT32, 2, "cpu")
    assert m.source == "other 1.0" and m.note == "evaluation mode" and m.memory == 1.0
    layer = clock[1][1]
    assert clock[5][1] is layer and not layer.training
    fresh, x = nn.Linear(8, 8), torch.randn(4, 8)  # gradients of earlier steps make no difference
    assert MIB * m.memory_mib == peak_bytes(lambda: step(fresh, x, "float32"), "cpu")


def test_a_layer_of_another_package_that_fails_is_a_note():
    m = bench.measure(failing(RuntimeError("no such\nthing")), CONV, FLOAT32, 2, "cpu")
    assert m.train is m.memory is None and m.note == "RuntimeError: no such thing"
    cropped = replace(failing(None), build=lambda: nn.Conv2d(4, 4, 3))
    m = bench.measure(cropped, CONV, FLOAT32, 2, "cpu")
    assert m.train is None and "(2, 4, 8, 8) into (2, 4, 6, 6)" in m.note
    with pytest.raises(RuntimeError, match="no such"):
        bench.measure(replace(failing(RuntimeError("no such thing")), source=OWN), CONV, FLOAT32, 2, "cpu")


def test_warnings_of_another_package_are_not_ours(clock):
    class Loud(nn.Linear):
        def forward(self, x):
            warnings.warn("loud", stacklevel=1)
            return super().forward(x)

    candidate = Candidate("other 1.0", "Loud", "affine", "-", "-", lambda: Loud(8, 8))
    assert bench.measure(candidate, DENSE, FLOAT32, 2, "cpu").train
    with pytest.raises(UserWarning, match="loud"):
        bench.measure(replace(candidate, source=OWN), DENSE, FLOAT32, 2, "cpu")


@pytest.mark.parametrize("kind,peer", [(k, p) for k in PEERS for p in PEERS[k]], ids=lambda v: getattr(v, "name", v))
def test_peers_are_built_and_measured(clock, kind, peer):
    if not bench_peers.version(peer.package):
        pytest.skip(f"{peer.package} is not installed")
    shape = CONV if kind == "conv" else DENSE
    name = f"{peer.name} {peer.option}".strip()
    (candidate,) = (c for c in bench_peers.candidates(kind, shape.width) if c.row == name)
    m = bench.measure(candidate, shape, FLOAT32, 2, "cpu")
    assert m.note == "evaluation mode" and m.train and m.source == f"{peer.package} {metadata.version(peer.package)}"


def test_a_package_that_is_not_installed_is_a_sentence(monkeypatch):
    real = metadata.version

    def version(package):
        if package in ("orthogonium", "deel-torchlip"):
            raise metadata.PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(metadata, "version", version)
    assert {c.source.split()[0] for c in bench_peers.candidates("conv", 4)} == {"torch"}
    (line,) = (line for line in bench_report.protocol([], 2, "cpu", True) if "Versions" in line)
    assert "orthogonium is not installed (pip install orthogonium)" in line and "deel-torchlip is not" in line


def test_peak_memory_is_that_of_the_tensors_alive_together():
    def call():
        a = torch.zeros(MIB // 4)
        b = a + 1  # 2 MiB are alive
        del a
        for _ in range(3):
            b = b + 1
        return None

    assert peak_bytes(call, "cpu") == pytest.approx(2 * MIB, abs=100)  # and a few numbers


def test_peak_memory_of_a_training_step_grows_with_what_autograd_keeps():
    x = torch.randn(2**16, 16)  # 4 MiB
    one, four = (nn.Sequential(*(nn.Tanh() for _ in range(n))) for n in (1, 4))
    peaks = [peak_bytes(lambda m=m: step(m, x, "float32"), "cpu") / (4 * MIB) for m in (one, four)]
    assert 3 <= peaks[0] <= 5  # output, its square, two gradients
    assert peaks[1] - peaks[0] == pytest.approx(2, abs=1.01)  # three more outputs are kept, backward frees its own
    wide = nn.Linear(16, 16)
    assert 3 <= peak_bytes(lambda: step(wide, x, "float32"), "cpu") / (4 * MIB) <= 4.5


def test_the_output_of_a_step_does_not_outlive_its_last_use():
    class Heavy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return torch.cat([g] * 4)[: len(g)]

    layer = nn.Identity()
    layer.register_forward_hook(lambda module, inputs, y: Heavy.apply(y))
    x = torch.randn(MIB)
    assert peak_bytes(lambda: step(layer, x, "float32"), "cpu") / (4 * MIB) < 5.5  # g, four times g; no y


def test_compiled_layers_stand_beside_the_others(monkeypatch, clock):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or module)
    found = bench.layers(2, [DENSE], ["aol"], compile=True, dtypes=["float32", "bfloat16"])
    assert [m.mode for m in found] == [
        "float32",
        "float32, compiled",
        "bfloat16 autocast",
        "bfloat16 autocast, compiled",
    ]
    assert len(compiled) == 8  # plain and layer, training and frozen, twice


def test_a_layer_that_does_not_compile_is_a_note(monkeypatch):
    def refuse(module):
        raise RuntimeError("cannot compile")

    monkeypatch.setattr(torch, "compile", refuse)
    eager, compiled = bench.layers(2, [DENSE], ["aol"], compile=True)
    assert eager.train and compiled.note == "RuntimeError: cannot compile"


@pytest.mark.parametrize("options,words", [
    ({"rows": ["nonsense"]}, "unknown layer 'nonsense': choose one of spectral, aol"),
    ({"dtypes": ["float16"]}, "unknown dtype 'float16': choose one of float32, bfloat16"),
    ({"device": "tpu"}, "unknown device 'tpu': choose one of cpu, cuda"),
    ({"pairs": 1}, "at least 2 pairs, got 1"),
])  # fmt: skip
def test_mistakes_are_refused_in_words(options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        bench.layers(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_is_refused_where_there_is_none():
    with pytest.raises(ValueError, match="no CUDA device"):
        bench.layers(device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_rows_are_measured_on_a_gpu():
    found = bench.layers(2, [CONV, DENSE], ["aol", "sll", "cayley"], device="cuda")
    assert [m.mode for m in found] == (["float32"] * 3 + ["bfloat16 autocast"] * 3) * 2
    assert all(m.train.median > 0 and m.forward.median > 0 and m.memory > 0 for m in found)

    def call():
        a = torch.zeros(MIB, device="cuda")
        return a + 1

    assert peak_bytes(call, "cuda") == 8 * MIB


def test_the_csv_holds_the_numbers():
    found = [measured(), measured(row="a, b", note='say "no"', train=None, train_ms=None)]
    first, second = csv.DictReader(io.StringIO(bench_report.as_csv(found)))
    assert first["shape"] == str(CONV) and first["row"] == "aol" and first["reference"] == "conv(x), zeros"
    names = ("train", "train_low", "train_high", "forward", "forward_low", "forward_high")
    assert [float(first[name]) for name in names] == [1.5, 1.25, 2.0, 1.0, 0.5, 1.125]
    assert [float(first[name]) for name in ("train_ms", "forward_ms", "memory", "memory_mib")] == [
        3.25,
        1.5,
        1.75,
        12.5,
    ]
    assert second["row"] == "a, b" and second["note"] == 'say "no"' and second["train"] == second["train_high"] == ""


def test_the_page_holds_the_protocol_and_a_table_for_each_shape_and_mode():
    broken = measured(train=None, forward=None, train_ms=None, note="a | b")
    found = [measured(), broken, measured(shape="other", mode="bfloat16 autocast")]
    page = bench_report.as_markdown(found, ["first", "second"])
    assert "- first\n- second\n" in page
    assert re.findall("^## (.*)", page, re.M) == [f"{CONV}, float32", "other, bfloat16 autocast"]
    lines = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in page.splitlines()
        if line.startswith("|")
    ]
    assert {len(line) for line in lines} == {len(lines[0])} and len(lines) == 7
    assert set(lines[1]) == {"---"}
    aol = dict(zip(lines[0], lines[2], strict=True))
    assert aol["layer"] == "aol" and aol["training step"] == "1.50 (1.25..2.00)" and aol["peak memory"] == "1.75"
    assert dict(zip(lines[0], lines[3], strict=True))["training step"] == "-" and r"a \| b" in page


def test_the_protocol_names_hardware_versions_and_settings():
    text = "\n".join(bench_report.protocol([measured(mode="bfloat16 autocast, compiled")], 7, "cpu", True))
    threads = f"{torch.get_num_threads()} of "
    assert all(word in text for word in (torch.__version__, OWN, "7 pairs", threads, "autocast", "torch.compile"))
    assert "orthogonium" in text and "evaluation mode" in text
    text = "\n".join(bench_report.protocol([measured()], 7, "cpu", False))
    assert not any(word in text for word in ("orthogonium", "autocast", "torch.compile", "evaluation mode"))


@pytest.mark.parametrize("dark", [False, True])
def test_the_figure_has_a_mark_for_each_layer_in_the_colour_of_its_family(dark):
    found = [
        measured(),
        measured(row="lot"),
        measured(source="other 1", row="plain", padding="circular"),
        measured(shape="dense", row="sll"),
    ]
    rows = bench_report.figure_rows([*found, measured(row="bro", train=None)])
    fig = draw(rows, dark)
    ones, (left, right, below, _) = fig.data[::2], fig.data[1::2]
    assert all(line.mode == "lines" and list(line.x) == [1.0, 1.0] for line in ones)
    assert list(left.x) == [1.5] * 3 and list(right.x) == [1.0] * 3 and list(below.x) == [1.5]
    assert list(left.error_x.array) == [0.5] * 3 and list(left.error_x.arrayminus) == [0.25] * 3
    styles = [STYLE["aol"], STYLE["lot"], UNKNOWN]
    palette = DARK if dark else LIGHT
    assert list(left.marker.color) == [palette[style.colour] for style in styles]
    assert list(left.marker.symbol) == [style.marker for style in styles]
    assert list(fig.layout.yaxis.ticktext) == ["aol", "lot", "plain, circular (other 1)"]
    assert fig.layout.xaxis.type == "log" and "training step" in fig.layout.xaxis.title.text
    assert fig.layout.xaxis.range[0] < math.log10(0.5) and fig.layout.xaxis.range[1] > math.log10(2)
    assert not re.search(r"#0000(0[1-9]|[1-3]\d|40)", fig.to_html(include_plotlyjs=False))


def test_the_command_writes_table_csv_page_and_figure(tiny, clock, monkeypatch, tmp_path, capsys):
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    files = {kind: tmp_path / f"table.{kind}" for kind in ("csv", "md", "html")}
    options = ["--csv", str(files["csv"]), "--markdown", str(files["md"]), "--figure", str(files["html"])]
    assert main(["bench", "layers", "--pairs", "2", "--rows", "aol", "plain", "--threads", "3", *options]) == 0
    assert threads == [3]
    out = capsys.readouterr().out
    assert str(CONV) in out and str(DENSE) in out and "1.50 (1.50..1.50)" in out and "Hardware: " in out
    rows = list(csv.DictReader(io.StringIO(files["csv"].read_text())))
    assert [row["row"] for row in rows] == ["aol", "plain", "plain", "aol", "plain"]
    page = files["md"].read_text()
    assert f"- Command: lipviz bench layers --pairs 2 --rows aol plain --threads 3 --csv {files['csv']}" in page
    assert "Plotly.newPlot" in files["html"].read_text()


@pytest.mark.parametrize("options,words", [
    (["--rows", "nonsense"], "choose one of"),
    (["--csv", "no/such/folder/table.csv"], "no folder no/such/folder"),
    (["--figure", "figure.txt"], ".html, .svg"),
    (["--figure", "figure.svg"], "pip install kaleido"),
    (["--pairs", "1"], "2 pairs"),
])  # fmt: skip
def test_the_command_refuses_before_it_measures(tiny, clock, monkeypatch, capsys, options, words):
    monkeypatch.setattr(bench_report, "find_spec", lambda name: None)
    assert main(["bench", "layers", *options]) == 2
    assert words in capsys.readouterr().err and not clock


def test_pieces_are_timed_and_written(tmp_path, capsys):
    from lipviz.bench_pieces import pieces

    found = pieces(calls=2, scale=16)
    assert len(found) == len(dict(found)) == 11 and all(0 < milliseconds < 1e3 for _, milliseconds in found)
    bench_report.publish_pieces([("a", 1.26), ("b", 20.0)], "lipviz bench pieces", 2, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert (
        "| a | 1.3 |" in page
        and "- Command: lipviz bench pieces" in page
        and page.strip() == capsys.readouterr().out.strip()
    )


def test_programs_are_timed_and_written(tmp_path, capsys):
    pytest.importorskip("cvxpy")
    from lipviz.bench_pieces import solved

    found = solved([0, 1], sizes=(3,), widths=((2, 4, 2),))
    assert [row["program"] for row in found] == ["smallest trace, 3 x 3", "LipSDP, 2-4-2"]
    assert float(found[1]["product / value"]) >= 1
    bench_report.publish_solvers(found, "lipviz bench sdp", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| LipSDP, 2-4-2 |" in page and page.strip() == capsys.readouterr().out.strip()
