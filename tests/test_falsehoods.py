"""Five false certificates: each is broken by a change that is measured here anew, and the repaired one is not."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import shipped
import torch
from cases import jacobian
from shipped import CHECKPOINTS
from torch import nn

from lipviz import falsehoods, falsehoods_words, figures_false, runs
from lipviz.bounds import freeze64
from lipviz.certify import Certifier, certify
from lipviz.isometries import Center
from lipviz.samples import names

SHAPE = (1, 20, 20)
PAIRS = [("Digit 3", "Digit 9"), ("Digit 6", "Digit 3"), ("Digit 9", "Digit 6")]


def of_layer(*layers):
    """The shipped runs of pictures that have one of these layers; each with other tests of it, for its bound."""
    found = [run for run in runs.find(CHECKPOINTS) if run.spec.layer in layers]
    return [pytest.param(run, marks=pytest.mark.xdist_group(run.name), id=run.name) for run in found]


def photo(run):
    return falsehoods.sample("Cat" if run.spec.input_shape[0] == 3 else "Digit 3", run.spec.input_shape)


def digits(pair=PAIRS[0]):
    return [falsehoods.sample(name, SHAPE) for name in pair]


def check_broken(case, model, x, certifier=None):
    """From scratch: another label, in the box, inside the claim; the certificate is smaller than the change."""
    certifier = certifier or Certifier(model, tuple(x.shape))
    changed = torch.tensor(case.found.pixels)
    assert np.array_equal(case.x, x.numpy()) and changed.dtype == torch.float64
    assert changed.min() >= 0 and changed.max() <= 1
    with torch.no_grad():
        before, after = (model(z[None])[0] for z in (x, changed))
    size = math.sqrt(float(((changed - x) ** 2).sum()))
    assert int(before.argmax()) == case.label != int(after.argmax()) == case.found.label
    assert size == pytest.approx(case.found.size, rel=1e-12) and size < case.claimed
    radius = float(certifier(x[None]).radius)
    assert radius == pytest.approx(case.certified, rel=1e-9) and radius < size
    assert case.broken and case.state == "broken"
    return size


def check_repaired(case):
    """The same search ends outside what is claimed."""
    assert not case.broken and case.state == "true"
    assert case.found.label != case.label and case.found.size >= case.claimed * (1 - 1e-9)


@pytest.mark.parametrize("pair", list(itertools.permutations(range(3), 2)))
def test_what_a_search_returns_is_a_break(pair):
    """Its last rounds are finer than float32: what they end with still has another answer."""
    names_ = [("Digit 3", "Digit 6", "Digit 9")[k] for k in pair]
    x, other = (falsehoods.sample(name, SHAPE) for name in names_)
    certifier = Certifier(falsehoods.stretched(x, other), SHAPE)
    found = falsehoods.exact(certifier, x)
    assert found.label != found.first
    case = falsehoods.power_iteration(certifier, x, 12, found)
    assert case.found.label != case.label and case.state == "broken"


@pytest.mark.parametrize("run", of_layer("plain"))
def test_an_assumed_constant_on_a_plain_network(run):
    certifier, x = shipped.certifier(run.name), photo(run)
    model = freeze64(run.model, run.spec.input_shape)
    case = falsehoods.assumed_constant(certifier, x)
    size = check_broken(case, model, x, certifier)
    with torch.no_grad():
        best = model(x[None])[0].sort(descending=True).values
    assert case.claimed == pytest.approx(float(best[0] - best[1]) / math.sqrt(2), rel=1e-9)
    assert case.claimed > 2 * size, "not by a hair"
    # the smallest constant that this break allows is far above 1; with the proven one the claim is true
    assert not falsehoods.assumed_constant(certifier, x, 1.01 * case.claimed / size, found=case.found).broken
    check_repaired(falsehoods.assumed_constant(certifier, x, certifier.bound.value, found=case.found))


@pytest.mark.parametrize("factor", [0.01, 10.0])
def test_scaled_logits_change_the_claim_and_nothing_else(factor):
    x, other = digits()
    model = falsehoods.stretched(x, other)
    certifier = Certifier(model, SHAPE)
    plain = falsehoods.assumed_constant(certifier, x)
    case = falsehoods.assumed_constant(certifier, x, logits=factor, found=plain.found)
    assert case.claimed == pytest.approx(factor * plain.claimed) and case.certified == plain.certified
    scaled = freeze64(model, SHAPE)
    scaled[-1].weight.data *= factor
    scaled[-1].bias.data *= factor
    assert float(certify(scaled, x[None]).radius) == pytest.approx(plain.certified, rel=1e-6)
    with torch.no_grad():
        assert int(scaled(torch.tensor(case.found.pixels)[None]).argmax()) == plain.found.label


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("steps", [0, 1, 3, 6])
def test_power_iteration_is_too_low(pair, steps):
    x, other = digits(pair)
    model = falsehoods.stretched(x, other)
    certifier = Certifier(model, SHAPE)
    case = falsehoods.power_iteration(certifier, x, steps)
    check_broken(case, model, x)
    norms = [
        float(torch.linalg.matrix_norm(layer.weight.detach(), 2)) for layer in model if isinstance(layer, nn.Linear)
    ]
    found = falsehoods.estimates(certifier, steps)
    assert all(a < b for a, b in zip(found[1:], norms[:-1], strict=True))
    assert case.divisor == pytest.approx(2 * math.prod(found), rel=1e-9)
    # repaired: the norms themselves
    check_repaired(falsehoods.assumed_constant(certifier, x, math.sqrt(2) * math.prod(norms[:-1]), found=case.found))


def test_power_iteration_converges_from_below():
    x, other = digits()
    certifier = Certifier(falsehoods.stretched(x, other), SHAPE)
    found = falsehoods.exact(certifier, x)
    cases = [falsehoods.power_iteration(certifier, x, steps, found) for steps in (0, 2, 5, 10, 20, 60)]
    assert all(a.claimed >= b.claimed * (1 - 1e-9) for a, b in itertools.pairwise(cases))
    assert cases[0].claimed > 3 * cases[0].certified and cases[-1].state == "true"


@pytest.mark.parametrize("run", of_layer("plain"))
def test_the_estimates_of_a_convolution_are_those_of_its_matrix(run):
    certifier = shipped.certifier(run.name)
    estimates = falsehoods.estimates(certifier, 5)
    assert len(estimates) == len(certifier.bound.layers) - 1
    for estimate, layer in zip(estimates, certifier.bound.layers, strict=False):
        assert 0 < estimate <= layer.value * (1 + 1e-9)


def test_an_estimate_of_a_layer_written_out(generator):
    layer = nn.Conv2d(2, 3, 3, padding=1).double()
    x = torch.zeros(1, 2, 5, 5).double()
    true = float(torch.linalg.svdvals(jacobian(layer, x))[0])
    assert falsehoods.estimate(layer, x, 300, generator) == pytest.approx(true, rel=1e-4)
    assert 0.2 * true < falsehoods.estimate(layer, x, 0, generator) < 0.9 * true
    nn.init.zeros_(layer.weight)
    assert falsehoods.estimate(layer, x, 3, generator) == 0


@pytest.mark.parametrize("run", of_layer("cayley"))
def test_a_forgotten_std(run):
    certifier, x = shipped.certifier(run.name), photo(run)
    case = falsehoods.forgotten_std(certifier, x, 0.25, run.spec.mean)
    mean = torch.tensor(run.spec.mean).double()
    inner = freeze64(run.model, run.spec.input_shape)
    assert isinstance(inner[0], Center)

    def fed(z):
        return inner[1:]((z - mean[:, None, None]) / 0.25)

    with torch.no_grad():
        changed = torch.tensor(case.found.pixels)
        assert int(fed(x[None]).argmax()) == case.label != int(fed(changed[None]).argmax())
    scaled = nn.Sequential(falsehoods.scale(len(x), 0.25, run.spec.mean), inner)
    check_broken(case, scaled, x)
    assert case.claimed == pytest.approx(4 * case.certified, rel=1e-5)
    honest = falsehoods.forgotten_std(certifier, x, 1.0, run.spec.mean)
    check_repaired(honest)
    assert honest.certified == pytest.approx(float(certify(run.model, x[None]).radius), rel=1e-6)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("angle", [95, 120, 180])
def test_root_2_for_unit_rows_that_point_away(pair, angle):
    x, other = digits(pair)
    model = falsehoods.two_rows(x, other, angle)
    w, v = model[1].weight.detach()
    assert float(w.norm()) == pytest.approx(1) and float(v.norm()) == pytest.approx(1)
    assert math.degrees(math.acos(max(-1.0, float(w @ v)))) == pytest.approx(angle, abs=1e-6)
    case = falsehoods.unit_rows(x, other, angle)
    size = check_broken(case, model, x)
    assert case.certified == pytest.approx(float((x - other).norm()) / 2) and size < case.certified * (1 + 1e-6)
    assert case.claimed == pytest.approx(case.certified * math.sqrt(2) * math.sin(math.radians(angle / 2)))


@pytest.mark.parametrize("angle", [30, 60, 90])
def test_root_2_is_right_up_to_a_right_angle(angle):
    check_repaired(falsehoods.unit_rows(*digits(), angle))


def test_twice_the_constant_is_right_for_every_angle():
    x, other = digits()
    for angle in (30, 90, 150, 180):
        case = falsehoods.unit_rows(x, other, angle)
        assert case.margin / 2 <= case.found.size and case.margin / 2 <= case.certified * (1 + 1e-9)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("power", [0, 8, 16, 20, 24])
def test_float32_promises_too_much(pair, power):
    a, b = digits(pair)
    case, much, wrong = falsehoods.float32(a, b, 2.0**power)
    x = torch.tensor(case.x)
    assert torch.equal(x.float().double(), x), "the same picture in both"
    model = falsehoods.with_offset(a, b, 2.0**power)
    with torch.no_grad():
        single = model(x.float()[None])[0]
    assert int(single.argmax()) == case.label
    assert case.claimed == pytest.approx(float(single.max() - single.min()) / 2, rel=1e-5)
    check_broken(case, model.double(), x)
    assert much > 0 and wrong >= 0
    # in exact arithmetic the offset takes no part
    exact = float(np.dot(model[1].weight.detach().numpy()[0], case.x.ravel()) + model[3].bias.detach().numpy()[0])
    assert exact == pytest.approx(case.certified, rel=1e-4, abs=1e-9)


def test_float32_errs_by_the_spacing_of_its_numbers():
    excess = []
    for power in (8, 12, 16, 20):
        case, much, wrong = falsehoods.float32(*digits(), 2.0**power)
        excess.append((case.claimed - case.certified) / 2.0 ** (power - 23))
        assert much + wrong > 10
    assert max(excess) < 1 and min(excess) > 0.2
    zero, _, _ = falsehoods.float32(*digits(), 1.0)
    assert 0 < zero.claimed - zero.certified < 1e-5


def test_a_search_that_finds_nothing_says_so():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    nn.init.zeros_(flat[1].weight)
    flat[1].bias.data = torch.tensor([1.0, 0.0]).double()
    case = falsehoods.assumed_constant(Certifier(flat, (1, 2, 2)), torch.full((1, 2, 2), 0.5).double())
    assert case.found.label == case.label and not case.broken and case.state == "true", "nothing can change it"
    assert case.certified == math.inf and case.found.steps == 2 * falsehoods.SIZES
    assert falsehoods_words.numbers(case)[1][1] == "none"
    assert "none in 62 steps" in falsehoods_words.table(case, ("0", "0"))[2]["size"]


def test_a_change_whose_answer_is_not_certain_is_no_break():
    x, other = digits()
    certifier = Certifier(falsehoods.stretched(x, other), SHAPE)
    true = falsehoods.exact(certifier, x)
    for pixels in (x.numpy(), true.pixels + (x.numpy() - true.pixels) * 1e-3):
        false = dataclasses.replace(true, pixels=pixels)  # says that the answer changed, and it did not
        case = falsehoods.assumed_constant(certifier, x, found=false)
        assert case.found.label == case.label == 0 and not case.broken and case.state == "open"


def made(claimed, certified, size, label=1):
    found = falsehoods.Found(np.zeros((1, 1, 1)), size, 0, label, 9, np.array([0.0, 1.0]), np.array([1.0, -1.0]))
    return falsehoods.Case(np.zeros((1, 1, 1)), 0, 1.0, 1.0, claimed, certified, found)


@pytest.mark.parametrize(
    ("claimed", "certified", "size", "label", "state", "words"),
    [
        (1.0, 0.1, 0.5, 1, "broken", "2 times too far"),
        (0.6, 0.1, 0.5, 1, "broken", "20 % too far"),
        (0.500015, 0.1, 0.5, 1, "broken", "at size 0.50000, inside the claimed 0.50001"),
        (0.4, 0.1, 0.5, 1, "open", "proves nothing"),
        (0.4, 0.1, 0.5, 0, "open", "No counterexample found in 9 steps, up to size 0.500; that proves nothing"),
        (0.1, 0.1, 0.5, 1, "true", "0.100 is certified"),
        (1.0, 0.6, 0.5, 1, "bug", "must not happen"),
        (0.3, 0.6, 0.5, 1, "bug", "must not happen"),
    ],
)
def test_states_and_what_is_said(claimed, certified, size, label, state, words):
    case = made(claimed, certified, size, label)
    assert case.state == state and state in falsehoods_words.STATES
    assert words in falsehoods_words.notice("Unit rows", case, ("three", "nine"))


def test_the_same_picture_twice_is_refused():
    x, _ = digits()
    with pytest.raises(ValueError, match="two different pictures"):
        falsehoods.unit_rows(x, x)


def test_every_kind_has_its_words_and_there_are_samples():
    assert all(all(words) and words.repair.endswith(".") for words in falsehoods_words.KINDS.values())
    assert {"Digit 3", "Digit 6", "Digit 9", "Cat"} <= set(names())


def test_the_figure_ends_beside_the_break_and_names_what_is_beyond():
    sizes, margins = np.linspace(0, 0.2, 5), np.linspace(1, -1, 5)
    figure = figures_false.claim(sizes, margins, 1.0, 7.0, 0.001, 0.1)
    assert figure.layout.xaxis.range[1] < 0.6 and [len(trace.x) for trace in figure.data] == [2, 2, 5, 1]
    claimed = figure.data[0]
    assert claimed.y[1] == pytest.approx(1 - claimed.x[1] / 7) and "beyond" in figure.layout.annotations[0].text
    near = figures_false.claim(sizes, margins, 1.0, 0.05, 0.01, 0.1, dark=True)
    assert "outside" in near.data[3].name and "beyond" not in near.layout.annotations[0].text
    none = figures_false.claim(sizes, margins, 1.0, 0.0, 0.0)
    assert len(none.data) == 3 and np.isfinite(none.layout.xaxis.range).all()
