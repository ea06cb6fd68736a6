"""The few lines of Python behind a page: each text runs by itself, and the tests execute it."""


def certify(folder: str) -> str:
    """The certificate of one picture."""
    return f"""import torch
import lipviz

run = lipviz.load({folder!r})
shape = run.spec.input_shape
image = torch.full((1, *shape), 0.5)  # your picture here: (1, channels, height, width), values in [0, 1]
found = lipviz.certify(run.model, image)
print("class", run.classes[int(found.label)], "margin", float(found.margin))
print("no change of l2 norm below", float(found.radius), "alters the answer")
"""


def train(source: str, layer: str, width: int, epochs: int, seed: int) -> str:
    """A training run like the one the form describes."""
    return f"""import lipviz
from lipviz.data import load
from lipviz.recipes import default_recipe, default_spec

data = load({source!r})
spec = default_spec(data, {layer!r}, width={width})
recipe = default_recipe(data, epochs={epochs}, seed={seed})
run = lipviz.train("runs/mine", {source!r}, spec=spec, recipe=recipe)
print(run.config["results"], lipviz.bound(run.model, spec.input_shape).value)
"""
