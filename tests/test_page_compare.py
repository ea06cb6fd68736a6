"""The page Compare: one protocol a ranking, hostile addresses, missing files, the table and its exports, the job."""

import csv
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from select import select

import numpy as np
import pytest
import torch
from filelock import FileLock
from folders import HOSTILE, copied, hostile
from shipped import CHECKPOINTS

from lipviz import bench_job, certify, compare_words, gallery, runs, ui, ui_compare, ui_maps
from lipviz.layers import LAYERS
from lipviz.networks import Spec
from lipviz.protocols import groups
from lipviz.published import of
from lipviz.recipes import Recipe
from lipviz.standings import standings
from lipviz.train import train
from pages import opened, tables


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A folder for the runs of this server."""
    monkeypatch.setenv("LIPVIZ_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def only(monkeypatch, tmp_path):
    """No shipped runs: a folder to fill."""
    monkeypatch.setattr(ui, "CHECKPOINTS", tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def data(at, has="abouts"):
    """What the picture was given, or another that is given `has`."""
    found = [json.loads(block.proto.json) for block in at.get("bidi_component")]
    return next((given for given in found if has in given), None)


def shipped():
    return groups(runs.find(CHECKPOINTS))


def test_it_opens_with_one_ranking_and_its_table():
    at = opened("compare")
    [table] = tables(at)
    group = shipped()[0]
    lines = standings(group.runs)
    assert sorted(table["run"]) == sorted(line.name for line in lines)
    assert list(table["at 36/255"]) == sorted(table["at 36/255"], reverse=True)
    best = max(lines, key=lambda line: line.certified(36))
    assert table["run"][0] == best.name and table["at 36/255"][0] == pytest.approx(best.certified(36), abs=0.06)
    assert group.protocol.data in at.selectbox(key="co_group").value
    assert any("JPEG copy" in caption.value for caption in at.caption)


def test_unequal_protocols_are_never_in_one_table(only):
    copied(only, "a")
    copied(only, "b", recipe__offset=1.0)
    copied(only, "c", "mnist-aol")
    at = opened("compare")
    menu = at.selectbox(key="co_group")
    seen = []
    for label in menu.options:
        at = opened("compare", co_group=label)
        [table] = tables(at)
        seen.append(list(table["run"]))
    assert sorted(seen) == [["a"], ["b"], ["c"]]
    assert any("Not in this ranking" in c.value and "the loss offset" in c.value
               for c in opened("compare", co_group=menu.options[0]).caption)  # fmt: skip


KEYS = (
    "co_group",
    "co_axis",
    "co_eps",
    "co_published",
    "co_sort",
    "co_families",
    "co_table",
    "co_runs",
    "co_x",
    "co_view",
)


@pytest.mark.parametrize("value", ["EVIL", "", "-1", "1e308", "nan", "<b>x</b>", "999999"])
def test_nonsense_in_the_address_changes_nothing(value):
    at = opened("compare", **dict.fromkeys(KEYS, value))
    [table] = tables(at)
    assert len(table) == len(standings(shipped()[0].runs)) and not at.error
    assert at.number_input(key="co_eps").value == data(at)["eps"] == 36 and "at 36/255" in table
    assert data(at)["axis"] == "clean" and data(at)["chosen"] == at.multiselect(key="co_runs").value == []
    assert list(table["at 36/255"]) == sorted(table["at 36/255"], reverse=True)


@pytest.mark.parametrize(
    "message",
    [
        None,
        "x",
        {"eps": None},
        {"eps": "9"},
        {"eps": [1]},
        {"eps": float("nan")},
        {"eps": True},
        {"chosen": "aol"},
        {"chosen": {"aol": 1}},
    ],
)
def test_messages_made_up_by_hand_are_refused(message, monkeypatch):
    import streamlit as st

    state = {ui_compare.KEY: message}
    monkeypatch.setattr(st, "session_state", state)
    ui_compare.moved()
    ui_compare.picked(["aol"])
    assert state == {ui_compare.KEY: message}


@pytest.mark.parametrize(("sent", "kept"), [(108, 108), (36.4, 36), (-5, 0), (10**9, 510), (1e308, 510)])
def test_eps_that_was_let_go_is_written_to_its_widget(sent, kept, monkeypatch):
    import streamlit as st

    state = {ui_compare.KEY: {"eps": sent}}
    monkeypatch.setattr(st, "session_state", state)
    ui_compare.moved()
    assert state["co_eps"] == kept


def test_what_was_chosen_is_written_to_its_menu(monkeypatch):
    import streamlit as st

    sent = ["e", None, ["a"], "x", "d", "d", 3, "c", "b", "a"]
    monkeypatch.setattr(st, "session_state", {ui_compare.KEY: {"chosen": sent}})
    ui_compare.picked(list("abcde"))
    assert st.session_state["co_runs"] == list("edcb"), "known ones, each once, four at the most"


def pressed(at):
    """The names in the table that are selected, and all of them."""
    bodies = [block.proto.body for block in at.get("html")]
    found = re.findall(r'aria-pressed="(\w+)" data-row="([^"]+)"', "".join(bodies))
    return [name for state, name in found if state == "true"], [name for _, name in found]


def test_the_picture_and_the_table_show_one_selection(only):
    copied(only, "a")
    copied(only, "b <i>", spec__layer="sll")
    at = opened("compare", co_runs=["b <i>", "nothing"])
    assert data(at)["chosen"] == at.multiselect(key="co_runs").value == ["b <i>"]
    assert pressed(at) == (["b &lt;i&gt;"], ["a", "b &lt;i&gt;"]), "its buttons have the names that the picture knows"
    assert pressed(opened("compare"))[0] == data(opened("compare"))["chosen"] == []
    for folder in only.iterdir():
        (folder / "certificates.csv").unlink()
    assert pressed(opened("compare")) == ([], []), "no picture, so nothing would listen"


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    """Three finished runs on points."""
    root = tmp_path_factory.mktemp("plane")
    for layer in ("sll", "plain", "aol"):
        spec = Spec(layer, "mlp", (2,), 2, 8)
        train(root / layer, "moons", spec=spec, recipe=Recipe(epochs=1), device="cpu", show=False)
    return root


def test_networks_of_points_have_maps_with_one_probe(plane, monkeypatch):
    monkeypatch.setattr(ui, "CHECKPOINTS", plane)
    at = opened("compare", co_runs=["sll", "plain"], co_x="0.5", co_y="-0.25", co_eps="51", co_view="radius")
    maps = data(at, "nets")
    assert {net["name"]: net["free"] for net in maps["nets"]} == {"sll": False, "plain": True}
    assert (maps["probe"], maps["eps"], maps["view"]) == ([0.5, -0.25], 0.2, "radius")
    [numbers, _] = tables(at)
    for net, radius in zip(maps["nets"], numbers["certified radius"], strict=True):
        proved = float(certify(runs.load(plane / net["name"]).model, torch.tensor([[0.5, -0.25]])).radius)
        assert net["proof"]["radius"] == pytest.approx(proved, rel=1e-9) and radius == pytest.approx(proved, rel=1e-3)
    assert any("200 of the 1,000 test points" in caption.value.replace("\\", "") for caption in at.caption)
    assert len(data(opened("compare"), "nets")["nets"]) == 3, "where nothing is selected, the best"
    at = opened("compare", co_families=LAYERS["sll"].family)
    drawn, table = data(at, "nets")["nets"], tables(at)[-1]
    assert {net["name"] for net in drawn} == set(table["run"]) < {"sll", "plain", "aol"}, "of the chosen families"
    monkeypatch.setattr(gallery.data, "TOYS", ())
    at = opened("compare")
    assert data(at, "nets")["points"]["x"] == "" and any("not at hand" in caption.value for caption in at.caption)


def test_the_probe_that_was_let_go_is_written_to_its_widgets(monkeypatch):
    import streamlit as st

    state = {ui_maps.KEY: {"probe": [1.0, 99.0], "view": "EVIL"}}
    monkeypatch.setattr(st, "session_state", state)
    ui_maps._take()
    assert (state["co_x"], state["co_y"]) == (1.0, 12.0) and "co_view" not in state


def test_images_have_no_maps_and_the_way_to_some_is_told(plane, own):
    at = opened("compare")
    assert any("no plane to draw" in caption.value for caption in at.caption) and data(at, "nets") is None
    assert any("on moons" in link.proto.label for link in at.get("page_link"))
    own.parent.mkdir(exist_ok=True)
    own.symlink_to(plane)
    at = opened("compare")
    at.button(key="co_planes").click().run()
    assert not at.exception and data(at, "nets") and "moons" in at.selectbox(key="co_group").value


@pytest.mark.parametrize("by", ui_compare.SORTS)
def test_the_table_is_sorted(by):
    [table] = tables(opened("compare", co_sort=by, co_eps="72"))
    names = {"certified": "at 72/255", "name": "run", "seconds per epoch": "core-seconds an epoch"}
    column = names.get(by, by)
    values = list(table[column])
    assert values == sorted(values, reverse=by in ("certified", "clean"))


def test_families_filter_table_and_picture():
    at = opened("compare", co_families="orthogonal")
    [table] = tables(at)
    assert set(table["layer"]) <= {"Cayley", "BRO", "SOC", "AOC", "LOT"} and len(table)
    assert {point["name"] for point in data(at)["points"]} == set(table["run"])
    counts = {metric.label: metric.value for metric in at.metric}
    assert counts["in this ranking"] == f"{len(table)} shown of {len(standings(shipped()[0].runs))}"


def test_a_filter_that_leaves_one_run_is_named_as_the_cause(only):
    copied(only, "a")
    copied(only, "b", spec__layer="sll")
    copied(only, "c", spec__layer="bro")
    at = opened("compare", co_families="orthogonal")
    assert len(tables(at)[0]) == 1 and "families leave fewer than two" in text(at)
    assert "makes no ranking" not in text(at)


def text(at):
    """All words of the page."""
    blocks = [block.proto.body for block in at.get("html")]
    return "\n".join([*blocks, *(element.value for kind in (at.markdown, at.caption, at.info) for element in kind)])


def test_an_attack_inside_a_radius_is_said_above_the_table(only):
    folder = copied(only, "a_b")
    assert not opened("compare").error
    np.savez(folder / "attacks.npz", index=[0, 1], radius=[0.2, 0.3], DDN=[0.4, 0.2], steps=5)
    copied(only, "c", recipe__lr=0.5)
    [error] = opened("compare").error
    assert "ended inside a certified radius, which is a bug: a_b." in error.value.replace("\\", "")


def test_eps_beyond_all_radii_is_on_the_track():
    at = opened("compare", co_eps="500")
    assert data(at)["eps"] == data(at)["top"] == 500 and "at 500/255" in tables(at)[0]
    assert data(opened("compare"))["top"] < 500


@pytest.mark.parametrize(("axis", "dotted"), [("clean", True), ("parameters", False)])
def test_the_hint_explains_every_line_of_the_picture(axis, dotted):
    for shown in ("true", "false"):
        hint = data(opened("compare", co_axis=axis, co_published=shown))["hint"]
        assert ("Hollow grey" in hint) == (shown == "true") and "The solid line is the Pareto front." in hint
        assert ("Dotted: the clean accuracy" in hint) == dotted and "stem" in hint


def test_numbers_that_are_none_leave_the_page_standing(only):
    copied(only, "good", recipe__lr=0.3)
    for i, (key, value) in enumerate(HOSTILE.items()):
        hostile(copied(only, f"bad{i}", **{key: value, "recipe__lr": 1.0 + i}))
    at = opened("compare")
    for label in at.selectbox(key="co_group").options:
        assert len(tables(opened("compare", co_group=label, co_axis="forward", co_sort="seconds per epoch")))


def test_the_published_layer_can_be_hidden_and_is_a_table_of_its_own():
    at = opened("compare", co_table="true", co_eps="50")
    ranking, published = tables(at)
    entries = of("cifar10")
    assert len(published) == len(entries) and not set(ranking["run"]) & set(published["method"])
    assert any(re.fullmatch(r"\d+\.\d+ to \d+\.\d+", str(cell)) for cell in published["at 50/255"])
    assert set(published["checked"]) <= {"V", "R", "S", "V+R"}
    assert list(published["protocol"]) == [entry.protocol for entry in entries]


def test_two_runs_of_one_layer_are_called_by_their_names(only):
    for name, change in (("a", {}), ("b", {"recipe__lr": 0.5}), ("c", {"spec__layer": "sll"})):
        copied(only, name, **change)
    at = opened("compare")
    assert {point["name"]: point["title"] for point in data(at)["points"]} == {"a": "a", "b": "b", "c": "SLL"}
    assert len(data(at)["published"]) > 100 and not data(opened("compare", co_published="false"))["published"]


def test_times_of_different_machines_are_named(only):
    copied(only, "a", hardware="CPU one")
    copied(only, "b", hardware="CPU two", spec__layer="sll")
    said = [c.value for c in opened("compare", co_axis="seconds per epoch").caption]
    assert any("not comparable: CPU one; CPU two" in line.replace("\\", "") for line in said)
    assert not any("not comparable" in c.value for c in opened("compare").caption)


def test_an_epoch_costs_core_seconds_on_a_cpu_and_seconds_elsewhere(only):
    cost = {"epoch": 4, "core_seconds": 20.0, "train_seconds": 60.0, "budget": None}
    copied(only, "a", **cost)
    copied(only, "b", **{**cost, "core_seconds": 2.0}, spec__layer="sll")
    at = opened("compare", co_axis="seconds per epoch", co_sort="seconds per epoch")
    assert data(at)["axisName"] == "core-seconds an epoch" and data(at)["log"]
    assert {point["name"]: point["x"][data(at)["axis"]] for point in data(at)["points"]} == {"a": 5.0, "b": 0.5}
    [table] = tables(at)
    assert list(table["run"]) == ["b", "a"] and list(table["core-seconds an epoch"]) == [0.5, 5.0]
    assert list(table["train s"]) == [60, 60] and any("worked" in c.value for c in at.caption)
    copied(only, "a2", **cost, hardware="NVIDIA", spec__layer="bro")
    assert data(opened("compare", co_axis="seconds per epoch"))["axisName"] == "core-seconds or seconds an epoch"


def test_addresses_of_before_open_with_the_defaults():
    at = opened("compare", co_axis="training", co_sort="train s")
    assert data(at)["axis"] == "clean" and not at.error
    assert list(tables(at)[0]["at 36/255"]) == sorted(tables(at)[0]["at 36/255"], reverse=True)


def test_other_data_without_published_results(only):
    copied(only, "a", data__name="moons")
    copied(only, "b", data__name="moons", spec__layer="sll")
    at = opened("compare")
    assert any("No published results" in c.value for c in at.caption) and len(tables(at)[0]) == 2


def test_a_run_without_a_file_says_so_and_the_rest_is_shown(only):
    for name, file in (("a", "certificates.csv"), ("b", "attacks.npz"), ("c", "metrics.csv")):
        (copied(only, name) / file).unlink()
    (copied(only, "d") / "certificates.csv").write_text("index,label\n1,2\n")
    copied(only, "e", results=None)
    at = opened("compare", co_eps="37")
    said = [caption.value.replace("\\", "") for caption in at.caption]
    assert any("has no attacks.npz" in line for line in said) and any("column" in line for line in said)
    assert "Not ranked: e has no results in its run.json." in said
    assert not any(str(only) in line for line in said)
    assert len(tables(at)[0]) == 4, "four runs of one seed are four lines"


def test_without_any_run(only):
    at = opened("compare")
    assert any("no trained network" in info.value for info in at.info)


def test_the_words_follow_the_state():
    lines = standings(shipped()[0].runs)
    said = {k: compare_words.notice(lines, k) for k in (0, 36, 255, 510)}
    assert len(set(said.values())) == 4
    assert "clean accuracy" in said[0] and "leads" in said[36] and "certifies anything" in said[510]
    assert "makes no ranking" in compare_words.notice(lines[:1], 36)
    leader = max(lines, key=lambda line: line.certified(36))
    assert f"{leader.certified(36):.1f} %" in said[36]


def test_exports_have_the_protocol():
    group = shipped()[0]
    made = ui_compare.rows(standings(group.runs), 36)
    protocol = group.protocol.sentence()
    read = list(csv.DictReader(io.StringIO(ui_compare.csv(made, protocol))))
    assert len(read) == len(made) and {row["protocol"] for row in read} == {protocol}
    assert [row["run"] for row in read] == [row["run"] for row in made]
    text = ui_compare.tex(made, protocol, 36)
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    spec = re.search(r"tabular\}\{(\w+)\}", text).group(1)
    assert len(body) == len(made) + 1 and {len(re.split(r"(?<!\\)&", line)) for line in body} == {len(spec)}
    assert "JPEG copy" in text and 'eps = 36/255 in the column "at 36/255"' in text
    without = [{"run": "a", "clean": 50.0}]
    assert "column" not in ui_compare.tex(without, protocol, 37)


def test_exports_name_seeds_settings_and_the_code(tmp_path):
    versions = {"python": "3", "lipviz": "0.1.0 at 7be29ebd3c52"}
    copied(tmp_path, "a", versions=versions, recipe__lr=0.5)
    copied(tmp_path, "a-seed1", versions=versions, recipe__lr=0.5, recipe__seed=1)
    copied(tmp_path, "b", versions="broken", recipe__batch=7)
    [group] = groups(runs.find(tmp_path))
    a, b = sorted(standings(group.runs), key=lambda line: line.name)
    assert ui_compare.origin(a) == {"seed": "0, 1", "lr": "0.5", "batch": "128", "lipviz": "0.1.0 at 7be29ebd3c52"}
    assert ui_compare.origin(b) | {"seed": "0", "batch": "7", "lipviz": "not said"} == ui_compare.origin(b)


def test_the_page_exports_them(monkeypatch):
    given = {}
    monkeypatch.setattr(
        ui_compare.st.delta_generator.DeltaGenerator,
        "download_button",
        lambda _, label, data, *args, **options: given.setdefault(label, data),
    )
    monkeypatch.setattr("streamlit.download_button", lambda label, data, *args, **rest: given.setdefault(label, data))
    opened("compare")
    [read] = [list(csv.DictReader(io.StringIO(given["CSV"]())))]
    assert all(row["seed"] and row["lr"] and row["batch"] and row["lipviz"] for row in read) and len(read) > 5
    assert "& seed & lr & batch & lipviz" in given["LaTeX"]()
    assert given["Data"]() == given["CSV"]()


@pytest.mark.parametrize("k", [0, 36, 100])
def test_the_code_makes_the_ranking(k, monkeypatch, tmp_path, capsys):
    (tmp_path / "checkpoints").symlink_to(CHECKPOINTS)
    monkeypatch.chdir(tmp_path)
    names = ["cifar10-sll", "cifar10-plain"]
    code = compare_words.code([f"checkpoints/{name}" for name in names], k)
    assert 10 <= code.count("\n") <= 20
    exec(compile(code, "code", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    share = runs.load(CHECKPOINTS / "cifar10-sll").certificates.accuracy(k / 255)
    line = next(line for line in said if line.startswith("cifar10-sll"))
    assert line.endswith(f"certified at {k}/255 {100 * share:.1f} %")
    shares = [float(re.search(r"([\d.]+) %$", line).group(1)) for line in said]
    assert len(shares) == 2 and shares == sorted(shares, reverse=True)
    assert (tmp_path / "compare.html").exists()


def test_the_suggestions_work():
    at = opened("compare", co_eps="5", co_axis="parameters")
    for i, state in enumerate(compare_words.TRY.values()):
        at.button(key=f"co_try{i}").click().run()
        assert not at.exception and len(tables(at)) == 1
        assert at.number_input(key="co_eps").value == data(at)["eps"] == state["co_eps"]
        assert data(at)["axis"] == ui_compare.NAMES.get(state["co_axis"], state["co_axis"])


# ---- the layer benchmark as a job


def finished(root):
    folder = root / "bench"
    folder.mkdir(parents=True)
    docs = CHECKPOINTS.parent / "docs"
    shutil.copy(docs / "bench.csv", folder / "layers.csv")
    shutil.copy(docs / "bench.md", folder / "layers.md")
    (folder / "log.txt").write_text("done")
    (folder / "job.json").write_text('{"asked": 1.0}')


def test_a_finished_benchmark_is_shown_to_everyone(own):
    finished(own)
    at = opened("compare")
    table = tables(at)[-1]
    assert "aol" in set(table["layer"]) and "training step, times plain" in table
    assert any("Hardware" in c.value for c in at.caption) and not any("Command" in c.value for c in at.caption)
    (own / "bench" / "layers.csv").write_text("shape,row\nx,y\n")
    assert any("measure again" in e.value.lower() for e in opened("compare").error)


def test_while_it_runs_the_button_waits_and_progress_is_shown(own):
    finished(own)
    (own / "bench" / "layers.csv").unlink()
    with FileLock(own / "bench" / "job.lock"):
        assert bench_job.running(own) and bench_job.failure(own) == ""
        with pytest.raises(ValueError, match="being measured already"):
            bench_job.start(own)
        (own / "bench" / "log.txt").write_text(
            "conv, aol:  4%|#| 1/25 [00:01<00:20]\rconv, sr:  8%|#| 2/25 [00:02<00:20]"
        )
        assert bench_job.progress(own) == (2, 25)
        at = opened("compare")
        assert at.button(key="co_measure").disabled
    assert not bench_job.running(own)
    (own / "bench" / "log.txt").write_text("Traceback\nValueError: no room\n")
    assert bench_job.failure(own) == "ValueError: no room"
    assert any("no room" in e.value for e in opened("compare").error)


def test_it_says_how_long_it_takes_before_it_begins(own):
    finished(own)
    assert any("two to four minutes" in c.value for c in opened("compare").caption)
    bars = "conv:  4%|#| 1/25 [00:01<00:20]", "dense: 100%|#| 25/25 [1:02:30<00:00, 1s/layer]"
    (own / "bench" / "log.txt").write_text("\r".join(bars))
    assert bench_job.took(own) == 3750
    assert any("The last time it took 1 h here" in c.value for c in opened("compare").caption)


def test_stop_ends_the_job_and_leaves_the_last_table(own):
    """The job waits for a training here, and ends before it measures."""
    finished(own)
    before = (own / "bench" / "layers.csv").read_bytes()
    with pytest.raises(ValueError, match="nothing to stop"):
        bench_job.stop(own)
    with FileLock(own / ".training.lock"):
        bench_job.start(own)
        assert bench_job.asked(own) > 1.0 and not bench_job.stopped(own)
        at = opened("compare")
        at.button(key="co_measure_stop").click().run()
        assert not at.exception and not at.error and bench_job.stopped(own)
        assert bench_job._children[(own / "bench").resolve()].wait(300) == -signal.SIGTERM
    with FileLock(own / ".training.lock", timeout=0):
        assert not bench_job.running(own) and bench_job.failure(own) == ""
    at = opened("compare")
    assert any("measurement before" in info.value for info in at.info) and not at.error
    assert (own / "bench" / "layers.csv").read_bytes() == before and "aol" in set(tables(at)[-1]["layer"])
    assert at.button(key="co_measure_stop").disabled and not at.button(key="co_measure").disabled


def test_stop_ends_what_the_job_has_started(tmp_path):
    code = "import subprocess, sys; from pathlib import Path; from lipviz import bench_job; "
    code += "subprocess.Popen(['sleep', '60']); print('begun', flush=True); bench_job._watch(Path(sys.argv[1]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    ) as job:
        assert job.stdout.readline() == b"begun\n"
        (tmp_path / "stop").touch()
        assert job.wait(60) == -signal.SIGTERM
        assert select([job.stdout], [], [], 20)[0], "the child, too, has let go of the pipe"


def test_read_only_servers_measure_nothing(own, monkeypatch):
    monkeypatch.setenv("LIPVIZ_READONLY", "1")
    with pytest.raises(ValueError, match="read-only"):
        bench_job.stop(own)
    with pytest.raises(ValueError, match="read-only"):
        bench_job.start(own)
    at = opened("compare")
    assert not [b for b in at.button if str(b.key).startswith("co_measure")] and not (own / "bench").exists()
    assert any("read-only" in info.value for info in at.info)


def test_it_measures(own, monkeypatch):
    """The real thing, with two rows and two pairs; while it waits for a training it says so."""
    monkeypatch.setattr(bench_job, "ARGUMENTS", ("--pairs", "2", "--rows", "aol", "plain"))
    own.mkdir()
    with FileLock(own / ".training.lock"):
        at = opened("compare")
        at.button(key="co_measure").click().run()
        assert not at.exception and bench_job.running(own)
        assert any("as soon as no run trains" in info.value for info in at.info)
        assert opened("compare").button(key="co_measure").disabled, "a reload finds it"
    until = time.monotonic() + 120
    while bench_job.running(own) and time.monotonic() < until:
        time.sleep(0.3)
    assert bench_job.failure(own) == "" and {row["layer"] for row in bench_job.table(own)} >= {"aol", "plain"}
    assert any("pairs" in line for line in bench_job.protocol(own))
    assert {"aol", "plain"} <= set(tables(opened("compare"))[-1]["layer"])
