"""Bounds: never below the truth, tight where promised, and an error for what is unknown."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from cases import conv_cases, dense_cases, make, network, norm, perturb
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from lipviz import isometries
from lipviz.bounds import bound, leaves
from lipviz.certify import certify
from lipviz.forms import Affine, FrozenResidual
from lipviz.isometries import LayerCenter
from lipviz.layers import LAYERS, conv2d, conv_transpose2d, dense, explicit
from lipviz.networks import Spec, build
from lipviz.norms import norm_bound, symbol_bound, unrolled
from lipviz.operators import Conv, Dense, symbol
from lipviz.rotations import FrozenSeries

ids = pytest.mark.parametrize(
    "case", [*dense_cases(LAYERS), *conv_cases(LAYERS)], ids=lambda case: "-".join(map(str, case))
)


@ids
def test_bound_is_above_the_truth_and_tight(case):
    layer, shape = make(case)
    for scale in (0, 1, 10):
        perturb(layer, scale)
        value, true = bound(layer, shape).value, norm(layer, shape)
        assert value >= true * (1 - 1e-13)  # the SVD rounds too
        assert value <= (1.05 * true if case[0] == "plain" else 1 + 1e-6)


@pytest.mark.parametrize("k,stride", list(itertools.product((2, 3, 5), (1, 2))))
def test_large_zero_padded_plain_layers_reach_the_supremum_over_the_torus(k, stride):
    op = Conv(9, 8, k, stride)
    layer = op.freeze(torch.randn(op.shape, dtype=torch.float64), None)
    n = 24 * stride
    assert 8 * 24 * 24 > 2048
    fine = torch.linalg.matrix_norm(symbol(op.fold(getattr(layer, "conv", layer).weight), (128, 128)), 2).max()
    assert fine <= bound(layer, (9, n, n)).value <= 1.05 * fine


def test_norm_bound_is_rigorous_and_tight():
    for seed in range(200):
        g = torch.Generator().manual_seed(seed)
        m, n, b = (int(torch.randint(1, 12, (), generator=g)) for _ in range(3))
        F = torch.randn(b, m, n, dtype=torch.complex128 if seed % 2 else torch.float64, generator=g)
        F = F * 10.0 ** int(torch.randint(-150, 150, (), generator=g))
        true = float(torch.linalg.matrix_norm(F, 2).max())
        assert true <= norm_bound(F) <= true * (1 + 1e-9)


def test_norm_bound_against_exact_rationals():
    """[[3, 4], [0, 5]] has norm sqrt(45) exactly; the float64 SVD may land below it."""
    assert norm_bound(torch.tensor([[3.0, 4.0], [0.0, 5.0]], dtype=torch.float64)) >= math.sqrt(45)
    assert norm_bound(torch.zeros(2, 3, dtype=torch.float64)) == 0
    with pytest.raises(ValueError, match="finite"):
        norm_bound(torch.tensor([[math.nan]], dtype=torch.float64))


class Scale(nn.Module):
    """x -> 1000 x: a module lipviz has never seen."""

    def forward(self, x):
        """Multiply."""
        return 1000 * x


class Loud(nn.ReLU):
    """A subclass that does something else than its parent."""

    def forward(self, x):
        """Multiply."""
        return 1000 * x


UNKNOWN = [Scale(), Loud(), nn.GELU(), nn.BatchNorm2d(2), nn.LayerNorm(8), nn.Dropout(), nn.Softplus(),
           nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(2, 2, 3, dilation=2), nn.Conv2d(2, 2, (1, 3)),
           nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
           nn.Conv2d(2, 2, 3, padding=2, padding_mode="circular"),
           nn.AvgPool2d(3, 1), nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 2, 1))]  # fmt: skip


@pytest.mark.parametrize("module", UNKNOWN, ids=lambda m: type(m).__name__)
def test_unknown_modules_raise(module):
    with pytest.raises(ValueError, match=r"bound|known"):
        bound(nn.Sequential(nn.Identity(), module.eval()), (2, 8, 8))


KNOWN = [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU(0.3), nn.LeakyReLU(-3.0), nn.AvgPool2d(2), nn.MaxPool2d(2),
         nn.MaxPool2d(3, 1), nn.AvgPool2d(2, divisor_override=2), nn.Flatten(),
         nn.PixelUnshuffle(2), nn.PixelShuffle(2),
         nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(4, 3, 3, padding="same", padding_mode="circular"),
         nn.Conv2d(4, 3, 4, 2, padding=3), nn.Conv2d(4, 3, 3, padding="valid"),
         nn.Conv2d(4, 3, 5, 3, padding=1), isometries.MaxMin(), isometries.Pool(2), isometries.PadChannels(6),
         isometries.Center(torch.ones(4))]  # fmt: skip


@pytest.mark.parametrize("module", KNOWN, ids=str)
def test_constants_are_above_the_jacobian(module):
    assert bound(module, (4, 6, 6)).value >= norm(module.double(), (4, 6, 6), points=3) - 1e-12


@pytest.mark.parametrize(
    "module,shape",
    [
        (isometries.MaxMin(), (4,)),
        (isometries.Pool(2), (1, 4, 4)),
        (isometries.PadChannels(6), (4, 2, 2)),
        (isometries.Center(torch.ones(4)), (4, 2, 2)),
        (nn.AvgPool2d(2), (1, 4, 4)),
    ],
    ids=str,
)
def test_constants_are_attained(module, shape):
    assert norm(module.double(), shape) == pytest.approx(bound(module, shape).value, abs=1e-12)


def test_a_residual_whose_halves_do_not_match_is_refused():
    frozen = explicit(build(Spec("sll", "mlp", (4,), 2, width=4, dense_depth=1)), (4,)).double()
    residual = next(m for m in frozen if isinstance(m, FrozenResidual))
    assert bound(residual, (4,)).value == pytest.approx(1)
    residual.outer.weight.mul_(1.01)
    with pytest.raises(ValueError, match="adjoint"):
        bound(residual, (4,))


def test_network_bound_is_the_product_and_at_least_the_jacobian():
    for row in LAYERS:
        model, shape = network(row)
        model.double()
        found = bound(model, shape)
        assert found.value >= norm(model, shape)
        assert found.value == pytest.approx(math.prod(layer.value for layer in found.layers))
        assert bound(model.float(), shape).value == pytest.approx(found.value, rel=1e-4)


def test_weights_that_are_not_finite_are_refused():
    model = nn.Linear(2, 2)
    model.weight.data[0, 0] = math.inf
    with pytest.raises(ValueError, match="'weight'"):
        bound(model, (2,))


def test_unrolled_is_the_matrix():
    conv = nn.Conv2d(2, 3, 3, padding=1, bias=True).double()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    zero = conv(torch.zeros_like(x)).flatten()
    assert torch.allclose(unrolled(conv, (2, 4, 4)) @ x.flatten() + zero, conv(x).flatten())


def spike(value, bias=None):
    """A 1 x 1 convolution of one channel."""
    conv = nn.Conv2d(1, 1, 1, bias=bias is not None).double()
    conv.weight.data.fill_(value)
    if bias is not None:
        conv.bias.data.fill_(bias)
    return conv


def test_a_layer_that_is_used_twice_counts_twice():
    layer, act = nn.Linear(3, 3).double(), nn.ReLU()
    layer.weight.data = 3 * torch.eye(3, dtype=torch.float64)
    assert bound(nn.Sequential(layer, act, layer, act), (3,)).value >= 9
    assert len(leaves(nn.Sequential(act, layer, act, nn.Sequential(layer, layer)))) == 5
    shared = conv2d("aol", 4, 4, 3).double()
    model = nn.Sequential(shared, isometries.MaxMin(), shared)
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    assert bound(model, (4, 6, 6)).value <= 1 + 1e-6 and torch.allclose(explicit(model, (4, 6, 6))(x), model(x))


def test_a_layer_used_at_two_image_sizes_is_refused():
    layer = conv2d("aol", 4, 4, 3, stride=2, padding_mode="circular")
    with pytest.raises(ValueError, match="two sizes"):
        bound(nn.Sequential(layer, layer), (4, 6, 6))


@pytest.mark.parametrize("bias", [1e4, 1e20])
def test_a_large_bias_does_not_hide_the_weights(bias):
    conv = nn.Conv2d(1, 1, 3, padding=1).double()
    conv.weight.data.fill_(1)
    true = norm(conv, (1, 4, 4))
    conv.bias.data.fill_(bias)
    assert bound(conv, (1, 4, 4)).value >= true > 6


REFUSED = {
    "ceil": (nn.AvgPool2d(2, ceil_mode=True), (1, 3, 3)),
    "indices": (nn.MaxPool2d(2, return_indices=True), (1, 4, 4)),
    "slope": (nn.LeakyReLU(math.nan), (3,)),
    "center": (isometries.Center(torch.zeros(3)), (1, 4, 4)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_options_without_a_constant_are_refused(name):
    module, shape = REFUSED[name]
    with pytest.raises(ValueError, match="got"):
        bound(module, shape)


class Loudest(Affine):
    """A row with another forward."""

    def forward(self, x):
        """Multiply."""
        return 1000 * super().forward(x)


class Trusted(nn.Module):
    """A stranger that offers a frozen form of its own."""

    def forward(self, x):
        """Multiply."""
        return 1000 * x

    def freeze(self, size):
        """Nothing of the kind."""
        return nn.Identity()


def test_what_changes_the_function_is_not_overlooked():
    hooked, patched = nn.ReLU(), nn.ReLU()
    hooked.register_forward_hook(lambda module, inputs, output: 1000 * output)
    patched.forward = lambda x: 1000 * x
    louder = Loudest(Dense(3, 3), None, True, None)
    for module in (hooked, patched, louder, Trusted()):
        with pytest.raises(ValueError, match=r"hook|known"):
            bound(nn.Sequential(nn.Identity(), module), (3,))


def test_weights_at_the_ends_of_the_range():
    assert bound(spike(1e-170), (1, 4, 4)).value >= 1e-170
    assert bound(spike(1e160), (1, 4, 4)).value >= 1e160
    tiny, huge = nn.Linear(1, 1).double(), nn.Linear(1, 1).double()
    tiny.weight.data.fill_(1e-200)
    huge.weight.data.fill_(1e300)
    assert bound(nn.Sequential(tiny, tiny, huge), (1,)).value >= 1e-100
    with pytest.raises(ValueError, match="too large"):
        bound(nn.Sequential(huge, huge), (1,))


def test_a_residual_that_expands_is_bounded_from_above():
    inner, outer = nn.Linear(3, 3).double(), nn.Linear(3, 3, bias=False).double()
    inner.weight.data = 2 * torch.eye(3, dtype=torch.float64)
    inner.bias.data.fill_(100.0)
    outer.weight.data = -2 * inner.weight.data.mT
    residual = FrozenResidual(inner, outer)
    true = norm(residual, (3,))
    assert true == pytest.approx(7) and true <= bound(residual, (3,)).value <= true * (1 + 1e-9)


def test_explicit_leaves_the_model_as_it_is():
    model = nn.Sequential(nn.BatchNorm2d(2), conv2d("cayley", 2, 2, 3)).train()
    explicit(model, (2, 4, 4))
    assert model.training and model[0].num_batches_tracked == 0


def test_a_residual_padded_on_the_wrong_side_is_refused():
    frozen = explicit(conv2d("sll", 2, 2, 2), (2, 4, 4)).double()
    assert bound(frozen, (2, 4, 4)).value == pytest.approx(1)
    frozen.outer.before = frozen.inner.before
    with pytest.raises(ValueError, match="adjoint"):
        bound(frozen, (2, 4, 4))


def test_norm_bound_is_tight_where_many_matrices_are_close():
    g = torch.Generator().manual_seed(0)
    Q = torch.linalg.qr(torch.randn(60, 4, 4, dtype=torch.complex128, generator=g))[0]
    F = Q @ torch.diag_embed(1 - 1e-5 * torch.rand(60, 4, generator=g, dtype=torch.float64)).to(Q.dtype) @ Q.mH.flip(0)
    true = float(torch.linalg.matrix_norm(F, 2).max())
    assert true * (1 - 1e-15) <= norm_bound(F) <= true * (1 + 1e-9)


@pytest.mark.parametrize("q", [(1.0, -1e-9), (1.0, 0.0), (math.nan, 1.0)], ids=str)
def test_a_vector_that_is_not_positive_proves_nothing(q, monkeypatch):
    """(A q)_i / q_i bounds the norm for q > 0 only: elsewhere the other methods give the bound."""
    conv = nn.Conv2d(2, 2, 3, padding=1, bias=False).double().requires_grad_(False)
    monkeypatch.setattr("lipviz.norms.sdp.perron", lambda A: torch.tensor(q, dtype=torch.float64))
    found, true = bound(conv, (2, 6, 6)), norm(conv, (2, 6, 6))
    assert true <= found.value <= true * (1 + 1e-6) and "gershgorin" not in found.layers[0].method


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_series_is_bounded_by_the_norm_of_its_kernel(mode, scale):
    frozen = explicit(conv2d("soc", 3, 4, 3, padding_mode=mode).double())
    assert isinstance(frozen, FrozenSeries)
    getattr(frozen.conv, "conv", frozen.conv).weight.mul_(5 * scale)
    true, value = norm(frozen, (3, 6, 6)), bound(frozen, (3, 6, 6)).value
    assert true <= value and (scale < 3 or true > 1.2)


def test_a_series_that_is_not_antisymmetric_is_refused():
    frozen = explicit(conv2d("soc", 3, 3, 3).double())
    frozen.conv.weight[0, 0, 0, 0] += 1e-9
    with pytest.raises(ValueError, match="antisymmetric"):
        bound(frozen, (3, 6, 6))


@pytest.mark.parametrize("conv", [False, True])
def test_a_sandwich_is_bounded_whatever_its_numbers_are(conv):
    layer = (conv2d("sandwich", 3, 2, 3) if conv else dense("sandwich", 3, 2)).double()
    perturb(layer, 1)
    shape = (3, 6, 6) if conv else (3,)
    honest = explicit(layer, shape)
    assert bound(honest, shape).value == pytest.approx(1, abs=1e-9)
    for change in range(4):
        frozen = explicit(layer, shape)
        if change == 0:
            frozen.multiplier.mul_(torch.tensor([3.0, 0.2], dtype=torch.float64))
        if change == 1:
            frozen.inner.weight.mul_(3)
        if change == 2:
            frozen.outer.weight.add_(torch.randn_like(frozen.outer.weight))
        if change == 3:
            frozen.inner.weight.add_(torch.randn_like(frozen.inner.weight))
        value = bound(frozen, shape).value
        assert value >= max(norm(frozen, shape) for _ in range(5)) and value > 1.01
    frozen.multiplier[0] = 0
    with pytest.raises(ValueError, match="positive multiplier"):
        bound(frozen, shape)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("k,s", [(3, 2), (2, 2), (4, 2), (3, 1)])
def test_transposed_convolutions_are_bounded(mode, k, s):
    layer = conv_transpose2d("plain", 3, 2, k, s, mode).double()
    perturb(layer, 1)
    value, true = bound(layer, (3, 4, 4)).value, norm(layer, (3, 4, 4))
    assert true * (1 - 1e-13) <= value <= 1.05 * true
    x = torch.rand(2, 3, 4, 4)
    assert certify(torch.nn.Sequential(layer, nn.Flatten()), x).radius.shape == (2,)


class Loudly(nn.Linear):
    """A subclass with another forward."""

    def forward(self, x):
        """Multiply."""
        return 10 * super().forward(x)


def edited(name):
    """(frozen layer whose numbers or attributes somebody changed so that it stretches, shape of one input)."""
    free = {"requires_grad": False}
    eye = nn.Parameter(torch.eye(2, dtype=torch.float64)[:, :, None, None], **free)
    if name in ("fft bias", "series bias"):
        module = explicit(conv2d("cayley" if "fft" in name else "soc", 4, 1, 3).double(), (4, 6, 6))
        module.bias = torch.zeros(4, dtype=torch.float64)
        return module, (4, 6, 6)
    if name == "transposed bias":
        module = explicit(conv_transpose2d("aol", 4, 1, 2, 2).double(), (4, 6, 6))
        module.conv.bias = nn.Parameter(torch.zeros(4, dtype=torch.float64), **free)
        return module, (4, 6, 6)
    if name in ("padding", "weight"):
        module = explicit(conv2d("cpl", 2, 2, 3, padding_mode="circular").double(), (2, 6, 6)).inner
        if name == "padding":
            module.conv.padding = (1, 1)
        else:
            module.conv.weight = eye
        return module, (2, 6, 6)
    if name == "circular torch":
        module = nn.Conv2d(2, 2, 3, padding=3, padding_mode="circular").double()
        module.padding = (1, 1)
        return module, (2, 6, 6)
    if name == "subclass":
        module = explicit(dense("sll", 3, 3).double())
        loud = Loudly(3, 3, bias=False).double()
        loud.weight.data = module.outer.weight.data
        module.outer = loud
        return module, (3,)
    if name == "outer bias":
        module = explicit(dense("sll", 2, 2).double())
        module.outer.bias = nn.Parameter(torch.ones(2, dtype=torch.float64), **free)
        return module, (2,)
    if name == "angle":
        module = isometries.HouseholderActivation(2).double()
        module.angle = nn.Parameter(torch.zeros(1, 3, dtype=torch.float64))
        return module, (2,)
    module = isometries.Center(torch.zeros(1, dtype=torch.float64))
    module.mean = torch.zeros(1, 5, dtype=torch.float64)
    return module, (1, 3, 3)


EDITS = ("fft bias", "series bias", "transposed bias", "padding", "weight", "circular torch", "subclass", "outer bias",
         "angle", "mean")  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_layers_that_were_changed_by_hand_are_refused(name):
    module, shape = edited(name)
    with pytest.raises((ValueError, RuntimeError, TypeError)):  # jaxtyping may be first
        bound(module, shape)


def test_tiny_sandwiches_do_not_vanish():
    frozen = explicit(dense("sandwich", 1, 1).double())
    frozen.inner.weight.fill_(1e-165)
    frozen.outer.weight.fill_(1e-165)
    frozen.multiplier.fill_(1)
    assert bound(frozen, (1,)).value > 0


def test_center_wants_one_mean_a_channel():
    for mean in (torch.zeros(1, 5), torch.zeros(()), torch.zeros(3, dtype=torch.int64)):
        with pytest.raises(ValueError, match="one mean a channel"):
            isometries.Center(mean)


@pytest.mark.parametrize("taps", [(2.0**60, 1.0, -(2.0**60)), (1.0, 1 / 3, -1.0, -1 / 3, 1e-9 / 3)])
def test_taps_that_meet_on_a_pixel_are_not_summed_as_if_that_were_exact(taps):
    """A wrapped kernel that is larger than its image: what its taps cancel to is lost to rounding."""
    conv = nn.Conv2d(1, 1, 3, stride=2, padding=1, padding_mode="circular", bias=False).double()
    conv.weight.data = torch.tensor([*taps, *[0.0] * (9 - len(taps))], dtype=torch.float64).view(1, 1, 3, 3)
    assert bound(conv, (1, 1, 1)).value >= abs(sum(map(Fraction, taps)))
    head = nn.Linear(1, 2).double()
    head.weight.data, head.bias.data = torch.tensor([[[1.0], [-1.0]], [[2.0**13], [-(2.0**13)]]]).double().unbind()
    head.bias.data = head.bias.data[:, 0]
    net = nn.Sequential(conv, nn.Flatten(), head)
    exact = Fraction(2**13) / abs(sum(map(Fraction, taps)))  # where the two logits meet, from x = 0
    assert float(certify(net, torch.zeros(1, 1, 1, 1).double()).radius) <= exact


def test_denormal_weights_do_not_lose_their_norm():
    d = 5e-324
    net = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False)).double()
    weights = ([[d, d]], [[1e300]], [[1.0], [-1.0]])
    for layer, weight in zip(net, weights, strict=True):
        layer.weight.data = torch.tensor(weight, dtype=torch.float64)
    true = math.sqrt(2) * d * 2.0**60 * (1e300 / 2.0**60)
    assert bound(net[:2], (2,)).value >= true
    assert float(certify(net, torch.full((1, 2), 1e40, dtype=torch.float64)).radius) <= math.sqrt(2) * 1e40
    K = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    K[0, 0, 0] = d
    assert symbol_bound(K, (5, 5), 1.0) >= 2 * d  # at frequency 0
    assert symbol_bound(torch.zeros_like(K), (5, 5), 1.0) == 0


@pytest.mark.parametrize("row", ["aol", "sr", "spectral", "aoc"])
def test_a_wrapped_layer_frozen_for_one_size_refuses_images_of_another_kind(row):
    """On images that the stride does not divide it is another layer, and this one may have a norm above 1."""
    layer = conv2d(row, 2, 2, 3, stride=2, padding_mode="circular").double()
    frozen = explicit(layer, (2, 4, 4))
    x = torch.rand(1, 2, 6, 6).double()
    assert torch.allclose(frozen(x), layer(x))
    with pytest.raises(ValueError, match="divisible by 2"):
        frozen(torch.rand(1, 2, 3, 3).double())
    odd = explicit(layer, (2, 3, 3))
    assert norm(odd, (2, 3, 3)) <= 1 + 1e-9 and norm(odd, (2, 4, 4)) <= 1 + 1e-9


@pytest.mark.parametrize("mixing", ["unflatten", "flatten", "by name from the end"])
def test_layers_that_mix_the_inputs_of_a_batch_are_refused(mixing):
    parts = {
        "unflatten": [nn.Unflatten(0, (1, -1)), LayerCenter(), nn.Flatten(0, 1)],
        "flatten": [nn.Flatten(0, 1), nn.Unflatten(0, (-1, 2))],
        "by name from the end": [nn.Unflatten(-2, (1, -1)), LayerCenter(), nn.Flatten(0, 1)],
    }
    with pytest.raises(ValueError, match="mixes the inputs of a batch"):
        bound(nn.Sequential(*parts[mixing], nn.Linear(2, 2)), (2,))


def test_subclasses_of_frozen_layers_have_no_bound():
    for name in ("cayley", "sll", "soc", "sandwich"):
        frozen = explicit(conv2d(name, 2, 2, 3), (2, 4, 4))
        layer = next(m for m in frozen.modules() if type(m).__name__.startswith(("Frozen", "Circular")))
        louder = type("Louder", (type(layer),), {"forward": lambda self, x: 10 * super(type(self), self).forward(x)})
        assert bound(layer, (2, 4, 4)).value < 1.01
        layer.__class__ = louder
        with pytest.raises(ValueError, match="no Lipschitz bound is known for Louder"):
            bound(layer, (2, 4, 4))


def test_a_hook_on_all_modules_is_seen():
    handle = register_module_forward_hook(lambda module, x, y: 10 * y)
    try:
        with pytest.raises(ValueError, match="forward hook"):
            bound(nn.Linear(2, 2), (2,))
    finally:
        handle.remove()
