"""Visitors without a browser: they speak the websocket protocol of Streamlit, and say how long a tick takes."""

import asyncio
import json
import socket
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from lipviz.bench_app import Row, Server, cpu_seconds, memory, pages, row, worker

PATIENCE = 60.0  # seconds for the end of a run
TRAINERS = 2
PICTURE = "lipviz_playground"  # the component that has the Play button
EARLY = ForwardMsg.FINISHED_EARLY_FOR_RERUN


def percentile(values: Sequence[float], q: float | int) -> float:
    """Linear between the values.

    >>> percentile([1.0, 2.0, 3.0], 50)
    2.0
    """
    return float(np.percentile(values, q))


def asked(frames: Iterable[bytes]) -> dict[str, int]:
    """What a page sent to the server, counted: reruns that were asked for, reruns of a timer, everything else."""
    found = {"rerun": 0, "timer": 0, "other": 0}
    for frame in frames:
        message = BackMsg()
        message.ParseFromString(frame)
        if message.WhichOneof("type") != "rerun_script":
            found["other"] += 1
        else:
            found["timer" if message.rerun_script.is_auto_rerun else "rerun"] += 1
    return found


@dataclass
class Seen:
    """What a visitor has been told so far.

    Attributes:
        timers: fragments that refresh themselves, and every how many seconds.
        buttons: id of each button, by its label.
        pictures: id of each component, by its name.
        fragments: in which each of these is drawn, by its id; "" for the page itself.
        hashes: of messages that the server need not send again.
        script: hash of the page.
        errors: exceptions and pages that were not found.
    """

    timers: dict[str, float] = field(default_factory=dict)
    buttons: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)
    fragments: dict[str, str] = field(default_factory=dict)
    hashes: set[str] = field(default_factory=set)
    script: str = ""
    errors: list[str] = field(default_factory=list)

    def take(self, message: ForwardMsg) -> bool:
        """Note one message; True where it ends a run after which no other follows by itself."""
        if message.metadata.cacheable and message.hash:
            self.hashes.add(message.hash)
        kind = message.WhichOneof("type")
        if kind == "new_session":
            if not message.metadata.run.fragment_ids:
                self.timers.clear()
        elif kind == "auto_rerun":
            self.timers[message.auto_rerun.fragment_id] = message.auto_rerun.interval
        elif kind == "stop_auto_rerun":
            for fragment in message.stop_auto_rerun.fragment_ids:
                self.timers.pop(fragment, None)
        elif kind == "navigation":  # a new session names the entry script, only this the page
            self.script = message.navigation.page_script_hash
        elif kind == "page_not_found":
            self.errors.append("page not found")
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self._element(message.delta.new_element, message.delta.fragment_id)
        return kind == "script_finished" and message.script_finished != EARLY

    def _element(self, element: Any, fragment: str) -> None:  # noqa: ANN401
        kind = element.WhichOneof("type")
        if kind in ("button", "bidi_component"):
            self.fragments[getattr(element, kind).id] = fragment
        if kind == "button":
            self.buttons[element.button.label] = element.button.id
        elif kind == "bidi_component":
            self.pictures[element.bidi_component.component_name] = element.bidi_component.id
        elif kind == "exception":
            self.errors.append(element.exception.message)
        elif kind == "alert" and "Something went wrong" in element.alert.body:
            self.errors.append(element.alert.body)

    def drawn(self) -> str:
        """The fragment of the first picture that has one; "" for the page itself."""
        return next((self.fragments[id] for id in self.pictures.values() if self.fragments[id]), "")

    def play(self) -> tuple[WidgetState, str] | None:
        """What the browser sends when Play is pressed, and the fragment it asks for; None where there is no Play."""
        for name, id in self.pictures.items():
            if name.endswith(PICTURE):
                event = json.dumps([{"event": "act", "value": "play"}])
                state = WidgetState(id=f"$$STREAMLIT_INTERNAL_KEY_{id}__events", json_trigger_value=event)
                return state, self.fragments[id]
        for label, id in self.buttons.items():
            if "play" in label.lower():
                return WidgetState(id=id, trigger_value=True), self.fragments[id]
        return None


class Visitor:
    """One open tab.

    Args:
        address: of the server.
        page: which page, "" for the landing page.
    """

    def __init__(self, address: str, page: str) -> None:
        self.address, self.page, self.seen = address, page, Seen()
        self.trains = False
        self.ticks: list[float] = []

    async def open(self) -> float:
        """Connect and run the page; returns the seconds of the run."""
        at = urlsplit(self.address)
        sock = socket.create_connection((at.hostname, at.port), timeout=10)  # with a socket no proxy is asked
        sock.setblocking(False)
        url = f"ws://{at.netloc}/_stcore/stream"
        self.line = await connect(url, sock=sock, subprotocols=["streamlit"], max_size=None, ping_interval=None)  # type: ignore[list-item]
        return await self.rerun()

    async def close(self) -> None:
        """Close the tab."""
        await self.line.close()

    async def rerun(self, pressed: WidgetState | None = None, fragment: str = "", timer: bool = False) -> float:
        """Ask for a run, of one fragment where it is given, and wait for its end; returns the seconds."""
        message = BackMsg()
        state = message.rerun_script
        state.fragment_id, state.is_auto_rerun = fragment, timer
        state.page_script_hash, state.page_name = self.seen.script, "" if self.seen.script else self.page
        state.widget_states.widgets.extend([] if pressed is None else [pressed])
        state.cached_message_hashes.extend(self.seen.hashes)
        state.context_info.url = f"{self.address}/{self.page}"
        state.context_info.timezone, state.context_info.locale, state.context_info.color_scheme = "UTC", "en", "light"
        start = time.perf_counter()
        await self.line.send(message.SerializeToString())
        async with asyncio.timeout(PATIENCE):
            while not self.seen.take(_parsed(await self.line.recv())):
                pass
        return time.perf_counter() - start

    async def play(self) -> None:
        """Press Play, where the page has it."""
        pressed = self.seen.play()
        if pressed is not None:
            await self.rerun(*pressed)
            self.trains = True

    async def tick(self) -> None:
        """What the tab of a visitor does each second: its timer, or what letting go of the picture asks for."""
        pressed = self.seen.play() if self.trains and not self.seen.timers else None  # it came to an end: once more
        if pressed is not None:
            await self.rerun(*pressed)
        else:
            fragment = next(iter(self.seen.timers), "")
            await self.rerun(None, fragment or self.seen.drawn(), bool(fragment))

    async def stay(self, start: float, seconds: float) -> None:
        """Tick once a second from `start` on; a tick that is late counts from when it was due."""
        for k in range(int(seconds)):
            due = start + k
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if time.perf_counter() > start + seconds + 5:
                return
            try:
                await self.tick()
            except (TimeoutError, ConnectionClosed) as error:
                self.seen.errors.append(f"a tick that did not end: {error or 'too late'}")
                return
            self.ticks.append(time.perf_counter() - due)


def _parsed(frame: str | bytes) -> ForwardMsg:
    message = ForwardMsg()
    message.ParseFromString(frame if isinstance(frame, bytes) else frame.encode())
    return message


def ticks(server: Server, clients: int, seconds: float | int, page: str = "playground") -> list[Row]:
    """`clients` visitors on one page, two of them training: what a tick takes, and what the processes hold."""
    if page not in pages():
        return [row("tick", page, "this page does not exist yet: nothing was measured")]
    return asyncio.run(_ticks(server, clients, float(seconds), page))


async def _ticks(server: Server, clients: int, seconds: float, page: str) -> list[Row]:
    visitors = [Visitor(server.address, page) for _ in range(clients)]
    opened = [await visitor.open() for visitor in visitors]
    for visitor in visitors[:TRAINERS]:
        await visitor.play()
    trained, held = worker(server.pid), [memory(server.pid) or 0.0]
    processes = {"server": server.pid} | ({"worker": trained} if trained else {})
    before = {name: cpu_seconds(pid) for name, pid in processes.items()}
    start = time.perf_counter() + 0.1
    stays = [v.stay(start + i / clients, seconds) for i, v in enumerate(visitors)]
    watching = asyncio.create_task(_watch(server.pid, held))
    await asyncio.gather(*stays)
    watching.cancel()
    passed = time.perf_counter() - start
    refreshing = sum(bool(v.seen.timers) for v in visitors)
    playing = sum(v.trains for v in visitors)
    errors = [error for v in visitors for error in v.seen.errors]
    words = f"{clients} clients, {playing} training, {refreshing} refreshing by themselves"
    done = [t for v in visitors for t in v.ticks]
    missed = clients * int(seconds) - len(done)
    late = f"; {missed} more were due, and the time was over" if missed else ""
    rows = [row(f"tick, all: {words}", page, summary(done) + late, "150 ms")]
    for name, chosen in (("training", True), ("watching", False)):
        found = [t for v in visitors if v.trains == chosen for t in v.ticks]
        rows += [row(f"tick, those {name}", page, summary(found))] if found and playing else []
    rows.append(
        row("first run of the page, one client after the other", page, f"{1e3 * statistics.median(opened):.0f} ms")
    )
    rows.append(row("memory with all clients, highest", "server", f"{max(held):.0f} MB", "500 MB"))
    if trained:
        rows.append(row("memory with all clients", "worker", f"{memory(trained) or 0:.0f} MB"))
    for name, pid in processes.items():
        used, earlier = cpu_seconds(pid), before[name]
        if used is not None and earlier is not None:
            rows.append(row("cores in use with all clients", name, f"{(used - earlier) / passed:.2f}"))
    if errors:
        rows.append(
            row("errors with all clients", page, f"{len(errors)}, the first: {' '.join(errors[0].split())[:100]}")
        )
    for visitor in visitors:
        await visitor.close()
    return rows


async def _watch(pid: int, held: list[float]) -> None:
    while True:
        await asyncio.sleep(1)
        held.append(memory(pid) or 0.0)


def summary(seconds: Sequence[float]) -> str:
    """Median and 95th percentile in words.

    >>> summary([0.1, 0.1, 0.2])
    'median 100 ms, 95th percentile 190 ms, longest 200 ms, of 3'
    """
    if not seconds:
        return "no tick came to its end"
    middle, high = (1e3 * percentile(seconds, q) for q in (50, 95))
    return (
        f"median {middle:.0f} ms, 95th percentile {high:.0f} ms, longest {1e3 * max(seconds):.0f} ms, of {len(seconds)}"
    )
