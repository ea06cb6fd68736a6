"""No attack gets inside a certified radius; and a test that shows it would be seen."""

import sys
from copy import copy

import numpy as np
import pytest
import torch
from shipped import CHECKPOINTS, GROUPED, NAMES, certifier, run_and_images

from lipviz import runs
from lipviz.attacks import ELSEWHERE, Protocol, Search, _ddn, _fmn, attack, attack_run, report
from lipviz.certify import Certifier
from lipviz.cli import main


@pytest.mark.slow
@pytest.mark.parametrize("name", GROUPED)
def test_nothing_is_found_inside_a_certified_radius(name, image_data):
    """A sample; `lipviz attack` is the whole of it."""
    _, images, *_ = run_and_images(name, image_data, 4)
    found = attack(certifier(name), images)
    assert found.broken == 0
    assert np.isfinite(found.smallest).mean() > 0.9, "attacks that find nothing prove nothing"


@pytest.mark.slow
@pytest.mark.parametrize("name", [param for param in GROUPED if param.values[0].endswith("plain")])
def test_an_assumed_constant_of_one_is_broken_on_a_plain_network(name, image_data):
    _, images, *_ = run_and_images(name, image_data, 8)
    false = copy(certifier(name))
    false.body = 1.0
    assert attack(false, images, protocol=Protocol(50, 0)).broken > 0


def test_a_certificate_that_is_too_large_is_broken(tiny_run):
    """The attacks are strong enough to see a radius that promises more than half too much."""
    from lipviz import data

    certifier = Certifier(tiny_run.model, tiny_run.spec.input_shape)
    images = data.digits().x_test[::30]
    honest = attack(certifier, images, protocol=Protocol(60))
    assert honest.broken == 0
    certifier.body /= 1.6
    assert attack(certifier, images, protocol=Protocol(60)).broken > 0


def test_the_command_keeps_what_it_found(tiny_run):
    found = attack_run(tiny_run, "digits", images=5, protocol=Protocol(steps=10, restarts=1))
    with np.load(tiny_run.folder / "attacks.npz") as stored:
        assert set(stored) == {"index", "radius", "steps", "restarts", "seed", *found.distance}
        assert {"DDN", "DeepFool", "FMN", "Carlini-Wagner", ELSEWHERE} == set(found.distance)
        assert np.array_equal(stored["DDN"], found.distance["DDN"]) and len(stored["index"]) == 5
    assert "0 inside a certified radius" in report(found)


def test_restarts_depend_on_the_seed_only_and_help(tiny_run):
    from lipviz import data

    certifier = Certifier(tiny_run.model, tiny_run.spec.input_shape)
    images = data.digits().x_test[::30]
    one, same, other, more = (
        attack(certifier, images, protocol=Protocol(10, n, seed)).distance[ELSEWHERE]
        for n, seed in ((1, 0), (1, 0), (1, 1), (3, 0))
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert (more <= one).all() and (more < one).any() and np.isfinite(one).all()
    assert not np.isfinite(attack(certifier, images[:1], protocol=Protocol(10)).distance[ELSEWHERE]).any()


def test_fmn_stays_in_its_ball_and_ddn_goes_down_the_margin(tiny_run):
    """From a bad start both end near the best of all; DDN down the cross-entropy, as foolbox has it, does not."""
    from foolbox.attacks import DDNAttack

    from lipviz import data

    certifier = Certifier(tiny_run.model, tiny_run.spec.input_shape)
    x = data.digits().x_test[::30].double() / 255
    search = Search(certifier.frozen, x, certifier(x).label)
    best = torch.tensor(attack(certifier, x).smallest)
    start = search(DDNAttack(steps=60))
    assert (search.distance(start) / best).median() > 1.2
    assert (_fmn(search, start, best, 30, 0.05) / best).median() < 1.02
    assert (search.distance(_ddn(search, best, 30)) / best).median() < 1.05


@pytest.mark.parametrize("words", ["steps", "restarts", "seed"])
def test_a_protocol_that_tries_nothing_is_refused(words):
    with pytest.raises(ValueError, match=f"{words} must be a whole number of at least"):
        Protocol(**{words: -1})


def test_an_attack_outside_the_pixel_range_does_not_count():
    halfplane = torch.nn.Linear(1, 2, bias=False).double()
    halfplane.weight.data = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    x, label = torch.full((1, 1), 0.5, dtype=torch.float64), torch.tensor([0])
    search = Search(halfplane, x, label)
    for end, distance in ((-0.5, np.inf), (0.5, np.inf), (-0.0, np.inf), (1.5, np.inf)):
        ends = search(lambda model, x, y, epsilons, end=end: (torch.full_like(x, end), None, None))
        assert search.distance(ends).tolist() == [distance]


@pytest.mark.parametrize("name", NAMES)
def test_the_attacks_that_ship_stay_outside_the_radii(name):
    with np.load(CHECKPOINTS / name / "attacks.npz") as stored:
        found = np.min([stored[k] for k in ("DDN", "DeepFool", "FMN", "Carlini-Wagner", ELSEWHERE)], axis=0)
        assert len(found) == 500 and Protocol(*(int(stored[k]) for k in ("steps", "restarts", "seed"))) == Protocol()
        assert np.isfinite(found).mean() > 0.99, "attacks that find nothing prove nothing"
        assert (found >= stored["radius"]).all()


def test_the_command_attacks_as_many_images_as_before(tiny_run, monkeypatch):
    """A folder never loses evidence to a command without options."""
    found = attack_run(tiny_run, "digits", images=5, protocol=Protocol(steps=2, restarts=0))
    asked = []
    monkeypatch.setattr(sys.modules["lipviz.attacks"], "attack_run", lambda *given: asked.append(given[2]) or found)
    command = ["attack", str(tiny_run.folder), "--data", "digits"]
    assert main(command) == main([*command, "--images", "3"]) == 0
    monkeypatch.setattr(runs.Run, "attacks", None)
    assert main(command) == 0
    assert asked == [5, 3, 200], "as many as before, as many as said, and at first 200"
