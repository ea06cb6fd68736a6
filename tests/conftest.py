"""What tests share: seeds, real images, a run trained once."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # the suite runs in two workers


@pytest.fixture
def generator():
    """A seeded generator."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def seed():
    """Tests draw the same numbers in any order."""
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def image_data():
    """The folder of real images, or a skip."""
    folder = os.environ.get("LIPVIZ_DATA")
    if not folder:
        pytest.skip("LIPVIZ_DATA is not set: a folder that holds cifar10/ and mnist/, each with train/ and test/")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A finished run on digits, one epoch."""
    from lipviz.recipes import Recipe
    from lipviz.train import train

    folder = tmp_path_factory.mktemp("runs") / "digits-aol"
    return train(folder, "digits", "aol", recipe=Recipe(epochs=1, batch=64, held_out=0.1), device="cpu", show=False)
