"""What the playground page says: its texts, what to notice now, and the lines of Python behind it."""

from collections.abc import Mapping, Sequence
from typing import Any

from lipviz.digits import rounded_up
from lipviz.playground import Setup

WORDS = """
**The picture.** Every place of the plane is a possible input; its colour is the answer of the network. The circle
around a point is a proof: no input inside it gets another answer. The dashed line ends at the nearest other answer that
a search found. The truth lies between the two, so their ratio, the tightness, says how good the proof is.

**Why it works.** The layers are built so that the network cannot change quickly: before the last layer, two inputs
at distance d are at most d apart, and the last one is counted in the circle. An answer with a lead can then only change
after a certain distance.

**What a proof does not say.** It says that the answer is stable, not that it is right: look for a crossed-out point
that has a circle.

**The liar.** A network without a constraint has no such limit of 1. The same formula still draws circles for it; where
another answer was found inside, the circle is false.
"""

MATHEMATICS = r"""
With logits $s = W z + b$ over features $z$ whose Lipschitz constant is at most $L$, no input within

$$r(x) = \min_{j \neq y} \frac{s_y(x) - s_j(x)}{L \, \lVert w_y - w_j \rVert_2}$$

of $x$ (in the l2 norm of the plane) is classified other than $y$. $r$ is itself 1-Lipschitz, so a circle cannot cross
the boundary. **Gradient norm** shows
$\lVert \nabla (s_y - s_j) \rVert / (L \, \lVert w_y - w_j \rVert)$ for the $j$ that decides: at 1 the bound is used up,
below it the network gives away radius. **Tightness** is $r(x)$ divided by the distance to the nearest other answer
found, at most 1.

The loss is $-t \log \mathrm{softmax}\big((s - u\, e_y) / t\big)_y$ with $u = \sqrt 2\,$margin: it asks each point for a
lead that makes a radius of the margin.

A network without a constraint has a bound too, the product of its layers' norms. Its certificates divide by that; the
false discs divide by 1.
"""

WAVE = r"""
The square wave jumps, and a network with Lipschitz bound $\gamma$ may not. The best fit climbs with slope exactly
$\gamma$ at every jump. The steepest slope found divided by the bound is the tightness: at 100 % the layers use up what
the bound allows. The shaded cone is where the bound keeps the curve, seen from the place you drag.
"""


def notice(setup: Setup, frames: Sequence[Any], shares: Sequence[float | None], eps: float, stored: bool) -> str:
    """What to see in the picture as it is now.

    Args:
        setup: of the first network.
        frames: one of each network.
        shares: certified accuracy at eps of each; None for the wave.
        eps: size of the change.
        stored: the picture is the example that ships.
    """
    frame = frames[0]
    if setup.mode == "wave":
        tight = frame.tightness or 0.0
        if setup.layer == "plain":
            bound = rounded_up(frame.bound)
            return f"Nothing limits this curve: its proved bound is {bound}, and it uses {100 * tight:.0f} %."
        return (
            f"The bound allows slope {rounded_up(frame.bound)}; the steepest place uses {100 * tight:.0f} % of it. "
            "A larger bound lets the curve follow the jumps more closely."
        )
    if any(frame.setup.layer == "plain" for frame in frames):
        plain = next(frame for frame in frames if frame.setup.layer == "plain")
        return (
            "Dashed circles use the formula with constant 1, which nothing guarantees for the network without a "
            f"constraint. Its proved bound is {rounded_up(plain.bound)}: its true certificates are the small solid "
            "circles."
        )
    if frame.step < 20:
        return "Untrained: the circles are small wherever the network has not decided yet. Press Play."
    clean, sure = frame.clean or 0.0, shares[0] or 0.0
    if clean < 0.9 and setup.margin >= 0.5:
        return (
            f"With a margin of {setup.margin:g} {100 * clean:.0f} % are right, and {100 * sure:.0f} % right and "
            f"certified at eps {eps:g}. Set the margin to 0.1 and compare."
        )
    if len(frames) == 2:
        better = max(range(2), key=lambda i: shares[i] or 0.0)
        return (
            f"Same points, same seed: at eps {eps:g} the {'left' if better == 0 else 'right'} network certifies "
            f"{100 * (shares[better] or 0):.0f} %, the other {100 * (shares[1 - better] or 0):.0f} %."
        )
    start = "A stored example, trained for " + f"{frame.step} steps. " if stored else ""
    return (
        f"{start}No circle crosses the boundary, however you drag. At eps {eps:g}, {100 * sure:.3g} % of the points "
        f"are right and certified; {100 * clean:.3g} % are right."
    )


def code(setup: Setup, source: Mapping[str, Any] | None, steps: int, probe: Sequence[float], eps: float) -> str:
    """Python that trains the network again and draws the points by their radii.

    Args:
        setup: what is trained.
        source: the arguments of `points.sample`, or None for points of one's own, which are read from points.csv.
        steps: of the training.
        probe: place that is certified.
        eps: size of the change.
    """
    values = ", ".join(f"{name}={value!r}" for name, value in vars(setup).items())
    if setup.mode == "wave":
        return f"""import numpy as np
import plotly.graph_objects as go
from lipviz.digits import rounded_up
from lipviz.playground import Session, Setup, evaluate

session = Session(Setup({values}))
session.step({max(steps, 1)})
frame = session.frame()
x = np.linspace(-2, 2, 801)
y = evaluate(frame.ops, x[:, None])[:, 0]
print(f"bound {{rounded_up(frame.bound)}}, tightness {{100 * frame.tightness:.0f}} %")
figure = go.Figure(go.Scatter(x=x, y=y))
figure.write_html("wave.html", config={{"showSendToCloud": False}})
"""
    if source is None:
        given, name = 'from_csv(Path("points.csv").read_text())  # the file of the button "Data"', "from_csv"
    else:
        given, name = "sample(" + ", ".join(f"{k}={v!r}" for k, v in source.items()) + ")", "sample"
    return f"""from pathlib import Path
import plotly.graph_objects as go
import torch
import lipviz
from lipviz.digits import rounded_down
from lipviz.playground import Session, Setup
from lipviz.points import {name}

points = {given}
session = Session(Setup({values}), points)
session.step({max(steps, 1)})
found = lipviz.certify(session.model, torch.tensor(points.x))
right = found.label == torch.tensor(points.y)
certified = (right & (found.radius > {eps!r})).double().mean().item()
print(f"clean {{right.double().mean():.3f}}, certified at {eps!r}: {{certified:.3f}}")
radius = lipviz.certify(session.model, torch.tensor([{list(probe)!r}], dtype=torch.float64)).radius.item()
print(f"no change smaller than {{rounded_down(radius, 4)}} alters the answer at {tuple(probe)!r}")
colour = {{"color": found.radius.numpy()}}
figure = go.Figure(go.Scatter(x=points.x[:, 0], y=points.x[:, 1], mode="markers", marker=colour))
figure.update_yaxes(scaleanchor="x").write_html("points.html", config={{"showSendToCloud": False}})
"""
