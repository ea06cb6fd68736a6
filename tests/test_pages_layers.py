"""The pages on discs, spectra and training: every option, nonsense in the address, broken runs, no runs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from lipviz import grams, lessons, runs, ui
from lipviz.data import Data
from lipviz.networks import Spec, fitting
from lipviz.recipes import Recipe
from lipviz.train import train
from pages import charts

SHELL = Path(__file__).parents[1] / "lipviz" / "shell.py"
NONSENSE = ["", "EVIL", "-1", "1e99", "<script>alert(1)</script>", "../../etc/passwd", "nan"]
KEYS = {
    "discs": "gd_source gd_view gd_rule gd_n gd_seed gd_w gd_t gd_q1 gd_q5 gd_layer gd_wave gd_scale gd_point",
    "spectra": "sp_runs sp_kind sp_log sp_progress sp_layer",
    "train": "tr_run tr_data tr_layer tr_epochs tr_width tr_seed tr_device",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Points with every kind of row, pictures with convolutions: one or two epochs each."""
    root = tmp_path_factory.mktemp("trained")
    recipe = Recipe(epochs=2, batch=64, held_out=0.2)
    for layer in fitting("mlp"):
        spec = Spec(layer, "mlp", (2,), 2, 8)
        train(root / f"moons-{layer}", "moons", spec=spec, recipe=recipe, device="cpu", show=False)
    random = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (60, 1, 8, 8), generator=random, dtype=torch.uint8)
    noise = Data("noise", ("a", "b"), x[:40], torch.arange(40) % 2, x[40:], torch.arange(20) % 2)
    for layer in fitting("convnet"):
        spec = Spec(layer, "convnet", (1, 8, 8), 2, 4, depth=2, dense_depth=1, patch=2, pool=2)
        short = Recipe(epochs=1, batch=16, held_out=0.2)
        train(root / f"noise-{layer}", "noise", data=noise, spec=spec, recipe=short, device="cpu", show=False)
    return root


@pytest.fixture
def open_page(monkeypatch, trained, tmp_path):
    """Open a page on the runs of `root` and the checkpoints of `shipped`, with parameters in the address."""
    monkeypatch.delenv("LIPVIZ_READONLY", raising=False)

    def opened(page, root=trained, shipped=tmp_path / "none", **parameters):
        monkeypatch.setenv("LIPVIZ_RUNS", str(root))
        monkeypatch.setattr(ui, "CHECKPOINTS", Path(shipped))
        at = AppTest.from_file(SHELL, default_timeout=60)
        at.switch_page(f"../pages/{page}.py")
        for key, value in parameters.items():
            at.query_params[key] = value
        at.run()
        assert not at.exception
        assert at.title
        return at

    return opened


def discs_picture(at):
    """What the picture of the discs was given."""
    found = [part.proto for part in at.get("bidi_component") if part.proto.component_name == "lipviz_discs"]
    return json.loads(found[0].json) if found else None


def errors(at):
    return [error.value.replace("\\", "") for error in at.error]  # else no path would be found in them


@pytest.mark.parametrize("page", KEYS)
@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_in_the_address(open_page, page, value):
    at = open_page(page, **dict.fromkeys(KEYS[page].split(), value))
    own_matrix = page == "discs" and value  # the only free text: what is wrong with it is said
    assert len(at.error) == bool(own_matrix)
    assert own_matrix or charts(at) or discs_picture(at) or "Choose" in at.info[0].value, (
        "an empty list of runs is a choice"
    )


@pytest.mark.parametrize("view", ["G", "T - G"])
@pytest.mark.parametrize("rule", ["AOL", "SLL", "spectral", "own"])
@pytest.mark.parametrize("n", [2, 5, 8])
def test_example_discs(open_page, view, rule, n):
    at = open_page("discs", gd_view=view, gd_rule=rule, gd_n=str(n), gd_q1="1.5")
    assert not at.error and len(at.metric) == 3
    picture = discs_picture(at)
    assert picture["numbers"] == list(range(1, n + 1)) and picture["e"][0] == 1.5 and picture["view"] == view
    if view == "T - G":
        G = np.array(picture["W"]).T @ np.array(picture["W"])
        slack = np.linalg.eigvalsh(np.diag(picture["t"]) - G)[0]
        assert at.metric[2].value == ("on the edge" if abs(slack) < 1e-6 * max(picture["t"]) else "holds")


def test_example_numbers_are_in_order(open_page):
    edge, best, top = (float(metric.value) for metric in open_page("discs").metric)
    assert edge > 1.2 * best > 1.2 * 1.1 * top, "the first example shows both gaps"


def test_discs_chips(open_page):
    at = open_page("discs")
    said = [at.info[0].value]
    for chip in [button for button in at.button if button.key.startswith("gd_try")]:
        at = open_page("discs")
        at.button(chip.key).click().run()
        assert not at.exception and not at.error
        said.append(at.info[0].value)
    assert "AOL" in said[1] and "meet" in said[2] and "touches zero" in said[3] and "cannot see" in said[4]


@pytest.mark.parametrize(
    ("message", "heard"), [(3, None), ("x", None), ([1], None), ({"at": "now"}, None), ({"at": 5}, 5)], ids=str
)
def test_the_picture_of_the_discs_is_told_what_was_heard(open_page, message, heard):
    """And junk in its state is not."""
    at = open_page("discs")
    at.session_state["gd_picture"] = {"moved": message}
    at.run()
    assert not at.exception and not at.error and discs_picture(at)["heard"] == heard


def test_perron_brings_every_edge_together(open_page):
    at = open_page("discs")
    at.button("gd_try1").click().run()
    assert float(at.metric[0].value) == pytest.approx(float(at.metric[1].value), rel=0.01)
    assert at.query_params["gd_q4"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("1 x", "no number"), ("1 2; 3", "same 2 to 8"), ("nan 1", "between"), ("1 1e9", "between"), ("1", "same 2 to 8")],
)
def test_matrix_that_is_none(open_page, text, words):
    assert words in errors(open_page("discs", gd_w=text))[0]


@pytest.mark.parametrize("text", ["0 0; 0 0", "1 0; 0 1", "1 2 3", "1 0.5; -2 1; 3 3; 0 0", "1e-6 1e6; 1 1"])
@pytest.mark.parametrize("view", ["G", "T - G"])
def test_matrix_of_ones_own(open_page, text, view):
    at = open_page("discs", gd_w=text, gd_view=view)
    assert not at.error and discs_picture(at)


@pytest.mark.parametrize(
    ("text", "words"), [("1 2 3 4 x", "no number"), ("1 2", "needs 5 numbers"), ("-1 " * 5, "0 to")]
)
def test_diagonal_that_is_none(open_page, text, words):
    assert words in errors(open_page("discs", gd_view="T - G", gd_rule="own", gd_t=text))[0]
    assert not open_page("discs", gd_view="G", gd_rule="own", gd_t=text).error, "not looked at"


def test_own_t_and_another_matrix(open_page):
    """An own T is shown; another number of neurons is another matrix, with the T of AOL again."""
    at = open_page("discs", gd_view="T - G", gd_rule="own", gd_t="30 30 30 30 30", gd_w="1 2; 3 4; 5 6; 7 8; 9 1")
    assert "needs 2" in errors(at)[0]
    at = open_page("discs", gd_view="T - G", gd_rule="own", gd_t="30 30 30 30 30")
    assert discs_picture(at)["t"] == [30] * 5 and at.metric[2].value == "holds"
    at.select_slider("gd_n").set_value(3).run()
    assert not at.exception and not at.error and len(discs_picture(at)["t"]) == 3


@pytest.mark.parametrize("view", ["G", "T - G"])
@pytest.mark.parametrize("name", ["moons-sll", "moons-aol", "noise-spectral", "noise-sandwich"])
def test_discs_over_the_training(open_page, name, view):
    at = open_page("discs", gd_source=name, gd_view=view, gd_point="50")
    if name == "noise-sandwich" and view == "T - G":
        assert "has no T" in errors(at)[0]
        return
    picture = discs_picture(at)
    epochs = 2 if "moons" in name else 1
    assert [frame["epoch"] for frame in picture["frames"]] == list(range(epochs)), "the last frame is now"
    assert picture["point"] == epochs - 1 and "At epoch" in at.info[0].value and len(at.metric) == 2
    for frame in picture["frames"]:
        centers, radii, values = (np.array(frame[key]) for key in ("centers", "radii", "eigenvalues"))
        reach = 1e-5
        assert ((np.abs(values[:, None] - centers) <= radii + reach).any(1)).all() and len(frame["numbers"]) == len(
            radii
        )
        assert view == "G" or (centers - radii).min() > -reach or name == "noise-spectral"
    now = open_page("discs", gd_source=name, gd_view=view)
    assert discs_picture(now)["point"] == -1 and len(now.metric) == 3


def test_a_run_without_stored_discs_says_so(open_page, trained, tmp_path):
    import shutil

    shutil.copytree(trained / "moons-aol", tmp_path / "old")
    kept = {k: v for k, v in runs.load(tmp_path / "old").spectra.items() if ".disc." not in k}
    np.savez_compressed(tmp_path / "old" / "spectra.npz", **kept)
    at = open_page("discs", root=tmp_path, gd_source="old", gd_point="50")
    assert not at.error and "frames" not in discs_picture(at) and len(at.metric) == 3
    assert any("kept no discs" in caption.value for caption in at.caption)


@pytest.mark.parametrize("layer", ["aol", "sll", "cayley", "plain"])
@pytest.mark.parametrize("data", ["moons", "noise"])
@pytest.mark.parametrize("view", ["G", "T - G"])
def test_discs_of_runs(open_page, data, layer, view):
    at = open_page("discs", gd_source=f"{data}-{layer}", gd_view=view, gd_wave="3", gd_scale="Perron, the best q")
    if view == "T - G" and layer in ("cayley", "plain"):
        assert "has no T" in errors(at)[0]
        return
    assert not at.error and len(at.metric) == 3 and discs_picture(at)["cells"]
    if layer == "cayley":
        assert at.metric[0].value == "1"


OTHERS = [
    *(f"moons-{row}" for row in ("sr", "exponential", "bjorck", "householder", "bro", "sandwich")),
    *(f"noise-{row}" for row in ("sr", "cpl", "spectral", "bro", "soc", "aoc", "lot", "sandwich")),
]


@pytest.mark.parametrize("name", OTHERS)
def test_discs_and_spectra_of_every_other_row(open_page, name):
    at = open_page("discs", gd_source=name, gd_wave="3")
    assert not at.error and discs_picture(at)["numbers"]
    at = open_page("spectra", sp_runs=name)
    assert not at.error and charts(at)
    assert ("sandwich" in name) == any("linear part" in text.value for text in (*at.markdown, *at.info, *at.caption))


def test_the_train_page_offers_the_rows_that_fit_the_data(open_page):
    at = open_page("train", tr_data="digits", tr_layer="AOC")
    assert at.selectbox("tr_layer").value == "AOC" and "Bjorck" in at.selectbox("tr_layer").options
    at.button_group("tr_data").set_value("moons").run()
    assert not at.exception and "AOC" not in at.selectbox("tr_layer").options


@pytest.mark.parametrize("row", ["aoc", "sandwich", "cayley"])
def test_the_discs_of_an_orthogonal_convolution_are_those_of_the_frozen_layer(trained, row):
    """The Gram matrix at a frequency has the eigenvalues of the frozen layer there."""
    gram = grams.layer(trained / f"noise-{row}", 0, 3)
    inner = runs.load(trained / f"noise-{row}").model.double()
    layer = next(m for m in inner if hasattr(m, "op")).freeze((grams.GRID, grams.GRID))
    halves = [layer.outer, layer.inner] if row == "sandwich" else [layer]
    F = np.eye(4)
    for half in halves:
        K = half.weight.detach()
        wave = torch.exp(-1j * torch.pi * 3 / 8 * torch.arange(K.shape[-1]).double())
        F = F @ torch.einsum("ocuv,u,v->oc", K.to(torch.complex128), wave, wave).numpy()
    assert np.allclose(np.sort(np.linalg.svd(F)[1] ** 2), np.sort(np.linalg.eigvalsh(gram.G)), atol=1e-6)


@pytest.mark.parametrize("layer", ["aol", "sll"])
def test_gram_at_a_frequency_is_that_of_the_layer(trained, layer):
    """T bounds G at every frequency, and the largest eigenvalue of T^{-1/2} G T^{-1/2} is the layer's norm there."""
    folder = trained / f"noise-{layer}"
    run = runs.load(folder)
    norms = []
    for frequency in range(grams.FREQUENCIES):
        gram = grams.layer(folder, 0, frequency)
        assert np.abs(gram.G - gram.G.conj().T).max() < 1e-12
        assert np.linalg.eigvalsh(np.diag(gram.t) - gram.G)[0] > -1e-9
        assert (lessons.discs(gram.G, gram.q, gram.t).left) > -1e-6, "the taps together cover every frequency"
        root = gram.t**-0.5
        norms.append(np.linalg.eigvalsh(root[:, None] * gram.G * root)[-1] ** 0.5)
    # the same frequencies, of the frozen kernel, by a sum over taps
    inner = runs.load(folder).model.double()[3].freeze((4, 4))
    K = (inner.inner if layer == "sll" else inner).weight.detach().numpy()
    for frequency, norm in enumerate(norms):
        wave = np.exp(-1j * np.pi * frequency / 8 * np.arange(3))
        F = np.einsum("ocuv,u,v->oc", K, wave, wave)
        assert np.linalg.norm(F, 2) == pytest.approx(norm, rel=1e-6)
    assert run.spec.layer == layer


def test_discs_hold_the_eigenvalues_whatever_q_is():
    random = np.random.default_rng(1)
    for n in lessons.SIZES:
        W = lessons.example(n, n)
        G, q = W.T @ W, random.uniform(0.1, 10, n)
        found = lessons.discs(G, q)
        inside = np.abs(found.eigenvalues[:, None] - found.centers) <= found.radii + 1e-9
        assert inside.any(1).all()
        assert np.allclose(lessons.discs(G, lessons.best_q(G)).right, lessons.best_edge(G), rtol=1e-5)
        assert lessons.best_edge(G) <= found.right + 1e-9
        assert np.allclose(lessons.from_text(lessons.to_text(W)), W)


def test_many_discs_are_thinned_to_those_that_matter():
    radii = np.arange(200.0)
    c, r, values, names = lessons.Discs(np.zeros(200), radii, np.zeros(200)).drawn("right")
    assert len(c) == len(r) == lessons.DRAWN and max(r) == 199 and names[-1] == 200 and len(values) == 200


@pytest.mark.parametrize("page", KEYS)
def test_without_any_run(open_page, page, tmp_path):
    at = open_page(page, root=tmp_path / "nothing")
    words = {"discs": "q", "spectra": "no trained network", "train": "press Train"}[page]
    assert not at.error and words in at.info[0].value


@pytest.mark.parametrize("page", KEYS)
def test_broken_runs_are_said_in_words(open_page, page, trained, tmp_path):
    import shutil

    root = tmp_path / "broken"
    shutil.copytree(trained / "moons-aol", root / "cut")
    (root / "cut" / "weights.safetensors").write_bytes(b"cut off")
    (root / "cut" / "spectra.npz").write_bytes(b"cut off")
    (root / "cut" / "metrics.csv").write_text("epoch,accuracy\n1\n")
    (root / "torn").mkdir()
    (root / "torn" / "run.json").write_text('{"state": ')
    parameters = {"discs": {"gd_source": "cut"}, "spectra": {"sp_progress": "0"}, "train": {}}[page]
    at = open_page(page, root=root, **parameters)
    assert errors(at) and all(str(root) not in error for error in errors(at))


def test_train_page_shows_shipped_run_as_example(open_page, trained, tmp_path):
    at = open_page("train", root=tmp_path / "nothing", shipped=trained)
    assert any("example" in caption.value for caption in at.caption) and charts(at)


def test_train_page_readonly(open_page, monkeypatch):
    monkeypatch.setenv("LIPVIZ_READONLY", "1")
    at = open_page("train")
    monkeypatch.setenv("LIPVIZ_READONLY", "1")
    at.run()
    assert not at.button and any("read-only" in info.value for info in at.info)


def test_train_button_starts_and_chooses_the_run(open_page, monkeypatch, tmp_path):
    asked = []

    def start(root, source, **options):
        asked.append((source, options))
        return Path(root) / "moons-sll"

    monkeypatch.setattr("lipviz.jobs.start", start)
    at = open_page("train", tr_layer="SLL", tr_epochs="7", tr_run="moons-aol")
    next(button for button in at.button if button.label == "Train").click().run()
    assert not at.exception and not at.error
    assert asked == [("moons", {"layer": "sll", "device": "auto", "epochs": 7, "width": 64, "seed": 0})]
    assert at.query_params["tr_run"] == ["moons-sll"] or at.query_params["tr_run"] == "moons-sll"


def test_refused_start_is_a_sentence(open_page):
    at = open_page("train", tr_width="5")
    next(button for button in at.button if button.label == "Train").click().run()
    assert not at.exception and "even" in errors(at)[0]
    at.run()
    assert not at.error, "said once"


def test_delete_on_the_page(open_page, trained, tmp_path):
    import shutil

    root = tmp_path / "mine"
    for name in ("a", "b"):
        shutil.copytree(trained / "moons-aol", root / name)
    at = open_page("train", root=root, tr_run="b")
    next(button for button in at.button if button.label == "Delete this run").click().run()
    assert not at.exception and not at.error
    assert [path.name for path in root.iterdir()] == ["a"] and at.selectbox("tr_run").options == ["a"]
