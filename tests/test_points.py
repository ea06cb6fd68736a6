"""Points in the plane: what is drawn, what a table says, and what a browser may send."""

import math

import numpy as np
import pytest

from lipviz.points import MOST, NAMES, Points, from_csv, from_message, sample, to_csv

GOOD = {"x": [[0.5, -1], [0.25, 1]], "y": [0, 1], "classes": 2}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_sample_is_centred_balanced_and_reproducible(name, classes):
    points = sample(name, classes, 301, 0.0, 1)
    assert points.x.shape == (301, 2) and points.classes == classes
    assert set(np.bincount(points.y).tolist()) <= {301 // classes, 301 // classes + 1}
    low, high = points.x.min(0), points.x.max(0)
    assert (np.abs(points.x) <= 1.8).all() and (np.abs(low + high) < 0.5).all() and (high - low > 1).all()
    assert np.array_equal(points.x, sample(name, classes, 301, 0.0, 1).x)
    assert not np.array_equal(points.x, sample(name, classes, 301, 0.0, 2).x)


@pytest.mark.parametrize("name", ["moons", "circles", "spirals"])  # blobs are Gaussians, which have no edge
@pytest.mark.parametrize("classes", [2, 3])
def test_without_noise_the_classes_lie_apart(name, classes):
    points = sample(name, classes, 600, 0.0)
    across = np.linalg.norm(points.x[:, None] - points.x[None], axis=2)[points.y[:, None] != points.y[None]]
    assert across.min() > 0.12


def test_noise_is_the_standard_deviation():
    still, shaken = (sample("circles", n=5000, noise=noise).x for noise in (0.0, 0.3))
    assert np.std(shaken - still) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(
    "change,words",
    [
        ({"name": "stars"}, "one of moons"),
        ({"classes": 4}, "classes must be .* 2 to 3, got 4"),
        ({"n": True}, "n must"),
        ({"n": 0}, "n must"),
        ({"n": MOST + 1}, "n must"),
        ({"noise": math.nan}, "noise"),
        ({"noise": -0.1}, "noise"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_sample_that_cannot_be_drawn_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        sample(**{"name": "moons", **change})


def array(rows):
    return np.array(rows, dtype=float)


@pytest.mark.parametrize(
    "x,y,classes,words",
    [
        (array([]).reshape(0, 2), np.zeros(0, int), 2, "1 to 10000 points, got 0"),
        (np.zeros((MOST + 1, 2)), np.zeros(MOST + 1, int), 2, "got 10001"),
        (array([[0, math.nan]]), np.zeros(1, int), 2, "from -10 to 10"),
        (array([[0, math.inf]]), np.zeros(1, int), 2, "from -10 to 10"),
        (array([[0, 10.1]]), np.zeros(1, int), 2, "from -10 to 10"),
        (array([[0, 1, 2]]), np.zeros(1, int), 2, "shape"),
        (array([[0, 1]]), np.zeros(2, int), 2, "shape"),
        (array([[0, 1]]), np.array([2]), 2, "labels must be 0 to 1, got 2"),
        (array([[0, 1]]), np.array([-1]), 3, "labels must be 0 to 2"),
        (array([[0, 1]]), np.array([0.5]), 2, "whole"),
        (array([[0, 1]]), np.array([0]), 1, "classes must be 2 or 3, got 1"),
    ],
)
def test_points_that_are_none_are_refused(x, y, classes, words):
    with pytest.raises(ValueError, match=words):
        Points(x, y, classes)


def test_points_do_not_change_with_the_array_they_came_from():
    x, y = array([[0, 1]]), np.array([1], dtype=np.int32)
    points = Points(x, y, 2)
    x[:] = 5
    assert points.x.tolist() == [[0, 1]] and points.y.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        points.x[0, 0] = 1


@pytest.mark.parametrize(
    "text",
    [
        "0.5,1,cat\n-1,0,ant\n0,0,cat",
        "x,y,label\n0.5,1,cat\n-1,0,ant\n\n0,0,cat\n",
        "\ufefflabel;X;y\r\ncat;0,5;1\r\nant;-1;0\r\ncat;0;0",
        'a\tb\tc\n0.5\t1\t"cat"\n-1\t0\tant\n0\t0\t cat ',
        "0,5;1;cat\n-1;0;ant\n0;0;cat",
    ],
)
def test_tables_of_every_kind_are_read(text):
    points = from_csv(text)
    assert points.x.tolist() == [[0.5, 1], [-1, 0], [0, 0]]
    assert points.y.tolist() == [1, 0, 1] and points.classes == 2


def test_numeric_labels_are_sorted_as_numbers():
    assert from_csv("0,0,10\n0,1,9\n1,0,-1\n1,1,9.0").y.tolist() == [2, 1, 0, 1]
    assert from_csv("0,0,10\n0,1,9\n1,0,a").y.tolist() == [0, 1, 2]


def test_points_outside_are_scaled_with_one_factor():
    assert from_csv("100,10,a\n104,12,b").x.tolist() == [[-1, -0.5], [1, 0.5]]
    assert from_csv("7,7,a\n7,7,b").x.tolist() == [[0, 0], [0, 0]]
    assert from_csv("2,-2,a\n2,-1.9,b").x.tolist() == [[2, -2], [2, -1.9]]


@pytest.mark.parametrize(
    "text,words",
    [
        (" \n", "empty"),
        ("x,y,label\n", "got 0"),
        ("0,0,a\n\n1,2", "line 3 must have 3 columns, x, y and label, got 2: '1,2'"),
        ("0,0,a\n1,q,b", "line 2: y must be a number .* 'q'"),
        ("0,0,a\nnan,0,b", "line 2: x"),
        ("nan,nan,a\n0,0,b", "line 1: x"),
        ("q,0,a\n0,0,b", "line 1: x"),  # a slip, and no line of names
        ("inf,0,a", "line 1: x"),
        ("0,1e300,a", "line 1: y"),
        ("0,0,a\n0,0,", "line 2 has no label"),
        ("0,0,a\n0,0,b\n0,0,c\n0,0,a\n0,0,d", "line 5: 'd' is a fourth label"),
        ('0,0,"a\n1,1,b', "line 1 cannot be read"),
        ("0,0,a\n" * (MOST + 1), "got 10001"),
        ("0,0,a\n" * (MOST + 2), "got 10002 lines"),
    ],
)
def test_a_broken_table_is_told_with_its_line(text, words):
    with pytest.raises(ValueError, match=words):
        from_csv(text)


def test_a_table_keeps_every_digit():
    points = sample("spirals", 3)
    again = from_csv(to_csv(points))
    assert np.array_equal(points.x, again.x) and np.array_equal(points.y, again.y) and again.classes == 3


def test_a_message_is_read():
    points = from_message(GOOD)
    assert points is not None and points.x.tolist() == GOOD["x"] and points.y.tolist() == [0, 1]
    assert from_message({**GOOD, "y": [0.0, 2.0], "classes": 3}).y.tolist() == [0, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"x": None}, {"x": "ab"}, {"x": [[0, 1]]}, {"x": [[0, 1], [0]]}, {"x": [[0, 1], [0, "1"]]},
        {"x": [[0, 1], [0, math.nan]]}, {"x": [[0, 1], [0, math.inf]]}, {"x": [[0, 1], [0, 11]]},
        {"x": [[0, 1], [0, 10**400]]}, {"x": [[0, 1], [0, True]]}, {"x": [[0, 1], [0, [1]]]}, {"x": {"0": [0, 1]}},
        {"x": [], "y": []}, {"x": [[0, 0]] * (MOST + 1), "y": [0] * (MOST + 1)}, {"x": [[0, 1], None]},
        {"y": [0, 2]}, {"y": [0, -1]}, {"y": [0, 0.5]}, {"y": [0, math.nan]}, {"y": [0, math.inf]}, {"y": [0, 10**40]},
        {"y": [0, 1e300]}, {"y": [0, "1"]}, {"y": [0, None]}, {"y": 1}, {"y": [0, True]},
        {"classes": 1}, {"classes": 4}, {"classes": "2"}, {"classes": None}, {"classes": True}, {"classes": 2.5},
        {"classes": math.nan}, {"classes": [2]},
    ],
)  # fmt: skip
def test_a_message_made_up_by_hand_is_none(change):
    assert from_message({**GOOD, **change}) is None


@pytest.mark.parametrize("message", [None, 3, "x", [], [GOOD], {}, {"x": []}, math.nan, {1: 2}, b"{}", object()])
def test_what_is_no_message_is_none(message):
    assert from_message(message) is None
