"""The page on spectra: its facts against slow references, every option, states, words, code."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from shipped import CHECKPOINTS
from torch import nn

import pages
from lipviz import figures_spectra, gains, history, runs, spectra_words, ui
from lipviz.bounds import bound, freeze64
from lipviz.data import Data
from lipviz.layers import LAYERS, conv2d, dense, explicit
from lipviz.networks import Spec, build, fitting
from lipviz.norms import unrolled
from lipviz.recipes import Recipe
from lipviz.spectra import frequencies, singular_values, spectra
from lipviz.train import train
from pages import charts, tables

SHELL = Path(__file__).parents[1] / "lipviz" / "shell.py"
KINDS = ["rank", "histogram", "cumulative", "frequency map"]
ROWS = ["aol", "sll", "cayley", "plain", "soc", "sandwich"]
DOUBLE = torch.float64


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Points and pictures, two epochs each."""
    root = tmp_path_factory.mktemp("trained")
    recipe = Recipe(epochs=2, batch=64, held_out=0.2)
    for row in ("aol", "sll", "cayley", "plain"):
        spec = Spec(row, "mlp", (2,), 2, 8, dense_depth=2)
        train(root / f"moons-{row}", "moons", spec=spec, recipe=recipe, device="cpu", show=False)
    only = Spec("aol", "mlp", (2,), 2, 8, dense_depth=0)
    train(root / "moons-one", "moons", spec=only, recipe=recipe, device="cpu", show=False)
    random = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (60, 1, 8, 8), generator=random, dtype=torch.uint8)
    noise = Data("noise", ("a", "b"), x[:40], torch.arange(40) % 2, x[40:], torch.arange(20) % 2)
    for row in ROWS:
        spec = Spec(row, "convnet", (1, 8, 8), 2, 4, depth=2, dense_depth=1, patch=2, pool=2)
        train(root / f"noise-{row}", "noise", data=noise, spec=spec, recipe=recipe, device="cpu", show=False)
    return root


@pytest.fixture
def open_page(monkeypatch, trained, tmp_path):
    """Open the page on the runs of `root`, with parameters in the address."""

    def opened(root=trained, shipped=tmp_path / "none", **parameters):
        monkeypatch.setenv("LIPVIZ_RUNS", str(root))
        monkeypatch.setattr(ui, "CHECKPOINTS", Path(shipped))
        return pages.opened("spectra", **parameters)

    return opened


def errors(at):
    return [error.value.replace("\\", "") for error in at.error]  # else no path would be found in them


# facts


@pytest.mark.parametrize("row", [name for name, row in LAYERS.items() if row.guarantee == "exact"])
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_orthogonal_rows_have_singular_values_of_1_under_circular_padding(row, kind):
    if getattr(LAYERS[row], kind) is None:
        pytest.skip(f"{row} has no such form")
    layer = dense(row, 6, 6) if kind == "dense" else conv2d(row, 4, 4, 3, padding_mode="circular")
    shape = (6,) if kind == "dense" else (4, 6, 6)
    layer = layer.double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter) if parameter.ndim > 1 else None
    values, method = singular_values(explicit(layer, shape), shape)
    assert method == "exact" and float((values - 1).abs().max()) < 1e-6


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("row", ["aol", "spectral", "sr"])
def test_rescaled_rows_never_exceed_1(row, mode):
    layer = conv2d(row, 3, 5, 3, padding_mode=mode).double()
    nn.init.normal_(layer.weight)
    values, _ = singular_values(explicit(layer, (3, 6, 6)), (3, 6, 6))
    assert 0.3 < float(values[0]) <= 1 + 1e-12


def one_layer(row, mode, size):
    layer = conv2d(row, 3, 3, 3, padding_mode=mode).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter) if parameter.ndim > 1 else None
    return nn.Sequential(layer), (3, *size)


@pytest.mark.parametrize("size", [(6, 6), (5, 5), (4, 7)])
@pytest.mark.parametrize("row", ["plain", "aol", "soc", "cayley", "sandwich", "sll"])
def test_a_frequency_map_is_that_of_the_dense_circular_matrix(row, size):
    if row in ("cayley", "sandwich") and len(set(size)) > 1:
        size = (6, 4)
    model, shape = one_layer(row, "circular", size)
    found = frequencies(model, shape, 1)
    frozen = freeze64(model, shape)[0]
    linear = frozen.inner if row == "sll" else frozen
    if row == "sandwich":
        inner, outer = (torch.from_numpy(matrix(half, shape)) for half in (frozen.inner, frozen.outer))
        W = (outer @ inner).numpy()
    else:
        W = matrix(linear, shape)
    sigma = np.linalg.svd(W, compute_uv=False)
    assert found.padding == "circular" and found.largest.shape == size
    assert found.largest.max() == pytest.approx(sigma[0], abs=1e-9)
    assert found.smallest.min() == pytest.approx(sigma[-1], abs=1e-9)


def matrix(module, shape):
    """The matrix of an affine module, its value at zero taken off."""
    n = int(np.prod(shape))
    with torch.no_grad():
        x = torch.eye(n, dtype=DOUBLE).view(n, *shape)
        return (module(x) - module(torch.zeros_like(x[:1]))).flatten(1).mT.numpy()


def test_a_frequency_map_lies_as_the_frequencies_do():
    """Against a sum over taps, both signs of both frequencies."""
    model, shape = one_layer("plain", "circular", (5, 6))
    K, found = model[0].weight.detach().numpy(), frequencies(model, shape, 1)
    for i, j in np.ndindex(5, 6):
        u = np.arange(3)
        F = np.einsum("ocuv,u,v->oc", K, np.exp(-2j * np.pi * i * u / 5), np.exp(-2j * np.pi * j * u / 6))
        assert found.largest[i, j] == pytest.approx(np.linalg.norm(F, 2), abs=1e-10)


def test_a_map_of_zero_padding_says_so():
    model, shape = one_layer("plain", "zeros", (6, 6))
    assert frequencies(model, shape, 1).padding == "zeros"
    assert frequencies(nn.Sequential(nn.Linear(3, 2)), (3,), 1) is None
    with pytest.raises(ValueError, match="numbered from 1 to 1"):
        frequencies(model, shape, 2)


@pytest.mark.parametrize("name", ["moons-aol", "noise-sll", "noise-cayley", "noise-plain"])
def test_the_last_frame_is_the_final_spectrum(trained, name):
    run = runs.load(trained / name)
    h, now = history.stored(run), spectra(run.model, run.spec.input_shape)
    assert list(h.epochs) == [0, 1, 2]
    for layer, s in zip(h.layers, now, strict=True):
        assert np.allclose(layer.states[-1], np.quantile(s.values, np.linspace(1, 0, 64)), atol=1e-5)
    drawn = history.curves([h], None, history.shares([h])[-1])
    assert np.array_equal(drawn[0]["values"], h.layers[0].states[-1])


@pytest.mark.parametrize("shape", [(40, 30), (9, 9), (200, 300), (1, 5)])
def test_distances_are_those_to_the_polar_factor(shape):
    W = torch.randn(*shape, dtype=DOUBLE) / max(shape) ** 0.5
    U, s, Vh = torch.linalg.svd(W, full_matrices=False)
    slow = float(torch.linalg.matrix_norm(W - U @ Vh) / min(shape) ** 0.5)
    quantiles = np.quantile(s.numpy(), np.linspace(1, 0, 64))
    assert history.distance(quantiles, min(shape)) == pytest.approx(slow, rel=0.01)
    assert history.distance(s.numpy(), min(shape)) == pytest.approx(slow, rel=1e-9)


def test_stored_distances_are_those_of_the_weights(trained):
    for name in ("moons-aol", "noise-sll", "noise-plain"):
        run = runs.load(trained / name)
        now = spectra(run.model, run.spec.input_shape)
        rows = history.distances([history.stored(run)])
        assert [row["after"] for row in rows[1:]] == pytest.approx([s.distance for s in now[:-1]], rel=0.01, abs=1e-5)
        whole = np.sqrt(np.mean([s.distance**2 for s in now[:-1]]))
        assert rows[0]["after"] == pytest.approx(whole, rel=0.01) and rows[0]["before"] < 1e-3


@pytest.mark.parametrize("kind", ["mlp", "convnet"])
def test_the_plan_is_that_of_the_network(kind):
    for row in fitting(kind):
        depths = {"depth": 2 * (kind == "convnet"), "dense_depth": 2}
        spec = Spec(row, kind, (2,) if kind == "mlp" else (1, 8, 8), 2, 4, **depths, patch=2, pool=2)
        found = spectra(build(spec), spec.input_shape)
        planned = history.plan(spec)
        assert [s.kind for s in found] == [form for form, _, _ in planned]
        assert [len(s.values) for s in found] == history.counts(spec)
        for number, (_, what, padding) in enumerate(planned, 1):
            own = frequencies(build(spec), spec.input_shape, number)
            assert (own is None) == (what != "convolution") and (own is None or own.padding == padding)


# Jacobians


@pytest.mark.parametrize("name", ["moons-sll", "noise-sll", "noise-sandwich", "noise-plain"])
def test_measured_gains_lie_below_the_proved_bound(trained, name):
    run = runs.load(trained / name)
    frozen = freeze64(run.model, run.spec.input_shape)
    points = gains.inputs(run.spec.input_shape)
    value, where = gains.gain(frozen, points)
    alone = {key: gains.gain(frozen, {key: x})[0] for key, x in points.items()}
    assert value == alone[where] == max(alone.values()), "the largest of all inputs, and where it was found"
    assert 0 < value <= bound(run.model, run.spec.input_shape).value
    assert str(gains.RANDOM) in gains.protocol(run.spec.input_shape)


def test_a_jacobian_is_that_of_differences(trained, monkeypatch):
    monkeypatch.setattr(gains, "CHUNK", 1)  # the chunks stay in order
    run = runs.load(trained / "noise-sll")
    frozen, x = freeze64(run.model, run.spec.input_shape), torch.rand(1, 1, 8, 8, dtype=DOUBLE)
    J, e = gains.jacobian(frozen, x), 1e-6
    for k in (0, 17, 63):
        step = torch.zeros(64, dtype=DOUBLE).scatter(0, torch.tensor([k]), e).view_as(x)
        with torch.no_grad():
            slow = (frozen(x + step) - frozen(x - step))[0] / (2 * e)
        assert torch.allclose(J[:, k], slow, atol=1e-6)


def test_the_jacobian_of_a_residual_layer_is_symmetric_and_at_most_1(trained):
    run = runs.load(trained / "noise-sll")
    frozen = freeze64(run.model, run.spec.input_shape)
    found = gains.layer_jacobians(frozen, gains.inputs(run.spec.input_shape)["Random 1"])
    assert [j.what for j in found] == ["layer 1", "layer 2", "layer 3", "all layers but the last", "whole network"]
    assert all(j.values[0] <= 1 + 1e-12 for j in found[:3]) and found[0].inputs == 64
    module = next(m for m in frozen.modules() if type(m).__name__ == "FrozenResidual")
    J = gains.jacobian(module, torch.rand(1, 4, 4, 4, dtype=DOUBLE))
    assert torch.allclose(J, J.mT, atol=1e-12)


def test_a_jacobian_that_is_too_large_is_left_out(trained, monkeypatch):
    monkeypatch.setattr(gains, "SIDE", 20)
    run = runs.load(trained / "noise-sll")
    frozen = freeze64(run.model, run.spec.input_shape)
    found = gains.layer_jacobians(frozen, gains.inputs(run.spec.input_shape)["Random 1"])
    assert [len(j.values) for j in found] == [0, 0, 16, 16, 2]
    with pytest.raises(ValueError, match="got none"):
        gains.gain(frozen, {})


# pictures


def test_frames_move_the_curves_and_leave_the_end():
    def state(top):
        return [{"name": "a", "row": "aol", "layer": "1", "values": np.linspace(top, 0, 9)}]

    for kind in figures_spectra.KINDS:
        fig = figures_spectra.spectrum(
            state(0.5), kind, False, False, [state(2.0), state(0.5)], ["epoch 0", "epoch 7"], 0
        )
        end, moving = fig.data
        assert [frame.traces for frame in fig.frames] == [(1,), (1,)]
        assert end.line.width < 1 < moving.line.width and end.showlegend is False
        assert np.array_equal(moving.y, fig.frames[0].data[0].y) and np.array_equal(end.y, fig.frames[1].data[0].y)
        assert [step.label for step in fig.layout.sliders[0].steps] == ["0", "7"]
        assert fig.layout.sliders[0].currentvalue.prefix == "epoch " and fig.layout.sliders[0].active == 0
        axis = fig.layout.yaxis if kind == "rank" else fig.layout.xaxis
        assert axis.range[0] < 0 and axis.range[1] > 2, "fixed, and wide enough for every frame"


def test_cumulative_is_the_share_at_or_below():
    values = np.array([1.0, 1.0, 0.5, 0.2])
    (curve,) = figures_spectra.spectrum(
        [{"name": "a", "row": "aol", "layer": "1", "values": values}], "cumulative"
    ).data
    assert curve.line.shape == "hv"
    for x, y in zip(curve.x, curve.y, strict=True):
        assert y <= 100 * np.mean(values <= x)
    assert dict(zip(curve.x, curve.y, strict=True)) == {0.2: 25, 0.5: 50, 1.0: 100}


def test_both_maps_share_scale_and_equal_axes_and_keep_0_in_the_middle():
    shown = {"name": "a", "largest": np.eye(4) * 0 + 0.5, "smallest": np.zeros((4, 4))}
    shown["largest"][0, 0] = 2.0
    fig = figures_spectra.frequency_map(shown)
    assert {trace.coloraxis for trace in fig.data} == {"coloraxis"} and fig.layout.coloraxis.cmax == 2.0
    assert [fig.layout[f"yaxis{n}"].scaleanchor for n in ("", "2")] == ["x", "x2"]
    assert fig.data[0].z[2, 2] == 2.0 and fig.data[0].x[2] == fig.data[0].y[2] == 0
    log = figures_spectra.frequency_map(shown, log=True)
    assert log.layout.coloraxis.colorbar.ticktext[0] == "0" and np.isfinite(log.data[1].z).all()
    assert log.data[1].customdata.max() == 0


def test_the_layers_of_a_histogram_count_the_same():
    curves = [{"name": "a", "row": "aol", "layer": str(n), "values": np.full(n, v)} for n, v in ((2, 0.5), (200, 1.0))]
    (outline,) = figures_spectra.spectrum(curves, "histogram").data
    assert sorted(outline.y[outline.y > 0]) == pytest.approx([50, 50])


def test_slider_labels(trained):
    two, other = (history.stored(runs.load(trained / name)) for name in ("moons-aol", "moons-sll"))
    points = history.shares([two, other])
    assert points == [0.0, 0.5, 1.0] and history.labels([two, other], points) == ["epoch 0", "epoch 1", "epoch 2"]
    seven = history.History("x", "aol", np.arange(8.0), two.layers)
    assert [seven.index(p) for p in history.shares([seven])] == list(range(8))
    points = history.shares([two, seven])
    assert history.labels([two, seven], points)[1] == "training 14 %" and [two.index(p) for p in points][-1] == 2
    many = history.History("x", "aol", np.arange(1000.0), two.layers)
    assert len(history.shares([many])) == history.MOST and history.shares([many])[-1] == 1.0


# the page


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("log", ["true", "false"])
@pytest.mark.parametrize("progress", ["0", "100"])
@pytest.mark.parametrize("layer", ["all but the last", "1", "4"])
def test_options(open_page, kind, log, progress, layer):
    names = ["noise-aol", "moons-plain"]
    at = open_page(sp_runs=names, sp_kind=kind, sp_log=log, sp_progress=progress, sp_layer=layer)
    assert not at.error
    first = charts(at)[0]
    if kind == "frequency map":
        assert any("no convolution" in info.value for info in at.info)
        return
    assert {trace.get("name") for trace in first["data"]} == set(names if layer != "4" else names[:1])
    assert first["layout"]["sliders"][0]["active"] == (0 if progress == "0" else 2) and len(first["frames"]) == 3
    assert [button["label"] for button in first["layout"]["updatemenus"][0]["buttons"]] == ["▶", "❚❚"]


@pytest.mark.parametrize("tab", ["Distance to orthogonal", "Bounds and gain", "Jacobian at an input", "Values"])
@pytest.mark.parametrize("name", ["noise-sll", "noise-sandwich", "moons-one", "moons-cayley", "noise-soc"])
def test_tabs(open_page, tab, name):
    at = open_page(sp_runs=[name], sp_below=tab)
    assert not at.error and len(tables(at)) == (2 if tab == "Values" else 1)
    rows = tables(at)[-1]
    assert len(charts(at)) == (1 if tab == "Values" else 2)
    if tab == "Bounds and gain":
        measured, proved = (
            float(rows["whole network: largest gain measured"][0]),
            rows["whole network: proved bound"][0],
        )
        assert 0 < measured <= float(str(proved).split(" ")[0]) + 1e-3
        assert "no search" in rows["how"][0]
        assert any("is the product" in text.value for text in at.markdown)
    if tab == "Values":
        assert len(rows) == len(history.plan(runs.load(Path(ui.runs_folder()) / name).spec))


def test_only_the_open_tab_is_computed(open_page, monkeypatch):
    """The first view needs no weights: neither exact values nor bounds."""

    def refuse(*args, **options):
        raise AssertionError("computed though nobody asked")

    monkeypatch.setattr(ui, "certifier", refuse)
    monkeypatch.setattr(ui, "layer_spectra", refuse)
    assert charts(open_page())


@pytest.mark.parametrize("value", ["", "EVIL", "-1", "1e99", "<script>alert(1)</script>", "nan", "Cat"])
def test_nonsense(open_page, value):
    keys = ["sp_runs", "sp_kind", "sp_log", "sp_progress", "sp_layer", "sp_exact", "sp_below", "sp_jrun", "sp_image"]
    at = open_page(**dict.fromkeys(keys, value))
    assert not at.error and (charts(at) or "Choose" in at.info[0].value)
    at = open_page(sp_below="Jacobian at an input", sp_jrun=value, sp_image=value)
    assert not at.error and len(charts(at)) == 2


def test_no_run_chosen(open_page):
    at = open_page()
    at.multiselect[0].set_value([]).run()
    assert not at.exception and not charts(at) and "Choose" in at.info[0].value


def test_numbers_and_padding(open_page):
    at = open_page(sp_runs=["noise-aol", "noise-cayley", "noise-sll"], sp_below="Values")
    assert {metric.label for metric in at.metric} == {f"noise-{row}, at 100 %" for row in ("aol", "cayley", "sll")}
    assert at.metric[1].value == "1.0000 to 1.0000"
    assert set(tables(at)[1]["run"]) == {"noise-aol", "noise-cayley", "noise-sll"}
    layers = set(tables(at)[0]["layer"])
    assert {
        "layer 1 (convolution, zero padding)",
        "layer 1 (convolution, circular padding)",
        "layer 3 (dense)",
    } <= layers
    said = tables(open_page(sp_runs=["noise-cayley"], sp_kind="frequency map"))[0]
    assert said["are"][0] == "the singular values of the layer" and said["largest of all"][0] == 1


def test_a_layer_that_no_run_has(open_page):
    at = open_page(sp_runs=["noise-aol", "moons-aol"], sp_layer="4")
    assert any("moons-aol** has no layer 4" in info.value.replace("\\", "") for info in at.info)


@pytest.mark.parametrize("shipped", [True, False])
def test_chips(open_page, shipped, tmp_path):
    where = {"root": tmp_path / "nothing", "shipped": CHECKPOINTS} if shipped else {}
    keys = [button.key for button in open_page(**where).button if button.key.startswith("sp_try")]
    said = {open_page(**where).info[0].value}
    assert len(keys) == 3
    for key in keys:
        at = open_page(**where)
        at.button(key).click().run()
        assert not at.exception and not at.error and charts(at)
        said.add(next(info.value for info in at.info))
    assert len(said) >= 3, "the notice follows the state"


@pytest.mark.parametrize(
    "broken", ["missing", "text", "zip", "empty", "shapes", "nan", "foreign", "falling", "words", "nothing in it"]
)
def test_broken_histories_fall_back_on_the_weights(open_page, trained, tmp_path, broken):
    root = tmp_path / "broken"
    shutil.copytree(trained / "moons-aol", root / "cut")
    path = root / "cut" / "spectra.npz"
    kept = dict(np.load(path))
    sigma = next(name for name in kept if name.endswith(".sigma"))
    whole = path.read_bytes()
    path.unlink()
    changed = {
        "shapes": {sigma: kept[sigma][:2]},
        "nan": {sigma: kept[sigma] * np.nan},
        "falling": {"epoch": kept["epoch"][::-1]},
        "words": {sigma: np.array(["a", "b", "c"])[:, None]},
    }
    contents = {"text": b"cut off", "zip": whole[: len(whole) // 2], "empty": b""}
    if broken in changed:
        np.savez(path, **{**kept, **changed[broken]})
    elif broken in contents:
        path.write_bytes(contents[broken])
    elif broken == "foreign":
        np.savez(path, **{k: v for k, v in kept.items() if k != sigma})
    elif broken == "nothing in it":
        np.savez(path, other=np.ones(3))
    at = open_page(root=root, sp_runs=["cut"], sp_progress="0")
    quiet = broken in ("missing", "nothing in it")
    assert len(at.error) == (not quiet) and all(str(root) not in error for error in errors(at))
    assert charts(at) and not charts(at)[0].get("frames")


def test_rank_deficient_layers_have_a_floor_called_0(open_page, trained, tmp_path):
    root = tmp_path / "deficient"
    shutil.copytree(trained / "moons-plain", root / "zero")
    run = runs.load(root / "zero")
    weights = {name: w * (w.ndim < 2) for name, w in run.model.state_dict().items()}
    runs.write_tensors(root / "zero" / "weights.safetensors", weights)
    (root / "zero" / "spectra.npz").unlink()
    for kind in KINDS[:3]:
        for log in ("true", "false"):
            at = open_page(root=root, sp_runs=["zero"], sp_kind=kind, sp_log=log)
            assert not at.error and "NaN" not in json.dumps(charts(at))
    assert at.metric[0].value == "0.0000 to 0.0000"
    layout = charts(open_page(root=root, sp_runs=["zero"], sp_log="true"))[0]["layout"]
    assert layout["yaxis"]["ticktext"][0] == "0"


# words, code, data


def row(name, kind, before, after, farthest=None):
    return {"name": name, "row": kind, "label": f"{name}: all layers", "before": before, "after": after,
            "farthest": farthest or after, "farthest epoch": 3.0}  # fmt: skip


def test_the_claim_of_aol_is_told_as_it_is():
    far, near = row("a", "aol", 0.0, 0.5, 0.6), row("b", "aol", 0.4, 0.05)
    assert "does not hold" in spectra_words.claim([far]) and "only lead away" in spectra_words.claim([far])
    assert "**it holds**" in spectra_words.claim([near]) and "holds for 1 of 2" in spectra_words.claim([far, near])
    assert "Choose an AOL run" in spectra_words.claim([row("c", "sll", 0, 0.5)])
    said = spectra_words.verdict(
        [far, near, row("c", "sll", 0, 0.5), row("d", "cayley", 0, 0), row("e", "plain", None, 0.3)]
    )
    assert "moved away" in said[0] and "farthest at epoch 3" in said[0] and "brought it closer" in said[1]
    assert "Nothing asks" in said[2] and "by construction" in said[3] and "not stored" in said[4]


def test_shipped_aol_runs_do_not_end_orthogonal():
    for name in ("cifar10-aol", "mnist-aol"):
        h = history.stored(runs.load(CHECKPOINTS / name))
        assert "does not hold" in spectra_words.claim(history.distances([h]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("number", "log"), [(None, False), (1, True)])
def test_code_runs_and_says_the_same(trained, monkeypatch, tmp_path, capsys, kind, number, log):
    monkeypatch.chdir(tmp_path)
    folder = str(trained / "noise-aol")
    exec(compile(spectra_words.code([folder], kind, number, log), "code", "exec"), {})
    said = capsys.readouterr().out
    run = runs.load(folder)
    now = spectra(run.model, run.spec.input_shape)
    if kind == "frequency map":
        found = frequencies(run.model, run.spec.input_shape, 1)
        assert f"{found.largest.max():.6f} at most" in said and (tmp_path / "frequencies.html").exists()
        return
    assert said.count("distance") == (3 if number is None else 1) and f"{now[0].distance:.6f}" in said
    assert (tmp_path / "spectra.html").stat().st_size > 1e6


def test_csv_holds_every_state(trained):
    h = history.stored(runs.load(trained / "noise-aol"))
    lines = history.csv([h]).splitlines()
    assert lines[0] == "run,layer,padding,epoch,rank,sigma" and len(lines) == 1 + 4 * 3 * 64
    last = lines[3 * 64].split(",")
    assert last[1:5] == ["1", "zeros", "2.0", "1.00000"] and float(last[5]) == pytest.approx(h.layers[0].states[-1, -1])


def test_unrolled_agrees_with_the_slow_matrix():
    model, shape = one_layer("plain", "zeros", (4, 5))
    nn.init.normal_(model[0].bias)
    assert np.allclose(unrolled(freeze64(model, shape)[0], shape).numpy(), matrix(freeze64(model, shape)[0], shape))
