"""Run folders made by hand: a shipped one with changes, small and without weights."""

import json
import shutil

import numpy as np
from shipped import CHECKPOINTS

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
