"""The runs that ship with the project, and test images for them."""

import functools
import tempfile
from pathlib import Path

import pytest
import torch

from lipviz import data, runs
from lipviz.certify import Certifier

CHECKPOINTS = Path(__file__).parent.parent / "checkpoints"
ROWS = ("aol", "sr", "spectral", "cpl", "sll", "cayley", "bro", "aoc", "soc", "sandwich", "plain")
NAMES = [f"{source}-{row}" for source in ("cifar10", "mnist") for row in (*ROWS, "best")] + ["mnist-best-1.58"]


# one worker has all tests of a run, so that its bound is computed once
GROUPED = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in NAMES]


@functools.cache
def certifier(name):
    """Of a shipped run; to be left as it is."""
    run = runs.load(CHECKPOINTS / name)
    return Certifier(run.model, run.spec.input_shape)


@functools.cache
def whole_test_set(folder, shape):
    """(images, labels) of the test folder alone: the training images are not read."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for label in sorted(p for p in (folder / "test").iterdir() if p.is_dir()):
            for part, files in (("test", sorted(label.iterdir())), ("train", sorted(label.iterdir())[:1])):
                (root / part / label.name).mkdir(parents=True)
                for file in files:
                    (root / part / label.name / file.name).symlink_to(file)
        loaded = data.load(root, shape)
    return loaded.x_test, loaded.y_test


def run_and_images(name, image_data, count):
    """A shipped run, `count` evenly spaced test images of its data, and their indices."""
    run = runs.load(CHECKPOINTS / name)
    x, _ = whole_test_set(image_data / name.split("-")[0], run.spec.input_shape)
    index = torch.linspace(0, len(x) - 1, count).long()
    return run, x[index], index
