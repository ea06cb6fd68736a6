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
def shipped(name):
    """A shipped run; to be left as it is."""
    return runs.load(CHECKPOINTS / name)


@functools.cache
def certifier(name):
    """Of a shipped run; to be left as it is."""
    run = shipped(name)
    return Certifier(run.model, run.spec.input_shape)


COUNTS = (4, 8, 50)  # of test images that tests ask for


def places(total, count):
    """`count` evenly spaced places of `total`."""
    return torch.linspace(0, total - 1, count).long()


@functools.cache
def real_images(folder, shape):
    """(images, labels, their places in the test set, its size) for all of `COUNTS`; no other file is opened."""
    files = [(label.name, file) for label in sorted((folder / "test").iterdir()) for file in sorted(label.iterdir())]
    asked = torch.cat([places(len(files), count) for count in COUNTS]).unique()
    with tempfile.TemporaryDirectory() as scratch:
        for part in ("test", "train"):
            for label, file in (files[place] for place in asked):
                link = Path(scratch, part, label, file.name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file)
        loaded = data.load(Path(scratch), shape)
    assert len(loaded.x_test) == len(asked), loaded.notes
    return loaded.x_test, loaded.y_test, asked, len(files)


def run_and_images(name, image_data, count):
    """A shipped run, `count` evenly spaced test images of its data, their labels, and their places in the test set."""
    run = shipped(name)
    x, y, asked, total = real_images(image_data / name.split("-")[0], run.spec.input_shape)
    index = places(total, count)
    found = torch.isin(asked, index)
    return run, x[found], y[found], index
