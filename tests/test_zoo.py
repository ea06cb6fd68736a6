"""The zoo: read from a file, trained within a budget, resumed, never twice."""

import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shipped import CHECKPOINTS, NAMES

from lipviz import runs, zoo
from lipviz.cli import main
from lipviz.compiled import Choice
from lipviz.train import Trainer
from lipviz.verify import verify

ROWS = ("aol", "sr", "spectral", "cpl", "sll", "cayley", "bro", "aoc", "soc", "sandwich", "plain")  # of the zoo
FILE = """
[tiny]
rows = ["aol", "cayley"]
notes = ["drawn by a test"]

[tiny.cpu]
seconds = 0.2
spec = { width = 12, depth = 1, dense_depth = 1, patch = 2, pool = 2 }
recipe = { batch = 16, lr = 0.01, held_out = 0.2 }
lr = { aol = 0.003 }

[[tiny.cpu.best]]
layer = "sll"
seconds = 0.4
spec = { width = 16 }
recipe = { offset = 0.2 }
"""


@pytest.fixture
def place(tmp_path):
    """A zoo file, and a data set of dark and bright images beside it."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 8)):
        for name, level in (("dark", 64), ("bright", 192)):
            folder = tmp_path / "data" / "tiny" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(level + 24 * rng.standard_normal((8, 8, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    (tmp_path / "zoo.toml").write_text(FILE)
    return tmp_path


def entry(place, name):
    return zoo.chosen(zoo.read(place / "zoo.toml"), [name])[0]


def test_the_file_is_read_in_its_order(place):
    aol, cayley, best = zoo.read(place / "zoo.toml")
    assert [e.name for e in (aol, cayley, best)] == ["tiny-aol", "tiny-cayley", "tiny-best"]
    assert (aol.recipe["lr"], cayley.recipe["lr"], aol.spec) == (0.003, 0.01, cayley.spec)
    assert (best.layer, best.seconds, best.spec["width"], best.spec["depth"]) == ("sll", 0.4, 16, 1)
    assert best.recipe == {**cayley.recipe, "offset": 0.2} and best.notes == ("drawn by a test",)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("tiny.cpu", "tiny.cuda", "no table for 'cpu'"),
        ("seconds = 0.2", "", r"\[tiny.cpu\] needs the key 'seconds'"),
        ("lr = {", "lrs = {", "key 'lrs', expected .*lr, "),
        ("notes =", "note =", "key 'note'"),
        ("layer =", "row =", "needs the key 'layer'"),
        ("spec = {", "spec = { widht = 3,", r"\[tiny.cpu.spec\] has the key 'widht', expected .*width"),
        ("recipe = {", "recipe = { bach = 3,", r"\[tiny.cpu.recipe\] has the key 'bach', expected .*batch"),
        ("recipe = {", "recipe = { seed = 3,", "has the key 'seed'"),
        ("recipe = {", "recipe = { epochs = 3,", "has the key 'epochs'"),
        ('"aol", "cayley"', '"aol", "caley"', "no layer is called 'caley', expected one of .*cayley"),
        ("{ aol =", "{ bro =", "names 'bro'"),
        ("[[tiny.cpu.best]]", "[tiny.cpu.best]", r"expected tables \[\[tiny.cpu.best\]\], got a single one"),
        ("[tiny]", "[tiny", "not a readable TOML file"),
    ],
)
def test_a_file_with_a_slip_is_refused(place, before, after, words):
    path = place / "zoo.toml"
    path.write_text(FILE.replace(before, after))
    with pytest.raises(ValueError, match=words):
        zoo.read(path)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_zoo_that_ships_lists_the_same_runs_for_both_devices(device):
    entries = zoo.read(CHECKPOINTS / "zoo.toml", device)
    other = zoo.read(CHECKPOINTS / "zoo.toml", "cpu")
    assert {(e.name, e.layer) for e in entries if "best" not in e.name} == {
        (f"{source}-{row}", row) for source in ("mnist", "cifar10") for row in ROWS
    }
    assert {e.name for e in entries} >= {f"{source}-best" for source in ("mnist", "cifar10")}
    assert {e.name for e in entries} == {e.name for e in other}
    for entry in entries:
        shape, pixels = ((3, 32, 32), 5) if entry.source == "cifar10" else ((1, 28, 28), 5)
        x, y = torch.zeros(pixels, *shape, dtype=torch.uint8), torch.zeros(pixels, dtype=torch.int64)
        noise = zoo.datasets.Data(entry.source, tuple(map(str, range(10))), x, y, x, y)
        assert entry.network(noise).layer == entry.layer and zoo.Recipe(**entry.recipe).temperature == 0.25
        if "best" not in entry.name:
            assert entry.recipe["offset"] == pytest.approx(2 * 2**0.5 * 36 / 255, abs=1e-5)
            assert entry.seconds <= {"cpu": 600, "cuda": 60}[device]


def test_a_gpu_trains_one_run_at_a_time(monkeypatch, place):
    asked = []

    class Pool:
        def __init__(self, workers, *_):
            asked.append(workers)
            raise ValueError

    monkeypatch.setattr(zoo, "ProcessPoolExecutor", Pool)
    for device in ("cuda", "cpu"):
        with pytest.raises(ValueError):
            list(zoo.train_all([], place, place, device, workers=3))
    assert asked == [1, 3]


def test_as_many_epochs_as_fit(place, monkeypatch):
    """A clock that says 0.6 s for 12 steps; an epoch has 4 steps of 16 images."""
    e = entry(place, "tiny-aol")
    data = zoo.datasets.load(place / "data" / "tiny")
    spec, recipe = e.network(data), zoo.Recipe(**e.recipe)
    for seconds, epochs in ((2.1, 10), (0.39, 1), (0.01, 1)):
        ticks = iter((5.0, 5.6))
        monkeypatch.setattr(zoo.time, "process_time", lambda ticks=ticks: next(ticks))
        assert zoo.fitting(spec, recipe, data, seconds) == (epochs, Choice())


def test_a_run_is_trained_once(place):
    run = zoo.train(entry(place, "tiny-aol"), place / "data", place)
    assert run.config["state"] == "finished" and run.config["data"]["notes"] == ["drawn by a test"]
    assert run.config["data"]["source"] == "tiny", "no path of this machine"
    assert run.config["recipe"]["epochs"] >= 1 and run.config["core_seconds"] > 0 and run.config["budget"] == 0.2
    written = (run.folder / "run.json").stat().st_mtime_ns
    again = zoo.train(entry(place, "tiny-aol"), place / "data", place)
    assert (again.folder / "run.json").stat().st_mtime_ns == written
    other = zoo.train(entry(place, "tiny-aol"), place / "data", place, seed=1)
    assert other.name == "tiny-aol-seed1" and other.config["recipe"]["seed"] == 1


def test_a_data_set_without_a_test_folder_is_split_with_the_seed_of_the_run(place):
    """As `verify`, `attack` and the gallery split it."""
    for path in (place / "data" / "tiny" / "test").rglob("*.png"):
        path.unlink()
    for path in (place / "data" / "tiny" / "train").iterdir():
        path.rename(place / "data" / "tiny" / path.name)
    for path in ("test/dark", "test/bright", "test", "train"):
        (place / "data" / "tiny" / path).rmdir()
    run = zoo.train(entry(place, "tiny-aol"), place / "data", place, seed=1)
    assert all(finding.holds for finding in verify(run, str(place / "data" / "tiny"), None))


@pytest.mark.parametrize("change", ["seconds = 0.2", "batch = 16", "depth = 1", "aol = 0.003"])
def test_a_run_of_another_protocol_is_not_taken_for_one_of_the_zoo(place, change):
    zoo.train(entry(place, "tiny-aol"), place / "data", place)
    name, _, value = change.partition(" = ")
    (place / "zoo.toml").write_text(
        FILE.replace(change, f"{name} = {2 * float(value) if '.' in value else 2 * int(value)}")
    )
    with pytest.raises(ValueError, match=r"tiny-aol was trained with \w+ .*another --out"):
        zoo.train(entry(place, "tiny-aol"), place / "data", place)


def test_it_goes_on_where_it_was_stopped(place, monkeypatch):
    monkeypatch.setattr(zoo, "fitting", lambda *_: (4, Choice()))
    whole = zoo.train(entry(place, "tiny-best"), place / "data", place / "whole")
    evaluate = Trainer.evaluate

    def interrupted(trainer, loss):
        row = evaluate(trainer, loss)
        if trainer.epoch == 2:
            raise KeyboardInterrupt
        return row

    monkeypatch.setattr(Trainer, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        zoo.train(entry(place, "tiny-best"), place / "data", place / "cut")
    assert runs.load(place / "cut" / "tiny-best").config["state"] == "stopped"
    monkeypatch.setattr(Trainer, "evaluate", evaluate)
    run = zoo.train(entry(place, "tiny-best"), place / "data", place / "cut")
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), whole.model.parameters(), strict=True))
    assert run.metrics["epoch"].tolist() == [0, 1, 2, 3, 4] and run.config["budget"] == 0.4


def test_one_command_trains_all_of_it(place, capsys):
    command = ["zoo", str(place / "zoo.toml"), "--data", str(place / "data"), "--device", "cpu", "--workers", "2"]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ("tiny-aol", "tiny-cayley", "tiny-best"))
    assert [run.name for run in runs.find(place)] == ["tiny-aol", "tiny-best", "tiny-cayley"]
    assert main([*command, "--only", "tiny-bro"]) == 2
    assert "no 'tiny-bro'" in capsys.readouterr().err


def test_a_run_that_fails_ends_all(place):
    """The first folder holds a run of another recipe; those that were to come have no folder."""
    zoo.train(entry(place, "tiny-aol"), place / "data", place)
    slow, *others = zoo.read(place / "zoo.toml")
    slow = zoo.changed(slow, ["batch=8"])
    with pytest.raises(ValueError, match=r"^tiny-aol: .*batch 16, the zoo asks for 8"):
        list(zoo.train_all([slow, *others], place / "data", place, seeds=(0, 1)))
    for worker in active_children():  # what would still be trained behind our back
        worker.join(60)
    assert sorted(path.name for path in place.iterdir()) == ["data", "tiny-aol", "zoo.toml"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux which processes there are")
def test_a_worker_ends_with_its_parent(tmp_path):
    """The parent is killed while its worker sleeps: nobody trains on for nobody."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "from lipviz.zoo import begin_worker\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPoolExecutor(1, get_context('spawn'), begin_worker, (1,))\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    pool.submit(time.sleep, 600).result()\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.kill()
    deadline = time.monotonic() + 60
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(worker)


def alive(pid):
    """Whether a process of that number runs; one that only waits to be fetched does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_change_is_tried_on_the_training_set_only(place, capsys, monkeypatch):
    tried = zoo.changed(entry(place, "tiny-aol"), ["lr=0.1", "depth=2", "flip=true"], 3.0)
    assert (tried.recipe["lr"], tried.recipe["flip"], tried.spec["depth"], tried.seconds) == (0.1, True, 2, 3.0)
    for slip in ("lr", "speed=3", "lr=fast", "seed=3", 'layer="sll"', "classes=3"):
        with pytest.raises(ValueError, match=r"expected NAME=VALUE such as lr=0\.003, with one of .*width"):
            zoo.changed(entry(place, "tiny-aol"), [slip])
    path = place / "tuning.csv"
    command = ["zoo", str(place / "zoo.toml"), "--data", str(place / "data"), "--device", "cpu", "--only", "tiny-aol"]
    for lr in ("0.01", "0.02"):
        assert main([*command, "--try", f"lr={lr}", "--csv", str(path)]) == 0
    rows = runs.read_csv(path)
    assert [row["tried"] for row in rows] == ["lr=0.01", "lr=0.02"] and rows[0]["images"] == "16"
    assert 0 <= float(rows[0]["certified_36"]) <= float(rows[0]["clean"]) <= 100
    assert not runs.find(place)
    monkeypatch.setattr(zoo, "fitting", lambda *_: (2, Choice()))
    one = zoo.attempt(entry(place, "tiny-aol"), place / "data")
    for path in (place / "data" / "tiny" / "test").rglob("*.png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    other = zoo.attempt(entry(place, "tiny-aol"), place / "data")
    assert {**one, "core_seconds": 0, "seconds": 0} == {**other, "core_seconds": 0, "seconds": 0}


def test_the_runs_that_ship_are_those_of_their_file():
    """Trained as it says: nothing would be trained anew, and no data is asked for."""
    entries = zoo.read(CHECKPOINTS / "zoo.toml")
    assert {entry.name for entry in entries} == set(NAMES) == {run.name for run in runs.find(CHECKPOINTS)}
    for entry in entries:
        assert zoo.train(entry, "nowhere", CHECKPOINTS).name == entry.name


def test_a_mean_of_the_file_is_that_of_its_run(place):
    """TOML has lists where a Spec keeps tuples, and the second call compares them."""
    path = place / "zoo.toml"
    path.write_text(FILE.replace("spec = { width = 12,", "spec = { mean = [0.4, 0.4, 0.5], width = 12,"))
    first = zoo.train(entry(place, "tiny-aol"), place / "data", place / "out")
    assert first.spec.mean == (0.4, 0.4, 0.5)
    assert zoo.train(entry(place, "tiny-aol"), place / "data", place / "out").config == first.config
