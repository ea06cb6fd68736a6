"""The picture first: on a visitor's first view of a page, all that is not the picture waits until it has been drawn.

A browser draws together what reaches it together, and Streamlit's page then shows nothing new for half a second if any
part of it needs a script that it has not loaded yet (React 18 holds such parts back). So the title and the first
picture go out alone, and the rest follows PAUSE later, in its order. Until then an empty element keeps each place.

    with ahead.picture_first("discs"):      # the shell, around the page
        with ahead.now():                   # a picture
            ...

Streamlit has no call for this: the messages of a run are taken from its context. Where a later Streamlit has no such
context, everything is sent as it comes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock, Timer
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

if TYPE_CHECKING:
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

PAUSE = 0.3  # seconds that a browser gets to draw the picture
PATIENCE = 0.5  # seconds that a page gets to come to its picture
SEEN = "ahead_seen"
# containers that need no script of their own
PLAIN = ("block vertical", "block horizontal", "block flex_container", "block column")


class Waiting:
    """The messages of one run: those of the title and of the first picture are sent, all others held back."""

    def __init__(self, send: Callable[["ForwardMsg"], None]) -> None:
        self.send = send
        self.held: list[ForwardMsg] = []
        self.placed: set[tuple[int, ...]] = set()  # where something stands already, if only an empty element
        self.picture = False  # whether what is sent now is one
        self.drawn_at: float | None = None  # when the first one will have been drawn
        self.released = False
        self._lock = RLock()  # a spinner comes from a thread of its own

    def __call__(self, message: "ForwardMsg") -> None:
        """Send a message or keep it."""
        with self._lock:
            kind = _kind(message)
            if kind == "wait":  # something takes long: what is there already must be seen
                self.release()
            if self.released or not kind:
                self.send(message)
            elif self.drawn_at is None and (self.picture or kind == "heading"):
                self._make_room(_path(message))
                self.send(message)
            else:
                self.held.append(message)

    def _make_room(self, place: tuple[int, ...]) -> None:
        """Send the containers around this place and those beside them, and an empty element for all else there."""
        kept: list[ForwardMsg] = []
        for message in self.held:
            path, kind = _path(message), _kind(message)
            around = kind.startswith("block") and place[: len(path)] == path
            beside = place[: len(path) - 1] == path[:-1]
            if around or (beside and kind in PLAIN):
                kept = [older for older in kept if _path(older)[: len(path)] != path]  # what stood there before it
                self.send(message)
            else:
                kept.append(message)
                if beside and path not in self.placed:
                    self.send(_empty(message))
            if around or beside:
                self.placed.add(path)
        self.held = [message for message in kept if _path(message) != place]
        self.placed.add(place)

    def lose_patience(self) -> None:
        """Release what is held if there is no picture yet."""
        with self._lock:
            if self.drawn_at is None:
                self.release()

    def release(self) -> None:
        """Send what was held, in its order, and hold nothing from now on."""
        with self._lock:
            self.released = True
            held, self.held = self.held, []  # first: a visitor may have left, and what is old is not for the next page
            for message in held:
                self.send(message)


_waiting: ContextVar[Waiting | None] = ContextVar("waiting", default=None)


@contextmanager
def picture_first(page: str) -> Iterator[None]:
    """Hold back all but the title and the first picture on the first view of this page in a session."""
    context: Any = get_script_run_ctx()
    seen = st.session_state.setdefault(SEEN, set())
    if page in seen or not hasattr(context, "_enqueue"):
        yield
        return
    seen.add(page)
    send = context._enqueue
    waiting = context._enqueue = Waiting(send)
    token = _waiting.set(waiting)
    patience = _after(PATIENCE, waiting.lose_patience)
    try:
        yield
    finally:
        patience.cancel()
        if waiting.drawn_at is not None:
            time.sleep(max(0.0, waiting.drawn_at - time.monotonic()))
        context._enqueue = send
        _waiting.reset(token)
        waiting.release()


@contextmanager
def now() -> Iterator[None]:
    """What is sent in here is a picture: the first one does not wait."""
    waiting = _waiting.get()
    if waiting is None or waiting.drawn_at is not None:
        yield
        return
    waiting.picture = True
    try:
        yield
    finally:
        waiting.picture, waiting.drawn_at = False, time.monotonic() + PAUSE
        _after(PAUSE, waiting.release)  # the rest of the page may take longer than that


def stop() -> None:
    """End the page here, with all that it has shown so far: after st.stop nothing more can be sent."""
    waiting = _waiting.get()
    if waiting is not None:
        waiting.release()
    st.stop()


def _after(seconds: float, call: Callable[[], None]) -> Timer:
    """Call this later, in a thread that does not keep the server from ending."""
    timer = Timer(seconds, call)
    timer.daemon = True
    timer.start()
    return timer


def _kind(message: "ForwardMsg") -> str:
    """The type of the element or container in a message, "wait" for a spinner, "" for what is no part of the page."""
    kind = message.WhichOneof("type")
    if kind != "delta":
        return "kept" if kind == "ref_hash" else ""  # the browser has kept that element
    if message.delta.HasField("new_element"):
        return str(message.delta.new_element.WhichOneof("type"))
    if message.delta.HasField("add_block"):
        return f"block {message.delta.add_block.WhichOneof('type')}"
    return "wait" if message.delta.WhichOneof("type") == "new_transient" else "other"


def _path(message: "ForwardMsg") -> tuple[int, ...]:
    """The place of a message on the page."""
    return tuple(message.metadata.delta_path)


def _empty(message: "ForwardMsg") -> "ForwardMsg":
    """An empty element for the place of this one: a page has no gaps."""
    empty = type(message)()
    empty.metadata.CopyFrom(message.metadata)
    empty.metadata.cacheable = False
    empty.delta.new_element.empty.SetInParent()
    return empty
