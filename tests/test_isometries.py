"""Layers between the weights: constants that hold and are attained, kinks, gradients, rounding, the table in docs/."""

import math
from copy import deepcopy
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from cases import jacobian, norm, perturb
from mpmath import mp, mpf
from torch import nn

from lipviz import isometries
from lipviz.bounds import bound, bound_layer, freeze64
from lipviz.certify import Certifier, absolute_norm, certify, propagate, rounding
from lipviz.isometries import (
    Abs,
    Center,
    FirstChannels,
    GroupSort,
    HouseholderActivation,
    L2Pool,
    LayerCenter,
    MaxMin,
    MaxPool,
    NActivation,
    PadChannels,
    Pool,
    ResidualAverage,
    UnitRows,
)
from lipviz.layers import conv2d, dense, explicit

IMAGE = (6, 6, 6)
ACTIVATIONS = {
    "MaxMin": MaxMin,
    "GroupSort2": lambda: GroupSort(2),
    "GroupSort3": lambda: GroupSort(3),
    "Abs": Abs,
    "Householder": lambda: HouseholderActivation(6),
    "N": lambda: NActivation(6),
}
LAYERS = {
    **ACTIVATIONS,
    "L2Pool": lambda: L2Pool(2),
    "MaxPool": lambda: MaxPool(3),
    "MaxPool apart": lambda: MaxPool(2, 3),
    "FirstChannels": lambda: FirstChannels(4),
    "LayerCenter": LayerCenter,
    "Average": lambda: ResidualAverage(NActivation(6)),
}
every = pytest.mark.parametrize("name", LAYERS)


def scaled(factor, n=6):
    """x -> factor x."""
    layer = nn.Linear(n, n, bias=False).double()
    layer.weight.data = factor * torch.eye(n, dtype=torch.float64)
    return layer


def perturbed(name):
    """The layer in float64 at its start, and behind noise of several sizes."""
    for scale in (0, 1, 30):
        layer = LAYERS[name]().double()
        perturb(layer, scale)
        yield layer


@every
def test_constants_hold_and_are_attained(name):
    for layer in perturbed(name):
        true = norm(layer, IMAGE, points=4)
        assert bound(layer, IMAGE).value == 1
        assert true <= 1 + 1e-12
        if name != "Average":  # below: its branch need not agree with x
            assert true == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_have_orthogonal_jacobians(name):
    for layer in perturbed(name):
        for shape in ((6,), (6, 2, 2)):
            J = jacobian(layer, 10 * torch.randn(1, *shape, dtype=torch.float64))
            assert torch.allclose(J @ J.mT, torch.eye(len(J), dtype=torch.float64), atol=1e-12)


def stretch(layer, shape=IMAGE, pairs=300):
    """The largest ||f(x) - f(y)|| / ||x - y|| over pairs near and far, of which many have a kink between them."""
    x = 3 * torch.randn(pairs, *shape, dtype=torch.float64)
    y = x + torch.logspace(-7, 1, pairs, dtype=torch.float64).view(-1, *[1] * len(shape)) * torch.randn_like(x)
    with torch.no_grad():
        change = (layer(x) - layer(y)).flatten(1).norm(dim=1)
    return float((change / (x - y).flatten(1).norm(dim=1)).max())


@every
def test_no_pair_of_inputs_is_torn_apart(name):
    for layer in perturbed(name):
        assert stretch(layer) <= 1 + 1e-8


def jump(layer, kink, direction):
    """||f(kink + d) - f(kink - d)|| / ||2 d|| for a tiny step d across a kink; the kinks may be a batch."""
    d = 1e-6 * direction / direction.norm(dim=1, keepdim=True)
    with torch.no_grad():
        return float(((layer(kink + d) - layer(kink - d)).norm(dim=1) / (2 * d).norm(dim=1)).max())


def test_householder_is_continuous_across_its_mirror():
    layer = HouseholderActivation(2).double()
    perturb(layer, 2)
    v = torch.stack([layer.angle.cos(), layer.angle.sin()], 1).detach()
    along = torch.linspace(-5, 5, 11, dtype=torch.float64)[:, None] * v.flip(1) * torch.tensor([-1, 1])
    assert jump(layer, along, v.expand(11, 2)) <= 1 + 1e-8
    behind = -v
    assert torch.allclose(layer(v), v) and torch.allclose(layer(behind), v), "the mirror image"


def test_n_activation_is_continuous_at_its_thresholds():
    layer = NActivation(3).double()
    layer.theta.data = torch.tensor([[-1.0, 2.0], [2.0, -1.0], [0.5, 0.5]], dtype=torch.float64)
    for kink in (-1.0, 2.0, 0.5):
        x = torch.full((1, 3), kink, dtype=torch.float64)
        assert jump(layer, x, torch.ones_like(x)) <= 1 + 1e-8
    x = torch.tensor([[-3.0, -3.0, -3.0], [0.0, 0.0, 0.0], [5.0, 5.0, 5.0]], dtype=torch.float64)
    found = torch.tensor([[-1.0, -1.0, -4.0], [0.0, 0.0, -1.0], [1.0, 1.0, 4.0]], dtype=torch.float64)
    assert torch.equal(layer(x), found)
    assert NActivation(3).theta.tolist() == [[-100, 0], [-100, 0], [0, 0]]
    start = NActivation(3)(torch.tensor([[-3.0, 5.0, -3.0], [-100.0, -99.0, 5.0]]))
    assert start.tolist() == [[3, 5, -3], [100, 99, 5]], "absolute value, absolute value, identity"


class Unsorted(NActivation):
    """Thresholds in the order in which they are stored."""

    def thresholds(self):
        """The columns."""
        return self.theta.unbind(1)


class HalfHouseholder(HouseholderActivation):
    """z - v min(v^T z, 0): without the 2."""

    def forward(self, x):
        """The mean of z and its mirror image."""
        return (x + super().forward(x)) / 2


class Overcenter(nn.Module):
    """x - 3 mean(x)."""

    def forward(self, x):
        """Subtract too much: 2 would still be a reflection."""
        return x - 3 * x.mean((1, 2, 3), keepdim=True)


def test_wrong_variants_fail_these_tests():
    layer = Unsorted(2).double()
    layer.theta.data = torch.tensor([[2.0, -1.0], [2.0, -1.0]], dtype=torch.float64)
    assert jump(layer, torch.full((1, 2), 2.0).double(), torch.ones(1, 2).double()) > 1e5
    assert stretch(layer, (2,)) > 10
    J = jacobian(HalfHouseholder(2).double(), torch.tensor([[-1.0, 2.0]], dtype=torch.float64))
    assert float(torch.linalg.svdvals(J)[1]) == pytest.approx(0, abs=1e-12), "a projection, no isometry"
    peak = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    peak[..., 2, 2] = 1
    for stride, true in ((1, 3), (2, 2)):
        pool = nn.MaxPool2d(3, stride)
        assert torch.linalg.matrix_norm(jacobian(pool, peak), 2) == pytest.approx(true)
        assert bound(pool, (1, 5, 5)).value == pytest.approx(true)
    assert norm(Overcenter(), (1, 3, 3)) == pytest.approx(2)


def test_group_sort_and_householder_contain_maxmin():
    x = torch.randn(5, 6, 3)
    assert torch.equal(GroupSort(2)(x), MaxMin()(x))
    assert torch.allclose(HouseholderActivation(6)(x), MaxMin()(x), atol=1e-6)
    assert torch.equal(GroupSort(1)(x), x)
    assert torch.equal(GroupSort(6)(x), x.sort(1, descending=True).values)


def test_pools_by_hand():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert torch.equal(MaxPool(2)(x), torch.tensor([[[[5.0, 7.0], [13.0, 15.0]]]]))
    assert torch.equal(MaxPool(1, 2)(x), torch.tensor([[[[0.0, 2.0], [8.0, 10.0]]]]))
    squares = [[0 + 1 + 16 + 25, 4 + 9 + 36 + 49], [64 + 81 + 144 + 169, 100 + 121 + 196 + 225]]
    assert torch.allclose(L2Pool(2)(x)[0, 0], torch.tensor(squares).sqrt())
    assert torch.equal(FirstChannels(1)(x.transpose(1, 2)), x[:, :, :1].transpose(1, 2))
    assert torch.equal(FirstChannels(2)(PadChannels(5)(x.view(1, 2, 8))), x.view(1, 2, 8))
    assert LayerCenter()(x).sum() == 0 and torch.equal(LayerCenter()(x)[..., 0, 0], torch.tensor([[-7.5]]))


def average(a, branch):
    """A ResidualAverage with the share a."""
    layer = ResidualAverage(branch).double()
    layer.logit.data.fill_(math.log(a / (1 - a)))
    return layer


@pytest.mark.parametrize("a", [0.001, 0.3, 0.999])
@pytest.mark.parametrize("L", [0.0, 0.25, 1.0, 3.0, 1e6])
def test_the_constant_of_an_average_is_the_average_of_the_constants(a, L):
    layer = average(a, scaled(L))
    true = a + (1 - a) * L
    assert norm(layer, (6,)) == pytest.approx(true, rel=1e-12)
    assert true * (1 - 1e-12) <= bound(layer, (6,)).value <= true * (1 + 1e-8)
    assert bound_layer(freeze64(layer, (6,)), (6,))[0] == bound(layer, (6,)).layers[0].value


def test_the_constant_of_an_average_is_rounded_up():
    mp.dps = 60
    layer = average(0.5, nn.LeakyReLU(3.0))
    for logit in torch.linspace(-60, 60, 400, dtype=torch.float64):
        layer.logit.data.fill_(logit)
        a = 1 / (1 + mp.exp(-mpf(float(logit))))
        assert a + (1 - a) * 3 <= mpf(bound(layer, (6,)).value) <= (a + (1 - a) * 3) * (1 + mpf(10) ** -13)


def test_an_average_of_constants_1_has_constant_1_at_any_share():
    for logit in (-1e4, -40, 0, 40, 1e4):
        layer = ResidualAverage(nn.Sequential(GroupSort(3), ResidualAverage(Abs())))
        layer.logit.data.fill_(logit)
        assert bound(layer, (6,)).value == 1


def test_a_share_for_each_channel_would_not_do():
    """diag(a) x + diag(1 - a) f(x) has constant sqrt(2) for a = (1, 0) and a swap f."""
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert norm(lambda x: a * x + (1 - a) * x.flip(1), (2,)) == pytest.approx(math.sqrt(2))


def test_what_is_frozen_inside_a_branch():
    inside = nn.Sequential(
        conv2d("aol", 4, 4, 3), NActivation(4), conv2d("cayley", 4, 4, 3), ResidualAverage(conv2d("sll", 4, 4, 3))
    )
    model = nn.Sequential(ResidualAverage(inside), HouseholderActivation(4), nn.Flatten(), UnitRows(64, 3)).double()
    perturb(model, 0.5)
    frozen = explicit(model, (4, 4, 4))
    x = torch.randn(3, 4, 4, 4, dtype=torch.float64)
    assert torch.allclose(frozen(x), model(x), atol=1e-12)
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not any(hasattr(module, "freeze") for module in frozen.modules())
    shared = {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in frozen.parameters()}
    assert not shared, "later steps of training leave the frozen model alone"
    found = bound(model, (4, 4, 4))
    names = [[layer.name for layer in found.layers], [layer.name for layer in found.layers[0].branch]]
    assert names == [["0", "1", "2", "3"], ["0.branch.0", "0.branch.1", "0.branch.2", "0.branch.3"]]
    assert [layer.name for layer in found.layers[0].branch[3].branch] == ["0.branch.3.branch"]
    assert norm(model[:2], (4, 4, 4)) <= found.layers[0].value <= 1 + 1e-6


@pytest.mark.parametrize("branch", [dense("plain", 6, 6), nn.Sequential(dense("plain", 6, 6), Abs())], ids=str)
def test_a_branch_that_expands_is_counted(branch):
    layer = ResidualAverage(branch).double()
    perturb(layer, 3)
    true = norm(layer, (6,), points=4)
    assert 1 < true <= bound(layer, (6,)).value
    wrong = nn.Sequential(nn.Identity(), ResidualAverage(nn.Sequential(nn.GELU())))
    with pytest.raises(ValueError, match=r"GELU, which is steeper than 1"):
        bound(wrong, (6,))


def test_a_branch_may_work_in_place():
    x = torch.tensor([[-2.0, 4.0]], dtype=torch.float64)
    layer = ResidualAverage(nn.ReLU(inplace=True)).double()
    with torch.no_grad():
        assert torch.equal(layer(x.clone()), torch.tensor([[-1.0, 4.0]], dtype=torch.float64))
    assert torch.equal(certify(layer, x).logits, torch.tensor([[-1.0, 4.0]], dtype=torch.float64))


@every
def test_gradients_against_differences(name):
    layer = LAYERS[name]().double()
    perturb(layer, 1)
    x = 100 * torch.randn(2, *IMAGE, dtype=torch.float64, requires_grad=True)  # beyond every threshold
    parameters = tuple(layer.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *parameters))
    y = layer(x)
    y.backward(torch.randn_like(y))
    assert all(p.grad.isfinite().all() and (p.grad != 0).all() for p in parameters)


def test_equal_thresholds_part():
    """At the start of the second half both are 0: each has a gradient of its own, and they separate."""
    layer = NActivation(2)
    layer(torch.tensor([[0.0, -2.0], [0.0, 3.0], [0.0, 4.0]])).sum().backward()
    assert layer.theta.grad[1].tolist() == [-2, -4]


def test_no_gradient_is_lost_where_padding_put_zeros():
    x = torch.zeros(1, 6, requires_grad=True)
    for layer in (HouseholderActivation(6), GroupSort(3), NActivation(6)):
        J = torch.autograd.functional.jacobian(lambda z, layer=layer: layer(z).flatten(), x).flatten(1)
        assert torch.allclose(J @ J.mT, torch.eye(6), atol=1e-6)


def test_l2_pool_at_zero():
    x = torch.zeros(1, 1, 4, 4)
    x[..., 2:, 2:] = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    x.requires_grad_()
    y = L2Pool(2)(x)
    y.sum().backward()
    assert y[0, 0].tolist() == [[0, 0], [0, 5]]
    assert x.grad[0, 0, 2:, 2:].flatten().tolist() == pytest.approx([0.6, 0, 0, 0.8]) and x.grad.isfinite().all()
    assert x.grad.sum() == pytest.approx(1.4)


@every
def test_single_and_double_precision(name):
    layer = LAYERS[name]()
    perturb(layer, 1)
    x = torch.randn(2, *IMAGE)
    y = layer(x)
    assert y.dtype == torch.float32
    twin = layer.double()(x.double())
    assert twin.dtype == torch.float64 and torch.allclose(y.double(), twin, atol=1e-4)


@every
def test_stored_and_copied(name):
    layer, fresh = LAYERS[name](), LAYERS[name]()
    perturb(layer, 1)
    x = torch.randn(2, *IMAGE)
    fresh.load_state_dict(layer.state_dict())
    for copy in (fresh, deepcopy(layer), explicit(layer, IMAGE)):
        assert torch.equal(copy(x), layer(x))
        assert all(p is not q for p, q in zip(copy.parameters(), layer.parameters(), strict=True))


def test_representations():
    names = ["Abs()", "GroupSort(3)", "HouseholderActivation(4)", "NActivation(3)", "L2Pool(2)", "MaxPool(2)",
             "MaxPool(2, stride=3)", "FirstChannels(2)", "LayerCenter()"]  # fmt: skip
    for name in names:
        assert str(eval(name, {**vars(isometries)})) == name


REFUSED = {
    "odd width": (MaxMin(), (5,), "even width"),
    "odd group": (GroupSort(3), (8,), "size that divides the width, or Abs"),
    "channels": (HouseholderActivation(4), (6,), r"HouseholderActivation\(6\)"),
    "thresholds": (NActivation(4), (6, 2, 2), r"NActivation\(6\)"),
    "one channel": (NActivation(1), (6, 2, 2), r"NActivation\(6\)"),
    "few channels": (FirstChannels(4), (3, 2, 2), r"PadChannels\(4\)"),
    "sides": (L2Pool(2), (1, 4, 5), "4x5: use a number that divides both"),
    "window": (MaxPool(2), (1, 5, 4), "5x4: use a number that divides both"),
    "stride": (MaxPool(2, 3), (1, 4, 4), r"MaxPool\(2, stride=3\) needs sides divisible by 3"),
    "mean": (Pool(2), (1, 5, 4), "divides both"),
    "branch": (ResidualAverage(nn.Linear(4, 2)), (4,), r"keep the shape, got \(2,\) from \(4,\).*PadChannels"),
    "broadcast": (ResidualAverage(nn.AvgPool2d(2)), (1, 2, 2), "keep the shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_inputs_are_refused_in_words(name):
    layer, shape, words = REFUSED[name]
    for attempt in (lambda: layer(torch.zeros(2, *shape)), lambda: bound(layer, shape)):
        with pytest.raises(ValueError, match=words):
            attempt()


@pytest.mark.parametrize(
    "build,words",
    [
        (lambda: MaxPool(3, 1), r"ceil\(3 / 1\) = 3: use stride 3, or nn.MaxPool2d\(3, 1\)"),
        (lambda: MaxPool(3, 2), r"ceil\(3 / 2\) = 2"),
        (lambda: HouseholderActivation(5), "use an even width, or NActivation"),
        *((lambda build=build: build(0), "whole number of at least 1, got 0")
          for build in (GroupSort, NActivation, HouseholderActivation, L2Pool, MaxPool, FirstChannels)),
        (lambda: GroupSort(True), "got True"),
        (lambda: MaxPool(2, 0), "the stride must be a whole number"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_in_words(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_constants_do_not_believe_what_they_are_told():
    moved, told = MaxPool(2), GroupSort(2)
    moved.stride = 1
    told.lipschitz = 0.1
    assert bound(moved, (1, 4, 4)).value == pytest.approx(2) and bound(told, (4,)).value == 1
    for layer in (HouseholderActivation(4), NActivation(4), ResidualAverage(nn.Identity())):
        next(iter(layer.parameters())).data.view(-1)[0] = math.nan
        with pytest.raises(ValueError, match="finite"):
            bound(nn.Sequential(layer), (4,))
    with pytest.raises(ValueError, match="known"):
        bound(Unsorted(2), (2,))


REASONS = {
    "flatter": (nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4)),
    "smaller": (nn.RMSNorm(4),),
    "batch": (nn.BatchNorm1d(4), nn.BatchNorm2d(4), nn.SyncBatchNorm(4)),
    "multiplies": (nn.Dropout(), nn.Dropout2d()),
    "steeper": (nn.GELU(), nn.SiLU(), nn.Mish()),
    "loss": (nn.Softmax(1), nn.LogSoftmax(1)),
    "attention": (nn.MultiheadAttention(4, 1),),
}


@pytest.mark.parametrize("word", REASONS)
def test_the_best_known_layers_are_refused_with_a_reason(word):
    for layer in REASONS[word]:
        with pytest.raises(ValueError, match=rf"bound is given for {type(layer).__name__}, which .*{word}.*; .*"):
            bound(nn.Sequential(nn.Identity(), layer), (4, 4, 4))


def digits(x):
    """The stored float64 numbers of a tensor, flat, to calculate with 60 digits."""
    mp.dps = 60
    return [mpf(float(v)) for v in x.detach().flatten()]


def exact(layer, z, shape):
    """One layer of one example in 60 digits; z is flat, of this shape."""
    channels, pixels = shape[0], math.prod(shape[1:])
    if isinstance(layer, nn.Sequential):
        for module in layer:
            z = exact(module, z, (len(z) // pixels, *shape[1:]))
        return z
    if isinstance(layer, nn.Linear):
        rows = zip(layer.weight, digits(layer.bias), strict=True)
        return [mp.fdot(digits(row), z) + b for row, b in rows]
    if isinstance(layer, GroupSort):
        part = len(z) // layer.size
        groups = [sorted(z[i::part], reverse=True) for i in range(part)]
        return [group[i] for i in range(layer.size) for group in groups]
    if isinstance(layer, LayerCenter):
        return [v - mp.fsum(z) / len(z) for v in z]
    if isinstance(layer, NActivation):
        ends = [sorted(digits(row)) for row in layer.theta for _ in range(pixels)]
        return [v - 2 * (a if v < a else v if v < b else b) for v, (a, b) in zip(z, ends, strict=True)]
    if isinstance(layer, HouseholderActivation):
        half = len(z) // 2
        angles = [t for t in digits(layer.angle) for _ in range(pixels)]
        mirrors = [2 * min(mp.cos(t) * a + mp.sin(t) * b, 0) for t, a, b in zip(angles, z, z[half:], strict=False)]
        first = [a - mp.cos(t) * p for a, t, p in zip(z, angles, mirrors, strict=False)]
        return first + [b - mp.sin(t) * p for b, t, p in zip(z[half:], angles, mirrors, strict=True)]
    if isinstance(layer, L2Pool):
        n, k = shape[-1], layer.size
        corners = [(d * n + i) * n + j for d in range(channels) for i in range(0, n, k) for j in range(0, n, k)]
        return [mp.sqrt(mp.fsum(z[at + u * n + v] ** 2 for u in range(k) for v in range(k))) for at in corners]
    assert isinstance(layer, ResidualAverage)
    (logit,) = digits(layer.logit)
    return [
        (v + mp.exp(-logit) * w) / (1 + mp.exp(-logit)) for v, w in zip(z, exact(layer.branch, z, shape), strict=True)
    ]


def distance(y, z):
    """The norm of the difference between a tensor and numbers of 60 digits."""
    return mp.sqrt(mp.fsum((a - b) ** 2 for a, b in zip(digits(y), z, strict=True)))


def branch():
    """An expanding branch that needs every kind of rounding."""
    return nn.Sequential(nn.Linear(6, 6), NActivation(6), nn.Linear(6, 6), HouseholderActivation(6), LayerCenter())


ROUNDED = {
    "N": (lambda: NActivation(4), (4, 2, 2), 1e3, 1.0),
    "Householder": (lambda: HouseholderActivation(6), (6,), 1e5, 1.0),
    "Householder of an image": (lambda: HouseholderActivation(4), (4, 2, 2), 3.0, 1e-3),
    "L2": (lambda: L2Pool(3), (2, 6, 6), 0.0, 1.0),
    "centre": (LayerCenter, (2, 4, 4), 0.0, 1e6),
    "wide centre": (LayerCenter, (512,), 0.0, 1.0),
    "average": (lambda: ResidualAverage(branch()), (6,), 1.0, 1.0),
    "average of an average": (lambda: ResidualAverage(ResidualAverage(branch())), (6,), 5.0, 1.0),
    "average, one layer": (lambda: ResidualAverage(NActivation(4)), (4, 2, 2), 30.0, 1e-3),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_layers_stay_within_their_rounding_bound_against_60_digits(name):
    build, shape, noise, size = ROUNDED[name]
    worst = 0.0
    for _ in range(10):
        layer = build().double()
        perturb(layer, noise)
        x = size * (1 + torch.randn(1, *shape, dtype=torch.float64))
        certifier = Certifier(layer, shape)
        y, e = propagate(certifier.steps, x, torch.zeros(1, dtype=torch.float64))
        assert torch.allclose(y, layer(x), rtol=1e-12)
        worst = max(worst, float(distance(y, exact(layer, digits(x), shape)) / mpf(float(e))))
    assert 1e-3 < worst <= 1


@pytest.mark.parametrize("size", [1e-150, 1e-157, 1e-161, 1e-170, 1e-300])
def test_squares_that_underflow_are_covered(size):
    layer = L2Pool(3)
    for _ in range(20):
        x = size * torch.randn(1, 2, 6, 6, dtype=torch.float64)
        y = layer(x)
        e = float(rounding(layer, absolute_norm(layer), 1.0, x, y))
        assert distance(y, exact(layer, digits(x), (2, 6, 6))) <= mpf(e) < 1e-150


@pytest.mark.parametrize("name", ["MaxMin", "GroupSort3", "Abs", "MaxPool", "FirstChannels"])
def test_what_only_moves_numbers_has_no_rounding_error(name):
    layer, x = LAYERS[name](), torch.randn(2, *IMAGE, dtype=torch.float64)
    y = layer(x)
    assert not rounding(layer, absolute_norm(layer), 1.0, x, y).any()
    assert set(y.abs().flatten().tolist()) <= set(x.abs().flatten().tolist())


@pytest.mark.parametrize("name", ROUNDED)
def test_errors_that_come_in_are_carried_through(name):
    build, shape, noise, size = ROUNDED[name]
    layer = build().double()
    perturb(layer, noise)
    certifier = Certifier(layer, shape)
    e = torch.tensor([1e-3], dtype=torch.float64)
    for _ in range(10):
        x = size * torch.randn(1, *shape, dtype=torch.float64)
        step = torch.randn_like(x)
        y, after = propagate(certifier.steps, x, e)
        away = x + e * step / step.norm()
        assert distance(y, exact(layer, digits(away), shape)) <= mpf(float(after)) * (1 + mpf(10) ** -9)
    assert float(after) <= 1.001e-3 * certifier.bound.value + 1e-9


def test_an_error_at_the_input_is_multiplied_by_the_share_of_each_path():
    layer = average(0.25, scaled(9.0))
    _, e = propagate(Certifier(layer, (6,)).steps, torch.zeros(1, 6).double(), torch.tensor([1e-3]).double())
    assert float(e) == pytest.approx(1e-3 * (0.25 + 0.75 * 9))


def test_products_that_cancel_in_a_branch_are_counted():
    """The branch maps x to almost nothing, and all its digits are rounding."""
    layer = ResidualAverage(nn.Linear(6, 6)).double()
    x, W = torch.randn(1, 6, dtype=torch.float64), 1e6 * torch.randn(6, 6, dtype=torch.float64)
    layer.branch.weight.data = W - W @ x.mT @ x / x.square().sum()
    layer.branch.bias.data.zero_()
    y, e = propagate(Certifier(layer, (6,)).steps, x, torch.zeros(1, dtype=torch.float64))
    error = distance(y, exact(layer, digits(x), (6,)))
    assert 1e-12 < error <= mpf(float(e)) < 1e-7


def test_the_logits_of_a_network_lie_within_their_error():
    model = nn.Sequential(
        dense("aol", 6, 12), GroupSort(3), ResidualAverage(nn.Sequential(dense("plain", 12, 12), NActivation(12))),
        LayerCenter(), HouseholderActivation(12), dense("cayley", 12, 6), FirstChannels(6), UnitRows(6, 3),
    ).double()  # fmt: skip
    perturb(model, 0.5)
    certifier = Certifier(model, (6,))
    x = 100 * torch.randn(4, 6, dtype=torch.float64)
    s, e = certifier.logits(x)
    frozen = nn.Sequential(*(module for module in certifier.frozen if not isinstance(module, FirstChannels)))
    ratios = [float(distance(s[i], exact(frozen, digits(x[i]), (6,))) / mpf(float(e[i]))) for i in range(len(x))]
    assert 1e-4 < max(ratios) <= 1 and float(e.max()) < 1e-8


def test_a_small_network_from_bound_to_certificate():
    model = nn.Sequential(
        Center(torch.tensor([0.5])), nn.PixelUnshuffle(2), PadChannels(12), conv2d("aol", 12, 12, 3), GroupSort(4),
        ResidualAverage(nn.Sequential(conv2d("sll", 12, 12, 3), NActivation(12), conv2d("cayley", 12, 12, 3))),
        HouseholderActivation(12), L2Pool(2), conv2d("cayley", 12, 12, 1), Abs(), MaxPool(2), nn.Flatten(),
        LayerCenter(), dense("aol", 12, 12), NActivation(12), FirstChannels(8), UnitRows(8, 4),
    ).double()  # fmt: skip
    perturb(model, 0.3)
    certifier = Certifier(model, (1, 8, 8))
    assert norm(model[:-1], (1, 8, 8)) <= certifier.body <= 1 + 1e-6
    assert [layer.value for layer in certifier.bound.layers if layer.method == "constant"] == 12 * [1]
    x = torch.rand(40, 1, 8, 8, dtype=torch.float64).requires_grad_()
    found = certifier(x.detach())
    assert torch.allclose(found.logits, model(x), atol=1e-12) and float(found.error.max()) < 1e-11
    assert float(found.radius.median()) > 0
    s = certifier.frozen(x)
    rest = s.scatter(1, found.label[:, None], -math.inf).amax(1)
    (g,) = torch.autograd.grad((s.gather(1, found.label[:, None])[:, 0] - rest).sum(), x)
    for direction in (-g, torch.randn_like(x)):
        unit = direction / direction.flatten(1).norm(dim=1).clamp_min(1e-300).view(-1, 1, 1, 1)
        moved = x.detach() + unit * found.radius.view(-1, 1, 1, 1)
        assert torch.equal(certifier.frozen(moved).argmax(1), found.label)


# the table of docs/isometries.md


def table():
    """(torch layer, constant, ours) of every row, as they are written."""
    lines = (Path(__file__).parents[1] / "docs" / "isometries.md").read_text().splitlines()
    start = lines.index("| torch layer | its exact l2 constant | ours |") + 2
    rows = lines[start : lines.index("", start)]
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows]


def code(cell):
    """The modules that a cell builds, by their code."""
    return {text: eval(text, {**vars(isometries)}) for text in cell.split("`")[1::2]}


def in_training(module):
    """The same in training mode, kept for a layer that does nothing else."""
    return module.train() if isinstance(module, nn.Dropout) else module.eval()


# where a layer that `bound` refuses attains its constant
WORST = {
    "nn.GELU()": torch.full((1, 1), math.sqrt(2)),
    "nn.SiLU()": torch.full((1, 1), 2.399355),
    "nn.Mish()": torch.full((1, 1), 1.49057),
    "nn.Upsample(scale_factor=2)": torch.randn(1, 1, 2, 2),
    "nn.LPPool2d(2, 2)": torch.randn(1, 1, 2, 2),
    "nn.LayerNorm(12)": torch.ones(1, 12),
    "nn.GroupNorm(2, 4)": torch.ones(1, 4, 2, 2),
    "nn.RMSNorm(12, eps=1e-5)": torch.zeros(1, 12),
    "nn.BatchNorm2d(4)": torch.randn(1, 4, 2, 2),
    "nn.Dropout(0.5)": torch.randn(1, 50),
    "nn.Softmax(1)": torch.tensor([[0.0, 0.0, -60.0]]),
}


@pytest.mark.parametrize("row", [row for row in table() if row[0].startswith("`")], ids=lambda row: row[0])
def test_the_table_of_the_docs(row):
    first, constant, ours = row
    ((text, module),) = code(first).items()
    if ours.startswith("refused"):
        with pytest.raises(ValueError, match="no Lipschitz bound is"):
            bound(module, (4, 12, 12))
    if constant == "none":
        assert text not in WORST
        return
    number = float(Fraction(constant.split()[0]))
    if ours.startswith("refused"):
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.zero_()
        found = torch.linalg.matrix_norm(jacobian(in_training(module.double()), WORST[text].double()), 2)
    else:
        found = bound(module, (4, 12, 12)).value
        assert text not in WORST
        assert norm(module.double(), (4, 12, 12), points=1) <= number + 1e-12
    assert float(found) == pytest.approx(number, rel=1e-4)
    for name, other in code(ours).items():
        assert bound(other, (4, 12, 12)).value == 1, name


def test_the_table_names_every_layer():
    ours = " ".join(row[2] for row in table())
    text = (Path(__file__).parents[1] / "docs" / "isometries.md").read_text()
    assert len([row for row in table() if row[0].startswith("`")]) >= 25
    for name in set(isometries.__all__) - {"UnitRows"}:
        assert f"`{name}" in text
    for name in set(isometries.__all__) - {"UnitRows", "PadChannels", "FirstChannels"}:
        assert f"`{name}(" in ours
