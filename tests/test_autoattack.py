"""AutoAttack leaves at least what is certified, breaks a false certificate, and nothing it says is believed."""

import json
import sys
from copy import copy

import numpy as np
import pytest
import torch
from folders import copied
from shipped import certifier, run_and_images
from test_results import tables

from lipviz import data, results, runs
from lipviz.attacks import Search
from lipviz.autoattack import FILE, PARTS, Outcome, Plan, attack_run, checked, evaluate, read
from lipviz.certify import Certifier
from lipviz.cli import main


def of(name, image_data, **changes):
    """The outcome of a few steps on eight images of a shipped run, whose certifier may be changed."""
    _, images, label, _ = run_and_images(name, image_data, 8)
    changed = copy(certifier(name))
    for key, value in changes.items():
        setattr(changed, key, value)
    eps = float(changed(images).radius.median()) / 2
    return evaluate(changed, images, label, Plan(eps, steps=6, queries=30))


@pytest.fixture(scope="module")
def digits(tiny_run):
    """A certifier, ten test images and their labels."""
    loaded = data.digits()
    return Certifier(tiny_run.model, tiny_run.spec.input_shape), loaded.x_test[::36], loaded.y_test[::36]


@pytest.mark.slow
@pytest.mark.xdist_group("mnist-sll")  # shares its bound with other tests of it
def test_what_is_left_is_at_least_what_is_certified_and_a_false_certificate_is_broken(image_data):
    """A sample of a few steps; `lipviz attack --auto` is the whole of it."""
    pytest.importorskip("pyautoattack")
    found = of("mnist-sll", image_data)
    assert found.inside == 0 and found.left >= found.certified > 0
    found = of("mnist-plain", image_data, body=1.0)
    assert found.inside > 0 and found.left < found.certified


def test_the_package_leaves_nothing_behind_and_the_seed_decides(digits):
    pytest.importorskip("pyautoattack")
    state, trace, float32 = torch.get_rng_state(), sys.gettrace(), next(iter(digits[0].frozen.parameters())).dtype
    plan = Plan(eps=1.0, steps=6, queries=30)
    one, same = (evaluate(*digits, plan) for _ in range(2))
    assert one == same and one.broken > 0 and one.inside == 0 and one.left >= one.certified
    assert one.package.startswith("pyautoattack 0.") and one.images == len(digits[1])
    assert torch.equal(state, torch.get_rng_state()) and sys.gettrace() is trace
    assert next(iter(digits[0].frozen.parameters())).dtype is float32


@pytest.mark.parametrize("lie", [
    lambda x: x,  # the label is unchanged
    lambda x: x + 30 * (torch.arange(x[0].numel()).reshape(x[0].shape) % 2 - 0.5),  # outside [0, 1]
    lambda x: x * float("nan"),
    lambda x: 1 - x,  # another label, far outside the ball
], ids=["unchanged", "outside", "nan", "far"])  # fmt: skip
def test_a_package_that_lies_breaks_nothing(digits, lie):
    found = evaluate(*digits, Plan(eps=0.01), by=lambda model, x, label, plan: lie(x))
    assert (found.broken, found.inside) == (0, 0) and found.left == found.right > 0


def test_an_example_counts_from_its_distance_on(digits):
    """Those of DeepFool at a radius between their distances; one outside the ball is drawn back and measured anew."""
    from foolbox.attacks import L2DeepFoolAttack

    certifier, images, label = digits
    x = images.double() / 255
    right = certifier(x).label == label
    search = Search(certifier.frozen, x[right], label[right])
    ends = search(L2DeepFoolAttack(steps=30))
    near = search.distance(ends)
    eps = float(near.median()) + 1e-6
    found = evaluate(certifier, images, label, Plan(eps=eps), by=lambda model, x, label, plan: ends.float())
    assert found.broken >= int((near <= eps).sum()) > 0 and found.right == int(right.sum())
    hair = checked(certifier.frozen, x[right], ends, label[right], float(near[0]) * (1 + 1e-9))
    assert hair[0] == near[0] and (hair[near > 1.5 * near[0]] == np.inf).all()


@pytest.mark.parametrize("found,eps,distance", [
    (0.1, 1.0, 0.4), (0.1, 0.3, 0.3), (0.1, 0.15, np.inf), (-0.5, 1.0, np.inf), (0.5, 1.0, np.inf), (1.5, 1.0, np.inf)
])  # fmt: skip
def test_only_a_change_of_the_answer_within_the_ball_and_the_pixels_counts(found, eps, distance):
    step = torch.nn.Linear(1, 2).double()
    step.weight.data, step.bias.data = (torch.tensor(v).double() for v in ([[1.0], [-1.0]], [-0.3, 0.3]))
    x = torch.full((1, 1), 0.5, dtype=torch.float64)
    assert checked(step, x, torch.full((1, 1), found), torch.tensor([0]), eps).tolist() == pytest.approx([distance])


def test_no_right_answer_and_networks_it_cannot_attack(digits, tmp_path):
    certifier, images, label = digits
    wrong = (certifier(images).label + 1) % 10
    found = evaluate(certifier, images, wrong, by=lambda *_: pytest.fail("there is nothing to attack"))
    assert (found.right, found.left, found.broken) == (0, 0, 0)
    few = Certifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), (1, 8, 8))
    with pytest.raises(ValueError, match="four classes, got 3 classes"):
        evaluate(few, images, label)


def test_the_outcome_is_kept_and_stands_in_the_results(tmp_path):
    kept = Outcome(Plan(), "pyautoattack 0.2.0", 200, 110, 60, 30, 0, ("there are 3 points with zero gradient!",))
    other = Outcome(Plan(0.5, PARTS[:2], 20), "pyautoattack 0.2.0", 100, 50, 40, 20, 11)
    for name, outcome in (("a", kept), ("b", other), ("c", None), ("d", None)):
        folder = copied(tmp_path, name, "cifar10-aol", recipe__lr=0.001 * ord(name))
        (folder / FILE).unlink(missing_ok=True)
        if name == "c":
            (folder / FILE).write_text(json.dumps({"plan": {}, "images": 3}))
        if outcome:
            runs.write_json(folder / FILE, outcome.__dict__ | {"plan": outcome.plan.__dict__})
            assert read(runs.load(folder)) == outcome
    page = results.generate(tmp_path)
    first, second = [table for table in tables(page) if "inside a certified radius" in table[0]]
    assert first[0] == ["run", "test images", "clean", "certified at 36/255", "under AutoAttack at 36/255",
                        "inside a certified radius"]  # fmt: skip
    assert first[2:] == [["`a`", "200", "55.0", "30.0", "40.0 (33.5 to 46.9)", "0"]]
    assert (
        second[2:] == [["`b`", "100", "50.0", "40.0", "30.0 (21.9 to 39.6)", "11"]] and "certified at 0.5" in second[0]
    )
    assert "AutoAttack (standard; 100 steps, 5,000 queries, seed 0) at 36/255, l2, in [0, 1], by pyautoattack" in page
    assert "AutoAttack (not the standard protocol, only apgd-ce + apgd-t; 20 steps, seed 0) at 0.5" in page
    assert "**AutoAttack ended inside a certified radius, which is a bug: b.**" in page
    assert "No less is left" not in page, "less is left of b"
    assert "* c: autoattack.json: not a file of `lipviz attack --auto`: run it again" in page
    assert "* a: the package says: there are 3 points with zero gradient!" in page and str(tmp_path) not in page
    (tmp_path / "b" / FILE).unlink()
    assert "No less is left than is certified" in results.generate(tmp_path)
    for name in "ac":
        (tmp_path / name / FILE).unlink()
    assert "AutoAttack" not in results.generate(tmp_path)


def test_the_command_keeps_what_came_out(tiny_run, capsys, monkeypatch):
    import lipviz.autoattack

    monkeypatch.setattr(lipviz.autoattack, "_standard", lambda model, x, label, plan: x)
    monkeypatch.setattr(lipviz.autoattack, "_pyautoattack_version", lambda: "0.2.0")
    command = ["attack", str(tiny_run.folder), "--data", "digits", "--images", "20", "--auto"]
    assert main([*command, "--parts", "apgd-ce", "--eps", "18/255"]) == 0
    outcome = read(tiny_run)
    assert outcome.plan == Plan(18 / 255, ("apgd-ce",)) and outcome.images == 20 and outcome.broken == 0
    assert outcome.text() in capsys.readouterr().out and "0 inside a certified radius" in outcome.text()
    monkeypatch.setattr(lipviz.autoattack, "_standard", lambda model, x, label, plan: 1 - x)
    monkeypatch.setattr(lipviz.autoattack.Certifier, "radius", lambda self, s, e, label: torch.full((len(s),), 50.0))
    assert main([*command, "--eps", "20"]) == 1 and read(tiny_run).inside > 0
    (tiny_run.folder / FILE).unlink()


@pytest.mark.parametrize("arguments,words", [
    (["--eps", "0.1"], "add --auto"),
    (["--auto", "--eps", "large"], "36/255, got 'large'"),
    (["--auto", "--eps", "-1"], "eps must be a radius above 0"),
    (["--auto", "--parts", "square", "fab-t"], "in this order"),
    (["--auto", "--parts", "pgd"], "apgd-ce, apgd-t, fab-t, square"),
    (["--auto", "--restarts", "2"], "--restarts is of FMN"),
    (["--auto", "--steps", "0"], "steps must be a whole number"),
    (["--auto", "--images", "0"], "images must be at least 1"),
    (["--auto"], "pip install -e '.[attack]'"),
])  # fmt: skip
def test_mistakes_are_one_sentence(tiny_run, capsys, monkeypatch, arguments, words):
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    assert main(["attack", str(tiny_run.folder), "--data", "digits", *arguments]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


def test_the_run_folder_and_files_that_were_written_by_hand(tmp_path):
    assert attack_run.__doc__ and read(runs.load(copied(tmp_path, "none"))) is None
    run = runs.load(copied(tmp_path, "a"))
    good = Outcome(Plan(), "p", 10, 8, 4, 2, 0)
    for change in ({"right": 11}, {"broken": 9}, {"images": "10"}, {"inside": -1}, {"remarks": 3}, {"plan": []}):
        runs.write_json(run.folder / FILE, good.__dict__ | {"plan": good.plan.__dict__} | change)
        with pytest.raises(runs.RunError, match="run it again"):
            read(run)
