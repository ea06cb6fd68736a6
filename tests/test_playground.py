"""The live network: what the browser is told about it is what the certificate says."""

import base64
import math
import pickle
import struct
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from lipviz.certify import Certifier
from lipviz.forms import FrozenResidual
from lipviz.isometries import Center, MaxMin
from lipviz.networks import fitting
from lipviz.ops import encode
from lipviz.playground import (
    LIMITS,
    Session,
    Setup,
    build,
    evaluate,
    gradient_norm,
    nearest_break,
    ops,
    probe,
    radii,
    tightness,
)
from lipviz.points import Points, sample
from lipviz.squarewave import Scaled

ROWS = fitting("mlp")
CONSTRAINED = [row for row in ROWS if row != "plain"]
SPIRALS = sample("spirals", 3, 200, 0.05)
HALFPLANE = [{"op": "affine", "rows": 2, "cols": 2, "W": encode(np.diag([1.0, 0.0])), "b": encode(np.zeros(2))}]


@cache
def trained(row):
    """A session on three spirals, after 60 steps, and its frame."""
    session = Session(Setup(row, width=12, margin=0.1), SPIRALS)
    session.step(60)
    return session, session.frame()


def places():
    """Points to ask about: those trained on, and others all over and around them."""
    return np.concatenate([SPIRALS.x, np.random.default_rng(0).uniform(-3, 3, (200, 2))])


def by_hand(network, x):
    """The ops in plain Python, from their description: what the browser does."""
    for op in network:
        numbers = {k: struct.unpack(f"<{len(base64.b64decode(op[k])) // 8}d", base64.b64decode(op[k]))
                   for k in ("W", "V", "b") if k in op}  # fmt: skip
        n, m, b = op.get("rows", 0), op.get("cols", 0), numbers.get("b")
        if op["op"] == "affine":
            W = numbers["W"]
            x = [sum(W[i * m + j] * x[j] for j in range(m)) + b[i] for i in range(n)]
        elif op["op"] == "residual":
            V = numbers["V"]
            z = [max(0.0, sum(V[i * m + j] * x[i] for i in range(n)) + b[j]) for j in range(m)]
            x = [x[i] - 2 * sum(V[i * m + j] * z[j] for j in range(m)) for i in range(n)]
        elif op["op"] == "maxmin":
            half = len(x) // 2
            x = [max(x[k], x[k + half]) for k in range(half)] + [min(x[k], x[k + half]) for k in range(half)]
        else:
            x = [max(0.0, value) for value in x]
    return x


@pytest.mark.parametrize("row", ROWS)
def test_the_browser_gets_the_certified_network_and_its_radii(row):
    session, frame = trained(row)
    x = places()
    certificate = Certifier(session.model, (2,))(torch.tensor(x))
    s = evaluate(frame.ops, x)
    assert np.allclose(s, certificate.logits, rtol=1e-11, atol=1e-11)
    assert np.allclose(by_hand(frame.ops, list(x[3])), s[3], rtol=1e-11, atol=1e-11)
    r, proved = radii(frame.ops, x, frame.lipschitz), certificate.radius.numpy()
    assert np.allclose(r, proved, rtol=1e-6, atol=1e-9) and proved.max() > 0.05
    assert (r <= proved * (1 + 1e-9) + 1e-11).all()


@pytest.mark.parametrize("row", ROWS)
def test_a_frame_tells_of_the_weights_it_ships(row):
    session, frame = trained(row)
    r, label = radii(frame.ops, SPIRALS.x, frame.lipschitz), evaluate(frame.ops, SPIRALS.x).argmax(1)
    correct = label == SPIRALS.y
    assert frame.clean == correct.mean() and frame.certified == (correct & (r > 0)).mean()
    bound = Certifier(session.model, (2,)).bound
    assert frame.bound == bound.value and frame.lipschitz <= bound.value
    assert frame.step == 60 and frame.epoch == pytest.approx(60 * 64 / 200) and frame.evaluated == 200
    again = pickle.loads(pickle.dumps(frame))
    assert probe(again, SPIRALS.x[0]) == probe(session, SPIRALS.x[0])
    assert probe(again, SPIRALS.x[0])["radius"] == pytest.approx(r[0], abs=1e-9)


@pytest.mark.parametrize("row", ROWS)
def test_training_learns(row):
    session, frame = trained(row)
    start = Session(session.setup, SPIRALS).frame()
    assert frame.loss < 0.9 * start.loss and frame.clean > start.clean
    assert (frame.lipschitz <= 1 + 1e-9) == (row != "plain")


def test_the_loss_is_that_of_the_margin_in_the_unit_of_the_plane():
    setup = Setup("aol", width=4, margin=0.5, temperature=0.2)
    frame = Session(setup, SPIRALS).frame()
    s = evaluate(frame.ops, SPIRALS.x)
    rows = np.arange(len(s))
    s[rows, SPIRALS.y] -= math.sqrt(2) * 0.5
    softmax = np.exp(s / 0.2) / np.exp(s / 0.2).sum(1, keepdims=True)
    assert frame.loss == pytest.approx(-0.2 * np.log(softmax[rows, SPIRALS.y]).mean())


@pytest.mark.parametrize("row", ROWS)
def test_no_break_is_found_inside_a_certified_disc(row):
    _, frame = trained(row)
    x = places()[::40]
    r, found = radii(frame.ops, x, frame.lipschitz), [nearest_break(frame.ops, point) for point in x]
    assert any(found)
    for radius, point, broken in zip(r, x, found, strict=True):
        if broken:
            distance, where = broken
            labels = evaluate(frame.ops, [point, where]).argmax(1)
            assert distance >= radius * (1 - 1e-9) and labels[0] != labels[1]
            assert distance == pytest.approx(math.dist(point, where))


def test_discs_without_the_constant_are_false():
    session = Session(Setup("plain", width=12), SPIRALS)
    session.step(400)
    frame = session.frame()
    claimed = radii(frame.ops, SPIRALS.x[::10], 1)
    found = [nearest_break(frame.ops, point) for point in SPIRALS.x[::10]]
    assert sum(broken is not None and broken[0] < r for r, broken in zip(claimed, found, strict=True)) > 5


def test_the_nearest_break_of_a_half_plane_is_known():
    distance, where = nearest_break(HALFPLANE, [0.3, 5.0])
    assert distance == pytest.approx(0.3, rel=1e-6) and distance >= 0.3 and where == pytest.approx((0, 5), abs=1e-3)
    assert nearest_break(HALFPLANE, [0.3, 5.0], 0.299) is None
    assert nearest_break(HALFPLANE, [3.0, 5.0], 3.1) is not None, "in the last chunk of rings"
    c, s = math.cos(1), math.sin(1)  # turned, so that none of the 180 rays leads straight to the boundary
    turned = [{**HALFPLANE[0], "W": encode(np.array([[c, s], [0.0, 0.0]]))}]
    distance, where = nearest_break(turned, [0.3 * c - 5 * s, 0.3 * s + 5 * c])
    assert distance == pytest.approx(0.3, rel=1e-8) and where == pytest.approx((-5 * s, 5 * c), abs=1e-3)
    with pytest.raises(ValueError, match="two finite numbers"):
        nearest_break(HALFPLANE, [0.0, math.nan])


@pytest.mark.parametrize("row", ROWS)
def test_the_gradient_is_that_of_the_margin(row):
    session, frame = trained(row)
    x = torch.tensor(places(), requires_grad=True)
    certifier = Certifier(session.model, (2,))
    s, W = certifier.frozen(x), certifier.frozen[-1].weight
    norms = gradient_norm(frame.ops, x.detach().numpy(), frame.lipschitz)
    for i in range(0, len(x), 29):
        y = int(s[i].argmax())
        ratios = {j: (s[i, y] - s[i, j]) / (frame.lipschitz * (W[y] - W[j]).norm()) for j in range(3) if j != y}
        j = min(ratios, key=lambda k: float(ratios[k].detach()))
        (slope,) = torch.autograd.grad(ratios[j], x, retain_graph=True)
        assert norms[i] == pytest.approx(float(slope[i].norm()), rel=1e-9)
    assert (norms <= 1 + 1e-9).all()


def test_equal_rows_of_the_head_are_certified_without_end():
    same = [{**HALFPLANE[0], "W": encode(np.ones((2, 2))), "b": encode(np.array([1.0, 0.0]))}]
    assert radii(same, [[0, 0]], 1).tolist() == [math.inf] and gradient_norm(same, [[0, 0]]).tolist() == [0]
    tie = [{**HALFPLANE[0], "W": encode(np.ones((2, 2)))}]
    assert radii(tie, [[0, 0]], 1).tolist() == [0]


def test_the_layers_around_are_merged_and_the_head_is_left_alone():
    assert [(op["op"], op.get("rows"), op.get("cols")) for op in ops(build(Setup("sll"), SPIRALS))] == [
        ("affine", 64, 2), ("residual", 64, 64), ("maxmin", None, None), ("residual", 64, 64), ("maxmin", None, None),
        ("affine", 3, 64),
    ]  # fmt: skip
    assert [op["op"] for op in ops(build(Setup("aol", depth=1), SPIRALS))] == ["affine", "maxmin", "affine"]
    kinds = [op["op"] for op in ops(build(Setup("sandwich", depth=1), SPIRALS))]
    assert kinds == ["affine", "relu", "affine", "maxmin", "affine"]
    two = nn.Sequential(Center(torch.tensor([1.0, 2.0])), nn.Linear(2, 3), nn.Linear(3, 2))
    assert [op["rows"] for op in ops(two)] == [3, 2]
    x = torch.randn(5, 2)
    assert np.allclose(evaluate(ops(two), x.numpy()), two(x).detach(), atol=1e-5), "the mean is in the first"


class Louder(MaxMin):
    """A subclass may compute anything."""


@pytest.mark.parametrize("module", [nn.Tanh(), Louder(), nn.Conv1d(1, 1, 1)], ids=str)
def test_a_module_without_an_op_is_refused(module):
    with pytest.raises(ValueError):
        ops(nn.Sequential(nn.Linear(2, 2), module, nn.Linear(2, 2)))


def test_what_is_not_residual_is_refused():
    crooked = FrozenResidual(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))
    with pytest.raises(ValueError, match="no op"):
        ops(nn.Sequential(crooked, nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="must be affine"):
        evaluate([{"op": "softmax"}], [[0, 0]])
    with pytest.raises(ValueError, match="ends in an affine"):
        radii([{"op": "relu"}], [[0, 0]], 1)


def test_the_plain_twin_has_the_same_skeleton():
    twins = [[type(m).__name__ for m in build(Setup(row), SPIRALS)] for row in ("plain", "aol")]
    assert twins[0] == twins[1]


def test_the_same_seed_trains_the_same_network():
    def weights(steps, **changes):
        session = Session(Setup(**{"layer": "aol", "width": 8, **changes}), SPIRALS)
        for n in steps:
            session.step(n)
        return torch.cat([p.flatten() for p in session.model.parameters()]).detach()

    assert torch.equal(weights([30]), weights([10, 0, 20]))
    for change in ({"seed": 1}, {"rate": 0.02}, {"margin": 0.0}, {"temperature": 1.0}, {"batch": 20}):
        assert not torch.equal(weights([30]), weights([30], **change)), change
    assert not torch.equal(weights([]), weights([], seed=1)), "the weights"
    orders = [Session(Setup("aol", width=8, seed=seed), SPIRALS)._draw() for seed in (0, 1)]
    assert not torch.equal(*orders), "and the batches"


@pytest.mark.parametrize("poison", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("seen", [False, True], ids=["step", "frame"])
def test_a_training_that_diverges_keeps_its_last_good_weights(poison, seen):
    session = Session(Setup("plain", width=8), SPIRALS)
    session.step(50)
    good = session.frame()
    session.step(27)
    session.state = "running"
    with torch.no_grad():
        session.model[-1].weight.fill_(poison) if poison != 1e30 else session.model[3].weight.fill_(poison)
    if not seen:
        session.step(40)
    frame = session.frame()
    assert frame.state == "diverged" == session.state
    assert "weights of step 50" in frame.sentence and "Lower the rate" in frame.sentence
    if seen or poison != 1e30:
        assert "after step 77" in frame.sentence, "at once, not when weights are next copied"
    assert (frame.step, frame.loss, frame.bound, frame.ops) == (50, good.loss, good.bound, good.ops)
    session.step(10)
    assert session.frame().step == 50


def test_a_layer_that_cannot_be_inverted_is_a_divergence(monkeypatch):
    session = Session(Setup("cayley", width=8), SPIRALS)
    session.step(60)

    def singular(x):
        raise torch.linalg.LinAlgError("the matrix is singular")

    monkeypatch.setattr(session.model, "forward", singular)
    session.step(5)
    assert (session.state, session.steps) == ("diverged", 50)


@pytest.mark.parametrize("row", ["sll", "cayley", "plain"])
@pytest.mark.parametrize(
    "x,y",
    [([[0.0, 0.0]], [1]), ([[10.0, -10.0]] * 3, [0, 1, 2]), (np.random.rand(9, 2).tolist(), [2] * 9)],
    ids=["one point", "one place with all labels", "one class"],
)
def test_strange_points_can_be_trained_on(row, x, y):
    session = Session(Setup(row, width=8, batch=4), Points(np.array(x), np.array(y), 3))
    session.step(60)
    frame = session.frame()
    assert frame.state == "paused" and math.isfinite(frame.loss) and 0 <= frame.certified <= frame.clean <= 1
    assert frame.clean == pytest.approx(1 / 3 if len(set(y)) == 3 else 1)
    assert frame.epoch == pytest.approx(60 * min(4, len(y)) / len(y))


def test_points_can_be_replaced_while_training():
    session = Session(Setup("aol", width=8), SPIRALS)
    session.step(20)
    before, weights = session.frame(), [p.detach().clone() for p in session.model.parameters()]
    session.replace(sample("blobs", 3, 7))
    after = session.frame()
    assert after.step == 20 and after.ops == before.ops and after.evaluated == 7 and after.loss != before.loss
    session.step(5)
    assert session.steps == 25 and not torch.equal(next(session.model.parameters()), weights[0])
    session.replace(sample("moons", 2))
    assert session.frame().classes == 2 and session.steps == 0


def test_many_points_are_measured_on_an_even_share():
    session = Session(Setup("aol", width=4, depth=1), sample("moons", n=9000))
    assert session.frame().evaluated == 2000


def test_a_frame_is_measured_once():
    session = Session(Setup("aol", width=4, depth=1), SPIRALS)
    first = session.frame()
    session.state = "running"
    second = session.frame()
    assert second.ops is first.ops and (first.state, second.state) == ("paused", "running")
    session.step(1)
    assert session.frame().ops is not first.ops


@pytest.mark.parametrize(
    "change,words",
    [
        ({"layer": "soc"}, "layer must be one of .*plain, got 'soc'"),
        ({"layer": "x"}, "layer"),
        ({"mode": "sphere"}, "mode"),
        ({"width": 7}, "even"),
        ({"width": 2.0}, "whole"),
        ({"depth": True}, "whole"),
        ({"margin": math.nan}, "margin must lie"),
        ({"rate": 0}, "rate must lie"),
        *(({name: high + 2}, f"{name} must lie") for name, (_, high) in LIMITS.items()),
    ],
)
def test_a_setup_that_cannot_be_trained_is_refused(change, words):
    if change in ({"width": 2.0}, {"depth": True}):
        setup = Setup()
        for name, value in change.items():
            object.__setattr__(setup, name, value)
        with pytest.raises(ValueError, match=words):
            setup.__post_init__()
        return
    high = {k: int(v) if k in ("depth", "width", "batch", "seed") else v for k, v in change.items()
            if isinstance(v, int | float) and math.isfinite(v)}  # fmt: skip
    with pytest.raises(ValueError, match=words):
        Setup(**{**change, **high})


def test_a_classifier_needs_points():
    with pytest.raises(ValueError, match="needs points"):
        Session(Setup())


@pytest.mark.parametrize("x", [[1.0], [1, 2, 3], ["a", "b"], [math.nan, 0], [10**400, 0], "xy"], ids=str)
def test_only_a_point_can_be_probed(x):
    with pytest.raises(ValueError, match="two finite numbers"):
        probe(trained("aol")[1], x)


@pytest.mark.parametrize("row", ["aol", "sll", "cayley", "sandwich", "plain"])
def test_the_wave_is_fitted_within_its_bound(row):
    session = Session(Setup(row, mode="wave", depth=2, width=16, gamma=5, batch=50))
    start = session.frame()
    session.step(80)
    frame, x = session.frame(), np.linspace(-2, 2, 401)[:, None]
    assert isinstance(session.model, Scaled) and frame.loss < 0.8 * start.loss
    y = evaluate(frame.ops, x)
    assert np.allclose(y, session.model.double()(torch.tensor(x)).detach(), atol=1e-4)
    assert (frame.bound <= 5 * (1 + 1e-9)) == (row != "plain")
    slope = np.abs(np.diff(y[:, 0])).max() / 0.01
    assert 0.98 * slope / frame.bound <= frame.tightness <= 1 and frame.tightness > 0.1
    assert frame.clean is None and frame.certified is None
    with pytest.raises(ValueError, match="no classes"):
        probe(frame, [0, 0])


def test_tightness_of_a_known_slope():
    triple = [{"op": "affine", "rows": 1, "cols": 1, "W": encode(np.array([[3.0]])), "b": encode(np.zeros(1))}]
    assert tightness(triple, 4) == pytest.approx(0.75) and tightness([*triple, {"op": "relu"}], 4) == pytest.approx(
        0.75
    )
