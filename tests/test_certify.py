"""Radii against the double loop, the running error against exact rationals, and that errors can be told."""

import math
from fractions import Fraction

import pytest
import torch
from cases import perturb
from torch import nn

from lipviz.certify import Certifier, certified_accuracy, certify
from lipviz.isometries import UnitRows
from lipviz.layers import LAYERS
from lipviz.networks import Spec, build


def network(row, kind="convnet"):
    shape = (1, 8, 8) if kind == "convnet" else (6,)
    model = build(Spec(row, kind, shape, 4, width=8, depth=2, patch=2, pool=2, mean=(0.3,)))
    perturb(model, 0.2)
    return model, shape


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


@pytest.mark.parametrize("row", ["sll", "cpl", "cayley"])
def test_convolutions_and_ffts_stay_within_the_running_error(row):
    """The same network evaluated in another order of summation differs by no more than both errors."""
    model, shape = network(row)
    certifier = Certifier(model, shape)
    x = torch.randn(5, *shape, dtype=torch.float64)
    s, e = certifier.logits(x)
    turned = torch.cat([certifier.frozen(part) for part in x.split(1)])
    dense = model.double()(x)
    assert ((s - turned).abs().amax(1) <= 2 * e).all() and ((s - dense).abs().amax(1) <= 4 * e + 1e-13).all()
    assert e.max() < 1e-8


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
