"""The way of a training step to a GPU, as far as a CPU can tell: nothing waits, one graph, the faster of two ways."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from tqdm import tqdm

from lipviz import compiled, data, operators, runs
from lipviz.isometries import MaxMin
from lipviz.layers import LAYERS
from lipviz.networks import Spec, build
from lipviz.recipes import Recipe
from lipviz.step import Step
from lipviz.train import Trainer, train

# what a GPU answers only when all before it is done; shapes that hang on values, and errors that are looked for
WAITS = {
    "_local_scalar_dense", "is_nonzero", "nonzero", "equal", "allclose", "masked_select", "_linalg_check_errors",
    "unique_consecutive", "_unique2", "unique_dim", "bincount", "repeat_interleave", "_assert_scalar", "histc",
}  # fmt: skip


class Waits(TorchDispatchMode):
    """Counts the operations that make the host wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        self.found[name] += name in WAITS or by_mask
        return func(*args, **(kwargs or {}))


def images(n=96):
    """Noise in two classes."""
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, 1, 8, 8), generator=g, dtype=torch.uint8)
    y = torch.randint(0, 2, (n,), generator=g)
    return data.Data("noise", ("a", "b"), x, y, x[:8], y[:8])


def spec_of(row):
    kind = "convnet" if LAYERS[row].conv else "mlp"
    sizes = {"depth": 1, "patch": 2, "pool": 2} if kind == "convnet" else {}
    return Spec(row, kind, (1, 8, 8), 2, 8 if sizes else 64, dense_depth=1, **sizes)


@pytest.mark.parametrize("row", LAYERS)
def test_an_epoch_waits_for_the_device_once(row, tmp_path):
    recipe = Recipe(epochs=2, batch=16, held_out=0.1, pad=1, flip=True)
    trainer = Trainer(tmp_path, spec_of(row), recipe, images(), "cpu")
    rate = torch.tensor(recipe.lr)  # as on a GPU
    trainer.step.optimizer = torch.optim.Adam(trainer.model.parameters(), rate, (0.9, 0.99), fused=True)
    with tqdm(disable=True) as bar, Waits() as waits:
        trainer.train_epoch(bar)
    assert trainer.steps == 5 and +waits.found == {"_local_scalar_dense": 1}  # the mean loss, at its end


def test_waits_are_seen():
    with Waits() as waits:
        x = torch.arange(4.0)
        torch.linalg.inv(torch.eye(2))
        x[x > 1]
        if x.sum() > 1:
            x.tolist()
    assert set(+waits.found) >= {"_linalg_check_errors", "index"} and sum(waits.found.values()) >= 3


@pytest.mark.slow  # the compiler takes a second or two for a row
def test_compiled_steps_are_the_eager_ones_in_one_graph():
    script = Path(__file__).with_name("compiled_steps.py")
    done = subprocess.run(
        [sys.executable, script, "aot_eager", *LAYERS], capture_output=True, text=True, check=False, timeout=1800
    )
    assert not done.returncode, done.stderr[-2000:]
    found = {each["row"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert list(found) == list(LAYERS)
    for row, each in found.items():
        assert each["compiled"] == pytest.approx(each["eager"], rel=1e-5, abs=1e-6), row
        assert each["apart"] < 1e-4 and each["dry"], row


@pytest.fixture
def untouched(monkeypatch):
    """A compiler that returns what it gets; the list of what it got."""
    asked = []
    monkeypatch.setattr(torch, "compile", lambda call, **options: asked.append(options) or call)
    return asked


def step_and_batch():
    model = build(spec_of("aol"))
    images_ = images(16)
    return Step(model, Recipe(batch=16), torch.device("cpu"), "float32"), images_.x, images_.y


def rates(monkeypatch, eager, fast):
    """Steps a second, as if measured."""
    monkeypatch.setattr(compiled, "_rate", lambda step, *_: fast if step.compiled else eager)


@pytest.mark.parametrize(("eager", "fast", "kept"), [(10.0, 20.0, True), (20.0, 10.0, False), (10.0, 10.0, False)])
def test_the_faster_way_is_kept(eager, fast, kept, untouched, monkeypatch):
    rates(monkeypatch, eager, fast)
    step, x, y = step_and_batch()
    before = [p.detach().clone() for p in step.model.parameters()]
    choice = compiled.choose(step, x, y, ask=True)
    assert (choice.compiled, choice.eager, choice.fast) == (kept, eager, fast)
    assert not step.compiled and untouched == [
        {"fullgraph": True, "dynamic": False, "backend": "inductor", "mode": None}
    ]
    done = compiled.ready(step, x, y, choice)
    assert step.compiled == done.compiled == kept
    assert all(torch.equal(a, b) for a, b in zip(before, step.model.parameters(), strict=True))
    assert all(p.grad is None for p in step.model.parameters()) and not step.optimizer.state
    told = choice.to_json()
    assert compiled.Choice.from_json(told) == choice and told["compiling"]["eager"] == eager


def test_a_cpu_does_not_ask_and_a_short_training_does_not_wait(untouched, monkeypatch):
    step, x, y = step_and_batch()
    assert compiled.choose(step, x, y) == compiled.Choice() and not untouched
    rates(monkeypatch, 10.0, 20.0)
    monkeypatch.setattr(step, "device", type("Device", (), {"type": "cuda"})())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert compiled.choose(step, x, y, ask=False).why == "switched off"
    monkeypatch.setattr(compiled, "Step", lambda *_: step_and_batch()[0])
    short, long = (compiled.choose(step, x, y, steps=n) for n in (599, 601))
    assert not short.compiled and short.fast is None and "less than 60 s" in short.why
    assert long.compiled and len(untouched) == 1


@pytest.mark.parametrize("late", [False, True], ids=["on the copy", "on the network itself"])
def test_a_compiler_that_fails_is_a_sentence(late, monkeypatch):
    def refuse(call, **_):
        def compiled_call(*_):
            raise RuntimeError("\nfound no triton\n  at line 3")

        return compiled_call

    rates(monkeypatch, 10.0, 20.0)
    step, x, y = step_and_batch()
    monkeypatch.setattr(torch, "compile", refuse)
    if late:
        choice = compiled.ready(step, x, y, compiled.Choice(True, 10.0, 20.0))
    else:
        monkeypatch.setattr(compiled, "_rate", lambda step, x, y, n: float(step(x, y, 0.0) * 0 + 10))
        choice = compiled.choose(step, x, y, ask=True)
    assert choice.why == "the compiler failed (RuntimeError: found no triton)"
    assert not choice.compiled and choice.eager == 10.0 and choice.fast is None and not step.compiled
    step(x, y, 0.01)


def test_a_run_keeps_how_its_steps_were_computed(tmp_path, untouched, monkeypatch):
    rates(monkeypatch, 10.0, 20.0)
    source, spec, recipe = images(), spec_of("aol"), Recipe(epochs=2, batch=16)
    given = {"data": source, "device": "cpu", "show": False}
    a = train(tmp_path / "a", "noise", spec=spec, recipe=recipe, **given)
    b = train(tmp_path / "b", "noise", spec=spec, recipe=recipe, **given, compile=True)
    assert a.config["compiled"] is False and "compiling" not in a.config  # nothing was measured
    assert b.config["compiled"] is True and b.config["compiling"]["fast"] == 20.0
    assert all(torch.equal(p, q) for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True))

    class Stop(Exception):
        """In the middle."""

    def stop(trainer):
        raise Stop

    cut = Trainer(tmp_path / "c", spec, recipe, source, "cpu", "noise", compile=True)
    with pytest.raises(Stop):
        cut.run(show=False, after=stop)
    rates(monkeypatch, 20.0, 10.0)  # measured again it would come out otherwise
    c = train(tmp_path / "c", "noise", resume=True, **given)
    assert c.config["compiled"] is True and c.config["compiling"]["fast"] == 20.0
    assert runs.load(tmp_path / "c").config["epoch"] == 2
    assert all(torch.equal(p, q) for p, q in zip(a.model.parameters(), c.model.parameters(), strict=True))


def test_a_run_without_the_field_has_no_choice():
    assert compiled.Choice.from_json(compiled.Choice().to_json()) == compiled.Choice()
    assert compiled.Choice.from_json({}) is None and compiled.Choice.from_json({"compiled": "x"}) is None
    assert compiled.Choice.from_json({"compiled": True, "compiling": "broken"}) == compiled.Choice(True)


@pytest.mark.parametrize("row", ["aol", "cpl", "soc", "aoc", "plain"])
def test_channels_last_reaches_every_convolution_and_changes_no_number(row, monkeypatch):
    """On a GPU in training; here the condition is set by hand, and the layers between must keep the layout."""
    model, x = build(Spec(row, "convnet", (1, 8, 8), 2, 8, depth=2, dense_depth=0, patch=2, pool=2)), images(4).x / 255
    usual, found = model(x), []
    monkeypatch.setattr(operators, "channels_last", lambda x: True)

    def laid(x):
        return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()

    for layer in model:
        if isinstance(layer, MaxMin):
            layer.register_forward_hook(lambda module, inputs, y: found.append((laid(inputs[0]), laid(y))))
    assert torch.allclose(model(x), usual, atol=1e-6)
    assert found == [(True, True)] * 2
