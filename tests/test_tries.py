"""Attempts: the floor is the proof, breaks are breaks, numbers can be made again, and what lies below is kept."""

import numpy as np
import pytest
import torch

from lipviz import pictures, samples, tries
from lipviz.certify import Certifier
from lipviz.images import fit


@pytest.fixture
def certified(tiny_run):
    return Certifier(tiny_run.model, tiny_run.spec.input_shape)


@pytest.fixture
def pixels():
    return fit(samples.load("Digit 3", (1, 8, 8)), (1, 8, 8))[0]


def test_the_floor_starts_at_the_margin_and_is_zero_at_the_radius(certified, pixels):
    target = tries.Target(certified, pixels)
    found = certified(torch.tensor(pixels)[None])
    radius, margin = float(found.radius), float(found.margin)
    floor = target.floor(torch.tensor([0.0, radius / 2, radius, 2 * radius], dtype=torch.float64)).numpy()
    assert floor[0] == pytest.approx(margin, abs=1e-10) and abs(floor[2]) < 1e-10 and floor[3] < 0
    # in the definition's own words, class by class
    s, W = found.logits[0], certified.head.weight
    y = int(found.label)
    slow = min(
        float(s[y] - s[j]) - certified.body * float((W[y] - W[j]).norm()) * radius / 2 for j in range(10) if j != y
    )
    assert floor[1] == pytest.approx(slow, abs=1e-10)


def test_attempts_break_the_answer_outside_the_radius_and_never_below_the_floor(certified, pixels):
    found = tries.attempts(certified, pixels, 0, 6)
    radius = float(certified(torch.tensor(pixels)[None]).radius)
    assert len(found.size) == len(found.margin) == len(found.under) == 6
    assert not found.under.any() and not found.below
    best = found.best
    assert best and radius <= best.size == found.size[found.margin <= 0].min()
    x = torch.tensor(best.pixels)[None]
    label = int(certified.frozen(x).argmax())
    assert label == best.label != tries.Target(certified, pixels).y
    assert best.pixels.min() >= 0 and best.pixels.max() <= 1
    assert best.size == pytest.approx(np.linalg.norm(best.pixels - pixels / 255))
    # the very first step back towards the picture holds: it was drawn back to the edge
    assert abs(best.margin) < 0.01 * float(certified(torch.tensor(pixels)[None]).margin)
    walk = pictures.walk(certified, pixels, "nearest class", [k / 255 for k in range(0, 766, 15)])
    by_walk = tries.walked(certified, pixels, walk.pixels)
    assert by_walk.best and best.size < 1.02 * by_walk.best.size <= 1.02 * walk.size[walk.label != walk.label[0]][0]


def test_a_break_is_drawn_back_to_where_it_begins(certified, pixels):
    target = tries.Target(certified, pixels)
    far = torch.tensor(pictures.walk(certified, pixels, "nearest class", [0.0, 2.0]).pixels[1:])
    [there], _ = target.check(far)
    near = target.shortened(far)
    [begins], _ = target.check(near)
    [before], _ = target.check(target.x + (near - target.x) * (1 - there.size / begins.size * 2.0**-12 * 1.01))
    assert begins.label != target.y == before.label and begins.size < there.size


def test_attempts_take_aim_at_all_classes_and_at_each(certified, pixels):
    target = tries.Target(certified, pixels)
    s = certified(torch.tensor(pixels)[None]).logits[0]
    order = [j for j in s.argsort(descending=True).tolist() if j != target.y]
    assert [target.aim(k) for k in (0, 2)] == [order, order]
    assert [target.aim(k) for k in range(1, 21, 2)] == [[j] for j in (*order, order[0])]


def test_a_point_below_the_line_counts_though_its_answer_is_the_same(certified, pixels):
    certified.body /= 50
    target = tries.Target(certified, pixels)
    walk = pictures.walk(certified, pixels, "nearest class", [0.0, 0.05])
    points, under = target.check(torch.tensor(walk.pixels))
    assert [point.label for point in points] == [target.y] * 2 and under.tolist() == [False, True]


def test_an_attempt_can_be_made_again_and_is_not_another(certified, pixels):
    once, alone = tries.attempts(certified, pixels, 0, 4), tries.attempts(certified, pixels, 2, 2)
    np.testing.assert_allclose(once.size[2:], alone.size, rtol=1e-9)
    assert len(set(once.size.round(9))) == 4
    both = tries.Tries() + once + alone
    assert len(both.size) == 6 and both.best.size == min(once.best.size, alone.best.size)


def test_a_proof_that_claims_too_much_is_found_out(certified, pixels):
    certified.body /= 50  # as if a layer had been forgotten: the radius is 50 times too large
    found = tries.attempts(certified, pixels, 0, 4)
    assert found.under.any() and found.below
    radius = float(certified(torch.tensor(pixels)[None]).radius)
    target = tries.Target(certified, pixels)
    for point in found.below:
        again, under = target.check(torch.tensor(point.pixels)[None])
        assert under[0] and again[0].size == pytest.approx(point.size)
        assert point.margin < target.floor(torch.tensor([point.size], dtype=torch.float64))[0]
    assert any(point.size < radius and point.label != target.y for point in found.below)
    walk = pictures.walk(certified, pixels, "nearest class", [0.0, 0.5, 1.0, 2.0])
    assert tries.walked(certified, pixels, walk.pixels).below


def test_a_flat_network_and_one_without_a_linear_end_are_tried_all_the_same():
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    torch.nn.init.zeros_(flat[1].weight)
    for model in (flat, torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2), torch.nn.ReLU())):
        found = tries.attempts(Certifier(model, (1, 2, 2)), np.full((1, 2, 2), 99, np.uint8), 0, 3)
        assert np.isfinite(found.size).all() and np.isfinite(found.margin).all() and not found.under.any()


@pytest.mark.parametrize("size", [0.0, 0.01, 0.5, 3.0])
def test_noise_of_equal_norm(size, pixels):
    x = pixels / 255
    noisy = pictures.equal_noise(x, size)
    assert np.linalg.norm(noisy - x) == pytest.approx(size, abs=1e-9)
    assert noisy.min() >= 0 and noisy.max() <= 1
    far = pictures.equal_noise(x, 1e9)
    assert far.min() >= 0 and far.max() <= 1 and np.linalg.norm(far - x) > 3
