"""Many trainings in one process: commands to them, and their training in turns."""

import secrets
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lipviz.playground import Frame, Session, Setup
from lipviz.points import Points

MOST = 64  # sessions
SLICE = 0.02  # seconds that one session trains before the next, or a command, has its turn
PAUSE = 60.0  # seconds after which a session that nobody looks at stops training
DROP = 1800.0  # seconds after which it is forgotten

GONE = "This training is gone: press Reset to start it again."
FULL = f"The server trains {MOST} networks already: close a tab that you do not need, or try again in a minute."
IDLE = "Paused, since nobody looked at it for a minute: press Play to go on."


@dataclass
class _Slot:
    """A session, and how it is driven."""

    session: Session
    seen: float  # when a command named it last
    until: int | None = None
    then: str = "finished"  # the state once `until` is reached
    speed: float | None = None  # steps a second, at most
    credit: float = 0.0  # steps that `speed` allows now
    counted: float = 0.0  # when the credit was counted last
    sent: tuple[int, int, str] | None = None  # what the last frame showed


class Room:
    """The sessions of one process: `answer` a command, or train for one `turn`.

    Args:
        clock: seconds; tests have one of their own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.slots: OrderedDict[str, _Slot] = OrderedDict()  # the next to train first

    def answer(self, name: str, *arguments: Any) -> object:  # noqa: ANN401
        """Do a command of `Worker` and return what it returns; raises ValueError in words."""
        self._tidy()
        if name not in ("open", "play", "pause", "step", "reset", "replace", "poll", "close"):
            raise ValueError(f"unknown command {name!r}")
        if name in ("open", "close"):
            return getattr(self, f"_{name}")(*arguments)
        slot = self.slots.get(arguments[0])
        if slot is None:
            raise ValueError(GONE)
        slot.seen = self.clock()
        return getattr(self, f"_{name}")(slot, *arguments[1:])

    def _tidy(self) -> None:
        """Pause what nobody looks at, and forget it after a while."""
        now = self.clock()
        for key, slot in list(self.slots.items()):
            if now - slot.seen > DROP:
                del self.slots[key]
            elif now - slot.seen > PAUSE and slot.session.state == "running":
                slot.session.state, slot.session.sentence = "paused", IDLE

    def _open(self, setup: Setup, points: Points | None) -> str:
        if len(self.slots) >= MOST:  # of those that nobody looks at, the oldest makes room
            key = min(self.slots, key=lambda k: self.slots[k].seen)
            if self.clock() - self.slots[key].seen <= PAUSE:
                raise ValueError(FULL)
            del self.slots[key]
        key = secrets.token_urlsafe(16)
        self.slots[key] = _Slot(Session(setup, points), self.clock())
        return key

    def _close(self, key: str) -> None:
        self.slots.pop(key, None)

    def _play(self, slot: _Slot, until: int | None, speed: float | None) -> None:
        slot.until, slot.then, slot.speed, slot.credit, slot.counted = until, "finished", speed, 1.0, self.clock()
        self._set(slot, "running")
        self._check(slot)

    def _pause(self, slot: _Slot) -> None:
        self._set(slot, "paused")

    def _step(self, slot: _Slot, n: int) -> None:
        """What fits into two slices at once, the rest in turns."""
        self._play(slot, slot.session.steps + n, None)
        slot.then = "paused"
        self._train(slot, 2 * SLICE, n, lambda: False)

    def _reset(self, slot: _Slot, setup: Setup | None, points: Points | None) -> None:
        version = slot.session.version
        slot.session = Session(setup or slot.session.setup, points or slot.session.points)
        slot.session.version += version  # so that a poll sees that it is another

    def _replace(self, slot: _Slot, points: Points) -> None:
        state = slot.session.state
        slot.session.replace(points)
        if state == "running":  # another number of classes begins anew
            slot.session.state = state

    def _poll(self, slot: _Slot, since: int) -> Frame | None:
        session = slot.session
        if session.steps == since and slot.sent == (session.steps, session.version, session.state):
            return None
        frame = session.frame()
        slot.sent = (session.steps, session.version, session.state)
        return frame

    def _set(self, slot: _Slot, state: str) -> None:
        if slot.session.state != "diverged":
            slot.session.state, slot.session.sentence = state, ""

    def _check(self, slot: _Slot) -> None:
        session = slot.session
        if slot.until is not None and session.steps >= slot.until and session.state == "running":
            session.state = slot.then
            session.sentence = f"Stopped after step {session.steps}, as asked." if slot.then == "finished" else ""

    def turn(self, interrupted: Callable[[], bool] = lambda: False) -> float | None:
        """Train the session whose turn it is for one slice.

        Returns:
            Seconds until another can train: 0 for at once, None where none is running.
        """
        self._tidy()
        waits = []
        for key, slot in list(self.slots.items()):
            if slot.session.state != "running":
                continue
            allowed = self._allowed(slot)
            if allowed >= 1:
                self.slots.move_to_end(key)
                self._train(slot, SLICE, int(allowed), interrupted)
                return 0.0
            assert slot.speed is not None
            waits.append((1 - slot.credit) / slot.speed)
        return min(waits, default=None)

    def _allowed(self, slot: _Slot) -> float:
        """Steps that the speed allows now; what is not used is not saved up for long."""
        if slot.speed is None:
            return 1e9
        now = self.clock()
        most = 1 + 0.1 * slot.speed
        slot.credit = min(most, slot.credit + slot.speed * (now - slot.counted))
        slot.counted = now
        return slot.credit

    def _train(self, slot: _Slot, seconds: float, most: int, interrupted: Callable[[], bool]) -> None:
        """At least one step, then more until the time is up, a command waits, or `most` are done."""
        session, end = slot.session, self.clock() + seconds
        try:
            for _ in range(most):
                if session.state != "running":
                    break
                session.step(1)
                slot.credit -= 1
                self._check(slot)
                if self.clock() >= end or interrupted():
                    break
        except Exception as error:  # one session must not end the others
            traceback.print_exc()
            session.state, session.sentence = "paused", f"Training stopped ({type(error).__name__}): press Reset."
