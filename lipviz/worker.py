"""One process for all live trainings of a server: it steps them in turns and answers commands in between.

The server starts `python -m lipviz.worker` with the first training and talks to it over its standard input and
output. (Not multiprocessing: its child would import the main module of the server, which under streamlit is a page.)
When the server ends, however it ends, the input closes and the process ends too.
"""

import atexit
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from lipviz.playground import Frame, Setup
from lipviz.points import Points
from lipviz.turns import GONE, Room

PATIENCE = 60.0  # seconds until a process that does not answer counts as dead; the first answer waits for torch
KNOWN = 1000  # ids that are remembered, to tell a lost training from one that never was

LOST = "The process that trains stopped and this training was lost: press Reset to start it again."
TWICE = "The process that trains stopped twice within a minute: try again in a minute."


_Reply = tuple[int, bool, object]  # number of the command, whether it was done, what it returns or the sentence


class Worker:
    """The training process of a server. Every method may be called from any thread, and raises ValueError in words."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._replies: queue.SimpleQueue[_Reply | None] = queue.SimpleQueue()
        self._number = 0
        self._known: deque[str] = deque(maxlen=KNOWN)
        self._lost: frozenset[str] = frozenset()
        self._deaths: deque[float] = deque(maxlen=2)

    def open(self, setup: Setup, points: Points | None = None) -> str:
        """Start a training, paused at step 0, and return its id, which nobody can guess."""
        return str(self._ask("open", setup, points))

    def play(self, id: str, until: int | None = None, speed: float | int | None = None) -> None:
        """Train, up to the step `until`, at most `speed` steps a second."""
        if until is not None and (isinstance(until, bool) or not isinstance(until, int) or until < 0):
            raise ValueError(f"until must be a step, 0 or more, or None, got {until!r}")
        if speed is not None and not (isinstance(speed, int | float) and 0 < speed < float("inf")):
            raise ValueError(f"speed must be a positive number of steps a second, or None, got {speed!r}")
        self._ask("play", id, until, None if speed is None else float(speed))

    def pause(self, id: str) -> None:
        """Stop training until the next `play` or `step`."""
        self._ask("pause", id)

    def step(self, id: str, n: int = 1) -> None:
        """Train n steps, then pause."""
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 1000:
            raise ValueError(f"n must be a whole number from 1 to 1000, got {n!r}")
        self._ask("step", id, n)

    def reset(self, id: str, setup: Setup | None = None, points: Points | None = None) -> None:
        """Begin anew, paused at step 0, with another setup or other points where given."""
        self._ask("reset", id, setup, points)

    def replace(self, id: str, points: Points) -> None:
        """Go on with other points; the weights stay unless the number of classes changes."""
        self._ask("replace", id, points)

    def poll(self, id: str, since: int = -1) -> Frame | None:
        """The training as it is now; None where it has not changed since the frame of step `since`."""
        frame = self._ask("poll", id, since)
        assert frame is None or isinstance(frame, Frame)
        return frame

    def close(self, id: str) -> None:
        """Forget a training; of one that is gone already nothing is said."""
        with suppress(ValueError):
            self._ask("close", id)

    def stop(self) -> None:
        """End the process and all trainings in it."""
        with self._lock:
            self._bury()

    def _ask(self, name: str, *arguments: Any) -> object:  # noqa: ANN401
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self._died()
            if name != "open":
                self._expect(arguments[0])
            if self._process is None:
                self._start()
            reply = self._exchange(name, *arguments)
            if reply is None:
                self._died()
                raise ValueError(LOST)
            good, value = reply
            if name == "open" and good:
                self._known.append(str(value))
        if not good:
            raise ValueError(value)
        return value

    def _expect(self, id: object) -> None:
        """Refuse what cannot be the id of a training, without a word to the process."""
        if isinstance(id, str) and id in self._lost:
            raise ValueError(LOST)
        if not isinstance(id, str) or len(id) > 100 or self._process is None:
            raise ValueError(GONE)

    def _exchange(self, *command: Any) -> tuple[bool, object] | None:  # noqa: ANN401
        """The reply of the process, None where it died or does not answer; commands and replies are numbered."""
        assert self._process is not None and self._process.stdin is not None
        self._number += 1
        data = pickle.dumps((self._number, *command))
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
            while True:
                reply = self._replies.get(timeout=PATIENCE)
                if reply is None:
                    return None
                number, good, value = reply
                if number == self._number:  # not one that an interrupted thread left behind
                    return good, value
        except (OSError, queue.Empty):
            return None

    def _start(self) -> None:
        if sum(time.monotonic() - death < 60 for death in self._deaths) >= 2:
            raise ValueError(TWICE)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lipviz.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parent.parent,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self._replies = queue.SimpleQueue()
        assert self._process.stdout is not None
        threading.Thread(target=_collect, args=(self._process.stdout, self._replies), daemon=True).start()

    def _died(self) -> None:
        self._deaths.append(time.monotonic())
        self._lost = frozenset(self._known)
        self._bury()

    def _bury(self) -> None:
        process, self._process = self._process, None
        self._known.clear()
        if process is None:
            return
        process.kill()
        process.wait()
        assert process.stdin is not None
        with suppress(OSError):  # what was not sent yet
            process.stdin.close()


def _collect(stream: IO[bytes], replies: "queue.SimpleQueue[_Reply | None]") -> None:
    """Put every reply of the process into the queue, and None at its end."""
    with stream:
        while True:
            try:
                replies.put(pickle.load(stream))
            except (EOFError, OSError, ValueError, pickle.UnpicklingError):
                replies.put(None)
                return


_shared: Worker | None = None
_guard = threading.Lock()


def shared() -> Worker:
    """The worker of this process, made with the first call; it ends with the process."""
    global _shared  # noqa: PLW0603
    with _guard:
        if _shared is None:
            _shared = Worker()
            atexit.register(_shared.stop)
        return _shared


def _serve(commands: IO[bytes], replies: IO[bytes]) -> None:
    """Answer commands, and train while there are none; ends the process when the commands end."""
    inbox: queue.SimpleQueue[tuple] = queue.SimpleQueue()

    def read() -> None:
        while True:
            try:
                inbox.put(pickle.load(commands))
            except BaseException:  # the server is gone
                os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    room, wait = Room(), None
    while True:
        try:
            command = inbox.get(timeout=wait) if wait != 0 else inbox.get_nowait()
        except queue.Empty:
            wait = room.turn(lambda: not inbox.empty())
            continue
        pickle.dump(_reply(room, *command), replies)
        replies.flush()
        wait = 0


def _reply(room: Room, number: int, *command: Any) -> _Reply:  # noqa: ANN401
    try:
        return number, True, room.answer(*command)
    except ValueError as error:
        return number, False, str(error)
    except Exception as error:  # a sentence for one visitor, not the end for all
        traceback.print_exc()
        return number, False, f"This could not be done ({type(error).__name__}): press Reset."


def main() -> None:
    """Serve the parent process."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, whose end ends this process
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no reply
    _serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
