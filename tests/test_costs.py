"""Costs in run.json: known answers, nothing changed by the measuring, no run lost to it; the page shows them."""

import pytest
import torch
from folders import copied
from torch import nn

from lipviz import costs, data, runs, ui
from lipviz.networks import Spec, build
from lipviz.recipes import Recipe, default_spec
from lipviz.train import train
from pages import opened, tables

MIB = 2**20


def test_memory_is_that_of_weights_optimiser_gradients_and_what_autograd_keeps():
    y = torch.zeros(4096, dtype=torch.int64)
    many = nn.Sequential(nn.Linear(512, 512, bias=False), nn.Linear(512, 2, bias=False))  # 1 MiB in the first weight
    few = costs.memory_bytes(many, Recipe(batch=1), torch.zeros(1, 512), y, "float32") / MIB
    assert 4 <= few <= 7  # weight, gradient and two of Adam, and its temporaries
    x = torch.zeros(4096, 64)  # each of these activations: 1 MiB
    sizes = []
    for depth in (2, 5):
        model = nn.Sequential(nn.Linear(64, 64), *(nn.Tanh() for _ in range(depth)), nn.Linear(64, 2))
        sizes.append(costs.memory_bytes(model, Recipe(batch=4096), x, y, "float32") / MIB)
    assert sizes[1] - sizes[0] == pytest.approx(3, abs=0.1)
    again = costs.memory_bytes(model, Recipe(batch=4096), x, y, "float32") / MIB
    assert again == sizes[1] and all(p.grad is None for p in model.parameters())


def test_the_forward_pass_is_frozen_and_the_median_of_a_few(monkeypatch):
    ticks = iter([0.0, 1.0, 1.0, 4.0, 4.0, 6.0, 6.0, 15.0, 15.0, 16.5])  # 1, 3, 2, 9, 1.5 s
    monkeypatch.setattr(costs.time, "process_time", lambda: next(ticks))
    frozen = []
    monkeypatch.setattr(costs, "explicit", lambda model, shape: frozen.append(shape) or nn.Identity())
    assert costs.forward_seconds(nn.Identity(), (3,), torch.zeros(10, 3)) == 2 / 256
    assert frozen == [(3,)]


@pytest.mark.parametrize("row", ["aol", "bro"])
def test_measuring_leaves_the_network_as_it_is(row):
    spec = Spec(row, "convnet", (1, 8, 8), 2, 8, depth=1, patch=2, pool=2)
    model, x, y = build(spec), torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = costs.costs(model, spec.input_shape, Recipe(batch=16), x, y, "float32")
    assert set(found) == {"forward_seconds", "memory_bytes"} and all(value > 0 for value in found.values())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_run_keeps_its_costs_and_is_not_lost_without_them(tmp_path, monkeypatch):
    source = data.toy("moons", n=160, seed=0)
    given = {"data": source, "spec": default_spec(source, "aol", 8), "recipe": Recipe(epochs=1, batch=64)}
    run = train(tmp_path / "a", "moons", **given, device="cpu", show=False)
    assert run.config["forward_seconds"] > 0 and run.config["memory_bytes"] > 0
    assert run.config["images_per_second"] == run.metrics["images_per_second"][-1]

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(costs, "memory_bytes", full)
    other = train(tmp_path / "b", "moons", **given, device="cpu", show=False)
    assert other.config["state"] == "finished" and "memory_bytes" not in other.config
    assert other.config["costs_note"] == "OutOfMemoryError: CUDA out of memory"
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), other.model.parameters(), strict=True))


def test_compare_has_their_axes_where_runs_have_them(tmp_path, monkeypatch):
    monkeypatch.setattr(ui, "CHECKPOINTS", tmp_path)
    known = {"forward_seconds": 2e-5, "memory_bytes": 3 * MIB}
    for name, numbers in (("a", dict.fromkeys(known)), ("b", known)):
        copied(tmp_path, name, recipe__lr=0.1 if numbers["memory_bytes"] else 0.2, **numbers)
    for axis, column, value, words in (
        ("forward", "forward µs", 20.0, "256"),
        ("memory", "step MiB", 3.0, "one more training step"),
    ):
        at = opened("compare", co_axis=axis)
        assert at.session_state["co_axis"] == axis and any(words in c.value for c in at.caption)
        [table] = tables(at)
        assert dict(zip(table["run"], table[column], strict=True))["b"] == value
    assert len(runs.find(tmp_path)) == 2
