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

from lipviz import compiled, data, runs
from lipviz.layers import LAYERS
from lipviz.networks import Spec, build, fitting
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
