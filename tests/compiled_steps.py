"""Compiled against eager steps, in a process of their own: the compiler cannot read functions that pytest checks.

    python tests/compiled_steps.py BACKEND ROW ...

prints a line of JSON for each row: the losses of both ways, and the largest difference of a weight after them.
"""

import copy
import json
import sys

import torch

from lipviz import compiled
from lipviz.layers import LAYERS
from lipviz.networks import Spec, build
from lipviz.recipes import Recipe
from lipviz.step import Step


def spec_of(row):
    """The smallest network of a row that has all that its networks have."""
    kind = "convnet" if LAYERS[row].conv else "mlp"
    sizes = {"depth": 1, "dense_depth": 0, "patch": 2, "pool": 2} if kind == "convnet" else {"dense_depth": 1}
    return Spec(row, kind, (1, 8, 8), 2, 8 if kind == "convnet" else 64, **sizes)


def both(row, backend, steps=3):
    """{"row", "eager", "compiled", "apart"}."""
    model, cpu = build(spec_of(row)), torch.device("cpu")
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (8, 1, 8, 8), generator=g, dtype=torch.uint8)
    y = torch.randint(0, 2, (8,), generator=g)
    eager, fast = (Step(copy.deepcopy(model), Recipe(), cpu, "float32") for _ in range(2))
    torch.compiler.reset()
    fast.compile(backend)  # as one graph, or it raises
    before = [p.detach().clone() for p in model.parameters()]
    fast.dry(x, y)
    kept = all(torch.equal(a, b) for a, b in zip(before, fast.model.parameters(), strict=True))
    losses = [[float(step(x, y, 0.01)) for _ in range(steps)] for step in (eager, fast)]
    with torch.no_grad():
        pairs = zip(eager.model.parameters(), fast.model.parameters(), strict=True)
        apart = max(float((a - b).abs().max()) for a, b in pairs)
    return {"row": row, "eager": losses[0], "compiled": losses[1], "apart": apart, "dry": kept}


if __name__ == "__main__":
    assert "torch._dynamo" not in sys.modules, "the compiler was imported before anything was compiled"
    assert not compiled.Choice().compiled
    for name in sys.argv[2:]:
        print(json.dumps(both(name, sys.argv[1])), flush=True)
