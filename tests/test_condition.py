"""The mathematics of the page on the condition: what it says in words, checked; and its few lines of Python."""

import numpy as np
import pytest
import torch
from cases import TWO

from lipviz import condition, condition_words, figures_condition, lessons, sdp

NO_NUMBER = ("nan", "inf", "NaN", "Infinity")


def hyperbola(G, t):
    """(t_1 - G_11) (t_2 - G_22) - G_12^2 for points t (..., 2): zero on the edge, where also t_1 >= G_11."""
    return (t[..., 0] - G[0, 0]) * (t[..., 1] - G[1, 1]) - G[0, 1] ** 2


def weights(n, count, seed=0, m=None):
    """Random weights with n columns of uneven lengths."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield random.standard_normal((m or n, n)) * np.exp(random.standard_normal(n))


def test_rules_are_those_of_the_library():
    for W in weights(5, 20):
        G, q = W.T @ W, np.exp(np.random.default_rng(1).standard_normal(5))
        tensor = torch.from_numpy(G)
        assert np.allclose(condition.aol(G), sdp.aol(tensor).numpy(), rtol=1e-14)
        assert np.allclose(condition.sll(G, q), sdp.sll(tensor, torch.from_numpy(q)).numpy(), rtol=1e-14)
        assert np.allclose(condition.sr(G), sdp.sr(tensor).numpy(), rtol=1e-12)
        assert np.allclose(condition.perron(G), sdp.perron(tensor.abs()).numpy(), rtol=1e-6)
        assert np.allclose(condition.cpl(G), np.linalg.norm(W, 2) ** 2, rtol=1e-12)
        assert condition.slack(G, q) == pytest.approx(sdp.slack(tensor, torch.from_numpy(q)), abs=1e-12)


def test_with_two_neurons_every_rule_stands_on_the_edge():
    random = np.random.default_rng(2)
    for W in weights(2, 300):
        G = W.T @ W
        for q in ([1.0, 1.0], [1.0, 2.0 ** random.uniform(-4, 4)]):
            for t in condition.rules(G, np.array(q)).values():
                assert abs(condition.slack(G, t)) <= 1e-9 * t.max()
                assert abs(hyperbola(G, t)) <= 1e-9 * t.max() ** 2
                assert condition.state(G, t) == "on the edge"


def test_the_edge_is_a_hyperbola():
    """On a grid: the smallest eigenvalue is not negative exactly if the point lies in the branch t1 >= G11."""
    for W in weights(2, 20, seed=3):
        G = W.T @ W
        top = 2 * condition.aol(G).max()
        for t in np.stack(np.meshgrid(*2 * [np.linspace(0, top, 41)]), -1).reshape(-1, 2):
            inside = hyperbola(G, t) >= 0 and t[0] >= G[0, 0]
            low = condition.slack(G, t)
            assert inside == (low >= 0) or abs(low) < 1e-9 * top


@pytest.mark.parametrize(("n", "share"), [(2, 1.0), (3, 0.69), (4, 0.33), (8, 0.0)])
def test_how_often_aol_stands_on_the_edge(n, share):
    """And it does exactly if the sign pattern is balanced; with other q too. CPL always does."""
    count, found = 600, 0
    for W in weights(n, count, seed=4):
        G = W.T @ W
        on = condition.state(G, condition.aol(G)) == "on the edge"
        found += on
        assert on == condition.balanced(G)
        q = np.exp(np.random.default_rng(found).standard_normal(n))
        assert (condition.slack(G, condition.sll(G, q)) <= 1e-9 * np.abs(G).max()) == on
        assert condition.state(G, condition.cpl(G)) == "on the edge"
    assert found / count == pytest.approx(share, abs=0.06)


def test_balanced_looks_at_every_connected_part():
    G = np.diag(np.full(5, 9.0))
    for i, j, g in ((0, 1, -1.0), (1, 2, 1.0), (0, 2, 1.0)):  # an unbalanced triangle
        G[i, j] = G[j, i] = g
    assert condition.balanced(G), "neurons 4 and 5 stand alone"
    G[3, 4] = G[4, 3] = -2.0
    assert condition.balanced(G), "a pair is balanced, whatever its sign"
    assert condition.state(G, condition.aol(G)) == "on the edge"
    assert not condition.balanced(G[:3, :3]) and condition.state(G[:3, :3], condition.aol(G[:3, :3])) == "holds"


def test_aol_has_the_smallest_trace_of_all_q():
    random = np.random.default_rng(5)
    for W in weights(6, 50):
        G = W.T @ W
        least = condition.aol(G).sum()
        for _ in range(20):
            assert condition.sll(G, np.exp(random.standard_normal(6))).sum() >= least * (1 - 1e-14)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_the_smallest_trace(n):
    """Never above a rule's; AOL's own where the signs are balanced; no feasible scaling of a random T goes below."""
    pytest.importorskip("clarabel")
    random = np.random.default_rng(6)
    for W in weights(n, 4, seed=n):
        G = W.T @ W
        t = condition.smallest(G)
        assert condition.slack(G, t) >= 0
        for rule in (*condition.rules(G).values(), condition.sr(G)):
            assert t.sum() <= rule.sum() * (1 + 1e-7)
        if condition.balanced(G):
            assert t.sum() == pytest.approx(condition.aol(G).sum(), rel=1e-6)
        for _ in range(20):
            assert t.sum() <= condition.to_edge(G, random.uniform(0, 2, n) * condition.aol(G)).sum() * (1 + 1e-7)


def test_to_the_edge_along_the_diagonal():
    for n in (2, 3, 8):
        for W in weights(n, 30, seed=n):
            G = W.T @ W
            t = np.random.default_rng(n).uniform(0, 3, n) * condition.aol(G)
            edge = condition.to_edge(G, t)
            assert condition.state(G, edge) == "on the edge" and np.allclose(np.diff(edge - t), 0, atol=1e-9 * t.max())
            assert condition.norm(W, edge) == pytest.approx(1, abs=1e-9)
            assert condition.state(G, edge * 1.001) == "holds" and condition.state(G, edge * 0.999) == "fails"


def test_the_norm_exceeds_one_exactly_where_the_condition_fails():
    for W in weights(4, 60, seed=7, m=6):
        G = W.T @ W
        t = np.random.default_rng(int(1e6 * abs(W[0, 0]))).uniform(0.3, 1.5, 4) * condition.aol(G)
        v, grown, allowed = condition.direction(W, t)
        assert np.linalg.norm(v) == pytest.approx(1) and allowed - grown == pytest.approx(condition.slack(G, t))
        assert (condition.norm(W, t) > 1) == (condition.state(G, t) == "fails") == (grown > allowed)
        # the residual layer: the norm of the worst of all pieces
        worst = 0.0
        for k in range(16):
            D = np.array([k >> i & 1 for i in range(4)])
            worst = max(worst, np.linalg.norm(np.eye(6) - 2 * W * (D / t) @ W.T, 2))
        assert float(condition.facts(W, t, "residual")[4][1]) == pytest.approx(worst, rel=1e-5)


def test_the_norm_where_columns_are_zero():
    W = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert condition.norm(W, np.array([2.0, 0.0])) == pytest.approx(1)
    assert condition.norm(W, np.array([0.0, 1.0])) == float("inf")
    assert condition.norm(0 * W, np.zeros(2)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_surface_is_the_edge(seed):
    W = next(weights(3, 1, seed=seed))
    G = W.T @ W
    reach = 1.3 * float((condition.aol(G) - np.diag(G)).max())
    t = np.stack(condition.surface(G, reach, 24, 8), -1)
    low = np.linalg.eigvalsh(t[..., None] * np.eye(3) - G)[..., 0]
    assert np.abs(low).max() < 1e-9 * t.max()
    assert np.allclose((t - np.diag(G)).max(-1)[:, -1], reach, rtol=1e-6), "its border lies on the sides of a cube"


@pytest.mark.parametrize("pairs", [[(0, 1)], [(0, 1), (1, 2)], [(0, 2), (0, 1), (1, 2)]])
def test_flipping_a_sign(pairs):
    for W in [condition.THREE, *weights(3, 30, seed=8)]:
        G = W.T @ W
        V = condition.flipped(W, pairs)
        signs = np.ones((3, 3))
        for i, j in pairs:
            signs[i, j] = signs[j, i] = -1
        change = V.T @ V - G * signs
        assert np.allclose(change, change[0, 0] * np.eye(3), atol=1e-9 * np.abs(G).max())
        assert change[0, 0] > -1e-9 * np.abs(G).max()
        if len(pairs) % 2:
            assert condition.balanced(V.T @ V) != condition.balanced(G)
    assert condition.flipped(W, []) is W


def test_the_example_of_three_loses_aol_with_any_sign():
    """And no diagonal has to be raised for it."""
    G = condition.THREE.T @ condition.THREE
    assert condition.state(G, condition.aol(G)) == "on the edge"
    for pair in condition.PAIRS.values():
        V = condition.flipped(condition.THREE, [pair])
        assert condition.slack(V.T @ V, condition.aol(V.T @ V)) > 0.3
        assert np.allclose(np.diag(V.T @ V), np.diag(G))


EXTREME = {
    "zero": np.zeros((2, 2)),
    "one column": np.array([[1.0, 0.0], [0.0, 0.0]]),
    "equal columns": np.array([[1.0, 1.0], [2.0, 2.0]]),
    "uneven": np.array([[1e-6, 1e6], [1.0, 1.0]]),
    "small": np.full((3, 2), 1e-150),
    "three": np.zeros((3, 3)),
    "wide": np.ones((1, 8)),
    "large": np.full((8, 8), 1e6),
}


@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 2.0])
def test_extreme_weights_give_words_and_finite_numbers(name, factor):
    W = EXTREME[name]
    G = W.T @ W
    rules = {**condition.rules(G), "SR(1)": condition.sr(G), "own T": factor * condition.aol(G)}
    t = rules["own T"]
    words = [condition_words.own(W, t), condition_words.many(G, rules)]
    words += [condition_words.two(W, t, form) for form in ("affine", "residual")] if len(G) == 2 else []
    words += [condition_words.three(G, rules)] if len(G) == 3 else []
    words += [str(condition.table(G, rules)), condition.csv(G, rules)]
    assert all(len(text) > 10 and not any(bad in text for bad in NO_NUMBER) for text in words)
    if factor >= 1:
        assert condition.state(G, t) != "fails" and condition.norm(W, t) <= 1 + 1e-6
    for dark in (False, True):
        figures_condition.bars(rules, dark)
        figures_condition.summary(rules, {rule: condition.slack(G, t) for rule, t in rules.items()}, dark)
        figures_condition.signed(np.linalg.eigvalsh(np.diag(t) - G), list("12345678")[: len(G)], "x", 1e-9, dark)


def test_the_words_follow_the_state():
    W, said = TWO, set()
    aol = condition.aol(W.T @ W)
    for factor, word in ((0.8, "pokes out"), (1.0, "touches"), (1.3, "inside")):
        text = condition_words.two(W, factor * aol, "affine")
        assert word in text
        said.add(text)
        assert {0.8: "Not feasible", 1.0: "on the edge", 1.3: "may shrink"}[factor] in condition_words.own(
            W, factor * aol
        )
    assert len(said) == 3
    assert "W = 0" in condition_words.two(np.zeros((2, 2)), aol, "affine")
    assert "orthogonal" in condition_words.two(np.diag([1.0, 2.0]), aol, "affine")


@pytest.mark.parametrize("W", [TWO, condition.THREE, lessons.example(8, 3)], ids=["2", "3", "8"])
@pytest.mark.parametrize("factor", [0.7, 1.0])
def test_the_code_runs_and_agrees(W, factor, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    t = factor * condition.aol(W.T @ W)
    code, names = condition.code(W, t), {}
    exec(code, names)
    assert 10 <= len(code.splitlines()) <= 24 and (tmp_path / "condition.html").exists()
    assert names["slack"]["own T"] == pytest.approx(condition.slack(W.T @ W, t), abs=1e-12)
    assert abs(names["slack"]["CPL, spectral"]) < 1e-9 * t.max() and "AOL" in capsys.readouterr().out
    if len(W) == 2:
        points = np.stack([names["right"], names["edge"]], -1)
        assert np.allclose(hyperbola(W.T @ W, points), 0, atol=1e-9)


def test_the_three_dimensional_figure():
    W = condition.flipped(condition.THREE, [(0, 1)])
    G = W.T @ W
    rules = condition.rules(G)
    inside = condition.slack(G, rules["AOL"])
    fig = figures_condition.region(condition.surface(G, 2.0, 12, 6), rules, inside)
    assert [trace.type for trace in fig.data] == ["surface"] + 4 * ["scatter3d"]
    way = np.array([[trace.x, trace.y, trace.z] for trace in fig.data if trace.name.startswith("AOL to")])[0]
    assert np.allclose(way[:, 0], rules["AOL"]) and abs(condition.slack(G, way[:, 1])) < 1e-9
    assert {note.text for note in fig.layout.scene.annotations} >= {"AOL", "CPL, spectral"}
    assert figures_condition.together({"AOL": np.ones(3), "SLL": np.ones(3)}) == {"AOL": "AOL = SLL", "SLL": ""}
    apart = {"AOL": np.array([1.0, 2.0, 3.0]), "SLL": np.array([1.0, 3.0, 2.0])}
    assert figures_condition.together(apart) == {"AOL": "AOL", "SLL": "SLL"}
