"""Radii against the double loop, the running error against exact rationals, and that errors can be told."""

import itertools
import math
import sys
from fractions import Fraction

import pytest
import torch
from cases import network, perturb
from torch import nn

from lipviz.bounds import bound_layer
from lipviz.certify import Certifier, _pairwise, absolute_norm, certified_accuracy, certify, rounding
from lipviz.forms import FrozenResidual
from lipviz.isometries import Center, Pool, UnitRows
from lipviz.layers import LAYERS, conv2d, conv_transpose2d, dense, explicit
from lipviz.norms import gamma
from lipviz.operators import CircularConv, PaddedTranspose
from lipviz.rotations import FrozenSeries
from lipviz.sandwich import FrozenSandwich


@pytest.mark.parametrize("row", LAYERS)
def test_radius_is_the_double_loop(row):
    model, shape = network(row)
    x = torch.rand(20, *shape)
    found = certify(model, x)
    certifier = Certifier(model, shape)
    s, W = certifier.frozen(x.double()), certifier.head.weight
    for i in range(len(x)):
        y = int(s[i].argmax())
        slow = min(float((s[i, y] - s[i, j]) / (certifier.body * (W[y] - W[j]).norm())) for j in range(4) if j != y)
        assert y == found.label[i]
        assert slow * (1 - 1e-6) - 1e-9 <= found.radius[i] < slow
        assert found.margin[i] == pytest.approx(float(s[i, y] - max(s[i, j] for j in range(4) if j != y)))


def test_the_runner_up_need_not_bind():
    """The radius is a minimum over all classes: a far row with a slightly smaller logit binds first."""
    head = nn.Linear(1, 3)
    head.weight.data = torch.tensor([[0.0], [0.1], [4.0]])
    head.bias.data = torch.tensor([1.0, 0.9, 0.0])
    found = certify(head, torch.zeros(1, 1))
    assert float(found.radius[0]) == pytest.approx(0.25)  # 1 / 4 against 0.1 / 0.1


def test_without_a_linear_head_the_joint_certificate_is_used():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
    model[0].weight.data = 2 * torch.eye(2)
    found = certify(model, torch.tensor([[1.0, 0.5]]))
    assert float(found.radius[0]) == pytest.approx(1.0 / (math.sqrt(2) * 2))


def test_unit_rows_are_unit_rows():
    head = UnitRows(5, 3)
    head.weight.data *= torch.tensor([[1e-18], [1.0], [1e18]])
    assert torch.allclose(head.rows().norm(dim=1), torch.ones(3), atol=1e-6)


@pytest.mark.parametrize("row", LAYERS)
def test_nearby_inputs_never_change_the_answer(row):
    """Gradient steps and random steps of the length of the radius, in float64."""
    model, shape = network(row)
    certifier = Certifier(model, shape)
    x = torch.rand(30, *shape, dtype=torch.float64).requires_grad_()
    found = certifier(x.detach())
    s = certifier.frozen(x)
    rest = s.scatter(1, found.label[:, None], -math.inf).amax(1)
    (g,) = torch.autograd.grad((s.gather(1, found.label[:, None])[:, 0] - rest).sum(), x)
    for direction in (-g, torch.randn_like(x), torch.randn_like(x)):
        unit = direction / direction.flatten(1).norm(dim=1).clamp_min(1e-300).view(-1, *[1] * len(shape))
        moved = x.detach() + unit * found.radius.view(-1, *[1] * len(shape))
        assert torch.equal(certifier.frozen(moved).argmax(1), found.label)


def exact_forward(frozen, x):
    """The MLP of stored weights in exact rational arithmetic."""
    z = [Fraction(float(v)) for v in x]
    for module in frozen:
        if isinstance(module, nn.Linear):
            W = [[Fraction(float(w)) for w in row] for row in module.weight]
            z = [
                sum(a * b for a, b in zip(row, z, strict=True)) + Fraction(float(c))
                for row, c in zip(W, module.bias, strict=True)
            ]
        elif hasattr(module, "mean"):
            z = [a - Fraction(float(m)) for a, m in zip(z, module.mean.expand(len(z)), strict=True)]
        elif hasattr(module, "channels"):
            z = z + [Fraction(0)] * (module.channels - len(z))
        elif type(module).__name__ == "MaxMin":
            a, b = z[: len(z) // 2], z[len(z) // 2 :]
            z = [max(p) for p in zip(a, b, strict=True)] + [min(p) for p in zip(a, b, strict=True)]
    return z


@pytest.mark.parametrize("row", ["aol", "cayley", "plain"])
def test_logits_lie_within_the_running_error(row):
    model, shape = network(row, "mlp")
    certifier = Certifier(model, shape)
    x = 1e3 * torch.randn(3, *shape, dtype=torch.float64)
    s, e = certifier.logits(x)
    worst = 0.0
    for i in range(len(x)):
        for logit, true in zip(s[i], exact_forward(certifier.frozen, x[i]), strict=True):
            assert abs(Fraction(float(logit)) - true) <= Fraction(float(e[i]))
            worst = max(worst, float(abs(Fraction(float(logit)) - true) / Fraction(float(e[i]))))
    assert worst > 1e-5, "the bound is not a vacuous one"


def exact_conv(W, b, z, wrap, before):
    """Cross-correlation of nested lists of rationals, stride 1, the size kept."""
    n, k = len(z[0]), W.shape[-1]

    def pixel(c, i, j):
        if wrap:
            return z[c][i % n][j % n]
        return z[c][i][j] if 0 <= i < n and 0 <= j < n else Fraction(0)

    taps = [(c, u, v) for c in range(W.shape[1]) for u in range(k) for v in range(k)]

    def output(o, i, j):
        terms = (Fraction(float(W[o, c, u, v])) * pixel(c, i + u - before, j + v - before) for c, u, v in taps)
        return sum(terms, Fraction(0 if b is None else float(b[o])))

    return [[[output(o, i, j) for j in range(n)] for i in range(n)] for o in range(W.shape[0])]


def rationals(x):
    """A tensor (c, n, n) as nested lists."""
    return [[[Fraction(float(v)) for v in row] for row in plane] for plane in x]


def apply(f, *planes):
    """Entry by entry."""
    return [
        [[f(*v) for v in zip(*rows, strict=True)] for rows in zip(*p, strict=True)] for p in zip(*planes, strict=True)
    ]


def relu(z):
    """Entry by entry."""
    return apply(lambda v: max(v, Fraction(0)), z)


def exact_transpose(module, z):
    """Every pixel spread with the kernel, then cropped or wrapped to twice the size; with the bias."""
    conv, n = module.conv, 2 * len(z[0])
    out = [[[Fraction(float(b))] * n for _ in range(n)] for b in conv.bias]
    taps = range(conv.kernel_size[0])
    for o, c, i, j, u, v in itertools.product(range(len(z)), range(len(out)), *2 * [range(n // 2)], taps, taps):
        a, b = 2 * i + u - module.before, 2 * j + v - module.before
        if module.padding_mode == "circular":
            a, b = a % n, b % n
        if 0 <= a < n and 0 <= b < n:
            out[c][a][b] += Fraction(float(conv.weight[o, c, u, v])) * z[o][i][j]
    return out


def exact_layer(module, z):
    """One frozen layer in exact rational arithmetic; z is nested lists (c, n, n)."""
    if isinstance(module, PaddedTranspose):
        return exact_transpose(module, z)
    if isinstance(module, FrozenSandwich):
        return exact_layer(module.outer, relu(exact_layer(module.inner, z)))
    if isinstance(module, FrozenSeries):
        full = z + [[[Fraction(0)] * len(z[0])] * len(z[0])] * (module.width - len(z))
        out = full
        for j in (3, 2, 1):
            out = apply(lambda a, b, j=j: a + b / j, full, exact_layer(module.conv, out))
        biases = [Fraction(float(b)) for b in module.bias]
        return [[[v + b for v in row] for row in plane] for plane, b in zip(out, biases, strict=False)]
    if isinstance(module, nn.Conv2d):
        return exact_conv(module.weight, module.bias, z, False, module.padding[0])
    if isinstance(module, FrozenResidual):
        hidden = relu(exact_layer(module.inner, z))
        out = exact_conv(module.outer.weight, None, hidden, False, module.outer.padding[0])
        return apply(lambda a, b: a + b, z, out)
    if isinstance(module, CircularConv):  # a true convolution: the kernel turned round, before = its last index
        K = module.weight.flip(2, 3)
        return exact_conv(K, module.bias, z, True, K.shape[-1] - 1)
    if isinstance(module, Center):
        return [
            [[v - Fraction(float(m)) for v in row] for row in plane] for plane, m in zip(z, module.mean, strict=True)
        ]
    k = module.size if isinstance(module, Pool) else module.kernel_size
    divisor = k if isinstance(module, Pool) else k * k
    blocks = range(0, len(z[0]), k)
    return [
        [[sum(p[i + a][j + b] for a in range(k) for b in range(k)) / divisor for j in blocks] for i in blocks]
        for p in z
    ]


EXACT = {
    "conv": (nn.Conv2d(2, 2, 3, padding=1), 4),
    "residual": (conv2d("sll", 2, 2, 3), 4),
    "fft": (conv2d("cayley", 2, 2, 3), 4),
    "series": (conv2d("soc", 2, 3, 3), 4),
    "sandwich": (conv2d("sandwich", 2, 2, 3), 4),
    "transposed": (conv_transpose2d("aoc", 2, 3, 3, 2), 4),
    "transposed circular": (conv_transpose2d("aol", 2, 3, 4, 2, "circular"), 4),
    "center": (Center(torch.tensor([0.3, 0.7])), 4),
    "pool": (Pool(16), 16),
    "mean": (nn.AvgPool2d(16), 16),
}


@pytest.mark.parametrize("name", EXACT)
def test_layers_stay_within_their_rounding_bound_against_exact_rationals(name):
    module, n = EXACT[name]
    if module.state_dict():
        perturb(module, 0.3)
    frozen = explicit(module.double(), (2, n, n))
    layer = bound_layer(frozen, (2, n, n))[0]
    worst = 0.0
    for _ in range(5):
        x = torch.randn(1, 2, n, n, dtype=torch.float64)
        y = frozen(x)
        e = float(rounding(frozen, absolute_norm(frozen), layer, x, y)[0])
        error = sum((a - b) ** 2 for p, q in zip(rationals(y[0]), exact_layer(frozen, rationals(x[0])), strict=True)
                    for r, s in zip(p, q, strict=True) for a, b in zip(r, s, strict=True))  # fmt: skip
        worst = max(worst, math.sqrt(error) / e)
    assert 1e-4 < worst <= 1


@pytest.mark.parametrize("module,x", [(nn.LeakyReLU(1000.3), 1.1), (nn.Sigmoid(), 1e-17), (nn.Tanh(), 0.3)], ids=str)
def test_activations_stay_within_their_rounding_bound(module, x):
    x = torch.tensor([[x, -x, 3 * x]], dtype=torch.float64)
    y = module(x)
    e = float(rounding(module, 0.0, bound_layer(module, (3,))[0], x, y)[0])
    exact = {
        "LeakyReLU": lambda v: Fraction(v) * (Fraction(1) if v > 0 else Fraction(1000.3)),
        "Sigmoid": lambda v: Fraction(1, 2) + Fraction(v) / 4,  # to the third power of 1e-17
        "Tanh": lambda v: Fraction(math.tanh(v)),
    }[type(module).__name__]
    assert all(abs(Fraction(float(b)) - exact(float(a))) <= Fraction(e) for a, b in zip(x[0], y[0], strict=True))


@pytest.mark.parametrize("row", LAYERS)
def test_logits_agree_with_the_model_itself(row):
    model, shape = network(row)
    x = torch.randn(5, *shape, dtype=torch.float64)
    certifier = Certifier(model, shape)
    s, e = certifier.logits(x)
    assert ((s - model.double()(x)).abs().amax(1) <= 2 * e + 1e-12).all() and e.max() < 1e-6


def test_the_error_grows_with_the_constant_of_the_layers_behind():
    first, last = nn.Linear(2, 2, bias=False).double(), nn.Linear(2, 2, bias=False).double()
    first.weight.data = 1e8 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)  # cancels, and loses digits
    last.weight.data = 1e6 * torch.eye(2, dtype=torch.float64)
    x = torch.ones(1, 2, dtype=torch.float64)
    _, small = Certifier(first, (2,)).logits(x)
    _, large = Certifier(nn.Sequential(first, last), (2,)).logits(x)
    assert large >= 1e6 * small > 0


def test_rounding_counts_taps_that_cancel():
    conv = nn.Conv2d(1, 1, 2, bias=False).double().requires_grad_(False)
    conv.weight.data = torch.tensor([[[[1.0, -1.0], [-1.0, 1.0]]]], dtype=torch.float64)
    assert absolute_norm(conv) == pytest.approx(4)


def test_a_module_used_twice_is_evaluated_twice():
    act = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 3)).double()
    x = torch.randn(50, 4, dtype=torch.float64)
    assert torch.allclose(certify(model, x).logits, model(x))


def test_equal_classes_are_not_certified_and_not_nan():
    head = nn.Linear(2, 3, bias=False).double()
    head.weight.data = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    for x in (torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])):
        assert certify(head, x).radius.tolist() == [0.0]


def test_tiny_weights_do_not_make_infinite_radii():
    head = nn.Linear(3, 2, bias=False).double()
    head.weight.data.mul_(1e-200)
    x = torch.randn(4, 3, dtype=torch.float64)
    scaled = nn.Linear(3, 2, bias=False).double()
    scaled.weight.data = head.weight.data * 1e200
    assert torch.allclose(certify(head, x).radius, certify(scaled, x).radius, rtol=1e-6)


@pytest.mark.parametrize("model", [nn.Linear(3, 1), nn.Conv2d(1, 2, 1)], ids=str)
def test_what_is_no_classifier_is_refused(model):
    with pytest.raises(ValueError, match="two logits"):
        certify(model, torch.rand(2, *((3,) if isinstance(model, nn.Linear) else (1, 4, 4))))


def test_the_images_of_the_caller_are_left_alone():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2)).double()
    x = -torch.ones(2, 3, dtype=torch.float64)
    certify(model, x)
    assert (x == -1).all()


def test_a_near_tie_is_not_certified():
    head = nn.Linear(1, 2, bias=True)
    head.weight.data, head.bias.data = torch.ones(2, 1), torch.tensor([1.0, 1.0])
    found = certify(head, torch.tensor([[0.5]]))
    assert float(found.radius[0]) == 0


def test_certified_accuracy_is_strict_and_counts_all_images():
    radius, correct = torch.tensor([0.5, 0.2, 0.9]), torch.tensor([True, True, False])
    assert certified_accuracy(radius, correct, 0.5) == 0
    assert certified_accuracy(radius, correct, 0.2) == pytest.approx(1 / 3)
    assert certified_accuracy(radius, correct, 0.1) == pytest.approx(2 / 3)


def test_bytes_and_floats_are_the_same_picture():
    model, shape = network("aol")
    x = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    assert torch.equal(certify(model, x).radius, certify(model, x.double() / 255).radius)


@pytest.mark.parametrize(
    "images,words",
    [
        (torch.zeros(2, 1, 9, 9), "shape"),
        (torch.zeros(0, 1, 8, 8), "shape"),
        (torch.full((1, 1, 8, 8), math.nan), "finite"),
    ],
)
def test_wrong_images_are_refused(images, words):
    model, shape = network("aol")
    with pytest.raises(ValueError, match=words):
        Certifier(model, shape)(images)


def chain(*layers):
    """Linear layers of given matrices (and biases) in float64."""
    modules = []
    for matrix, *b in layers:
        W = torch.tensor(matrix, dtype=torch.float64)
        linear = nn.Linear(W.shape[1], W.shape[0], bias=bool(b)).double()
        linear.weight.data = W
        if b:
            linear.bias.data = torch.tensor(b[0], dtype=torch.float64)
        modules.append(linear)
    return nn.Sequential(*modules)


UNDERFLOW = {
    "weights": ([([[1e-170, 1e-170, -1e-170]],), ([[1e100]],), ([[1e70], [0.0]], [0.0, 1e-18])], [1.0, 1e-17, 1.0]),
    "inputs": ([([[1.0, 1.0, -1.0]],), ([[1e100]],), ([[1e70], [0.0]], [0.0, 1e-18])], [1e-170, 1e-187, 1e-170]),
    "products": ([([[1e-170]],), ([[1e140]],), ([[1e140]],), ([[1e40], [0.0]], [0.0, 1e-30])], [1e-170]),
}


@pytest.mark.parametrize("name", UNDERFLOW)
def test_numbers_that_underflow_certify_nothing_wrong(name):
    """The exact answer is class 0, but digits are lost on the way: any certificate of class 1 must have radius 0."""
    layers, x = UNDERFLOW[name]
    found = certify(chain(*layers), torch.tensor([x], dtype=torch.float64))
    assert found.label[0] == 0 or found.radius[0] == 0


BEYOND = 1e-170  # its square underflows
SMALL = {
    "rows that differ by little": ([([[1.0, 0.0], [1.0, BEYOND]], [1e-10, 0.0])], 1e-10 / BEYOND),
    "rows and a body": ([([[1e-165]],), ([[0.0], [1e-165]], [1e-300, 0.0])], 1e30),
    "numbers below the normal ones": ([([[0.0], [5e-324]], [1e-300, 0.0])], 1e-300 / 5e-324),
    "a radius below them": ([([[0.0], [1e20]], [3e-302, 0.0])], Fraction(3e-302) / Fraction(1e20)),
    "a radius above all": ([([[0.0], [1e-300]], [1e10, 0.0])], Fraction(10) ** 310),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_radius_stays_below_the_true_one_where_slopes_underflow(name):
    layers, truth = SMALL[name]
    model = chain(*layers)
    found = certify(model, torch.zeros(1, model[0].in_features, dtype=torch.float64))
    assert found.label[0] == 0 and math.isfinite(found.radius[0])
    assert Fraction(float(found.radius[0])) <= Fraction(truth)


def test_differences_are_bounded_row_by_row():
    """Against exact rationals over the whole range of doubles; infinite only where the distance has no double."""
    W = torch.tensor([[1e308, 0.0], [-1e308, 0.0], [1e300, 1.0], [3e-324, 0.0], [0.0, 1e-170]], dtype=torch.float64)
    found = _pairwise(W)
    for i, j in itertools.product(range(len(W)), repeat=2):
        square = sum((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(W[i], W[j], strict=True))
        bound = float(found[i, j])
        assert bound == math.inf or Fraction(bound) ** 2 >= square
        assert (bound == 0) == (i == j) and (bound == math.inf) == (square > Fraction(sys.float_info.max) ** 2)


def test_a_constant_network_is_certified_everywhere():
    """A zero body, and equal rows with another bias."""
    for layers in ([([[0.0]],), ([[1.0], [-1.0]], [1.0, 0.0])], [([[2.0], [2.0]], [1.0, 0.0])]):
        found = certify(chain(*layers), torch.zeros(1, 1, dtype=torch.float64))
        assert found.radius.tolist() == [math.inf]


def test_rounding_of_a_residual_that_is_wider_inside():
    """The bias stands in front of the relu, once for each hidden unit, however few inputs there are."""
    h = 10_000
    inner, outer = nn.Linear(1, h).double(), nn.Linear(h, 1, bias=False).double()
    for tensor, value in ((inner.weight, 0.01), (inner.bias, 1 / 3), (outer.weight, -0.02)):
        tensor.data.fill_(value)
    layer = FrozenResidual(inner, outer).requires_grad_(False)
    x = torch.tensor([[0.1]], dtype=torch.float64)
    y = layer(x)
    exact = Fraction(0.1) + h * Fraction(-0.02) * (Fraction(0.01) * Fraction(0.1) + Fraction(1 / 3))
    claimed = float(rounding(layer, absolute_norm(layer), 1.0, x, y))
    assert abs(Fraction(float(y)) - exact) <= claimed
    worst = gamma(h) * h * 0.02 / 3  # of the outer sum alone
    assert claimed >= worst


def test_products_that_underflow_are_told_of_circular_convolutions():
    conv = CircularConv(torch.full((1, 1, 2, 2), 0.25e-200, dtype=torch.float64), None)
    head = nn.Linear(4, 2).double()
    head.weight.data = torch.tensor([[1.0] * 4, [-1.0] * 4]).double() * 1e307
    head.bias.data = torch.tensor([-1e-44, 1e-44]).double()
    found = certify(nn.Sequential(conv, nn.Flatten(), head), torch.full((1, 1, 2, 2), 1e-150, dtype=torch.float64))
    first = 16 * Fraction(1e307) * Fraction(0.25e-200) * Fraction(1e-150) + Fraction(-1e-44)
    assert found.radius == 0 or int(found.label) == (0 if first > 0 else 1)


@pytest.mark.parametrize("kind", [torch.int8, torch.int16, torch.int64, torch.bool])
def test_integers_whose_unit_is_a_guess_are_refused(kind):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="uint8 from 0 to 255, or floats"):
        certify(model, torch.ones(1, 1, 2, 2).to(kind))


@pytest.mark.parametrize("rows", [1000, 10000])
def test_the_rounding_of_a_residual_on_rows_of_features(rows):
    """Its bias stands once for every row of features, however many rows an input has."""
    layer = dense("sll", 1, 1, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        layer.bias.fill_(2.0**60)
    frozen = explicit(layer, (rows, 1))
    assert isinstance(frozen, FrozenResidual)
    v, b, outer = (Fraction(float(w)) for w in (frozen.inner.weight, frozen.inner.bias, frozen.outer.weight))
    x = torch.full((1, rows, 1), 127.0, dtype=torch.float64)
    y = frozen(x)
    off = abs(Fraction(float(y[0, 0, 0])) - (127 + outer * max(Fraction(0), 127 * v + b)))
    value, _ = bound_layer(frozen, (rows, 1))
    assert math.sqrt(rows) * float(off) <= float(rounding(frozen, absolute_norm(frozen), value, x, y)[0])
