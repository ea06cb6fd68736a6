"""The page on the condition: every view, nonsense in the address, messages made up by hand, no solver."""

import base64
from pathlib import Path

import numpy as np
import pytest

import pages
from lipviz import condition, lessons, ui_condition
from pages import charts, tables

SHELL = Path(__file__).parents[1] / "lipviz" / "shell.py"
NONSENSE = ["", "EVIL", "-1", "1e99", "<script>alert(1)</script>", "nan", "1e300"]
KEYS = [
    *("cd_view", "cd_form", "cd_edge", "cd_q", "cd_flip", "cd_q2", "cd_q3", "cd_n", "cd_seed"),
    *("cd_w3", "cd_w", "cd_own"),  # free text
    *ui_condition.ENTRIES,
    *ui_condition.START,
    *ui_condition.OWN,
]


def opened(**parameters):
    return pages.opened("condition", **parameters)


def errors(at):
    return [error.value for error in at.error]


def table(at):
    """The table of the rules: {rule: condition}."""
    found = next(frame for frame in tables(at) if "rule" in frame)
    return dict(zip(found["rule"], found["condition"], strict=True))


def shown(at):
    """Everything that is written on the page."""
    groups = (at.markdown, at.info, at.error, at.caption)
    return " ".join([*(item.value for group in groups for item in group), *(str(m.value) for m in at.metric)])


@pytest.mark.parametrize("view", ui_condition.VIEWS)
@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_in_the_address(view, value):
    at = opened(**{**dict.fromkeys(KEYS, value), "cd_view": view})
    spoken = {ui_condition.VIEWS[0]: False}.get(view, bool(value))  # free text: what is wrong with it is said
    assert len(at.error) == spoken
    assert "NaN" not in shown(at) and "Traceback" not in shown(at) and at.button("cd_try0")


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_for_a_view_is_the_first_view(value):
    assert opened(cd_view=value, cd_form=value).metric[2].value == "holds"


def test_first_screen():
    at = opened()
    assert [m.label for m in at.metric] == [
        "smallest eigenvalue of T - G", "trace of T", "condition", "norm of W T^(-1/2)"
    ]  # fmt: skip
    assert at.metric[2].value == "holds" and not at.error
    assert list(table(at).values()) == ["on the edge"] * 3 + ["holds"]


@pytest.mark.parametrize(("t", "word"), [("4", "holds"), ("1", "fails")])
@pytest.mark.parametrize("form", ["affine", "residual"])
def test_states_of_two_neurons(t, word, form):
    at = opened(cd_t1=t, cd_t2=t, cd_form=form)
    assert at.metric[2].value == word and len(at.metric) == (5 if form == "residual" else 4)
    at = opened(cd_t1=t, cd_t2=t, cd_form=form, cd_edge="true")
    assert at.metric[2].value == "on the edge" and at.metric[0].value == "0" and at.metric[3].value == "1"


def test_zero_weight():
    at = opened(cd_w11="0", cd_w12="0", cd_w21="0", cd_w22="0")
    assert "W = 0" in at.info[0].value
    assert opened(cd_w11="0", cd_w12="0", cd_w21="0", cd_w22="0", cd_edge="true").metric[3].value == "0"


GOOD = {"w": [1, 0.5, -0.25, 2], "t": [3.00004, 5], "q": -1.234, "edge": False}
BAD = [
    *(None, 3, "x", [], {}, {**GOOD, "w": [1, 2, 3]}, {**GOOD, "w": [1, 2, 3, float("nan")]}, {**GOOD, "t": [1, "2"]}),
    *({**GOOD, "t": [[1], 2]}, {**GOOD, "q": None}, {**GOOD, "edge": "yes"}, {**GOOD, "w": [1] * 100_000}),
    *({**GOOD, "q": float("inf")}, {**GOOD, "t": [True, 2]}, {**GOOD, "edge": 1}),
]


def send(at, message):
    """What the component would do when it is let go; the callback belongs to the widget, so it is called by hand."""
    state = ui_condition.read(message)
    for key, value in (state or {}).items():
        at.session_state[key] = value
    at.run()
    assert not at.exception


def test_a_message_moves_the_page():
    at = opened()
    send(at, GOOD)
    assert at.number_input("cd_t1").value == 3.0 and at.number_input("cd_w21").value == -0.25
    assert at.number_input("cd_q").value == -1.23 and at.metric[1].value == "8"


@pytest.mark.parametrize("message", BAD, ids=range(len(BAD)))
def test_messages_made_up_by_hand_are_refused(message):
    assert ui_condition.read(message) is None


@pytest.mark.parametrize("size", [1e308, -1e308, 10**400, -(10**400)])
def test_large_numbers_in_messages_are_cut(size):
    state = ui_condition.read({**GOOD, "w": [size] * 4, "t": [size] * 2, "q": size})
    at = opened()
    for key, value in state.items():
        at.session_state[key] = value
    at.run()
    assert not at.exception and not at.error and "nan" not in shown(at).lower()
    assert at.number_input("cd_w11").value == (100 if size > 0 else -100), "what a field may hold"


def test_a_message_in_the_state_of_the_component(monkeypatch):
    """`moved` reads what lies in the session, whatever that is."""
    kept = {}
    monkeypatch.setattr(ui_condition.st, "session_state", kept)
    for message in [*BAD, {"moved": 3}]:
        kept.clear()
        kept["cd_canvas"] = {"moved": message}
        ui_condition.moved()
        assert set(kept) == {"cd_canvas"}
    kept["cd_canvas"] = {"moved": GOOD}
    ui_condition.moved()
    assert kept["cd_w22"] == 2


def test_chips():
    starts = []
    for i, view in ((0, 0), (1, 1), (2, 3)):
        at = opened()
        at.button(f"cd_try{i}").click().run()
        assert not at.exception and not at.error
        assert at.button_group("cd_view").value == ui_condition.VIEWS[view]
        starts.append(at.info[0].value)
    assert "pokes out" in starts[0] and "AOL is inside" in starts[1] and "Not feasible" in starts[2]


@pytest.mark.parametrize("flips", [[], ["G12"], ["G12", "G13"], ["G12", "G13", "G23"]])
def test_three_neurons(flips):
    at = opened(cd_view="3 neurons", cd_flip=flips)
    assert ("AOL is inside" if len(flips) % 2 else "AOL is on the edge") in at.info[0].value
    chart = charts(at)[0]
    assert chart["data"][0]["type"] == "surface"
    words = table(at)
    assert words["CPL, spectral"] == "on the edge" and words["AOL"] == ("holds" if len(flips) % 2 else "on the edge")


@pytest.mark.parametrize("text", ["0 0 0; 0 0 0", "1 0 0; 0 1 0; 0 0 1", "1 1 1; 1 1 1", "1e6 1e-6 1; 0 0 1", "1 2 3"])
@pytest.mark.parametrize("flips", [[], ["G12"]])
def test_three_neurons_of_ones_own(text, flips):
    at = opened(cd_view="3 neurons", cd_w3=text, cd_flip=flips)
    assert not at.error and len(charts(at)) == 1
    x = charts(at)[0]["data"][0]["x"]
    assert np.ptp(np.frombuffer(base64.b64decode(x["bdata"]), x["dtype"])) > 0, "a surface, not a point"


@pytest.mark.parametrize(
    ("view", "key", "text", "words"),
    [
        ("3 neurons", "cd_w3", "1 2; 3 4", "three columns"),
        ("3 neurons", "cd_w3", "1 x 2", "no number"),
        ("up to 8", "cd_w", "nan 1", "between"),
        ("up to 8", "cd_w", "1e300 1; 1 1", "between"),
        ("up to 8", "cd_w", "1", "2 to 8"),
        ("your own T", "cd_own", "1 2", "T needs 5 numbers"),
        ("your own T", "cd_own", "1 2 3 4 nan", "T needs"),
        ("your own T", "cd_own", "a b c d e", "no number"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(view, key, text, words):
    at = opened(cd_view=view, **{key: text})
    assert len(at.error) == 1 and words in errors(at)[0] and at.button("cd_try0")


@pytest.mark.parametrize("n", ["2", "8"])
@pytest.mark.parametrize("text", ["", "0 0; 0 0", "1 1; 1 1", "1e6 1; 1 1e-6"])
def test_up_to_eight(n, text):
    at = opened(cd_view="up to 8", cd_n=n, cd_w=text)
    assert not at.error and len(charts(at)) == 2
    assert set(table(at)) >= {"AOL", "SLL", "CPL, spectral", "SR(1)"} and "fails" not in table(at).values()


def test_without_the_solver(monkeypatch):
    def missing(G):
        raise ImportError("no cvxpy")

    monkeypatch.setattr(condition, "smallest", missing)
    ui_condition._smallest.clear()
    for view in ("3 neurons", "up to 8"):
        at = opened(cd_view=view)
        assert not at.error and "'.[sdp]'" in shown(at) and charts(at)
        assert "smallest trace" not in table(at)
    ui_condition._smallest.clear()


@pytest.mark.parametrize(("share", "word"), [("100", "holds"), ("20", "fails"), ("150", "holds"), ("0", "fails")])
def test_own_t_by_sliders(share, word):
    at = opened(cd_view="your own T", **dict.fromkeys(ui_condition.OWN, share))
    assert at.metric[2].value == word and not at.error
    assert ("Not feasible" if word == "fails" else "Feasible") in at.info[0].value and "inf" not in shown(at).split()


def test_own_t_in_numbers():
    W = lessons.example(5, 410)
    t = condition.to_edge(W.T @ W, np.arange(1.0, 6.0))
    at = opened(cd_view="your own T", cd_own=" ".join(repr(float(x)) for x in t))
    assert at.metric[2].value == "on the edge" and at.slider("cd_p1").disabled


def test_a_lesson_hides_and_asks():
    at = opened(hide="controls,words", task="Which T is smallest?")
    assert "Which T is smallest" in at.info[0].value and at.metric[2].value == "holds"


def test_the_code_on_the_page_is_that_of_the_state():
    at = opened(cd_t1="4")
    assert any("t = np.array([4.0, 2.2])" in code.value for code in at.code)
