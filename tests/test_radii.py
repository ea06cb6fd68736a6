"""Counts of certificates against slow references, and test images by their index: the right ones or none."""

import gzip
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from folders import VALUES, little, run_of
from shipped import CHECKPOINTS, NAMES

from lipviz import data, downloads, gallery, radii, runs
from lipviz.images import fit, open_picture
from lipviz.runs import Attacks, Certificates


def made(n=60, classes=3, seed=0):
    """Certificates with ties, zeros, radii on the grid, an infinite one, and labels that are no class."""
    rng = np.random.default_rng(seed)
    radius = rng.choice([0.0, 36 / 255, 40 / 255, 1020 / 255, 5.0, math.inf, *rng.random(20)], n)
    label, prediction = rng.integers(0, classes + 1, n), rng.integers(0, classes, n)
    return Certificates(rng.permutation(n), label, prediction, np.ones(n), radius)


def test_counts_are_those_of_a_slow_reference():
    found = made()
    got = radii.curves(found, 3)
    right = [a == b for a, b in zip(found.label, found.prediction, strict=True)]
    for k in (0, 1, 35, 36, 37, 39, 40, 255, 1019, 1020):
        kept = [ok and r > k / 255 for ok, r in zip(right, found.radius, strict=True)]
        assert got.kept[k] == sum(kept) == round(found.accuracy(k / 255) * got.n)
        for c in range(3):
            assert got.class_kept[c, k] == sum(ok for ok, label in zip(kept, found.label, strict=True) if label == c)
    assert (got.n, got.right, got.largest) == (60, sum(right), max(r for r in found.radius[right] if r < math.inf))
    assert [*got.class_n] == [np.sum(found.label == c) for c in range(3)]
    assert [*got.class_right] == [np.sum((found.label == c) & right) for c in range(3)]
    for bins, chosen in ((got.histogram, found.radius[right]), (got.wrong, found.radius[~np.array(right)])):
        assert len(bins) * radii.BIN == radii.REACH
        for i, count in enumerate(bins):
            low, high = radii.BIN * i / 255, radii.BIN * (i + 1) / 255 if i + 1 < len(bins) else math.inf
            assert count == sum((r > low or (i == 0 and r == 0)) and r <= high + 1e-12 for r in chosen), i


@pytest.mark.parametrize("name", NAMES[:1] + NAMES[-1:])
def test_certified_truth_attacked(name):
    run = runs.load(CHECKPOINTS / name)
    found, attacks = run.certificates, run.attacks
    both = radii.sandwich(found, attacks)
    right = found.correct[attacks.index]  # shipped certificates are in order
    distance = np.min([*attacks.distance.values()], axis=0)
    for k in (0, 36, 108, 400):
        assert both.stands[k] == sum(right & (distance > k / 255))
        assert both.kept[k] == sum(right & (found.radius[attacks.index] > k / 255))
    assert (both.kept <= both.stands).all() and both.inside == 0 and both.right == right.sum()
    assert both.n == len(attacks.index) and (found.index[both.row] == attacks.index).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_attacks_measure_stays_below_what_is_proved(name):
    run = runs.load(CHECKPOINTS / name)
    found, both = run.certificates, radii.sandwich(run.certificates, run.attacks)
    steep = [found.margin[row] / math.sqrt(2) / d for row, d in zip(both.row, both.distance, strict=True)]
    low = radii.measured(found, both)
    assert 0.98 * max(steep) < low < max(steep), "a little below, for pixels of float32"
    assert low <= run.config["results"]["bound"]
    assert low * math.sqrt(2) <= radii.constants(found)[1], "two rows of the last layer are nearer than sqrt(2) L"


def test_a_measurement_needs_a_break_of_a_margin():
    found = made()
    for factor, margin, expected in ((math.inf, 1.0, None), (2.0, 0.0, None), (2.0, 3.0, 3 / math.sqrt(8))):
        found = replace(found, radius=np.ones(60), margin=np.full(60, margin))
        both = radii.sandwich(found, attacked(found, np.array([7, 3]), factor))
        assert radii.measured(found, both) == (expected and pytest.approx(expected, rel=1e-5)), (factor, margin)


def test_the_constant_used_is_margin_over_radius():
    found = made()
    finite = [r for r in found.radius if 0 < r < math.inf]
    assert radii.constants(found) == (1 / max(finite), 1 / min(finite))
    assert radii.constants(replace(found, radius=np.where(found.radius < 1, 0.0, math.inf))) is None
    assert radii.constants(replace(found, radius=np.full(60, 1e-323))) is None, "beyond the largest number"


def attacked(found, rows, factor=2.0):
    return Attacks(found.index[rows], found.radius[rows], {"DDN": factor * found.radius[rows]}, {})


def test_attacks_find_their_images_in_any_order_and_those_of_another_training_are_refused():
    found, rows = made(), np.array([7, 3, 50])
    assert [*radii.sandwich(found, attacked(found, rows)).row] == [7, 3, 50]
    finite = np.flatnonzero(np.isfinite(found.radius) & (found.radius > 0))[:4]
    assert radii.sandwich(found, attacked(found, finite, 0.5)).inside == 4
    other = attacked(found, finite)
    with pytest.raises(ValueError, match="not of one training"):
        radii.sandwich(found, Attacks(other.index, other.radius * 1.1, other.distance, {}))
    with pytest.raises(ValueError, match="not of one training"):
        radii.sandwich(found, Attacks(other.index + 1000, other.radius, other.distance, {}))
    last = found.radius[[np.argmax(found.index)]]  # a stranger with the radius of the image it would be taken for
    with pytest.raises(ValueError, match="not of one training"):
        radii.sandwich(found, Attacks(np.array([1000]), last, {"DDN": last}, {}))


def test_the_axis_ends_where_little_is_left():
    found = made()
    curves = radii.curves(Certificates(*(getattr(found, k) for k in ("index", "label", "prediction", "margin")),
                                       np.full(60, 0.5)), 3)  # fmt: skip
    assert radii.end([curves], None) == 132 and radii.end([curves], None, 700) == 716
    assert radii.end([radii.curves(found, 3)], None) == radii.REACH, "an infinite radius"


def test_galleries_are_those_of_a_sorted_list():
    found = made(200)
    right = sorted((r, i) for i, r in enumerate(found.radius) if found.correct[i])
    certified, missed = radii.just(found, 36 / 255, 5)
    assert [*certified] == [i for r, i in right if r > 36 / 255][:5]
    assert [*missed] == [i for r, i in right if r <= 36 / 255][-5:][::-1]
    assert not len(radii.just(found, math.inf, 5)[0]) and not len(radii.just(found, -1.0, 5)[1])
    for wanted in (True, False):
        rows = radii.within(found, 36 / 255, 5.0, wanted)
        assert {*rows} == {i for i in range(200) if found.correct[i] == wanted and 36 / 255 < found.radius[i] <= 5}
        assert (np.diff(found.radius[rows]) >= 0).all()


def test_confusion_counts_every_input_of_a_class_once():
    found = made(300)
    table = radii.confusion(found, 3, 36 / 255)
    for c in range(3):
        for j in range(3):
            assert table[c, j] == sum((found.label == c) & (found.prediction == j) & (found.radius > 36 / 255))
        assert table[c].sum() == sum(found.label == c)


# images by their index


def value(found, i):
    pixels = found.pixels(i)
    assert pixels.shape == (1, 28, 28) and pixels.min() == pixels.max()
    return int(pixels[0, 0, 0])


def test_images_come_from_lipviz_data_or_from_where_the_run_was_trained(tmp_path, monkeypatch):
    folder = little(tmp_path, "little")
    monkeypatch.setenv("LIPVIZ_DATA", str(tmp_path))
    run = run_of(tmp_path)
    found = gallery.find(run, run.certificates)
    assert [value(found, i) for i in range(8)] == VALUES and "LIPVIZ_DATA" in found.origin
    monkeypatch.delenv("LIPVIZ_DATA")
    with pytest.raises(ValueError, match="no images of little at hand"):
        gallery.find(run, run.certificates)
    shutil.make_archive(tmp_path / "packed", "zip", folder)
    for name, source in (("a", folder), ("b", tmp_path / "packed.zip")):
        run = run_of(tmp_path, name, data__source=str(source))
        assert [value(gallery.find(run, run.certificates), i) for i in (0, 5)] == [0, 110]
        with pytest.raises(ValueError, match="sent by a visitor"):
            gallery.find(run, run.certificates, hidden=tmp_path)


def test_a_test_set_that_was_split_off_is_found_again(tmp_path, monkeypatch):
    folder = little(tmp_path, "whole", count=8, part=".")
    loaded = data.load(folder, (1, 28, 28), seed=3)
    run = run_of(tmp_path, n=len(loaded.y_test), data__source=str(folder), recipe__seed=3)
    expected = [int(x[0, 0, 0]) for x in loaded.x_test]
    assert [value(gallery.find(run, run.certificates), i) for i in range(len(expected))] == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda test: (test / "class0" / "0.png").unlink(), "it has 7 test images, the run 8"),
        (lambda test: (test / "class1" / "0.png").rename(test / "class0" / "9.png"), "another order"),
        (lambda test: [shutil.copytree(p / "class1", p / "other") for p in (test, test.parent / "train")], "classes"),
        (lambda test: shutil.rmtree(test / "class1"), "only in train"),
    ],
)
def test_images_that_are_not_those_of_the_run_are_refused(tmp_path, monkeypatch, change, words):
    change(little(tmp_path, "little") / "test")
    monkeypatch.setenv("LIPVIZ_DATA", str(tmp_path))
    run = run_of(tmp_path)
    with pytest.raises(ValueError, match=words):
        gallery.find(run, run.certificates)


def test_an_image_that_training_skipped_is_skipped_again(tmp_path, monkeypatch):
    (little(tmp_path, "little") / "test" / "class0" / "00.png").write_bytes(b"broken")
    loaded = data.load(tmp_path / "little")
    monkeypatch.setenv("LIPVIZ_DATA", str(tmp_path))
    run = run_of(tmp_path, data__notes=list(loaded.notes))
    found = gallery.find(run, run.certificates)
    assert len(loaded.y_test) == 8 and [value(found, i) for i in range(8)] == VALUES


def test_a_download_is_used_where_it_is_kept_already(tmp_path, monkeypatch):
    monkeypatch.setenv("LIPVIZ_CACHE", str(tmp_path))
    monkeypatch.delenv("LIPVIZ_DATA", raising=False)
    run = run_of(tmp_path, data__name="mnist", data__source="mnist", data__classes=list("0123456789"))
    with pytest.raises(ValueError, match="fetch them with"):
        gallery.find(run, run.certificates)
    (tmp_path / "mnist").mkdir()
    x = np.repeat(np.array(VALUES, np.uint8), 28 * 28)
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.uint8)
    for file in downloads.SOURCES["mnist"].files:
        sides, content = ((8, 28, 28), x) if "images" in file else ((8,), y)
        head = bytes([0, 0, 8, len(sides)]) + np.array(sides, ">i4").tobytes()
        (tmp_path / "mnist" / file).write_bytes(gzip.compress(head + content.tobytes()))
    found = gallery.find(run, run.certificates)
    assert [value(found, i) for i in range(8)] == VALUES and "download" in found.origin
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz").write_bytes(b"cut off")
    with pytest.raises(ValueError, match="damaged"):
        gallery.find(run, run.certificates)


@pytest.mark.parametrize("name", [NAMES[0], NAMES[-1]])
def test_real_images_by_their_index(image_data, name):
    run = runs.load(CHECKPOINTS / name)
    root = image_data / run.config["data"]["name"] / "test"
    files = sorted(path.relative_to(root).as_posix() for path in root.glob("*/*"))
    found = gallery.find(run, run.certificates)
    for i in (0, 1234, 9999):
        expected = fit(open_picture(root / files[i]), run.spec.input_shape)[0]
        assert np.array_equal(found.pixels(i), expected)
        assert files[i].split("/")[0] == run.classes[run.certificates.label[i]]


def test_digits_come_with_scikit_learn(tiny_run):
    found = gallery.find(tiny_run, tiny_run.certificates)
    digits = data.digits(tiny_run.config["recipe"]["seed"])
    assert np.array_equal(found.pixels(17), digits.x_test[17].numpy())


def test_images_of_another_copy_are_refused(image_data, tmp_path):
    """Right classes, number and labels, but upside down or a little brighter."""
    run = runs.load(CHECKPOINTS / NAMES[0])
    assert not gallery._answered(run, run.certificates, gallery.find(run, run.certificates).pixels)
    pixels = gallery.find(run, run.certificates).pixels
    assert gallery._answered(run, run.certificates, lambda i: pixels(i)[:, ::-1].copy())
    assert gallery._answered(run, run.certificates, lambda i: np.minimum(pixels(i), 252) + np.uint8(3))
    (tmp_path / NAMES[0]).mkdir()
    for file in ("run.json", "certificates.csv"):
        shutil.copy(run.folder / file, tmp_path / NAMES[0] / file)
    bare = runs.load(tmp_path / NAMES[0])
    assert not gallery._answered(bare, run.certificates, pixels), "no weights, no answers to compare"


def test_an_image_that_cannot_be_opened_leaves_the_other_places(tmp_path, monkeypatch):
    """It is asked for an answer; the next place has it."""
    source = little(tmp_path, "little")
    run = run_of(tmp_path, data__source=str(source))
    shutil.copytree(source, tmp_path / "data" / "little")
    monkeypatch.setenv("LIPVIZ_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(gallery, "_answered", lambda run, found, pixels: "" * pixels(0).size)
    (source / "test" / "class0" / "0.png").write_bytes(b"broken")
    found = gallery.find(run, run.certificates)
    assert "LIPVIZ_DATA" in found.origin and value(found, 0) == 0


def test_other_answers_are_a_reason_to_refuse(tmp_path, monkeypatch):
    little(tmp_path, "little")
    monkeypatch.setenv("LIPVIZ_DATA", str(tmp_path))
    monkeypatch.setattr(gallery, "_answered", lambda *_: "its pixels are others")
    run = run_of(tmp_path)
    with pytest.raises(ValueError, match="does not fit little: its pixels are others"):
        gallery.find(run, run.certificates)


def test_a_download_is_brought_into_the_order_of_class_folders(tmp_path, monkeypatch):
    """The publishers mix the classes, the folders of a training do not."""
    monkeypatch.delenv("LIPVIZ_DATA", raising=False)
    mixed = [100, 0, 110, 10, 120, 20, 130, 30]
    x = np.broadcast_to(np.array(mixed, np.uint8)[:, None, None, None], (8, 1, 28, 28))
    y = np.array([int(each >= 100) for each in mixed])
    monkeypatch.setattr(downloads, "kept", lambda name: tmp_path)
    monkeypatch.setattr(downloads, "test_part", lambda name: ((x, y), tuple("0123456789")))
    run = run_of(tmp_path, data__name="mnist", data__source="mnist", data__classes=list("0123456789"))
    found = gallery.find(run, run.certificates)
    assert [value(found, i) for i in range(8)] == VALUES and "sorted by class" in found.origin
