"""The trainings of one visitor of the playground: kept in the session state, run by the worker of the server.

The opening pictures are stored networks: no process is started before the first Play.
"""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import streamlit as st
import torch

from lipviz import ui, ui_canvas, worker
from lipviz.certify import Certifier
from lipviz.data import evenly
from lipviz.playground import Frame, Session, Setup, certifier, probe
from lipviz.points import Points, from_csv, from_message, sample

KEY = "pg_map"
STORED = ui_canvas.WEB / "playground.json.gz"
STEPS = 400  # of a stored network
DEFAULT = ("moons", 2, 300, 0.1, 0)
STORED_SETUPS = (Setup(), Setup(layer="plain"), Setup(margin=1.0))  # those of the opening and of the suggestions
LEVELS = [round(0.04 * k, 2) for k in range(26)]  # the eps at which the course of the training is kept
SPEEDS: dict[str, float | None] = {"slow": 10.0, "normal": 120.0, "fast": None}  # steps a second
MEASURED = 1000  # points behind a row of the history
ROWS = 150
FEW = 5  # steps of the button Step


@dataclass
class Net:
    """One of the trainings that a visitor looks at."""

    setup: Setup
    frame: Frame
    history: list[list[Any]] = field(default_factory=list)  # [step, clean, shares at LEVELS]
    id: str | None = None  # None: not in the worker, the stored example
    kept: tuple[Any, ...] = ()  # the last frame with its certifier; the last points with what was measured on them
    proof: tuple[Any, ...] = ()  # the certifier, the place, and what is proved there

    def certifier(self) -> Certifier:
        """The network of the frame, frozen and bounded; built once for a frame."""
        if not self.kept or self.kept[0] is not self.frame:
            self.kept = (self.frame, certifier(self.frame), None, None)
        return self.kept[1]

    def proved(self, place: tuple[float, float]) -> dict[str, Any]:
        """`playground.probe` at a place; once for a frame and a place."""
        known = self.certifier()
        if self.proof[:1] != (known,) or self.proof[1] != place:
            self.proof = (known, place, probe(self.frame, np.array(place), known))
        return self.proof[2]

    def measured(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """(whether it is right, certified radius) of evenly spaced points, at most MEASURED; once for a frame."""
        known = self.certifier()
        if self.kept[2] is not points:
            at = evenly(len(points.y), MEASURED)
            found = known(torch.from_numpy(points.x[at]))
            right = found.label.numpy() == points.y[at]
            self.kept = (self.frame, known, points, (right, found.radius.numpy()))
        return self.kept[3]

    def share(self, points: Points, eps: float) -> float:
        """Certified accuracy at eps."""
        right, radius = self.measured(points)
        return float((right & (radius > eps)).mean())


@dataclass
class Live:
    """What a visitor has on the page."""

    key: tuple[Any, ...]
    points: Points
    nets: list[Net]
    stamp: str
    edit: int = 0
    running: bool = False
    again: bool = False  # the whole page is to be drawn once more, not the fragment only
    said: str = ""

    @property
    def stored(self) -> bool:
        """Whether nothing was trained for this visitor yet."""
        return all(net.id is None for net in self.nets)


def live() -> Live | None:
    """The trainings of this visitor."""
    found = st.session_state.get("pg_live")
    return found if isinstance(found, Live) else None


def points_of(source: tuple[Any, ...]) -> Points:
    """The points of ("moons", classes, n, noise, seed), or the visitor's own."""
    if source[0] == "own":
        return st.session_state["pg_own"]
    if source[0] == "wave":
        return _sampled(*DEFAULT)  # not looked at
    return _sampled(*source)


@st.cache_data(max_entries=32, show_spinner=False)
def _sampled(name: str, classes: int, n: int, noise: float, seed: int) -> Points:
    return sample(name, classes, n, noise, seed)


def prepare(setups: Sequence[Setup], source: tuple[Any, ...]) -> Live:
    """The trainings of these settings: those there are, the stored example, or new ones that start at once."""
    now, key = live(), (tuple(setups), source)
    if now is not None and now.key == key:
        return now
    points = points_of(source)
    if now is not None:
        for net in now.nets:
            _close(net)
    example = source == DEFAULT and all(setup in STORED_SETUPS for setup in setups)
    nets = [stored(setup) if example else Net(setup, _first(setup, points)) for setup in setups]
    made = Live(
        key, points, nets, f"{source} {np.random.default_rng().integers(1 << 30) if source[0] == 'own' else ''}"
    )
    st.session_state["pg_live"] = made
    if not example:
        for net in made.nets:
            _note(net, points)
        start(made)
    return made


def _first(setup: Setup, points: Points) -> Frame:
    return Session(setup, None if setup.mode == "wave" else points).frame()


def start(now: Live) -> None:
    """Train, in the worker; what goes wrong is said on the page."""
    try:
        for net in now.nets:
            if net.id is None:
                net.id = worker.shared().open(net.setup, None if net.setup.mode == "wave" else now.points)
                net.history.clear()
            worker.shared().play(net.id, net.frame.step * bool(net.history) + _until(), SPEEDS[_speed()])
        now.running = True
    except ValueError as error:
        now.running, now.said = False, str(error)


def _until() -> int:
    return int(st.session_state.get("pg_until") or 800)


def _speed() -> str:
    speed = st.session_state.get("pg_speed", "normal")
    return speed if speed in SPEEDS else "normal"


def act() -> None:
    """A button of the picture was pressed."""
    now, what = live(), ui_canvas.sent(KEY, "act")
    if now is None or what not in ("play", "pause", "step", "reset"):
        return
    now.again, now.said = True, ""
    if what == "play":
        start(now)
        return
    try:
        if what == "pause":
            for net in now.nets:
                if net.id is not None:
                    worker.shared().pause(net.id)
            now.running = False
            return
        for net in now.nets:
            fresh = net.id is None
            net.id = net.id or worker.shared().open(net.setup, None if net.setup.mode == "wave" else now.points)
            if what == "reset":
                worker.shared().reset(net.id)
            else:
                worker.shared().step(net.id, FEW)
            if fresh or what == "reset":
                net.history.clear()
        now.running = False
        look(now, force=True)
    except ValueError as error:
        lost(now, str(error))


def look(now: Live, force: bool = False) -> None:
    """Fetch what the trainings have come to."""
    states = []
    for net in now.nets:
        if net.id is None:
            states.append("paused")
            continue
        frame = worker.shared().poll(net.id, -1 if force else net.frame.step)
        if frame is not None:
            if net.history and frame.step < net.history[-1][0]:
                net.history.clear()
            net.frame = frame
            _note(net, now.points)
        states.append(net.frame.state)
    if now.running and "running" not in states:
        now.running, now.again = False, True


def lost(now: Live, sentence: str) -> None:
    """The worker forgot a training: say so, and start it anew with the same settings."""
    again = now.running
    for net in now.nets:
        net.id = None
        net.history.clear()
    now.said, now.running, now.again = f"{sentence.partition(':')[0]}: it was started again.", False, True
    if again:
        start(now)


def _close(net: Net) -> None:
    if net.id is not None:
        try:
            worker.shared().close(net.id)
        except ValueError:
            return


def _note(net: Net, points: Points) -> None:
    """Put the moment into the history: how many points are right, and certified at each level."""
    if net.setup.mode == "wave":
        net.history.append([net.frame.step, 0.0, [0.0]])
    else:
        right, _ = net.measured(points)
        shares = [round(net.share(points, level), 3) for level in LEVELS]
        net.history.append([net.frame.step, round(float(right.mean()), 3), shares])
    if len(net.history) > ROWS:
        net.history[:] = [*net.history[:-1:2], net.history[-1]]


def take_points() -> None:
    """Points were added or removed in the picture: the training goes on with them."""
    now, message = live(), ui_canvas.sent(KEY, "points")
    points = from_message(message)
    if now is None or points is None or not isinstance(message, Mapping):
        return
    now.edit = int(ui_canvas.number(message.get("edit"), 0.0, 1e9) or 0)
    own(now, points)


def own(now: Live, points: Points) -> None:
    """These points from now on; the networks stay."""
    st.session_state["pg_own"], st.session_state["pg_data"] = points, "own"
    now.points, now.key, now.again = points, (now.key[0], ("own", 0)), True
    try:
        for net in now.nets:
            if net.id is not None:
                worker.shared().replace(net.id, points)
        if not now.running:
            look(now, force=True)
    except ValueError as error:
        lost(now, str(error))


def upload() -> None:
    """A table of points was chosen: a new start with them."""
    file = st.session_state.get("pg_file")
    if file is None:
        return
    with ui.remembered("pg_said"):
        try:
            text = file.getvalue().decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("the file is no text in UTF-8: save the table as CSV (UTF-8)") from None
        st.session_state["pg_own"], st.session_state["pg_data"] = from_csv(text), "own"
        if now := live():
            now.key = ()


def stored(setup: Setup) -> Net:
    """An example that ships, as a net of its own."""
    frame, history = _stored(STORED_SETUPS.index(setup))
    return Net(setup, frame, [list(row) for row in history])


@cache
def _stored(i: int) -> tuple[Frame, list[list[Any]]]:
    return _session(i).frame(), _file()[i]["history"]


def _session(i: int) -> Session:
    kept, session = _file()[i], Session(STORED_SETUPS[i], sample(*DEFAULT))
    with torch.no_grad():
        for name, p in session.model.named_parameters():
            raw = np.frombuffer(base64.b64decode(kept["weights"][name]), "<f4")
            p.copy_(torch.tensor(raw.reshape(p.shape)))
    session.steps, session.epoch = kept["steps"], kept["epoch"]
    return session


@cache
def _file() -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = json.loads(gzip.decompress(STORED.read_bytes()))
    return kept


def store() -> bytes:
    """The file of the examples: the weights after STEPS steps, and how they came there."""
    return gzip.compress(json.dumps([_trained(setup) for setup in STORED_SETUPS]).encode(), 9, mtime=0)


def _trained(setup: Setup) -> dict[str, Any]:
    points = sample(*DEFAULT)
    session = Session(setup, points)
    net = Net(setup, session.frame())
    _note(net, points)
    while session.steps < STEPS:
        session.step(20)
        net.frame = session.frame()
        _note(net, points)
    weights = {n: base64.b64encode(w.astype("<f4").tobytes()).decode() for n, w in net.frame.weights.items()}
    return {"steps": session.steps, "epoch": session.epoch, "weights": weights, "history": net.history}
