"""Background jobs: they run, wait, stop, resume and leave; nobody else's process or folder is ever touched."""

import io
import json
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from lipviz import jobs, jobs_words, runs

DEADLINE = 50


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder for runs; whatever still runs in it at the end is stopped and waited for."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("LIPVIZ_READONLY", raising=False)
    yield tmp_path / "runs"
    for child in jobs._children.values():
        child.kill()
        child.wait(20)
    jobs._children.clear()


def wait(folder, *wanted):
    """Poll until the run is in one of the states; fail with its log otherwise."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        run = runs.load(folder)
        if jobs.state(run) in wanted:
            return run
        time.sleep(0.05)
    log = folder / "log.txt"
    raise AssertionError(f"{folder.name} is {jobs.state(run)}, not {wanted}: {log.read_text()[-800:]}")


def stored(root, name, **changes):
    """A run folder as some process may have left it."""
    folder = root / name
    folder.mkdir(parents=True)
    spec = {"layer": "aol", "kind": "mlp", "input_shape": [2], "classes": 2, "width": 4}
    config = {"state": "finished", "spec": spec, "data": {"name": "moons"}, "recipe": {"epochs": 3}, **changes}
    runs.write_json(folder / "run.json", config)
    return runs.load(folder)


def test_two_runs_stop_resume_finish_in_turn(root):
    first = jobs.start(root, "moons", "aol", epochs=400, width=8)
    second = jobs.start(root, "moons", "aol", epochs=2, width=8)
    assert second.name == "moons-aol-2"
    assert jobs.active(runs.load(first)) and jobs.active(runs.load(second))
    with pytest.raises(ValueError, match="stop it first"):
        jobs.delete(root, runs.load(second))

    wait(first, "running")
    assert [run.name for run in jobs.line(root)] == [second.name], "one trains, the other waits"
    assert [run.name for run in jobs.listing(root)] == [first.name, second.name]
    while len(runs.load(first).metrics.get("epoch", ())) < 2:
        time.sleep(0.05)
    jobs.stop(runs.load(first))
    run = wait(first, "stopped")
    assert 0 < run.config["epoch"] < 400
    done = wait(second, "finished")
    assert done.config["results"]["test_images"] == 1000
    assert "finished" in jobs_words.told(done) and jobs_words.facts(done)[0][1] == "2 / 2"

    # the rest would take a while: shorten it, which a resume takes from run.json
    short = {**run.config["recipe"], "epochs": run.config["epoch"] + 2}
    runs.write_json(first / "run.json", {**run.config, "recipe": short})
    jobs.resume(runs.load(first))
    again = wait(first, "finished")
    assert again.config["epoch"] == short["epochs"]
    assert list(again.metrics["epoch"][: len(run.metrics["epoch"])]) == list(run.metrics["epoch"])
    with pytest.raises(ValueError, match="finished"):
        jobs.resume(again)
    with pytest.raises(ValueError, match="nothing to stop"):
        jobs.stop(again)

    with zipfile.ZipFile(io.BytesIO(jobs.archive(again))) as packed:
        names = set(packed.namelist())
    assert {"moons-aol/run.json", "moons-aol/weights.safetensors", "moons-aol/certificates.csv"} <= names
    assert not any("resume" in name or "job" in name for name in names)
    jobs.delete(root, again)
    assert not first.exists() and second.exists()


def test_killed_process_reads_as_interrupted(root):
    folder = jobs.start(root, "moons", "aol", epochs=400, width=8)
    wait(folder, "running")
    child = jobs._children[folder.resolve()]
    child.kill()
    child.wait(20)
    run = runs.load(folder)
    assert run.config["state"] == "running"
    assert jobs.state(run) == "interrupted"


def test_run_that_cannot_train_fails_in_words(root):
    run = stored(root, "odd", state="interrupted", data={"name": "gone", "source": "/nowhere/gone.zip"})
    jobs.resume(run)
    failed = wait(run.folder, "failed")
    assert "gone.zip" in failed.config["error"]
    assert "failed" in jobs_words.told(failed)


def test_foreign_process_is_never_touched(root):
    foreign = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        run = stored(root, "old", state="running", pid=foreign.pid)
        assert jobs.state(run) == "interrupted"
        with pytest.raises(ValueError, match="nothing to stop"):
            jobs.stop(run)
        jobs.delete(root, run)
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait(20)


@pytest.mark.parametrize("pid", ["abc", None, -1, 10**12])
def test_nonsense_process_number(root, pid):
    assert jobs.state(stored(root, "odd", state="queued", pid=pid)) == "interrupted"


@pytest.mark.parametrize("job", [False, True], ids=["command line", "a job resumed there"])
def test_command_line_run_is_seen_and_left_alone(root, job):
    """Whatever its command line is: a worker of the zoo has no word of lipviz in it."""
    run = stored(root, "cli", state="running")
    if job:
        runs.write_json(run.folder / "job.json", {"asked": 0.0, "device": "cpu"})
    hold = "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire()"
    command = [sys.executable, "-c", f"{hold}; print(flush=True); time.sleep(60)", str(run.folder / "train.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as outside:
        try:
            outside.stdout.readline()
            assert jobs.state(run) == "running"
            if not job:
                with pytest.raises(ValueError, match="command line"):
                    jobs.stop(run)
            with pytest.raises(ValueError, match="is running: only"):
                jobs.resume(run)
            with pytest.raises(ValueError, match="still runs"):
                jobs.delete(root, run)
        finally:
            outside.kill()
            outside.wait(20)
    assert (run.folder / "train.lock").exists() and jobs.state(run) == "interrupted", "a killed one lets go"


def test_only_runs_of_this_folder_are_deleted(root, monkeypatch):
    elsewhere = stored(root.parent / "shipped", "moons-aol")
    root.mkdir()
    with pytest.raises(ValueError, match="it stays"):
        jobs.delete(root, elsewhere)
    (root / "link").symlink_to(elsewhere.folder)
    with pytest.raises(ValueError, match="it stays"):
        jobs.delete(root, runs.load(root / "link"))
    monkeypatch.setattr(jobs, "CHECKPOINTS", (root.parent / "shipped").resolve())
    with pytest.raises(ValueError, match="it stays"):
        jobs.delete(root.parent / "shipped", elsewhere)
    assert (elsewhere.folder / "run.json").exists()


def test_readonly_refuses_everything(root, monkeypatch):
    run = stored(root, "moons-aol", state="stopped")
    monkeypatch.setenv("LIPVIZ_READONLY", "1")
    actions = [
        lambda: jobs.start(root, "moons", "aol"),
        lambda: jobs.stop(run),
        lambda: jobs.resume(run),
        lambda: jobs.delete(root, run),
        lambda: jobs.store_upload(root, "a.zip", b""),
    ]
    for action in actions:
        with pytest.raises(ValueError, match="read-only"):
            action()
    assert [path.name for path in root.iterdir()] == ["moons-aol"]


def test_line_has_an_end(root, monkeypatch):
    monkeypatch.setattr(jobs, "QUEUE", 0)
    with pytest.raises(ValueError, match="limit"):
        jobs.start(root, "moons", "aol")
    assert not root.exists() or not list(root.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "epochs must lie"),
        ({"width": 9999}, "width must lie"),
        ({"seed": -1}, "seed must lie"),
        ({"layer": "nope"}, "layer must be one of"),
        ({"source": "nope"}, "nope"),
        ({"width": 7}, "even"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_wrong_arguments_leave_nothing_behind(root, options, words):
    with pytest.raises(ValueError, match=words):
        jobs.start(**{"root": root, "source": "moons", "layer": "aol", **options})
    assert not root.exists() or not list(root.iterdir())


def test_upload_is_kept_once_and_leaves_with_its_run(root):
    content = pictures()
    path = jobs.store_upload(root, "../My Photos.zip", content)
    assert path == jobs.store_upload(root, "my photos.zip", content)
    assert path.name == "my-photos.zip" and path.is_relative_to(root.resolve() / "uploads")
    config = jobs._config(path, "aol", 1, 64, "cpu", 0)
    assert config["data"]["classes"] == ["dark", "light"] and config["spec"]["kind"] == "mlp"
    run = stored(root, "my-photos-aol", data=config["data"])
    jobs.delete(root, run)
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"PICTURES": 3}, "holds more than 3 files"),
        ({"UNPACKED": 10}, "once unpacked: pack fewer"),
        ({"UPLOADS": 10}, "fill"),
        ({}, "not a zip"),
    ],
)
def test_uploads_have_limits(root, monkeypatch, change, words):
    for name, value in change.items():
        monkeypatch.setattr(jobs, name, value)
    with pytest.raises(ValueError, match=words):
        jobs.store_upload(root, "a.zip", pictures() if change else b"PK\x03\x04 no")


def test_estimate_only_from_what_was_measured(root):
    run = stored(root, "moons-aol", epoch=10, train_seconds=20.0, hardware="a machine")
    assert jobs_words.estimate([run], "moons", "aol", 4, 30).startswith("About 1 min: moons-aol took 20 s")
    assert jobs_words.estimate([run], "moons", "sll", 4, 30) == ""
    assert jobs_words.estimate([stored(root, "empty")], "moons", "aol", 4, 30) == ""


def test_broken_job_file(root):
    run = stored(root, "odd", state="queued")
    for text in ("", "[]", json.dumps({"asked": 0})):
        (run.folder / "job.json").write_text(text)
        assert jobs.state(run) == "interrupted"


def pictures():
    """A zip of two classes of four small pictures."""
    packed, random = io.BytesIO(), np.random.default_rng(0)
    with zipfile.ZipFile(packed, "w") as file:
        for name, low in (("dark", 0), ("light", 128)):
            for i in range(4):
                picture = io.BytesIO()
                Image.fromarray(random.integers(low, low + 128, (8, 8), dtype=np.uint8)).save(picture, "PNG")
                file.writestr(f"{name}/{i}.png", picture.getvalue())
    return packed.getvalue()
