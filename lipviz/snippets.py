"""The few lines of Python behind a page: each text runs by itself, and the tests execute it."""


def margin(folder: str, sample: str | None, way: str, size: float) -> str:
    """The certificate of a picture, and its margin on the way out above the line of the proof.

    Args:
        folder: of the run.
        sample: name of the sample picture; None for a picture of one's own.
        way: out, one of `pictures.WAYS`.
        size: l2 norm that is marked.
    """
    first = f"picture = samples.load({sample!r}, shape)"
    own = 'picture = images.open_picture("picture.jpg")  # your picture here'
    return f"""import lipviz
from lipviz import figures, images, pictures, samples

run = lipviz.load({folder!r})
shape = run.spec.input_shape
{own if sample is None else first}
certifier = lipviz.Certifier(run.model, shape)
found = pictures.answer(run, certifier, picture)
print(found.label, "margin", found.margin, "no change of l2 norm below", found.radius, "alters the answer")
walk = pictures.walk(certifier, found.pixels, {way!r}, [k / 255 for k in range(0, 256, 6)])
figure = figures.margin_line(walk.size, walk.margin, found.radius, found="margin, {way}", size={size:.6g})
figure.write_html("margin.html")
"""


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
