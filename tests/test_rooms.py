"""Networks, isometries and spectra."""

import numpy as np
import pytest
import torch
from cases import jacobian
from torch import nn

from lipviz.isometries import MaxMin, PadChannels, Pool
from lipviz.layers import LAYERS, conv2d, explicit
from lipviz.networks import Spec, build
from lipviz.spectra import singular_values, spectra


@pytest.mark.parametrize("row", LAYERS)
def test_a_network_is_reproducible_and_has_its_shapes(row):
    kind, shape = ("convnet", (3, 16, 16)) if LAYERS[row].conv else ("mlp", (3,))
    spec = Spec(row, kind, shape, 5, width=12, depth=1, patch=2, pool=4, mean=(0.1, 0.2, 0.3))
    a, b, c = build(spec, 1), build(spec, 1), build(spec, 2)
    x = torch.rand(2, *shape)
    assert a(x).shape == (2, 5) and torch.equal(a(x), b(x)) and not torch.equal(a(x), c(x))
    assert Spec.from_json({**spec.to_json(), "mean": [0.1, 0.2, 0.3]}) == spec


def test_the_dense_layers_of_a_row_without_them_are_its_partners():
    model = build(Spec("aoc", "convnet", (3, 16, 16), 5, width=12, depth=1, patch=2, pool=4))
    assert [type(m).__name__ for m in model if hasattr(m, "op")] == ["BlockConv", "Orthogonal", "Orthogonal"]


GOOD = {"layer": "aol", "kind": "convnet", "input_shape": (3, 32, 32), "classes": 10, "width": 64, "patch": 4}


@pytest.mark.parametrize(
    "change,words",
    [
        ({"layer": "x"}, "one of spectral"),
        ({"kind": "rnn"}, "convnet"),
        ({"layer": "bjorck"}, "choose one of .*aoc"),
        ({"layer": "aoc", "kind": "mlp"}, "choose one of .*cayley"),
        ({"width": 33}, "even"),
        ({"width": 16}, "at least 48"),
        ({"classes": 1}, "classes"),
        ({"classes": True}, "classes"),
        ({"patch": 5}, "divisible"),
        ({"input_shape": (32,)}, "channels, height, width"),
        ({"mean": (0.1, 0.2)}, "mean"),
    ],
)
def test_a_spec_that_cannot_be_built_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Spec(**{**GOOD, **change})


@pytest.mark.parametrize("values", [{**GOOD, "colour": 1}, {"layer": "aol"}])
def test_a_broken_spec_in_json_is_a_value_error(values):
    with pytest.raises(ValueError, match=r"unknown key|incomplete"):
        Spec.from_json(values)


@pytest.mark.parametrize("module,x", [(MaxMin(), torch.zeros(1, 3)), (Pool(2), torch.zeros(1, 1, 3, 4)),
                                      (PadChannels(2), torch.zeros(1, 3))], ids=str)  # fmt: skip
def test_shapes_an_isometry_cannot_take(module, x):
    with pytest.raises(ValueError, match=r"got"):
        module(x)


SPECTRA = [("plain", 3, 1, "circular"), ("plain", 3, 2, "circular"), ("plain", 3, 1, "zeros"), ("plain", 2, 2, "zeros"),
           ("cayley", 3, 1, "circular"), ("plain", 3, 2, "odd")]  # fmt: skip


@pytest.mark.parametrize("row,k,s,mode", SPECTRA)
def test_spectra_are_those_of_the_matrix(row, k, s, mode):
    n = 5 if mode == "odd" else 6
    layer = conv2d(row, 2, 3, k, s, padding_mode=None if row == "cayley" else mode.replace("odd", "circular")).double()
    if row == "plain":
        nn.init.normal_(layer.weight)
    true = torch.linalg.svdvals(jacobian(layer, torch.randn(1, 2, n, n, dtype=torch.float64)))
    values, method = singular_values(explicit(layer, (2, n, n)), (2, n, n))
    assert method == "exact" and torch.allclose(values, true, atol=1e-10)


def test_spectra_of_a_network_name_their_layers():
    found = spectra(build(Spec("sll", "convnet", (1, 8, 8), 3, width=4, depth=1, patch=2, dense_depth=1)), (1, 8, 8))
    assert [s.kind for s in found] == ["residual", "residual", "affine"]
    assert all(np.all(np.diff(s.values) <= 0) for s in found)
    assert found[0].distance < 1e-6, "an orthogonal start"
