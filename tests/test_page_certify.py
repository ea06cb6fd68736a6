"""Certify an image: attempts that are kept, verdicts, noise of equal norm, several pictures at once, a false proof."""

import csv
import io
import re
import shutil
import sys
import tomllib
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import streamlit as st
from PIL import Image

from lipviz import figures, pictures, runs, samples, tries, ui, ui_pictures, ui_tries, ui_walks
from lipviz.cli import main
from lipviz.recipes import Recipe
from lipviz.train import train
from pages import charts, opened, tables


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits-plain"
    return train(folder, "digits", "plain", recipe=Recipe(epochs=1, batch=64, held_out=0.1), device="cpu", show=False)


@pytest.fixture
def folder(tmp_path, tiny_run, plain_run, monkeypatch):
    """A constrained and a plain run of digits, the only runs of the app."""
    monkeypatch.setattr(ui, "CHECKPOINTS", tmp_path / "none")
    monkeypatch.setenv("LIPVIZ_RUNS", str(tmp_path / "runs"))
    for run in (tiny_run, plain_run):
        shutil.copytree(run.folder, tmp_path / "runs" / run.folder.name)
    return tmp_path / "runs"


def words(at):
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error)
    return "\n".join(element.value for kind in kinds for element in kind).replace("\\", "")


def png(seed=0, size=(8, 8)):
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0]), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


def packed(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def sample(shape):
    return samples.load("Digit 3", shape)


def uploading(*files):
    at = opened("certify")
    at.segmented_control(key="ci_from").set_value("Upload").run()
    at.file_uploader(key="ci_file").set_value([(name, content, "") for name, content in files]).run()
    assert not at.exception
    return at


def test_it_opens_with_a_constrained_and_the_plain_network_and_says_where_each_falls(folder):
    at = opened("certify")
    assert at.multiselect(key="ci_runs").value == ["digits-aol", "digits-plain"]
    size = r"\*\*([\d.]+)\*\*"
    said = re.search(rf"digits-plain falls at size {size}, (.+?) than {size}, where digits-aol falls", words(at))
    assert said, words(at)
    plain, ratio, other = said.groups()
    if ratio == "later":
        assert float(plain) > float(other) and re.search(r"what is proven is [\d.]+ against [\d.]+\.", words(at))
    else:
        times = float(re.fullmatch(r"\*\*([\d.]+) times sooner\*\*", ratio)[1])
        assert times == pytest.approx(float(other) / float(plain), rel=0.02) and times >= 1


def test_what_no_search_has_broken_is_said_up_to_where_it_looked(folder, monkeypatch):
    """Clipping to [0, 1] keeps changes below the size that was asked for."""
    monkeypatch.setattr(ui_tries, "best", lambda answer: None)
    monkeypatch.setattr(ui_tries, "kept", lambda answer: tries.Tries())
    walk = SimpleNamespace(size=np.array([0.0, 1.5, 2.25]))
    monkeypatch.setattr(ui_pictures, "walk", lambda answer, way: walk)
    network = SimpleNamespace(name="net", spec=SimpleNamespace(layer="aol"))
    said = ui_tries.comparison([SimpleNamespace(run=network, radius=0.1)])
    assert said == "No search has broken net up to size 2.25."


def test_the_size_that_tells_the_networks_apart_is_a_press_away(folder, monkeypatch):
    monkeypatch.setattr(ui_tries, "telling", lambda answers: ui_pictures.STEPS.index(63))
    at = opened("certify", ci_way="random noise")
    at.button(key="ci_there").click().run()
    assert at.select_slider(key="ci_eps").value == 63
    assert at.segmented_control(key="ci_way").value == "nearest class"


def test_the_first_size_at_which_the_plain_network_is_broken_and_the_other_certified(folder, monkeypatch):
    answers = [ui_pictures.answer(runs.load(folder / name), sample) for name in ("digits-aol", "digits-plain")]
    count = len(ui_pictures.SIZES)
    sizes, holds = np.array(ui_pictures.SIZES), np.zeros(count, np.int64)
    falls = holds.copy()
    falls[8:] = 1
    fake = dict(pixels=np.zeros((count, 1, 8, 8)), size=sizes, margin=sizes)
    walks = {"aol": pictures.Walk(label=holds, **fake), "plain": pictures.Walk(label=falls, **fake)}
    monkeypatch.setattr(ui_pictures, "walk", lambda answer, way: walks[answer.run.spec.layer])
    for radius, step in ((sizes[8] + 1e-6, 8), (sizes[8], None), (9.0, 8), (0.0, None)):
        pair = [replace(answers[0], radius=radius), replace(answers[1], radius=0.001)]
        assert ui_tries.telling(pair) == step
    assert ui_tries.telling(answers[:1]) is None and ui_tries.telling([]) is None


def test_the_data_of_the_page_hold_walks_attempts_and_breaks(folder, monkeypatch):
    answer = ui_pictures.answer(runs.load(folder / "digits-aol"), sample)
    certifier = ui.certifier(answer.run)
    walk = pictures.walk(certifier, answer.pixels, "nearest class", ui_pictures.SIZES)
    found = tries.attempts(certifier, answer.pixels, 0, 4)
    monkeypatch.setattr(ui_walks, "kept", lambda answer: found)
    monkeypatch.setattr(ui_walks, "best", lambda answer: found.best)
    rows = list(csv.DictReader(io.StringIO(ui_walks.csv([answer], [walk]))))
    assert [row["found_by"] for row in rows[-5:]] == [
        "attempt 0",
        "attempt 1",
        "attempt 2",
        "attempt 3",
        "smallest break",
    ]
    assert len(rows) == len(walk.size) + 5 and float(rows[-1]["size"]) == found.best.size
    assert [float(row["margin"]) for row in rows[-5:-1]] == found.margin.tolist()


def test_attempts_are_counted_kept_and_drawn(folder):
    at = opened("certify", ci_eps="9/255")
    assert "No attempts yet" in words(at)
    at.button(key="ci_harder").click().run()
    assert not at.exception and "**0 of 10 attempts** got below the line" in words(at)
    at.button(key="ci_harder").click().run()
    assert "**0 of 20 attempts**" in words(at)
    at.select_slider(key="ci_eps").set_value(36).run()
    assert "**0 of 20 attempts**" in words(at), "a rerun loses nothing"
    at.segmented_control(key="ci_seen").set_value("digits-plain").run()
    assert "**0 of 20 attempts**" in words(at), "all networks are tried"
    before = len(at.get("html"))
    at.toggle(key="ci_break").set_value(True).run()
    assert not at.exception and len(at.get("html")) == before
    assert opened("certify", ci_break="true").toggle(key="ci_break").value, "in the address"
    at.pills(key="ci_sample").set_value("Digit 6").run()
    assert "No attempts yet" in words(at), "another picture"
    at.pills(key="ci_sample").set_value("Digit 3").run()
    assert "**0 of 20 attempts**" in words(at)
    assert not at.error


def test_attempts_belong_to_one_picture_and_one_state_of_one_network(folder):
    answer = ui_pictures.answer(runs.load(folder / "digits-aol"), sample)
    others = [
        replace(answer, pixels=answer.pixels ^ 1),
        replace(answer, margin=answer.margin + 1),
        replace(answer, run=runs.load(folder / "digits-plain")),
    ]
    assert len({ui_tries._name(a) for a in (answer, *others)}) == 4


def test_noise_of_the_same_size_stands_beside_the_change(folder):
    at = opened("certify")
    [body] = [block.proto.body for block in at.get("html") if "Difference" in block.proto.body]
    size = re.search(r"Changed by ([\d.]+): \w+", body).group(1)
    assert re.search(rf"Noise of size {re.escape(size)}: \w+", body)
    at.segmented_control(key="ci_way").set_value("random noise").run()
    [body] = [block.proto.body for block in at.get("html") if "Difference" in block.proto.body]
    assert "Noise of size" not in body, "it is the change itself"


def test_a_wrong_answer_to_a_sample_is_called_wrong(folder, monkeypatch):
    answer = ui_pictures.answer(runs.load(folder / "digits-aol"), partial(samples.load, "Digit 3"))
    assert answer.sample == "Digit 3"
    assert ui_pictures.mistake(replace(answer, label="3")) == ""
    assert ui_pictures.mistake(replace(answer, label="8")) == "Wrong: it is a 3"
    assert ui_pictures.mistake(replace(answer, sample="Coffee")) == "Wrong: no such class"
    assert ui_pictures.mistake(replace(answer, sample="Cat")) == "Wrong: no such class"
    assert ui_pictures.mistake(replace(answer, sample=None)) == "", "nobody said what it shows"
    at = opened("certify", ci_sample="Coffee")
    assert "Wrong: no such class" in words(at)


def test_the_certificate_of_each_network_is_a_file_that_verifies(folder, capsys):
    at = opened("certify")
    assert [button.label for button in at.get("download_button")].count("Certificate") == 2
    answer = ui_pictures.answer(runs.load(folder / "digits-plain"), sample)
    (folder / "it.json").write_text(ui_pictures._certificate(answer))
    assert main(["verify", str(folder / "it.json"), "--model", str(folder / "digits-plain")]) == 0
    assert main(["verify", str(folder / "it.json"), "--model", str(folder / "digits-aol")]) == 1


def test_longer_attempts_have_more_steps(folder, monkeypatch):
    asked, made = [], tries.attempts
    monkeypatch.setattr(tries, "attempts", lambda *given: asked.append(given[-1]) or made(*given))
    at = opened("certify", ci_steps="100")
    at.button(key="ci_harder").click().run()
    assert asked == [100, 100]
    answer = ui_pictures.answer(runs.load(folder / "digits-aol"), sample)
    short, long = (made(ui.certifier(answer.run), answer.pixels, 0, 4, steps) for steps in (2, 60))
    assert np.mean(long.size) < np.mean(short.size)


def test_other_networks_are_drawn_from_the_same_height(folder):
    fig = figures.margin_line([0, 0.5], [0.9, 0.3], 0.4, others=[("b", [0, 0.1, 0.2], [2.0, 0.0, -1.0])])
    [other] = [trace for trace in fig.data if trace.name == "b, from the same height"]
    assert list(other.y) == pytest.approx([0.9, 0.0, -0.45]) and list(other.customdata) == [2.0, 0.0, -1.0]
    assert fig.layout.yaxis.range[0] > -0.45, "the others do not set the scale"
    at = opened("certify")
    assert "digits-plain, from the same height" in [trace["name"] for trace in charts(at)[0]["data"]]
    at.segmented_control(key="ci_seen").set_value("digits-plain").run()
    assert "digits-aol, from the same height" in [trace["name"] for trace in charts(at)[0]["data"]]


def test_verdicts_in_every_state(folder):
    answer = ui_pictures.answer(runs.load(folder / "digits-aol"), sample)
    certifier = ui.certifier(answer.run)
    walk = pictures.walk(certifier, answer.pixels, "nearest class", ui_pictures.SIZES)
    badges = [ui_walks.verdict(answer, walk, step)[2] for step in range(len(walk.size))]
    assert badges[0] == "Unchanged" and badges[1] == "Certified"
    inside = walk.size < answer.radius
    assert all(badge == "Certified" for badge, i in list(zip(badges, inside, strict=True))[1:] if i)
    assert {"Holds, not proven", "Answer changed"} == set(badges[int(inside.sum()) :])
    walk.label[1] = (walk.label[0] + 1) % 10
    assert ui_walks.verdict(answer, walk, 1)[2] == "Must not be"
    assert "report" in ui_walks.verdict(answer, walk, 1)[3]


def test_a_point_below_the_line_is_shown_in_full_with_its_data(folder, monkeypatch):
    module = sys.modules["lipviz.certify"]  # the package has a function of that name
    product = module.product
    monkeypatch.setattr(module, "product", lambda values: product(values) / 50)  # a proof that is false
    at = opened("certify")
    at.button(key="ci_harder").click().run()
    assert not at.exception
    assert any("report this as a bug" in error.value and "below the line" in error.value for error in at.error)
    assert re.search(r"\*\*[1-9]\d* of 10 attempts\*\* got below the line", words(at))
    assert re.search(r"Size [\d.e-]+, margin -?[\d.e-]+, answer \w+; certified radius", words(at))
    answer = ui_pictures.answer(runs.load(folder / "digits-aol"), sample)
    certifier = ui.certifier(answer.run)
    points = tries.attempts(certifier, answer.pixels, 0, 4).below
    with np.load(io.BytesIO(ui_tries._evidence(answer, points))) as data:
        assert np.array_equal(data["changed"][0], points[0].pixels) and data["sizes"][0] == points[0].size


def test_several_files_with_a_broken_one_and_a_zip(folder):
    members = {f"deep/{i}.png": png(i) for i in range(4)} | {"deep/broken.png": b"x" * 99, "__MACOSX/._0.png": b"x"}
    at = uploading(("own.png", png(9, (20, 10))), ("more.zip", packed(members)))
    assert not at.error and any("broken.png" in warning.value.replace("\\", "") for warning in at.warning)
    table = next(frame for frame in tables(at) if "file" in frame)
    assert list(table["file"][:3]) == ["own.png", "own.png", "more.zip/deep/0.png"]
    assert set(table["network"]) == {"digits-aol", "digits-plain"} and len(table) == 10
    assert "Cut to the centred 10×10" in table["notes"][0]
    assert set(table["certified at 36/255"]) <= {"yes", "no"}
    assert re.search(r"digits-aol certifies \d of 5 pictures at 36/255", words(at))
    assert "1 could not be read" in words(at)
    which = next(box for box in at.selectbox if box.label.startswith("Shown here"))
    which.set_value(1).run()
    assert not at.exception and not at.error


def test_many_pictures_are_done_once_and_the_table_says_what_it_leaves_out(folder, monkeypatch):
    from lipviz import batch

    asked, certify = [], batch.certify
    monkeypatch.setattr(batch, "certify", lambda run, c, files: asked.append(len(files)) or certify(run, c, files))
    at = uploading(("many.zip", packed({f"{i}.png": png(i) for i in range(70)})))
    assert sum(asked) == 140
    assert len(next(frame for frame in tables(at) if "file" in frame)) == 100
    assert "first 100 of 140 lines; the CSV has all" in words(at)
    before = next(frame for frame in tables(at) if "file" in frame)
    assert "certified at 36/255" in before and "of 70 pictures at 36/255" in words(at)
    at.select_slider(key="ci_eps").set_value(1).run()
    assert sum(asked) == 140, "nothing is certified twice"
    now = next(frame for frame in tables(at) if "file" in frame)
    assert [*now["certified at 1/255"]] == [
        "yes" if r > 1 / 255 else "no" for r in now["certified radius"].astype(float)
    ]
    assert "of 70 pictures at 1/255" in words(at) and "36/255 (l2, pixels" not in words(at)


def test_stop_keeps_what_is_done_and_go_on_does_the_rest(folder, monkeypatch):
    from lipviz import batch

    asked, certify = [], batch.certify

    def interrupted(run, certifier, files):
        """The fifth portion is the second one of the second network: there a browser would send the press."""
        if len(asked) == 4:
            st.stop()
        asked.append(len(files))
        return certify(run, certifier, files)

    monkeypatch.setattr(batch, "certify", interrupted)
    at = uploading(("many.zip", packed({f"{i}.png": png(i) for i in range(70)})))
    at.button(key="ci_batch_Stop").click().run()
    assert not at.exception and asked == [32, 32, 6, 32]
    assert "first 100 of 102 lines; the CSV has all" in words(at)
    assert [bar.proto.text.replace("\\", "") for bar in at.get("progress")] == [
        "Stopped. Of 70 pictures: 32 with digits-plain."
    ]
    monkeypatch.setattr(batch, "certify", lambda run, c, files: asked.append(len(files)) or certify(run, c, files))
    at.button(key="ci_batch_Go on").click().run()
    assert not at.exception and asked == [32, 32, 6, 32, 32, 6] and "of 140 lines" in words(at)
    assert not at.get("progress") and not [button for button in at.button if button.label in ("Stop", "Go on")]


def test_the_uploader_says_what_it_takes_and_the_server_takes_it(folder):
    from lipviz import ui_batch

    config = tomllib.loads((Path(__file__).parents[1] / ".streamlit" / "config.toml").read_text())
    assert config["server"]["maxUploadSize"] == ui_batch.MEGABYTES == 200
    at = uploading()
    assert "A picture may have 8 MB, a zip 200 MB and 5,000 pictures." in words(at)
    assert at.file_uploader(key="ci_file").proto.max_upload_size_mb == ui_batch.MEGABYTES


@pytest.mark.parametrize("content", [b"", b"no zip", packed({}), packed({"a.txt": b"x"})])
def test_a_broken_zip_gives_a_sentence_and_the_sample_stays(folder, content):
    at = uploading(("odd_*.zip", content))
    assert len(at.error) == 1 and "odd\\_\\*\\.zip" in at.error[0].value
    assert "Until then, the sample" in words(at) and charts(at)


def test_side_by_side_is_a_pair_of_the_same_data(folder):
    found = [runs.load(path) for path in sorted(folder.iterdir())]
    assert ui_pictures.side_by_side(found) == ["digits-aol", "digits-plain"]
    assert ui_pictures.side_by_side(found[:1]) == ["digits-aol"]
    assert ui_pictures.side_by_side(found[1:]) == ["digits-plain"]
    best = [*found, replace(found[0], alias="digits-best")]
    assert ui_pictures.side_by_side(best) == ["digits-best", "digits-plain"]


@pytest.mark.parametrize("dark", [False, True])
def test_the_margin_figure_draws_the_proof_the_attempts_and_the_break(dark):
    proof, tried = ([0, 0.2, 0.4], [0.9, 0.5, 0.0]), ([0.5, 0.7], [-0.01, 0.1])
    fig = figures.margin_line([0, 0.5], [0.9, 0.3], 0.4, dark, "walk", 0.1, proof, tried, (0.5, -0.01))
    by_name = {trace.name: trace for trace in fig.data}
    assert list(by_name["certified: never below"].y) == proof[1]
    assert list(by_name["best point of each attempt"].x) == tried[0]
    assert list(by_name["smallest break found"].x) == [0.5]
    assert fig.layout.xaxis.range[1] > 0.7
