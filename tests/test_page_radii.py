"""The page Certified radii: both sides of the truth, galleries of the right images or none, hostile messages."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import streamlit as st
from folders import VALUES, certificates, copied, little, run_of
from PIL import Image
from shipped import CHECKPOINTS

from lipviz import radii, radii_words, runs, ui, ui_radii, ui_radii_parts
from pages import opened, tables


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """No runs of this server, no images."""
    monkeypatch.setenv("LIPVIZ_RUNS", str(tmp_path / "none"))
    monkeypatch.setenv("LIPVIZ_CACHE", str(tmp_path / "none"))
    monkeypatch.delenv("LIPVIZ_DATA", raising=False)


@pytest.fixture
def only(monkeypatch, tmp_path):
    """No shipped runs: a folder to fill."""
    monkeypatch.setattr(ui, "CHECKPOINTS", tmp_path / "runs")
    return tmp_path


def data(at):
    """What the picture was given."""
    [found] = [json.loads(block.proto.json) for block in at.get("bidi_component") if '"kept"' in block.proto.json]
    return found


def images(at):
    """(index in the test set, pixel value) of every image of the page, in order."""
    pages = "".join(block.proto.body for block in at.get("html"))
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="Test input (\d+)', pages)
    return [(int(i), int(np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))[0, 0])) for png, i in found]


def words(at):
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error)
    return "\n".join(element.value for kind in kinds for element in kind).replace("\\", "")


def shown(run):
    found = run.certificates
    both = radii.sandwich(found, run.attacks) if run.attacks else None
    return ui_radii.Shown(run, found, radii.curves(found, len(run.classes)), both)


def test_it_opens_with_both_sides_of_the_truth():
    at = opened("radii", cr_eps="72")
    drawn, table = data(at), next(frame for frame in tables(at) if "clean %" in frame)
    names = [line["name"] for line in drawn["runs"]]
    assert names == list(table["run"]) and drawn["eps"] == 72 and (drawn["from"], drawn["to"]) == (72, 108)
    for line, row in zip(drawn["runs"], table.to_dict("records"), strict=True):
        found = runs.load(CHECKPOINTS / line["name"]).certificates
        assert line["kept"][72] == round(found.accuracy(72 / 255) * line["n"]) and line["n"] == len(found.radius)
        assert row["certified at eps %"] == pytest.approx(100 * found.accuracy(72 / 255), abs=0.06)
    one = runs.load(CHECKPOINTS / at.selectbox(key=f"cr_one_{at.pills(key='cr_data').value}").value)
    both = radii.sandwich(one.certificates, one.attacks)
    assert drawn["runs"][drawn["one"]]["name"] == one.name
    used, low = radii.constants(one.certificates), radii.measured(one.certificates, both)
    assert [float(end) for end in drawn["used"].split(" to ")] == pytest.approx(used, rel=0.01)
    assert low * 0.999 <= float(drawn["measured"]) <= low <= float(drawn["bound"])
    assert table["constant used"][drawn["one"]] == drawn["used"]
    assert drawn["sub"]["stands"] == both.stands[: drawn["top"] + 1].tolist() and drawn["sub"]["n"] == both.n
    said = words(at)
    assert "Norm l2, pixels in [0, 1]" in said and f"of {both.n:,} test inputs" in said and "72/255" in said
    assert "LIPVIZ_DATA" in said and not images(at), "no images are at hand"
    assert [*tables(at)[0]["input"]] == [*one.certificates.index[radii.just(one.certificates, 72 / 255, 6)[0]]]
    for i in range(3):
        at.button(key=f"cr_try{i}").click().run()
        assert not at.exception
    assert at.segmented_control(key="cr_who").value == "wrong" and data(at)["to"] == 1020


def test_galleries_show_the_right_images_and_follow_eps_and_range(only, monkeypatch):
    little(only, "little")
    monkeypatch.setenv("LIPVIZ_DATA", str(only))
    run_of(only)
    at = opened("radii", cr_eps="51", cr_from="0", cr_to="77")
    assert images(at) == [(i, VALUES[i]) for i in (3, 2, 1, 0, 1, 2, 3)], "above 0.2, up to 0.2, from 0 to 77/255"
    assert "3 right answers (37.5 % of the test inputs)" in words(at) and "checked against" in words(at)
    at.number_input(key="cr_eps").set_value(76)
    at.number_input(key="cr_to").set_value(1020)
    at.segmented_control(key="cr_who").set_value("wrong").run()
    assert images(at) == [(i, VALUES[i]) for i in (3, 2, 1, 0, 4, 5, 6, 7)]
    classes = next(frame for frame in tables(at) if "right %" in frame)
    assert [*classes["certified %"]] == [25.0, 0.0] and [*classes["right %"]] == [100.0, 0.0]
    confused = next(frame for frame in tables(at) if "not certified" in frame).astype(str).values.tolist()
    assert confused == [["class0", "1", "0", "3"], ["class1", "4", "0", "0"]]
    at.number_input(key="cr_from").set_value(1020).run()
    assert not at.exception and "The range is empty" in words(at)


def test_images_of_another_test_set_are_not_shown(only, monkeypatch):
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(little(only, "little") / "test" / "class1" / "x.png")
    monkeypatch.setenv("LIPVIZ_DATA", str(only))
    run_of(only)
    at = opened("radii")
    assert "9 test images, the run 8" in words(at) and str(only) not in words(at)
    assert not images(at) and data(at)["runs"]


def _stored(folder, factor=1.0, distance=2.0):
    found = runs.load(folder).certificates
    radius = factor * found.radius
    np.savez(folder / "attacks.npz", index=found.index, radius=radius, DDN=distance * found.radius, steps=7, seed=0)


@pytest.mark.parametrize(
    ("change", "said", "sides"),
    [
        (_stored, "Attacks: DDN (steps 7, seed 0)", True),
        (lambda folder: _stored(folder, distance=0.5), "inside a certified radius", True),
        (lambda folder: _stored(folder, factor=1.5), "not of one training", False),
        (lambda folder: (folder / "attacks.npz").unlink(), "has no attacks.npz", False),
    ],
)
def test_attacks_of_every_kind(only, change, said, sides):
    folder = copied(only / "runs", "a")
    change(folder)
    at = opened("radii")
    assert said in words(at) and bool(data(at)["sub"]) == sides == bool(data(at)["measured"])


def test_with_nothing_chosen_an_example_is_shown_and_called_one(only, monkeypatch):
    for name in ("a", "b"):
        copied(only / "runs", name)
    at = opened("radii")
    [menu] = at.multiselect
    assert [line["name"] for line in data(at)["runs"]] == menu.value and "Nothing is chosen" not in words(at)
    menu.set_value([]).run()
    assert not at.exception and "Nothing is chosen: an example that ships with lipviz, a." in words(at)
    assert [line["name"] for line in data(at)["runs"]] == ["a"]
    monkeypatch.setattr(ui, "CHECKPOINTS", only / "none")
    monkeypatch.setenv("LIPVIZ_RUNS", str(only / "runs"))
    at.run()
    assert "Nothing is chosen: an example, a." in words(at)


def test_radii_of_0_were_made_with_no_constant(only):
    folder = copied(only / "runs", "a")
    (folder / "attacks.npz").unlink()
    certificates(folder, [0.0, 0.0, 0.0], [True, True, False])
    assert data(opened("radii"))["used"] == ""
    certificates(folder, [0.0, 0.5, 0.25], [True, True, False])
    assert data(opened("radii"))["used"] == "2.00 to 4"


MADE_UP = [None, "x", {"eps": "9", "range": 3}, {"eps": [1], "range": [1]}, {"eps": True, "range": "12"}]


@pytest.mark.parametrize("message", [*MADE_UP, {"eps": float("nan"), "range": [1, None]}])
def test_messages_made_up_by_hand_are_refused(message, monkeypatch):
    state = {ui_radii.KEY: message}
    monkeypatch.setattr(st, "session_state", state)
    ui_radii.moved()
    ui_radii.brushed()
    assert list(state) == [ui_radii.KEY]


def test_what_was_let_go_is_written_to_the_widgets(monkeypatch):
    state = {ui_radii.KEY: {"eps": 1e9, "range": [300.2, -7]}}
    monkeypatch.setattr(st, "session_state", state)
    ui_radii.moved()
    ui_radii.brushed()
    assert (state["cr_eps"], state["cr_from"], state["cr_to"]) == (1020, 0, 300)


def test_the_words_follow_the_state():
    one, other = (shown(runs.load(CHECKPOINTS / f"cifar10-{name}")) for name in ("aol", "cayley"))
    pair = [one, other]
    wide = int((one.both.stands - one.both.kept).argmax())
    gap = one.both.stands[wide] - one.both.kept[wide]
    assert f"At {wide}/255, {gap} of {one.both.n} attacked images" in (said := radii_words.notice(pair, one, wide))
    assert "here the stripes are widest" in said
    assert f"widest at {wide}/255" in radii_words.notice(pair, one, wide + 1)
    assert "margin is 0" in radii_words.notice(pair, one, 0)
    assert "No answer of any run" in radii_words.notice(pair, one, 1000)
    same = replace(one, both=replace(one.both, stands=one.both.kept))
    assert "nothing is unknown" in radii_words.notice([same], same, 36)
    tiny = replace(one, curves=replace(one.curves, largest=0.5 / 255))
    assert "at this scale nothing of it is certified" in radii_words.notice([tiny], tiny, 36)


def test_data_of_the_page_as_csv():
    item = shown(runs.load(CHECKPOINTS / "mnist-aol"))
    lines = ui_radii.csv([item]).splitlines()
    assert len(lines) == 1 + len(item.found.radius)
    attacked = dict(zip(item.both.row, item.both.distance, strict=True))
    for i in (0, 1, 50):
        name, index, label, said, right, radius, far = lines[1 + i].split(",")
        assert (name, int(index), int(label), int(said)) == (
            "mnist-aol",
            i,
            item.found.label[i],
            item.found.prediction[i],
        )
        assert float(radius) == item.found.radius[i] and bool(int(right)) == item.found.correct[i]
        assert (float(far) if far else None) == attacked.get(i)
    rows = radii.within(item.found, 1.0, 1.1)
    lines = ui_radii_parts.range_csv(item, rows).splitlines()[1:]
    assert [int(line.split(",")[0]) for line in lines] == [*rows]
