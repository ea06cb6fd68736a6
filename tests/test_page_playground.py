"""The playground page without a browser: settings, messages made up by hand, the worker that forgets."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import pages
from lipviz import playground_live as trainings
from lipviz import playground_words, ui_playground
from lipviz.playground import Session, Setup, radii
from lipviz.points import sample, to_csv
from pages import tables

SHELL = Path(__file__).parents[1] / "lipviz" / "shell.py"
NONSENSE = ["", "EVIL", "-1", "1e99", "<script>alert(1)</script>", "nan"]
KEYS = [
    "data",
    "layer",
    "with",
    "margin",
    "depth",
    "width",
    "rate",
    "t",
    "batch",
    "seed",
    "until",
    "speed",
    "classes",
    "n",
    "noise",
    "draw",
    "x",
    "y",
    "eps",
    "view",
    "gamma",
]


class Trainer:
    """The worker in this process: trains ten steps at each look."""

    def __init__(self):
        self.sessions, self.lost, self.calls = {}, False, []

    def open(self, setup, points=None):
        """A session."""
        self.calls.append("open")
        self.lost = False
        name = str(len(self.sessions))
        self.sessions[name] = Session(setup, points)
        return name

    def _of(self, name):
        if self.lost:
            raise ValueError("This training is gone: press Reset to start it again.")
        return self.sessions[name]

    def play(self, id, until=None, speed=None):
        """Let it run."""
        self.calls.append("play")
        self._of(id).state, self.until = "running", until

    def pause(self, id):
        """Let it rest."""
        self._of(id).state = "paused"

    def step(self, id, n=1):
        """Train at once."""
        self._of(id).step(n)

    def reset(self, id, setup=None, points=None):
        """Begin anew."""
        old = self._of(id)
        self.sessions[id] = Session(old.setup, old.points)

    def replace(self, id, points):
        """Go on with other points."""
        state = self._of(id).state
        self._of(id).replace(points)
        self._of(id).state = state

    def poll(self, id, since=-1):
        """Ten steps, and the frame."""
        session = self._of(id)
        if session.state == "running":
            session.step(10)
            session.state = "finished" if session.steps >= self.until else "running"
        return session.frame()

    def close(self, id):
        """Forget it."""
        self.sessions.pop(id, None)


@pytest.fixture
def trainer(monkeypatch):
    made = Trainer()
    monkeypatch.setattr("lipviz.worker.shared", lambda: made)
    return made


@pytest.fixture
def open_page(trainer):
    def opened(**parameters):
        return pages.opened("playground", **parameters)

    return opened


def told(at):
    """What the picture was given."""
    found = [node for node in at.get("bidi_component") if "counter" in node.proto.json]
    return json.loads(found[0].proto.json)


def test_the_opening_is_a_stored_network_and_starts_no_process(open_page, trainer):
    at = open_page()
    live = at.session_state["pg_live"]
    assert live.stored and not live.running and not trainer.calls
    frame = live.nets[0].frame
    assert frame.step == trainings.STEPS and frame.clean > 0.98
    assert "stored example" in at.info[0].value.lower()
    assert len(at.button) >= 3 and not at.error and not at.warning


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_in_the_address(open_page, value):
    at = open_page(**{f"pg_{key}": value for key in KEYS})
    assert not at.error and at.session_state["pg_live"].nets


@pytest.mark.parametrize(
    "parameters",
    [
        {"pg_data": "spirals", "pg_layer": "AOL"},
        {"pg_with": "Plain"},
        {"pg_data": "blobs", "pg_classes": "3", "pg_with": "Cayley", "pg_width": "8"},
        {"pg_data": "square wave", "pg_gamma": "10", "pg_width": "8"},
        {"pg_layer": "Plain", "pg_view": "tightness", "pg_n": "50"},
    ],
)
def test_settings_show_a_picture_and_code(open_page, parameters):
    at = open_page(**parameters)
    live = at.session_state["pg_live"]
    assert not at.error and len(live.nets) == 1 + ("pg_with" in parameters)
    assert tables(at) and at.code


def test_a_training_stops_by_itself(open_page, trainer):
    at = open_page(pg_data="circles", pg_until="50", pg_width="8")
    assert trainer.calls == ["open", "play"]
    for _ in range(8):
        at.run()
    live = at.session_state["pg_live"]
    assert not live.running and live.nets[0].frame.step == 50
    steps = [row[0] for row in live.nets[0].history]
    assert steps == sorted(steps)


def called(monkeypatch, state, callback, live=None):
    """The state of a session after a callback, without a page."""
    session = {trainings.KEY: state, "pg_live": live}
    monkeypatch.setattr("streamlit.session_state", session)
    callback()
    return session


JUNK = [None, 3, "x", [], {}, [1], [1, 2, 3], ["a", "b"], [math.nan, 1], [1e308, -1e308], {"x": 1}, [[1], [2]]]
JUNK += [[1, math.inf], True]


@pytest.mark.parametrize("junk", JUNK)
def test_messages_made_up_by_hand_are_refused_quietly(monkeypatch, trainer, junk):
    net = trainings.stored(Setup())
    live = trainings.Live((), sample(*trainings.DEFAULT), [net], "s")
    points = live.points
    for name in ("probe", "eps", "view", "points", "act"):
        for callback in (ui_playground.take_numbers, trainings.take_points, trainings.act):
            session = called(monkeypatch, {name: junk}, callback, live)
            for key in ("pg_x", "pg_y", "pg_eps"):
                assert math.isfinite(session.get(key, 0.0)) and abs(session.get(key, 0.0)) <= 12
            assert session.get("pg_view", "radius") in ui_playground.VIEWS
    called(monkeypatch, junk, trainings.take_points, live)
    assert live.points is points and not trainer.calls


def test_the_probe_goes_into_the_address(monkeypatch):
    session = called(
        monkeypatch, {"probe": [0.12345678, -99.0], "eps": 0.12, "view": "radius"}, ui_playground.take_numbers
    )
    assert (session["pg_x"], session["pg_y"], session["pg_eps"]) == (0.1235, -12.0, 0.12)
    assert session["pg_view"] == "radius"


def test_points_of_the_picture_go_to_the_training(monkeypatch, trainer):
    live = trainings.Live(((Setup(),), ()), sample(*trainings.DEFAULT), [trainings.stored(Setup())], "s")
    trainings_points = {"x": [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], "y": [0, 1, 2], "classes": 3, "edit": 4}
    session = called(monkeypatch, {"points": trainings_points}, trainings.take_points, live)
    assert len(live.points.y) == 3 and live.edit == 4 and session["pg_data"] == "own" and live.again


def test_a_lost_training_is_said_and_started_again(open_page, trainer):
    at = open_page(pg_data="circles", pg_width="8")
    at.run()
    trainer.lost = True
    at.run()
    assert not at.exception and "started again" in at.warning[0].value
    assert trainer.calls == ["open", "play"] * 2
    at.run()
    assert at.session_state["pg_live"].nets[0].frame.step > 0


@pytest.mark.parametrize("chip", [0, 1, 2])
def test_chips_change_what_is_said_and_need_no_training(open_page, trainer, chip):
    at = open_page()
    before = at.info[0].value
    at.button(f"pg_try{chip}").click().run()
    assert not at.exception and not at.error and not trainer.calls
    assert chip == 0 or at.info[0].value != before
    if chip == 2:
        assert [net.setup.layer for net in at.session_state["pg_live"].nets] == ["sll", "plain"]
    if chip == 1:
        assert at.session_state["pg_live"].nets[0].frame.clean < 0.96


def test_the_table_says_what_certify_says(open_page):
    at = open_page(pg_with="Plain", pg_x="0.5", pg_y="-0.25")
    rows = tables(at)[0]
    for i, setup in enumerate(trainings.STORED_SETUPS[:2]):
        frame = trainings.stored(setup).frame
        expected = radii(frame.ops, np.array([[0.5, -0.25]]), frame.lipschitz)[0]
        assert rows["probe: certified radius"][i] == pytest.approx(expected, rel=1e-3)
    assert rows["certified bound"][1] > 5 > 1.5 > rows["certified bound"][0]


def test_a_table_of_points_is_uploaded(open_page):
    at = open_page()
    at.file_uploader("pg_file").upload("mine.csv", b"x,y,label\n0,0,a\n1,1,b\n0.5,1,c\n").run()
    assert not at.error and len(at.session_state["pg_live"].points.y) == 3
    at.file_uploader("pg_file").set_value(None).run()
    at.file_uploader("pg_file").upload("other.csv", b"x,y,label\n0,0,a\n1,1,b\n").run()
    assert not at.error and len(at.session_state["pg_live"].points.y) == 2, "another table takes its place"
    at = open_page()
    at.file_uploader("pg_file").upload("mine.csv", b"\xff\xfe\x00broken").run()
    assert not at.exception and "UTF" in at.error[0].value
    at = open_page()
    at.file_uploader("pg_file").upload("mine.csv", b"1;2\n").run()
    assert not at.exception and "3 columns" in at.error[0].value


def run(code, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    space = {}
    exec(code, space)
    return space, capsys.readouterr().out


@pytest.mark.parametrize("source", [{"name": "blobs", "classes": 3, "n": 60, "noise": 0.1, "seed": 1}, None])
def test_the_code_certifies_what_the_page_certifies(source, tmp_path, monkeypatch, capsys):
    points = sample(**source) if source else sample("moons", n=40)
    (tmp_path / "points.csv").write_text(to_csv(points))
    setup = Setup(layer="aol", width=8, depth=1)
    text = playground_words.code(setup, source, 30, (0.25, 0.5), 0.1)
    assert 10 <= text.count("\n") <= 22
    space, out = run(text, tmp_path, monkeypatch, capsys)
    session = Session(setup, points)
    session.step(30)
    frame = session.frame()
    expected = radii(frame.ops, np.array([[0.25, 0.5]]), frame.lipschitz)[0]
    assert space["radius"] == pytest.approx(expected, abs=1e-9) and f"{expected:.4f}" in out
    assert space["certified"] == pytest.approx(trainings.Net(setup, frame).share(points, 0.1))


def test_the_code_of_the_wave(tmp_path, monkeypatch, capsys):
    setup = Setup(layer="sll", width=8, depth=1, mode="wave", gamma=5.0)
    space, out = run(playground_words.code(setup, None, 20, (0.0, 0.0), 0.1), tmp_path, monkeypatch, capsys)
    assert space["frame"].bound == pytest.approx(5, rel=1e-6) and "tightness" in out


def test_what_ships_is_what_the_function_makes():
    kept = trainings._file()
    assert len(kept) == len(trainings.STORED_SETUPS)
    for setup in trainings.STORED_SETUPS:
        net = trainings.stored(setup)
        history = [row[0] for row in net.history]
        assert history == list(range(0, trainings.STEPS + 1, 20)) and net.frame.setup == setup
        right, radius = net.measured(sample(*trainings.DEFAULT))
        assert net.history[-1][1] == pytest.approx(right.mean(), abs=1e-3)
        assert net.history[-1][2][5] == pytest.approx((right & (radius >= trainings.LEVELS[5])).mean(), abs=4e-3)


def test_the_first_steps_of_what_ships_can_be_made_again():
    session = Session(Setup(), sample(*trainings.DEFAULT))
    session.step(20)
    net, points = trainings.Net(Setup(), session.frame()), sample(*trainings.DEFAULT)
    _, clean, shares = trainings.stored(Setup()).history[1]
    assert clean == pytest.approx(net.measured(points)[0].mean(), abs=0.03)
    assert shares == pytest.approx([net.share(points, level) for level in trainings.LEVELS], abs=0.03)


def test_the_circles_of_the_liar_are_false_and_the_proved_ones_are_not():
    """The lesson of the third suggestion: constant 1 is a lie for Plain, its bound is not."""
    frame, points = trainings.stored(Setup(layer="plain")).frame, sample(*trainings.DEFAULT)
    model = trainings._session(trainings.STORED_SETUPS.index(Setup(layer="plain"))).model.double()
    random = np.random.default_rng(0)
    x, claimed = points.x[:50], radii(frame.ops, points.x[:50], 1)
    proved = radii(frame.ops, x, frame.lipschitz)
    labels = model(torch.tensor(x)).argmax(1)
    angle, share = random.uniform(0, 2 * np.pi, (400, 50)), random.uniform(0, 1, (400, 50)) ** 0.5
    for radius, false in ((claimed, True), (proved, False)):
        step = (share * radius)[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        found = model(torch.tensor(x + 0.999 * step).flatten(0, 1)).argmax(1).reshape(400, 50)
        assert bool((found != labels).any()) == false


def test_what_to_notice_follows_the_picture():
    frame = trainings.stored(Setup()).frame
    said = {playground_words.notice(Setup(), [frame], [0.9], 0.2, stored) for stored in (True, False)}
    said.add(playground_words.notice(Setup(), [frame, frame], [0.9, 0.5], 0.2, True))
    plain = trainings.stored(Setup(layer="plain")).frame
    said.add(playground_words.notice(Setup(), [frame, plain], [0.9, 0.5], 0.2, True))
    assert len(said) == 4
