"""The picture goes out before the rest, and the page that stands in the end is the same."""

from pathlib import Path
from queue import Queue
from types import SimpleNamespace

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.testing.v1 import AppTest

from lipviz import ahead


def element(path, kind="markdown", name=""):
    message = ForwardMsg()
    message.metadata.delta_path.extend(path)
    new = message.delta.new_element
    getattr(new, kind).SetInParent()
    if name:
        new.markdown.body = name
    return message


def block(path, kind="flex_container"):
    message = ForwardMsg()
    message.metadata.delta_path.extend(path)
    getattr(message.delta.add_block, kind).SetInParent()
    return message


def page(messages):
    """What stands where in the end: a container that takes a place empties it."""
    standing = {}
    for message in messages:
        path = tuple(message.metadata.delta_path)
        if not path:
            continue
        for inside in [p for p in standing if p[: len(path)] == path]:
            del standing[inside]
        parent, last = path[:-1], path[-1]
        assert len(path) == 2 or ahead._kind(standing[parent]).startswith("block"), "a place in no container"
        assert last == 0 or (*parent, last - 1) in standing, "a gap"
        standing[path] = message
    return {path: message.SerializeToString() for path, message in standing.items()}


@pytest.fixture
def waiting():
    sent = []
    return ahead.Waiting(sent.append), sent


SCRIPT = [
    element((0, 0), "html"),
    element((0, 1), "heading"),
    block((0, 2), "flex_container"),
    block((0, 2, 0), "column"),
    element((0, 2, 0, 0), "slider"),
    block((0, 2, 0, 1), "popover"),
    element((0, 2, 0, 1, 0), "checkbox"),
    block((0, 2, 1), "column"),
    element((0, 2, 1, 0), "empty"),
    element((0, 2, 1, 1), name="words"),
    block((0, 2, 1, 0), "flex_container"),
    element((0, 2, 1, 0, 0), "bidi_component"),
    element((0, 3), "metric"),
    block((0, 4), "expandable"),
    element((0, 4, 0), name="more"),
]


def run(waiting, script, picture=("bidi_component",)):
    for message in script:
        waiting.picture = ahead._kind(message) in picture and waiting.drawn_at is None
        waiting(message)
        if waiting.picture:
            waiting.picture, waiting.drawn_at = False, 0.0


def test_only_the_title_and_the_picture_go_out_at_once(waiting):
    wait, sent = waiting
    run(wait, SCRIPT)
    kinds = [ahead._kind(message) for message in sent]
    assert kinds.count("heading") == kinds.count("bidi_component") == 1
    others = {kind for kind in kinds if kind not in ("heading", "bidi_component", "empty")}
    assert others <= set(ahead.PLAIN), "nothing that needs a script of its own"
    assert kinds.count("block column") == 2, "the picture has the width that it will have"
    page(sent)  # without a gap
    places = [tuple(message.metadata.delta_path) for message in sent]
    assert places.count((0, 0)) == 1, "what stands beside both is not sent twice"


def test_a_picture_in_a_tab_takes_the_tab_along(waiting):
    wait, sent = waiting
    script = [block((0, 0), "tab_container"), block((0, 0, 0), "tab"), element((0, 0, 0, 0), "bidi_component")]
    run(wait, script)
    assert page(sent) == page(script)


def test_a_picture_in_the_place_of_something_else_stays(waiting):
    wait, sent = waiting
    script = [element((0, 0), name="Loading"), element((0, 0), "bidi_component")]
    run(wait, script)
    wait.release()
    assert page(sent) == page(script)


def test_the_page_is_the_same_in_the_end(waiting):
    wait, sent = waiting
    run(wait, SCRIPT)
    assert page(sent) != page(SCRIPT)
    wait.release()
    assert page(sent) == page(SCRIPT)


def test_a_place_that_is_taken_twice_keeps_what_came_last(waiting):
    wait, sent = waiting
    twice = [
        *SCRIPT,
        block((0, 2, 1, 0)),
        element((0, 2, 1, 0, 0), "bidi_component"),
        element((0, 2, 1, 1), name="new"),
    ]
    run(wait, twice)
    wait.release()
    assert page(sent) == page(twice)


@pytest.mark.parametrize("slow", ["spinner", "patience"])
def test_what_takes_long_is_not_waited_for(waiting, slow):
    wait, sent = waiting
    run(wait, SCRIPT[:6])
    assert len(sent) < 6
    if slow == "spinner":
        message = ForwardMsg()
        message.metadata.delta_path.extend((0, 2, 0, 1))
        message.delta.new_transient.SetInParent()
        wait(message)
        sent.pop()
    else:
        wait.lose_patience()
    assert page(sent) == page(SCRIPT[:6]) and wait.released
    run(wait, SCRIPT[6:])
    assert page(sent) == page(SCRIPT), "then all comes as it is made"


def test_patience_does_not_end_while_the_picture_is_drawn(waiting):
    wait, sent = waiting
    run(wait, SCRIPT)
    before = len(sent)
    wait.lose_patience()
    assert len(sent) == before and not wait.released


def test_what_a_visitor_left_behind_is_not_sent_to_the_next_page():
    sent = []

    def send(message):
        sent.append(message)
        if len(sent) == 1:
            raise RuntimeError("the visitor has left")

    wait = ahead.Waiting(send)
    wait.held = SCRIPT[:3]
    with pytest.raises(RuntimeError, match="left"):
        wait.release()
    wait.release()
    assert sent == SCRIPT[:1]


def test_what_is_no_part_of_the_page_never_waits(waiting):
    wait, sent = waiting
    message = ForwardMsg()
    message.script_finished = ForwardMsg.FINISHED_SUCCESSFULLY
    wait(message)
    assert sent == [message]


def test_the_rest_follows_after_a_pause_and_only_on_the_first_view(monkeypatch):
    sent, session = [], {}
    context = SimpleNamespace(_enqueue=sent.append)
    monkeypatch.setattr(ahead, "get_script_run_ctx", lambda: context)
    monkeypatch.setattr(ahead.st, "session_state", session)
    monkeypatch.setattr(ahead, "PAUSE", 0.3)
    slept = []
    monkeypatch.setattr(ahead.time, "sleep", slept.append)
    for view in range(2):
        sent.clear()
        with pytest.raises(RuntimeError), ahead.picture_first("discs"):
            context._enqueue(SCRIPT[0])
            assert len(sent) == view
            with ahead.now():
                context._enqueue(element((0, 1), "bidi_component"))
            raise RuntimeError  # a page may stop anywhere
        assert SCRIPT[0] in sent and context._enqueue == sent.append
    assert len(slept) == 1 and 0 < slept[0] <= 0.3


def test_the_rest_does_not_wait_for_the_end_of_a_slow_page(monkeypatch):
    sent, context = Queue(), SimpleNamespace()
    context._enqueue = sent.put
    monkeypatch.setattr(ahead, "get_script_run_ctx", lambda: context)
    monkeypatch.setattr(ahead.st, "session_state", {})
    with ahead.picture_first("discs"):
        with ahead.now():
            context._enqueue(element((0, 0), "bidi_component"))
        assert ahead._kind(sent.get(timeout=10)) == "bidi_component"
        context._enqueue(element((0, 1), "metric"))
        assert ahead._kind(sent.get(timeout=10)) == "metric", "before the page is done"


def test_a_page_that_stops_shows_what_it_has(tmp_path):
    (tmp_path / "page.py").write_text("""
import streamlit as st
from lipviz import ahead
with ahead.picture_first("page"):
    st.title("A page")
    st.error("Nothing to show")
    ahead.stop()
""")
    at = AppTest.from_file(tmp_path / "page.py", default_timeout=60).run()
    assert at.title and at.error and not at.exception


def test_pages_stop_in_this_way_only():
    """A bare st.stop() on a first view would lose what is held back."""
    root = Path(ahead.__file__).parent
    files = [*root.glob("*.py"), *root.parent.glob("pages/*.py")]
    assert [file.name for file in files if "st.stop()" in file.read_text()] == ["ahead.py"]


def _bare():
    from lipviz import ahead, ui_canvas

    with ahead.now():
        ui_canvas.mount("links", {"parts": {}}, key="links")


def test_a_picture_outside_the_shell_is_just_shown():
    assert AppTest.from_function(_bare, default_timeout=60).run().get("bidi_component")
