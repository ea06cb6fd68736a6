"""Run folders made by hand: a shipped one with changes, small and without weights."""

import json
import shutil

import numpy as np
from PIL import Image
from shipped import CHECKPOINTS

from lipviz import runs

FILES = ("run.json", "certificates.csv", "metrics.csv", "attacks.npz")


def copied(root, name, source="cifar10-aol", **changes):
    """A folder `name` below `root` like the shipped `source`; changes are of run.json, recipe__lr in its recipe."""
    folder = root / name
    folder.mkdir(parents=True)
    for file in FILES:
        shutil.copy(CHECKPOINTS / source / file, folder / file)
    config = json.loads((folder / "run.json").read_text())
    for key, value in changes.items():
        *path, last = key.split("__")
        place = config
        for part in path:
            place = place[part]
        place[last] = value
    (folder / "run.json").write_text(json.dumps(config))
    return folder


def certificates(folder, radii, right):
    """Other certificates for the run: a radius for each test input, and whether it is right."""
    rows = [
        f"{i},0,{0 if ok else 1},1.0,{float(radius)!r}" for i, (radius, ok) in enumerate(zip(radii, right, strict=True))
    ]
    (folder / "certificates.csv").write_text("\n".join(["index,label,prediction,margin,radius", *rows, ""]))
    config = json.loads((folder / "run.json").read_text())
    config["results"]["accuracy"] = float(np.mean(right))
    (folder / "run.json").write_text(json.dumps(config))


HOSTILE = {
    "budget": 10**400,
    "epoch": float("inf"),
    "parameters": 10**400,
    "train_seconds": float("nan"),
    "forward_seconds": float("-inf"),
    "memory_bytes": -(10**400),
    "recipe__held_out": 10**400,
    "recipe__seed": 10**400,
    "recipe__epochs": float("inf"),
    "results__bound": float("inf"),
    "results__accuracy": 0.5,
}


def hostile(folder, radius="nan"):
    """Numbers that are none, or too large, in every file of a run."""
    (folder / "metrics.csv").write_text("epoch,accuracy,images_per_second\n1,0.5,nan\n")
    (folder / "certificates.csv").write_text(f"index,label,prediction,margin,radius\n0,1,1,0.5,{radius}\n")


VALUES = [0, 10, 20, 30, 100, 110, 120, 130]  # of the pixels of the test images of `little`


def little(root, name, labels=(0, 1), count=4, part="test"):
    """A folder of grey images of 28 x 28 pixels; each says by its value which one it is."""
    for label in labels:
        for i in range(count):
            path = root / name / part / f"class{label}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((28, 28), 100 * label + 10 * i, np.uint8)).save(path)
    if part == "test":
        little(root, name, labels, 1, "train")
    return root / name


def run_of(root, name="little", n=8, **changes):
    """A run of these images, certified in their order: it answers class0 to all, with radius 0.1 i."""
    source = {"data__name": "little", "data__source": "little", "data__classes": ["class0", "class1"]}
    folder = copied(root / "runs", name, "mnist-aol", **{**source, **changes})
    rows = [f"{i},{int(i >= n / 2)},0,1.0,{i / 10}" for i in range(n)]
    (folder / "certificates.csv").write_text("\n".join(["index,label,prediction,margin,radius", *rows, ""]))
    return runs.load(folder)


def unbeaten(points, high=True):
    """Places of the points that no other beats in both numbers, from left to right, by all pairs.

    The second number is better when larger; the first as well if `high`, else when smaller.
    """
    way = 1 if high else -1
    beaten = [any(way * q[0] >= way * p[0] and q[1] >= p[1] and q != p for q in points) for p in points]
    kept = {p: i for i, (p, lost) in enumerate(zip(points, beaten, strict=True)) if not lost}
    return sorted(kept.values(), key=lambda i: points[i][0])
