"""Gershgorin discs: what they prove, what they cannot see, and what a run keeps of them over its training."""

import contextlib
import io

import numpy as np
import pytest
import streamlit as st
import torch

import lipviz
from lipviz import grams, lessons, lessons_words, runs, ui_discs
from lipviz.networks import Spec
from lipviz.recipes import Recipe
from lipviz.train import Trainer, train

CASES = [(n, np.random.default_rng(n + 100 * k)) for n in (2, 3, 5, 8) for k in range(5)]


def gram(n, random, rank=None):
    W = random.standard_normal((rank or n, n)) * np.exp(random.standard_normal(n))
    return W.T @ W


def slow_discs(G, q):
    """The definition, entry by entry."""
    n = len(G)
    radii = [sum(abs(G[i, j]) * q[j] / q[i] for j in range(n) if j != i) for i in range(n)]
    return np.diag(G).real, np.array(radii)


def inside(values, centers, radii, scale):
    return (np.abs(values[:, None] - centers) <= radii + 1e-9 * scale).any(1).all()


@pytest.mark.parametrize(("n", "random"), CASES)
def test_every_eigenvalue_lies_in_a_disc_for_every_q(n, random):
    for rank in (n, max(1, n - 1)):  # also singular
        G = gram(n, random, rank)
        for _ in range(20):
            q = np.exp(2 * random.standard_normal(n))
            found = lessons.discs(G, q)
            centers, radii = slow_discs(G, q)
            assert np.allclose(found.centers, centers) and np.allclose(found.radii, radii)
            assert inside(found.eigenvalues, centers, radii, found.right)
            assert found.eigenvalues[-1] <= found.right * (1 + 1e-12)
            moved = np.linalg.eigvals(G * q / q[:, None])  # the crosses stay where they are
            assert np.allclose(np.sort(moved.real), found.eigenvalues, atol=1e-6 * found.right)


@pytest.mark.parametrize(("n", "random"), CASES)
def test_aol_touches_zero_and_sll_touches_zero_for_its_q(n, random):
    G = gram(n, random)
    aol = lessons.discs(G, np.ones(n), lessons.rule("AOL", G, np.ones(n)))
    assert np.abs(aol.centers - aol.radii).max() <= 1e-12 * aol.right
    assert aol.eigenvalues[0] >= -1e-12 * aol.right
    q = np.exp(random.standard_normal(n))
    t = lessons.rule("SLL", G, q)
    assert np.allclose(lessons.discs(G, q).centers + lessons.discs(G, q).radii, t), "the right edges are t"
    sll = lessons.discs(G, q, t)
    assert np.abs(sll.centers - sll.radii).max() <= 1e-12 * sll.right
    assert np.allclose(t, (np.abs(G) * q).sum(1) / q)


@pytest.mark.parametrize(("n", "random"), CASES)
def test_perron_brings_the_edges_together_where_no_other_q_comes(n, random):
    G = gram(n, random)
    rho = np.abs(np.linalg.eigvals(np.abs(G))).max()
    best = lessons.discs(G, lessons.best_q(G))
    assert np.allclose(best.centers + best.radii, rho, rtol=1e-5) and np.isclose(lessons.best_edge(G), rho)
    q = np.exp(2 * random.standard_normal((1000, n)))
    edges = (q @ np.abs(G) / q).max(1)  # of the definition, a thousand at once
    assert edges[0] == pytest.approx(lessons.discs(G, q[0]).right) and edges.min() >= rho * (1 - 1e-12)
    e = np.array(lessons.exponents(lessons.best_q(G)))
    if np.abs(e).max() < 2.99:  # the sliders reach it
        assert lessons.discs(G, 2.0**e).right <= 1.003 * rho


def test_exponents_drop_a_common_factor_to_stay_within_reach():
    assert lessons.exponents(np.array([2.0**4, 2.0**0])) == [2.0, -2.0]
    assert lessons.exponents(np.array([2.0**9, 2.0**0])) == [3.0, -3.0]
    assert lessons.exponents(np.array([2.0**4, 1.0, 1.0])) == [2.0, -2.0, -2.0], "the middle of the ends, not the mean"
    assert lessons.exponents(np.array([2.0, 1.0])) == [1.0, 0.0]


@pytest.mark.parametrize(("n", "random"), CASES)
def test_discs_of_a_spectral_t_cross_zero_though_no_eigenvalue_does(n, random):
    G = gram(n, random)
    found = lessons.discs(G, np.ones(n), lessons.rule("spectral", G, np.ones(n)))
    assert abs(found.eigenvalues[0]) <= 1e-12 * found.right
    crosses = found.left < -1e-9 * found.right
    assert crosses == (lessons.discs(G).right > (1 + 1e-9) * np.linalg.eigvalsh(G)[-1])
    assert crosses, "a random matrix is no eigenvector's friend"


def test_the_example_of_the_page_shows_both_gaps():
    G = lessons.example_gram()
    found = [lessons.discs(G).right, lessons.best_edge(G), np.linalg.eigvalsh(G)[-1]]
    assert found == pytest.approx([21.13, 16.235, 14.3365], abs=1e-3)


@pytest.mark.parametrize("text", ["", "1 2", "1 2 x", "1 2 -3", "1 2 nan", "1 2 inf", "1 2 1e14"])
def test_a_diagonal_that_is_none(text):
    with pytest.raises(ValueError, match="T "):
        lessons.diagonal_from_text(text, 3)
    assert lessons.diagonal_from_text("1, 2; 3.5", 3).tolist() == [1, 2, 3.5]


SPECIAL = ["0 0; 0 0", "1 0; 0 1", "1 1; 1 1", "1e6 -1e6; 1e6 1e6", "1e-6 1e6; 1 1", "1e-300 0; 0 1e-300"]


@pytest.mark.parametrize("text", SPECIAL)
@pytest.mark.parametrize("rule", [None, "AOL", "SLL", "spectral"])
def test_matrices_at_the_limits_have_finite_pictures(text, rule):
    W = lessons.from_text(text)
    G, q = W.T @ W, np.array([8.0, 0.125])
    t = lessons.rule(rule, G, q) if rule else None
    found = lessons.discs(G, q, t)
    assert all(np.isfinite(x).all() for x in (found.centers, found.radii, found.eigenvalues, lessons.best_q(G)))
    assert lessons.exponents(lessons.best_q(G)) and "nan" not in lessons_words.told(G, q, t)
    assert all("nan" not in value for _, value, _ in lessons_words.numbers(G, q, t))
    assert "nan" not in lessons.csv(found, q)


def ran(code):
    """What a piece of code prints and leaves behind, its picture caught before it is written."""
    space, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code.replace('figure.write_html("discs.html", config={"showSendToCloud": False})', ""), space)
    return space, printed.getvalue()


@pytest.mark.parametrize("t", [None, "AOL", "SLL", "spectral", np.array([30.0, 20.0, 25.0])])
def test_the_code_of_the_example_draws_what_the_page_shows(t):
    W, e = lessons.example(3, 4), [0.5, -1.25, 0.0]
    G, q = W.T @ W, lessons.powers(e)
    shown = lessons.discs(G, q, lessons.rule(t, G, q) if isinstance(t, str) else t)
    code = lessons_words.code(W, e, t)
    space, printed = ran(code)
    assert np.allclose(space["centers"], shown.centers) and np.allclose(space["radii"], shown.radii)
    assert np.allclose(space["eigenvalues"], shown.eigenvalues) and len(space["figure"].data) == 4
    assert "eigenvalues from" in printed and 10 <= len(code.strip().splitlines()) <= 24


def test_the_csv_holds_all_digits():
    W = lessons.example(4, 9)
    found = lessons.discs(W.T @ W)
    header, *rows = lessons.csv(found, np.ones(4)).strip().split("\n")
    values = np.array([[float(x) for x in row.split(",")] for row in rows])
    assert header == "disc,q,centre,radius,eigenvalue"
    assert (values[:, 2] == found.centers).all() and (values[:, 4] == found.eigenvalues).all()
    assert [row["disc"] for row in lessons.table(found, np.ones(4))] == [1, 2, 3, 4]


# over the training

RECIPE = Recipe(epochs=4, batch=64, held_out=0.2)


@pytest.fixture(scope="module")
def sll(tmp_path_factory):
    folder = tmp_path_factory.mktemp("discs") / "moons-sll"
    return train(folder, "moons", spec=Spec("sll", "mlp", (2,), 2, 10), recipe=RECIPE, device="cpu", show=False)


def test_a_run_keeps_its_discs_and_the_last_frame_is_now(sll):
    for index in range(2):
        frames, now = grams.frames(sll.folder, index), grams.layer(sll.folder, index)
        assert frames.epoch.tolist() == [0, 1, 2, 3, 4] and frames.points == [0, 25, 50, 75, 100]
        assert [frames.at(point) for point in (0, 24, 25, 99, 100)] == [0, 0, 1, 3, None]
        found = lessons.discs(now.G, now.q)
        assert np.allclose(frames.centers[-1], found.centers, rtol=1e-5)
        assert np.allclose(frames.right[-1], found.centers + found.radii, rtol=1e-5)
        assert np.allclose(frames.left[-1], now.t - found.centers - found.radii, atol=1e-6 * found.right)
        assert np.abs(frames.left).max() <= 1e-6 * found.right, "SLL: every disc of T - G touches zero"
        assert np.allclose(frames.eigenvalues[-1], found.eigenvalues, atol=1e-5 * found.right)
        assert frames.slack[-1] == pytest.approx(np.linalg.eigvalsh(np.diag(now.t) - now.G)[0], abs=1e-4 * found.right)
        assert frames.right.dtype == frames.centers.dtype == frames.eigenvalues.dtype == np.float32
        assert not np.allclose(frames.right[0], frames.right[-1])
        for frame in range(4):
            assert f"epoch {frames.epoch[frame]} " in lessons_words.told(now.G, now.q, None, frames, frame)
            for t in (None, now.t):
                assert len(lessons_words.numbers(now.G, now.q, t, frames, frame)) == 2
    assert grams.frames(sll.folder, 9) is None
    assert (sll.folder / "spectra.npz").stat().st_size < 20_000


def test_of_many_discs_those_that_reach_furthest_are_kept():
    torch.manual_seed(1)
    layer = torch.nn.Sequential(lipviz.dense("aol", 130, 130)).double()
    torch.nn.init.normal_(layer[0].weight)
    kept = grams.snapshot(layer)
    found = lessons.discs(grams.gram(layer[0]).G)
    right = found.centers + found.radii
    assert kept["0.disc.number"].shape == kept["0.disc.right"].shape == (grams.STORED,)
    assert kept["0.disc.right"].min() >= np.float32(np.sort(right)[-grams.STORED]) * (1 - 1e-6)
    assert np.allclose(right[kept["0.disc.number"]], kept["0.disc.right"], rtol=1e-6)
    values = kept["0.disc.eigenvalues"]
    assert len(values) == grams.CROSSES and np.allclose(values[[0, -1]], found.eigenvalues[[0, -1]], rtol=1e-5)


@pytest.mark.parametrize("row", ["aol", "sll", "cayley", "soc", "aoc", "lot", "sandwich", "plain", "spectral", "sr"])
def test_the_smallest_grid_gives_the_matrix_of_frequency_zero(row):
    layer = torch.nn.Sequential(lipviz.conv2d(row, 4, 4, 3)).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    small, whole = grams.gram(layer[0]), grams.gram(layer[0], 0, grams.GRID)
    assert np.allclose(small.G, whole.G, atol=1e-9) and np.abs(small.G.imag).max() < 1e-9
    assert grams.snapshot(layer)["0.disc.right"].shape == (4,)


def stopped_at(epoch):
    def after(trainer):
        if trainer.epoch == epoch:
            raise KeyboardInterrupt

    return after


def test_resume_keeps_the_discs(sll, tmp_path):
    """A resumed run ends with the frames of the run without a stop."""
    from lipviz.data import load

    data = load("moons")
    with pytest.raises(KeyboardInterrupt):
        Trainer(tmp_path, sll.spec, RECIPE, data, "cpu", "moons").run(False, stopped_at(2))
    assert grams.frames(tmp_path, 0).epoch.tolist() == [0, 1, 2]
    resumed = train(tmp_path, "moons", device="cpu", resume=True, show=False)
    assert set(resumed.spectra) == set(sll.spectra)
    assert all(np.array_equal(resumed.spectra[k], sll.spectra[k]) for k in sll.spectra)


def without_discs(folder):
    """Make the run one of an older version."""
    kept = {k: v for k, v in runs.load(folder).spectra.items() if ".disc." not in k}
    np.savez_compressed(folder / "spectra.npz", **kept)


def test_an_older_run_loads_resumes_and_has_no_frames(sll, tmp_path):
    from lipviz.data import load

    with pytest.raises(KeyboardInterrupt):
        Trainer(tmp_path, sll.spec, RECIPE, load("moons"), "cpu", "moons").run(False, stopped_at(2))
    without_discs(tmp_path)
    assert grams.frames(tmp_path, 0) is None
    resumed = train(tmp_path, "moons", device="cpu", resume=True, show=False)
    assert resumed.spectra["epoch"].tolist() == [0, 1, 2, 3, 4] and grams.frames(tmp_path, 0) is None
    assert set(resumed.spectra) == {k for k in sll.spectra if ".disc." not in k}, "the rest is kept"


def test_broken_frames_are_a_sentence(sll, tmp_path):
    import shutil

    shutil.copytree(sll.folder, tmp_path / "run")
    stored = dict(runs.load(tmp_path / "run").spectra)
    name = next(k for k in stored if k.endswith(".disc.right"))
    np.savez_compressed(tmp_path / "run" / "spectra.npz", **(stored | {name: stored[name][:, :3]}))
    with pytest.raises(runs.RunError, match="do not fit together"):
        grams.frames(tmp_path / "run", 0)


def test_the_code_of_a_layer_draws_what_the_page_shows(sll):
    now = grams.layer(sll.folder, 1)
    for scaling, q in lessons.scalings(now).items():
        for slack in (False, True):
            space, _ = ran(lessons_words.layer_code(str(sll.folder), 1, 0, scaling, slack))
            shown = lessons.discs(now.G, q, now.t if slack else None)
            assert np.allclose(space["centers"] - space["radii"], shown.centers - shown.radii)
            assert np.allclose(space["eigenvalues"], shown.eigenvalues)


# what the picture sends

GOOD = {"q": [1.0, -2.0], "w": [[1.0, 2.0], [3.0, 4.0]], "t": [5.0, 6.0]}
BAD = [None, 3, "x", [], {"q": "12"}, {"q": [1]}, {"q": [1, float("nan")]}, {"q": [[1], [2]]}, {"q": [1, 2] * 500},
       {"w": [[1, 2]]}, {"w": [[1, 2], 3]}, {"w": [[1, 2], [3, None]]}, {"w": {"0": [1, 2]}}, {"w": [[1, True], [1]]},
       {"t": [1]}, {"t": [1, "2"]}, {"t": [[1], 2]}, {"point": 3}, {"point": "now"}, {"q": {"length": 2}}]  # fmt: skip


def received(monkeypatch, message, n=2, rows=2):
    state = {ui_discs.KEY: {"moved": message}}
    monkeypatch.setattr(st, "session_state", state)
    ui_discs._moved(n, rows)
    return {k: v for k, v in state.items() if k != ui_discs.KEY}


def test_what_was_dragged_becomes_the_state_of_the_page(monkeypatch):
    found = received(monkeypatch, GOOD)
    assert found == {"gd_q1": 1.0, "gd_q2": -2.0, "gd_w": "1 2; 3 4", "gd_t": "5 6", "gd_rule": "own"}
    assert received(monkeypatch, {"q": [1e308, -9]}) == {"gd_q1": 3.0, "gd_q2": -3.0}, "within reach"
    assert received(monkeypatch, {"w": [[1e308, 0], [0, 0]]}) == {"gd_w": "1e+06 0; 0 0"}
    assert received(monkeypatch, {"point": 25}, rows=0) == {"gd_point": 25}


@pytest.mark.parametrize("message", BAD, ids=range(len(BAD)))
def test_messages_made_up_by_hand_change_nothing(monkeypatch, message):
    assert received(monkeypatch, message) == {}
