"""The speed of the app: numbers in words, frames of the websocket, a server with two visitors. No time is asserted."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from lipviz import bench_app, bench_app_browser, bench_app_clients
from lipviz.bench_app import PARTS, Server, measure, protocol, row, spread
from lipviz.bench_app_clients import Seen, asked, percentile, summary
from lipviz.cli import main


def rerun(**state):
    message = BackMsg()
    message.rerun_script.SetInParent()
    for name, value in state.items():
        setattr(message.rerun_script, name, value)
    return message.SerializeToString()


def element(kind, **values):
    message = ForwardMsg()
    part = getattr(message.delta.new_element, kind)
    for name, value in values.items():
        setattr(part, name, value)
    part.SetInParent()
    return message


def finished(status):
    return ForwardMsg(script_finished=status)


def test_percentiles_are_those_of_numpy():
    values = list(np.random.default_rng(0).random(40))
    middle, high = np.percentile(values, [50, 95])
    assert percentile(values, 95) == pytest.approx(high)
    words = (
        f"median {1e3 * middle:.0f} ms, 95th percentile {1e3 * high:.0f} ms, longest {1e3 * max(values):.0f} ms, of 40"
    )
    assert summary(values) == words
    assert summary([]) == "no tick came to its end"


def test_a_spread_is_the_median_with_quartiles():
    values = list(np.random.default_rng(1).random(9))
    low, middle, high = np.percentile(values, [25, 50, 75])
    assert spread(values, "s", 3) == f"{middle:.3f} s ({low:.3f} to {high:.3f})"


def test_frames_a_second_and_the_longest_wait():
    rate, longest = bench_app_browser.frames([0.0, 16.0, 32.0, 80.0, 96.0])
    assert (rate, longest) == (pytest.approx(4000 / 96), 48.0)


def test_reruns_are_counted_by_who_asked():
    beat = BackMsg(app_heartbeat=True).SerializeToString()
    frames = [rerun(), rerun(fragment_id="f"), rerun(fragment_id="f", is_auto_rerun=True), beat]
    assert asked(frames) == {"rerun": 2, "timer": 1, "other": 1}
    assert asked([]) == {"rerun": 0, "timer": 0, "other": 0}


def test_only_the_end_of_a_run_that_stands_counts():
    seen = Seen()
    assert not seen.take(finished(ForwardMsg.FINISHED_EARLY_FOR_RERUN))
    assert not seen.take(element("button", id="b", label="x"))
    assert seen.take(finished(ForwardMsg.FINISHED_SUCCESSFULLY))
    assert seen.take(finished(ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY))


def test_timers_are_learned_stopped_and_forgotten_by_a_run_of_the_page():
    def timer(name):
        message = ForwardMsg()
        message.auto_rerun.fragment_id, message.auto_rerun.interval = name, 1.0
        return message

    def began(*fragments):
        message = ForwardMsg()
        message.new_session.page_script_hash = "of the entry script"
        message.metadata.run.fragment_ids.extend(fragments)
        return message

    seen, stop, page = Seen(), ForwardMsg(), ForwardMsg()
    page.navigation.page_script_hash = "hash"
    stop.stop_auto_rerun.fragment_ids.append("b")
    for message in (timer("a"), timer("b"), stop, page, began("a")):
        seen.take(message)
    assert seen.timers == {"a": 1.0} and seen.script == "hash"
    seen.take(began())
    assert seen.timers == {}


def test_messages_the_server_may_leave_out_are_remembered():
    seen = Seen()
    for name, kept in (("one", True), ("two", False)):
        message = element("button", id="b", label="x")
        message.hash, message.metadata.cacheable = name, kept
        seen.take(message)
    assert seen.hashes == {"one"}


def test_play_is_a_button_or_the_one_of_the_picture():
    seen = Seen()
    assert seen.play() is None
    seen.take(element("button", id="other", label="Reset"))
    assert seen.play() is None
    seen.take(element("button", id="b", label="▶ Play"))
    state, fragment = seen.play()
    assert (state.id, state.trigger_value, fragment) == ("b", True, "")
    picture = element("bidi_component", id="c", component_name="lipviz_playground")
    picture.delta.fragment_id = "around"
    assert seen.drawn() == ""
    seen.take(picture)
    assert seen.drawn() == "around"
    state, fragment = seen.play()
    assert state.id.endswith("c__events") and '"play"' in state.json_trigger_value and fragment == "around"


def test_what_goes_wrong_is_noted():
    seen, lost = Seen(), ForwardMsg()
    lost.page_not_found.page_name = "nowhere"
    exception = element("exception", message="division by zero")
    for message in (lost, exception, element("alert", body="Something went wrong on the server")):
        seen.take(message)
    seen.take(element("alert", body="Choose a run"))
    assert seen.errors == ["page not found", "division by zero", "Something went wrong on the server"]


def test_only_other_hosts_are_foreign():
    home = "http://127.0.0.1:8500"
    mine = [f"{home}/a", "ws://127.0.0.1:8500/_stcore/stream", "data:image/png;base64,x", f"blob:{home}/x"]
    theirs = ["https://fonts.example.org/a.css", "http://127.0.0.1:8501/a"]
    assert bench_app_browser.foreign([*mine, *theirs], home) == theirs


@pytest.mark.parametrize("options,words", [
    (["--only", "speed"], "a part is one of"),
    (["--clients", "0"], "1 or more"),
    (["--seconds", "0.5"], "1 or more"),
    (["--seconds", "nan"], "1 or more"),
    (["--markdown", "nowhere/app.md"], "no folder"),
])  # fmt: skip
def test_mistakes_are_refused_in_words(options, words, capsys):
    assert main(["bench", "app", *options]) == 2
    assert words in capsys.readouterr().err


def test_without_a_browser_the_other_parts_still_run(monkeypatch, capsys):
    monkeypatch.setattr(bench_app_browser, "chromium", lambda: None)
    monkeypatch.setattr(bench_app_clients, "ticks", lambda *_: [row("tick", "playground", "1 ms")])
    monkeypatch.setattr(bench_app, "training", lambda: [row("training", "aol", "1 steps/s")])
    monkeypatch.setattr(bench_app, "start", lambda: [row("start", "server", "1 s")])
    server = bench_app.contextmanager(lambda: iter([Server("http://127.0.0.1:1", 1, 0.0, None)]))
    monkeypatch.setattr(bench_app, "served", server)
    rows = measure()
    assert [line["what"] for line in rows] == ["start", "training", *map(PARTS.get, bench_app.IN_A_BROWSER), "tick"]
    assert all("PATH" in line["measured"] or "playwright" in line["measured"] for line in rows[2:6])
    monkeypatch.setattr(bench_app_browser, "find_spec", lambda _: None)
    assert "pip install playwright" in measure(["drag"])[0]["measured"]


def test_the_page_holds_protocol_and_table(monkeypatch, tmp_path, capsys):
    rows = [row("tick, all: 2 clients", "playground", "median 3 ms", "150 ms"), row("slider key", "radii", "9 ms")]
    monkeypatch.setattr(bench_app, "measure", lambda *_: rows)
    page = tmp_path / "app.md"
    assert main(["bench", "app", "--clients", "2", "--seconds", "4", "--markdown", str(page)]) == 0
    text = page.read_text()
    assert "| tick, all: 2 clients | playground | median 3 ms | 150 ms |" in text and text == capsys.readouterr().out
    for part in ("Command: lipviz bench app --clients 2", "Tick: 2 websocket clients", "Slider: 15", "Hardware: ",
                 "streamlit 1.", "plotly ", "torch 2.", "Date: 20"):  # fmt: skip
        assert part in text
    assert "Drag:" not in text


def test_the_protocol_speaks_of_what_was_measured():
    words = {"first element, next visit": "First element:", "bytes, with charts": "Bytes:", "drag of q1": "Drag:"}
    for what, sentence in words.items():
        lines = protocol([row(what, "radii", "1")], 30, 30.0)
        assert len(lines) == 2 and lines[0].startswith(sentence)


def test_every_part_of_the_browser_has_a_function_and_every_page_an_address():
    assert all(callable(getattr(bench_app_browser, part)) for part in bench_app.IN_A_BROWSER)
    found = bench_app.pages()
    assert found[0] == "" and {"radii", "discs", "certify"} <= set(found)


def test_training_is_counted_in_steps():
    (line,) = bench_app.training(0.2, ["aol"], width=4)
    assert line["where"] == "aol" and line["aim"] == "200 steps/s"
    assert int(re.fullmatch(r"(\d+) steps/s", line["measured"]).group(1)) > 0


def test_memory_and_processor_time_of_a_process():
    if bench_app.cpu_seconds(os.getpid()) is None:
        pytest.skip("no /proc on this system")
    assert 10 < bench_app.memory(os.getpid()) < 1e5 and bench_app.cpu_seconds(os.getpid()) > 0
    assert bench_app.worker(os.getpid()) is None
    assert bench_app.memory(2**31) is None and bench_app.cpu_seconds(2**31) is None
    code = "import time; time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code, "lipviz.worker"])
    try:
        assert bench_app.worker(os.getpid()) == child.pid
    finally:
        child.kill()
        child.wait()


@pytest.mark.slow
def test_two_visitors_for_two_seconds(monkeypatch):
    name = "discs"
    with bench_app.served() as server:
        rows = bench_app_clients.ticks(server, 2, 2, name)
        lost = bench_app_clients.ticks(server, 1, 1, "nowhere")
    with pytest.raises(OSError):
        bench_app.urllib.request.urlopen(server.address, timeout=2)
    (tick,) = (line for line in rows if line["what"].startswith("tick, all: 2 clients"))
    assert re.fullmatch(
        r"median \d+ ms, 95th percentile \d+ ms, longest \d+ ms, of [1-4](; .* over)?", tick["measured"]
    )
    assert tick["aim"] == "150 ms" and not any("errors" in line["what"] for line in rows)
    assert "does not exist" in lost[0]["measured"]
    assert server.address.startswith("http://127.0.0.1:")
