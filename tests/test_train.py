"""Training: resume reaches the same state, an interrupt leaves a run that loads, a kill loses little."""

import math
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import lipviz
from lipviz import data, runs
from lipviz.certify import Certifier
from lipviz.layers import LAYERS
from lipviz.provenance import revision
from lipviz.recipes import Recipe, default_recipe, default_spec, learning_rate, offset_cross_entropy
from lipviz.train import Trainer, alone, train

RECIPE = Recipe(epochs=4, batch=64, held_out=0.2)


def small(seed=0):
    return data.toy("moons", n=320, seed=seed)


def tiny_images(seed=0):
    """Bright and dark images, with noise: for the rows that are convolutions only."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (160,), generator=g)
    x = (96 + 64 * y[:, None, None, None] + 32 * torch.randn(160, 1, 8, 8, generator=g)).clamp(0, 255).to(torch.uint8)
    return data.Data("tiny", ("dark", "bright"), x[:120], y[:120], x[120:], y[120:])


def weights(run):
    return run.model.state_dict()


def equal(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


class Stop(Exception):
    """Raised by a test in the middle of training."""


def run_until(folder, epoch, error, layer="sll"):
    source = small()
    trainer = Trainer(folder, default_spec(source, layer, 8), RECIPE, source, "cpu", "moons")

    def after(trainer):
        if trainer.epoch == epoch:
            raise error

    with pytest.raises(type(error) if isinstance(error, BaseException) else error):
        trainer.run(show=False, after=after)
    return runs.load(folder)


@pytest.mark.parametrize("row", LAYERS)
def test_every_row_trains_and_writes_a_whole_run(row, tmp_path):
    source = small() if LAYERS[row].dense else tiny_images()
    run = train(tmp_path / row, "moons", data=source, spec=default_spec(source, row, 8), recipe=RECIPE, show=False)
    assert run.config["state"] == "finished" and "pid" not in run.config
    assert run.metrics["epoch"].tolist() == [0, 1, 2, 3, 4]
    assert run.metrics["train_loss"][-1] < run.metrics["train_loss"][1]
    found = run.certificates
    assert len(found.index) == len(source.y_test) and found.label.tolist() == source.y_test.tolist()
    assert run.config["results"]["accuracy"] == pytest.approx(found.accuracy())
    assert run.config["results"]["certified"]["36"] == pytest.approx(found.accuracy(36 / 255))
    assert run.spectra["epoch"].tolist() == [0, 1, 2, 3, 4]
    assert not list(run.folder.glob("*.part"))


def test_two_runs_of_one_seed_are_equal_and_another_seed_differs(tmp_path):
    source = small()
    spec = default_spec(source, "aol", 8)
    a, b = (train(tmp_path / n, "moons", data=source, spec=spec, recipe=RECIPE, show=False) for n in "ab")
    c = train(tmp_path / "c", "moons", data=source, spec=spec, recipe=Recipe(epochs=4, batch=64, seed=1), show=False)
    assert equal(weights(a), weights(b)) and not equal(weights(a), weights(c))


def test_images_are_augmented_from_the_generator(tmp_path):
    source = data.digits()
    spec, recipe = default_spec(source, "aol", 64), Recipe(epochs=1, batch=256, pad=1, flip=True)
    a, b = (train(tmp_path / n, "digits", data=source, spec=spec, recipe=recipe, show=False) for n in "ab")
    plain = train(tmp_path / "c", "digits", data=source, spec=spec, recipe=Recipe(epochs=1, batch=256), show=False)
    assert equal(weights(a), weights(b)) and not equal(weights(a), weights(plain))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Stop()], ids=["interrupt", "failure"])
def test_resume_reaches_the_state_of_a_run_without_the_stop(tmp_path, error):
    whole = train(tmp_path / "whole", "moons", "sll", data=small(), spec=default_spec(small(), "sll", 8), recipe=RECIPE,
                  device="cpu", show=False)  # fmt: skip
    stopped = run_until(tmp_path / "cut", 2, error)
    assert stopped.config["state"] == ("stopped" if isinstance(error, KeyboardInterrupt) else "failed")
    assert stopped.model is not None and stopped.certificates is None
    resumed = train(tmp_path / "cut", "moons", data=small(), resume=True, device="cpu", show=False)
    assert equal(weights(whole), weights(resumed))
    assert np.array_equal(whole.certificates.radius, resumed.certificates.radius)
    assert resumed.metrics["epoch"].tolist() == [0, 1, 2, 3, 4]
    columns = [k for k in whole.metrics if "second" not in k]
    assert all(np.array_equal(whole.metrics[k], resumed.metrics[k], equal_nan=True) for k in columns)
    assert all(np.array_equal(whole.spectra[k], resumed.spectra[k]) for k in whole.spectra)


def test_a_run_stopped_before_cores_were_counted_goes_on(tmp_path):
    stopped = run_until(tmp_path / "cut", 2, Stop())
    path = stopped.folder / "resume.safetensors"
    stored = runs.read_tensors(path)
    runs.write_tensors(path, {**stored, "progress": stored["progress"][:2]})
    assert train(stopped.folder, "moons", data=small(), resume=True, device="cpu", show=False).config["epoch"] == 4


def test_a_run_goes_on_in_the_precision_it_was_begun_in(tmp_path):
    stopped = run_until(tmp_path / "cut", 2, KeyboardInterrupt())
    runs.write_json(stopped.folder / "run.json", {**stopped.config, "precision": "bfloat16"})
    resumed = train(stopped.folder, "moons", data=small(), resume=True, device="cpu", show=False)
    assert (stopped.config["precision"], resumed.config["precision"]) == ("float32", "bfloat16")


def test_a_run_does_not_go_on_on_another_kind_of_device(tmp_path):
    """A generator on a GPU has a state of 16 bytes."""
    stopped = run_until(tmp_path / "cut", 2, KeyboardInterrupt())
    path = stopped.folder / "resume.safetensors"
    runs.write_tensors(path, runs.read_tensors(path) | {"generator": torch.zeros(16, dtype=torch.uint8)})
    with pytest.raises(ValueError, match=r"cannot go on on a CPU, .*: use --device cuda"):
        train(stopped.folder, "moons", data=small(), resume=True, device="cpu", show=False)


def test_a_folder_is_trained_in_by_one(tmp_path):
    """The second one, be it new or resumed, changes no byte; afterwards no lock is left."""
    stopped = run_until(tmp_path / "cut", 2, KeyboardInterrupt())
    assert not (stopped.folder / "train.lock").exists()
    before = {path.name: path.read_bytes() for path in stopped.folder.iterdir()}
    with alone(stopped.folder):
        for resume in (True, False):
            with pytest.raises(ValueError, match=r"cut is being trained already: wait for its end, or"):
                train(stopped.folder, "moons", "aol", data=small(), recipe=RECIPE, resume=resume, device="cpu",
                      show=False)  # fmt: skip
        (stopped.folder / "train.lock").unlink()
        assert before == {path.name: path.read_bytes() for path in stopped.folder.iterdir()}
    finished = train(stopped.folder, "moons", data=small(), resume=True, device="cpu", show=False)
    assert finished.config["state"] == "finished" and not (stopped.folder / "train.lock").exists()


def test_resume_survives_a_kill_between_two_files(tmp_path):
    """weights and metrics may be one evaluation ahead of resume.safetensors, which decides."""
    stopped = run_until(tmp_path / "cut", 2, Stop())
    older = (stopped.folder / "resume.safetensors").read_bytes()
    run_until(tmp_path / "cut2", 3, Stop())
    ahead = tmp_path / "cut2"
    (ahead / "resume.safetensors").write_bytes(older)
    resumed = train(ahead, "moons", data=small(), resume=True, device="cpu", show=False)
    whole = train(tmp_path / "w", "moons", data=small(), spec=resumed.spec, recipe=RECIPE, device="cpu", show=False)
    assert equal(weights(whole), weights(resumed)) and len(resumed.metrics["epoch"]) == 5


def test_control_c_leaves_a_run_that_loads(tmp_path):
    folder = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "lipviz",
        "train",
        "moons",
        "--layer",
        "aol",
        "--epochs",
        "100000",
        "--out",
        folder,
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (folder / "metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors
    run = runs.load(folder)
    assert run.config["state"] == "stopped" and run.model is not None


def test_a_loss_that_is_not_finite_ends_in_a_sentence(tmp_path):
    source = small()
    recipe = Recipe(epochs=3, batch=64, lr=1e30)
    with pytest.raises(FloatingPointError, match="learning rate"):
        train(tmp_path / "run", "moons", data=source, spec=default_spec(source, "plain", 8), recipe=recipe, show=False)
    assert runs.load(tmp_path / "run").config["state"] == "failed"


def test_offset_cross_entropy_by_hand():
    s, y = torch.tensor([[1.0, 0.5, -2.0]]), torch.tensor([0])
    u, t = 0.4, 0.25
    p = [math.exp(v / t) for v in (1.0 - u, 0.5, -2.0)]
    assert float(offset_cross_entropy(s, y, u, t)) == pytest.approx(-t * math.log(p[0] / sum(p)), rel=1e-5)
    assert float(offset_cross_entropy(s, y, 0.8, 1e-4)) == pytest.approx(0.3, abs=1e-3)


def test_a_focus_asks_less_of_inputs_that_are_right():
    s, y = torch.tensor([[1.0, 0.5, -2.0], [0.0, 2.0, 0.0]], dtype=torch.float64), torch.tensor([0, 1])
    u, t, beta = 0.5, 0.75, 5.0
    by_hand = 0.0
    for row, own in zip(s.tolist(), y.tolist(), strict=True):
        powers = [math.exp((v - u * (j == own)) / t) for j, v in enumerate(row)]
        p = powers[own] / sum(powers)
        by_hand -= t * (1 - p) ** beta * math.log(p) / 2
    assert float(offset_cross_entropy(s, y, u, t, beta)) == pytest.approx(by_hand, rel=1e-12)
    far = torch.tensor([[400.0, 0.0, 0.0]], requires_grad=True)
    loss = offset_cross_entropy(far, y[:1], u, t, 1.0)
    loss.backward()
    assert float(loss.detach()) == 0 and torch.equal(far.grad, torch.zeros(1, 3))


@pytest.mark.parametrize("focus,u,t,expected", [(0.0, math.sqrt(2), 0.25, [1.054, 1.051, 1.032, 0.949, 0.489]),
                                                (5.0, 2.0, 0.75, [1.196, 1.269, 1.349, 1.386, 1.277])])  # fmt: skip
def test_how_hard_the_losses_pull(focus, u, t, expected):
    """l2 norm of the gradient over ten logits, nine of them equal and m below: of AOL's loss and of logit annealing."""
    found = []
    for m in (0.0, 0.5, 1.0, math.sqrt(2), 2.0):
        s = torch.tensor([[m, *[0.0] * 9]], dtype=torch.float64, requires_grad=True)
        offset_cross_entropy(s, torch.tensor([0]), u, t, focus).backward()
        found.append(float(s.grad.norm()))
    assert found == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("start", ["orthogonal", "identity", "gaussian"])
def test_weights_start_as_asked(tmp_path, start):
    source = small()
    spec = default_spec(source, "sll", 8)
    given = Trainer(tmp_path / "a", spec, Recipe(start=start), source, "cpu").model
    W, other = (
        given[3].weight,
        Trainer(tmp_path / "b", spec, Recipe(seed=1, start=start), source, "cpu").model[3].weight,
    )
    assert (start == "identity") == torch.equal(W, other) == torch.equal(W, torch.eye(8))
    assert (start == "gaussian") == ((W.T @ W - torch.eye(8)).abs().max() > 0.1)
    assert Certifier(given, spec.input_shape).bound.value <= 1 + 1e-6


def test_a_start_that_the_layers_cannot_have_is_refused(tmp_path):
    source = small()
    with pytest.raises(ValueError, match="only layers that a rule scales"):
        Trainer(tmp_path / "a", default_spec(source, "cayley", 8), Recipe(start="gaussian"), source, "cpu")


@pytest.mark.parametrize("rise", [0.3, 0.1])
def test_the_schedule_rises_and_falls_to_zero(rise):
    rates = [learning_rate(i, 100, 1.0, rise) for i in range(101)]
    assert max(rates) == 1 and rates[100] == 0 and rates.index(1) == 100 * rise and all(r > 0 for r in rates[:100])
    assert learning_rate(0, 1, 1.0) > 0


def test_held_out_images_are_no_test_images(tmp_path):
    source = small()
    trainer = Trainer(tmp_path / "run", default_spec(source, "aol", 8), RECIPE, source, "cpu")
    pool = {tuple(row) for row in source.x.tolist()}
    assert all(tuple(row) in pool for row in trainer.held_out[0].tolist())
    assert not {tuple(r) for r in trainer.held_out[0].tolist()} & {tuple(r) for r in trainer.x.tolist()}


@pytest.mark.parametrize(
    "values,words",
    [({"epochs": 0}, "epochs"), ({"lr": -1.0}, "lr"), ({"temperature": 0.0}, "temperature"),
     ({"offset": math.nan}, "offset"), ({"held_out": 1.0}, "held_out"), ({"batch": True}, "batch"),
     ({"focus": 0.5}, "focus must be 0"), ({"rise": 0.0}, "rise"), ({"start": "zero"}, "orthogonal, identity")],
)  # fmt: skip
def test_a_recipe_that_cannot_be_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        Recipe(**values)


@pytest.mark.parametrize("call,words", [
    (lambda f: train(f, "moons", show=False), "give a layer"),
    (lambda f: train(f, "nowhere", "aol", show=False), "moons"),
    (lambda f: train(f, "moons", "aol", device="tpu", show=False), "device"),
    (lambda f: train(f, "moons", resume=True, show=False), "no run.json"),
])  # fmt: skip
def test_arguments_that_do_not_fit_are_refused_in_words(call, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        call(tmp_path / "run")


@pytest.mark.parametrize(
    "shape,patch,pool", [((3, 32, 32), 4, 4), ((1, 28, 28), 7, 2), ((3, 64, 64), 4, 8), ((1, 17, 17), 1, 17)]
)
def test_default_networks_fit_their_images(shape, patch, pool):
    x = torch.zeros(4, *shape, dtype=torch.uint8)
    source = data.Data("images", ("a", "b"), x, torch.zeros(4, dtype=torch.int64), x, torch.zeros(4, dtype=torch.int64))
    spec = default_spec(source, "sll")
    assert (spec.patch, spec.pool) == (patch, pool)
    assert default_recipe(source).flip == (shape[0] == 3)


def test_held_out_images_are_of_every_class(tmp_path, monkeypatch):
    """Folders come sorted by class: the first of the held-out images would all be of the first classes."""
    monkeypatch.setattr(sys.modules["lipviz.train"], "HELD_OUT", 30)
    x = torch.arange(3000.0).view(-1, 1).repeat(1, 2)
    y = torch.arange(3000) // 300
    source = data.Data("sorted", tuple(map(str, range(10))), x, y, x[:10], y[:10])
    trainer = Trainer(tmp_path / "run", default_spec(source, "aol", 8), RECIPE, source, "cpu")
    assert torch.bincount(trainer.held_out[1], minlength=10).tolist() == [3] * 10


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_a_run_names_the_code_that_trained_it(tiny_run, tmp_path, monkeypatch):
    assert tiny_run.config["versions"]["lipviz"] == revision()
    version, ask = lipviz.__version__, revision.__wrapped__  # it is asked once a process
    monkeypatch.setattr(sys.modules[revision.__module__], "__file__", str(tmp_path / "lipviz" / "train.py"))
    assert ask() == version
    (tmp_path / "file").write_text("a")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    assert ask() == f"{version} at {head[:12]}"
    (tmp_path / "file").write_text("b")
    assert ask() == f"{version} at {head[:12]} with changes"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask() == version
