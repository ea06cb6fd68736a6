"""What a visitor is told about runs in the background."""

from collections.abc import Sequence
from typing import Any

from lipviz import jobs, runs
from lipviz.digits import rounded_up


def told(run: runs.Run) -> str:
    """The state of a run in a sentence."""
    said, hardware = jobs.state(run), run.config.get("hardware", "")
    if said == "queued":
        before = [other.name for other in jobs.line(run.folder.parent)]
        place = before.index(run.name) if run.name in before else 0
        return (
            f"waits for its turn, {place} before it" if place else "is next: it starts as soon as no other run trains"
        )
    if jobs.stopping(run):
        return "stops after the step it is in"
    if said == "failed":
        return f"failed ({run.config.get('error', 'no reason was written')}); resume it, or start another"
    left = seconds_left(run) if said == "running" else None
    ends = {
        "running": f"trains on {hardware}" + (f", about {duration(left)} left" if left is not None else ""),
        "stopped": "was stopped; resume it to continue from its last evaluation",
        "interrupted": "was interrupted: its process is gone; resume it to continue from its last evaluation",
        "finished": f"finished, trained on {hardware} in {duration(float(run.config.get('train_seconds', 0)))}",
    }
    return ends.get(said, said)


def row(run: runs.Run) -> dict[str, Any]:
    """A run in a table: its state and how far it is; accuracy on held-out data, in percent."""
    try:
        measured = run.metrics
    except runs.RunError:  # said where the run itself is shown
        measured = {}
    return {
        "run": run.name,
        "state": "stopping" if jobs.stopping(run) else jobs.state(run),
        "epoch": f"{run.config.get('epoch', 0)} / {jobs.total_epochs(run)}",
        "held-out accuracy (%)": round(100 * float(measured["accuracy"][-1]), 1) if measured else None,
        "seconds": run.config.get("train_seconds"),
        "on": run.config.get("hardware", ""),
    }


def facts(run: runs.Run) -> list[tuple[str, str, str]]:
    """The line of numbers of the last evaluation: (label, value, what it means)."""
    last = {key: float(column[-1]) for key, column in run.metrics.items() if len(column)}
    if not last:
        return []
    said = {
        "epoch": ("epoch", f"{{:.0f}} / {jobs.total_epochs(run)}".format, "of the last evaluation"),
        "accuracy": ("clean, held out", "{:.1%}".format, "accuracy on a part kept from the training set"),
        "certified_36": (
            "certified, held out",
            "{:.1%}".format,
            "right with a radius above 36/255 (l2), on that part",
        ),
        "bound": (
            "bound",
            rounded_up,
            "proved Lipschitz bound of the network, l2; the last layer may lift it above 1",
        ),
        "images_per_second": ("inputs per second", "{:,.0f}".format, "training only, without the evaluations"),
    }
    told = [(name, form(last[key]), what) for key, (name, form, what) in said.items() if key in last]
    return [(name, value.replace("%", " %"), what) for name, value, what in told]


def estimate(found: Sequence[runs.Run], name: str, layer: str, width: int, epochs: int) -> str:
    """How long a run will take, from one that was trained on the same data at the same width; "" without one."""
    for run in found:
        same = (run.config["data"].get("name"), run.spec.layer, run.spec.width) == (name, layer, width)
        seconds, done = float(run.config.get("train_seconds", 0)), run.config.get("epoch", 0)
        if same and run.config["state"] == "finished" and seconds > 0 and done > 0:
            measured = f"{run.name} took {duration(seconds)} for {done} epochs"
            return f"About {duration(seconds / done * epochs)}: {measured} on {run.config.get('hardware', '?')}."
    return ""


def seconds_left(run: runs.Run) -> float | None:
    """About how many seconds of training remain, from the pace so far; None before there is one."""
    last = {key: float(column[-1]) for key, column in run.metrics.items() if len(column)}
    if not last.get("epoch") or "seconds" not in last:
        return None
    return last["seconds"] / last["epoch"] * (jobs.total_epochs(run) - last["epoch"])


def duration(seconds: float) -> str:
    """In words.

    >>> duration(5.2), duration(150.0), duration(9000.0)
    ('5 s', '2.5 min', '2.5 h')
    """
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}"
    return f"{max(seconds, 1):.0f} s"
