"""Trainings in turns: fairness, limits and time by a clock of our own; then a real process, which may die."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lipviz import turns
from lipviz.playground import Session, Setup
from lipviz.points import sample
from lipviz.turns import DROP, MOST, PAUSE, Room
from lipviz.worker import Worker, shared

SMALL, POINTS = Setup("aol", depth=1, width=4, batch=8), sample("moons", n=20)


class Clock:
    """Seconds that pass when told to, and `tick` at every look."""

    def __init__(self):
        self.now, self.tick = 0.0, 0.001

    def __call__(self):
        """The time."""
        self.now += self.tick
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def room(clock):
    return Room(clock)


def state(room, id):
    session = room.slots[id].session
    return session.steps, session.state


def test_two_sessions_train_in_turn(room, clock):
    a, b, c = (room.answer("open", SMALL, POINTS) for _ in range(3))
    assert len({a, b, c}) == 3 and len(a) >= 20
    room.answer("play", a, None, None), room.answer("play", b, None, None)
    clock.tick = turns.SLICE / 4.5  # so that a slice is some steps
    seen = []
    for _ in range(6):
        assert room.turn() == 0
        seen.append((state(room, a)[0], state(room, b)[0]))
    n = seen[0][0]
    assert 1 < n < 10 and seen == [(n, 0), (n, n), (2 * n, n), (2 * n, 2 * n), (3 * n, 2 * n), (3 * n, 3 * n)]
    assert state(room, c) == (0, "paused")


def test_nothing_to_train_is_waited_for(room):
    a = room.answer("open", SMALL, POINTS)
    assert room.turn() is None
    room.answer("play", a, None, None)
    assert room.turn(lambda: True) == 0 and state(room, a) == (1, "running"), "a command waits: one step"
    room.answer("pause", a)
    assert room.turn() is None and state(room, a) == (1, "paused")


def test_training_ends_where_it_was_asked_to(room):
    a = room.answer("open", SMALL, POINTS)
    room.answer("play", a, 7, None)
    while room.turn() == 0:
        pass
    frame = room.answer("poll", a, -1)
    assert (frame.step, frame.state) == (7, "finished") and "step 7" in frame.sentence
    room.answer("play", a, 5, None)
    assert state(room, a) == (7, "finished")
    room.answer("play", a, None, None)
    assert state(room, a) == (7, "running") and room.slots[a].session.sentence == ""


def test_a_speed_is_kept_and_not_saved_up(room, clock):
    clock.tick = 0.0
    a = room.answer("open", SMALL, POINTS)
    room.answer("play", a, None, 10.0)
    assert room.turn() == 0 and room.turn() == pytest.approx(0.1) and state(room, a)[0] == 1
    clock.now += 0.11
    assert room.turn() == 0 and room.turn() == pytest.approx(0.09) and state(room, a)[0] == 2
    clock.now += 50
    assert room.turn() == 0 and room.turn() > 0 and state(room, a)[0] == 4, "not 500 steps"


def test_steps_by_hand(room, clock):
    a = room.answer("open", SMALL, POINTS)
    room.answer("step", a, 3)
    assert state(room, a) == (3, "paused") and room.slots[a].session.sentence == ""
    clock.tick = 1.0  # every step takes longer than the patience of a visitor
    room.answer("step", a, 3)
    assert state(room, a) == (4, "running")
    assert room.turn() == 0 and room.turn() == 0 and state(room, a) == (6, "paused")


def test_a_poll_tells_only_what_is_new(room):
    a = room.answer("open", SMALL, POINTS)
    assert room.answer("poll", a, -1).step == 0 and room.answer("poll", a, 0) is None
    assert room.answer("poll", a, -1).step == 0, "asked again from the start"
    room.answer("play", a, None, None)
    assert room.answer("poll", a, 0).state == "running" and room.answer("poll", a, 0) is None
    room.turn()
    frame = room.answer("poll", a, 0)
    assert frame.step > 0
    room.answer("replace", a, sample("moons", n=5))
    assert room.answer("poll", a, frame.step).evaluated == 5
    assert room.answer("poll", a, frame.step) is None


def test_reset_begins_anew(room):
    a = room.answer("open", SMALL, POINTS)
    fresh = room.answer("poll", a, -1)
    room.answer("reset", a, Setup("sll", width=4), None)
    frame = room.answer("poll", a, 0)
    assert frame is not None and frame.setup.layer == "sll" and frame.evaluated == 20, "new though step 0 was seen"
    room.answer("step", a, 5)
    room.answer("reset", a, SMALL, sample("blobs", 3, 9))
    frame = room.answer("poll", a, 5)
    assert (frame.step, frame.state, frame.evaluated, frame.classes) == (0, "paused", 9, 3)
    room.answer("reset", a, None, POINTS)
    assert room.answer("poll", a, -1).ops == fresh.ops


def test_replacing_points_goes_on_training(room):
    a = room.answer("open", SMALL, POINTS)
    room.answer("play", a, None, None), room.turn()
    steps, _ = state(room, a)
    room.answer("replace", a, sample("circles", n=9))
    assert state(room, a) == (steps, "running")
    room.answer("replace", a, sample("circles", 3, 9))
    assert state(room, a) == (0, "running"), "another number of classes"


def test_what_nobody_looks_at_is_paused_and_then_forgotten(room, clock):
    a, b = (room.answer("open", SMALL, POINTS) for _ in range(2))
    room.answer("play", a, None, None), room.answer("play", b, None, None)
    clock.now += PAUSE - 1
    room.answer("poll", b, 0)
    clock.now += 2
    room.turn()
    assert [state(room, key)[1] for key in (a, b)] == ["paused", "running"]
    frame = room.answer("poll", a, 0)
    assert frame.state == "paused" and "nobody looked" in frame.sentence
    clock.now += DROP + 1
    with pytest.raises(ValueError, match="gone: press Reset"):
        room.answer("poll", a, -1)
    assert not room.slots


def test_a_full_server_says_so_and_makes_room_for_who_is_there(room, clock):
    first, *others = [room.answer("open", SMALL, POINTS) for _ in range(MOST)]
    with pytest.raises(ValueError, match="close a tab"):
        room.answer("open", SMALL, POINTS)
    clock.now += PAUSE + 1
    room.answer("poll", first, -1)
    new = room.answer("open", SMALL, POINTS)
    assert len(room.slots) == MOST and {first, new} <= set(room.slots) and others[0] not in room.slots
    room.answer("close", new), room.answer("close", new)
    assert len(room.slots) == MOST - 1


def test_one_that_breaks_does_not_end_the_others(room, monkeypatch, capsys):
    a, b = (room.answer("open", SMALL, POINTS) for _ in range(2))
    room.answer("play", a, None, None), room.answer("play", b, None, None)

    def broken(n):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(room.slots[a].session, "step", broken)
    room.turn(), room.turn()
    assert state(room, a) == (0, "paused") and state(room, b)[0] > 0
    assert "RuntimeError" in room.answer("poll", a, 0).sentence and "no such luck" in capsys.readouterr().err


def test_only_commands_are_answered(room):
    for name in ("slots", "_train", "turn", "answer", "train", "tidy"):  # the last two are _train and _tidy
        with pytest.raises(ValueError, match="unknown command"):
            room.answer(name, "x")
    for name in ("play", "pause", "step", "reset", "replace", "poll"):
        with pytest.raises(ValueError, match="gone"):
            room.answer(name, "x", None)


@pytest.fixture(scope="module")
def worker():
    worker = Worker()
    worker.open(SMALL, POINTS)  # without a process nothing would be asked, and every id be gone
    yield worker
    worker.stop()


def wait(worker, id, until):
    """The first frame that fits, within a minute."""
    for _ in range(600):
        frame = worker.poll(id)
        if until(frame):
            return frame
        time.sleep(0.1)
    raise AssertionError(f"still {frame.state} at step {frame.step}")


def test_the_process_trains_what_a_session_here_would(worker):
    ids = [worker.open(Setup("aol", depth=1, width=4, seed=seed), POINTS) for seed in (0, 1)]
    for id in ids:
        worker.play(id, 60)
    for seed, id in enumerate(ids):
        frame = wait(worker, id, lambda frame: frame.state == "finished")
        own = Session(Setup("aol", depth=1, width=4, seed=seed), POINTS)
        own.step(60)
        assert frame.step == 60 and frame.loss == pytest.approx(own.frame().loss, rel=1e-4)
        assert worker.poll(id, 60) is None
    worker.reset(ids[0], SMALL)
    worker.step(ids[0], 2)
    frame = worker.poll(ids[0])
    assert (frame.step, frame.state, frame.setup) == (2, "paused", SMALL)
    worker.play(ids[0], speed=0.01)
    wait(worker, ids[0], lambda frame: frame.step > 2)
    time.sleep(0.3)
    assert worker.poll(ids[0]).step == 3, "one step, and the next in 100 s"
    worker.play(ids[0], speed=1000)
    assert wait(worker, ids[0], lambda frame: frame.step > 5).steps_per_second > 0
    worker.pause(ids[0])
    stopped = worker.poll(ids[0])
    worker.replace(ids[0], sample("blobs", 2, 7))
    frame = worker.poll(ids[0], stopped.step)
    assert (frame.step, frame.state, frame.evaluated) == (stopped.step, "paused", 7)


def test_threads_get_their_own_answers(worker):
    ids = [worker.open(Setup("aol", depth=1, width=4, seed=seed), POINTS) for seed in range(4)]

    def ask(seed):
        for _ in range(10):
            worker.step(ids[seed])
            assert worker.poll(ids[seed]).setup.seed == seed
        return worker.poll(ids[seed]).step

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [10] * 4
    for id in ids:
        worker.close(id)
    with pytest.raises(ValueError, match="gone"):
        worker.poll(ids[0])


@pytest.mark.parametrize("id", ["", "x", "x" * 10_000, "\0", "../..", "__class__", "é" * 90])
def test_ids_made_up_by_hand_are_gone(worker, id):
    for ask in (worker.play, worker.pause, worker.step, worker.reset, worker.poll):
        with pytest.raises(ValueError, match="gone: press Reset"):
            ask(id)
    worker.close(id)


@pytest.mark.parametrize("id", [None, 3, [], {}, b"x"], ids=str)
def test_ids_of_another_kind_are_gone(worker, id):
    with pytest.raises(ValueError, match="gone: press Reset"):
        worker._ask("poll", id, -1)


def test_numbers_that_make_no_sense_are_refused_in_words(worker):
    id = worker.open(SMALL, POINTS)
    for change in ({"until": -1}, {"until": True}, {"speed": 0}, {"speed": -1.0}, {"speed": float("nan")}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} must be"):
            worker.play(id, **change)
    for n in (0, 1001, True):
        with pytest.raises(ValueError, match="from 1 to 1000"):
            worker.step(id, n)
    with pytest.raises(ValueError, match="needs points"):
        worker.open(Setup())


def test_a_reply_that_was_left_behind_is_not_the_next_one(worker):
    id = worker.open(SMALL, POINTS)
    worker._replies.put((0, True, "an answer to somebody who left"))
    assert worker.poll(id).step == 0


def test_a_dead_process_is_started_again_once(worker):
    id = worker.open(SMALL, POINTS)
    worker._process.kill()
    worker._process.wait()
    for _ in range(2):
        with pytest.raises(ValueError, match="was lost: press Reset"):
            worker.poll(id)
    with pytest.raises(ValueError, match="is gone"):
        worker.poll("x")
    new = worker.open(SMALL, POINTS)
    assert worker.poll(new).step == 0
    worker._process.kill()
    with pytest.raises(ValueError, match="was lost"):
        worker.poll(new)
    with pytest.raises(ValueError, match="twice within a minute"):
        worker.open(SMALL, POINTS)


ORPHAN = """
import os, signal
from lipviz.playground import Setup
from lipviz.points import sample
from lipviz.worker import Worker
worker = Worker()
worker.play(worker.open(Setup("aol", depth=1, width=4), sample("moons", n=20)))
print(worker._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_the_process_ends_with_a_server_that_is_killed():
    # the standard error of the server is also that of its process: it is read to the end only once both have ended
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, timeout=60, check=False)
    assert done.stdout.strip().isdigit() and done.returncode == -9 and done.stderr == b""


def test_there_is_one_worker():
    assert shared() is shared()
