"""Which runs may be ranked together, the numbers in a ranking, and the LaTeX of it."""

import re

import numpy as np
import pytest
from folders import HOSTILE, certificates, copied, hostile
from shipped import CHECKPOINTS, NAMES, ROWS

from lipviz import latex, runs
from lipviz.protocols import Protocol, budget, differ, groups, protocol, seeds
from lipviz.standings import attacks, certified_curve, measured, ranks, spearman, standings, unranked


def test_the_rows_of_a_data_set_stand_in_one_ranking_and_the_best_runs_beside_it():
    found = groups(runs.find(CHECKPOINTS))
    for data in ("cifar10", "mnist"):
        first, *others = [{run.name for run in g.runs} for g in found if g.protocol.data == data]
        rows = {f"{data}-{row}" for row in ROWS}
        best = {name for name in NAMES if name.startswith(f"{data}-best")}
        assert rows <= first <= rows | best, "a best run may have the budget of the rows"
        assert first.union(*others) == rows | best
    assert found[0].protocol.data == "cifar10"
    said = found[0].protocol.sentence()
    for part in ("JPEG copy", "l2", "0.39931", "0.25", "10000 test inputs"):
        assert part in said


CHANGES = [
    {"data__notes": ["Other pixels."]},
    {"data__name": "cifar100"},
    {"results__norm": "l2, inputs in [-1, 1]"},
    {"spec__width": 128},
    {"spec__patch": 2},
    {"recipe__offset": 0.5},
    {"recipe__temperature": 1.0},
    {"recipe__focus": 5.0},
    {"recipe__rise": 0.1},
    {"recipe__start": "gaussian"},
    {"recipe__held_out": 0.1},
    {"recipe__pad": 4},
    {"recipe__flip": False},
    {"results__test_images": 1000},
    {"recipe__epochs": 7},
    {"budget": 601.0},
    {"precision": "float32"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_whatever_is_unequal_makes_another_ranking(tmp_path, change):
    base = {"budget": None} if "recipe__epochs" in change else {}  # epochs count where there is no budget
    a, b = copied(tmp_path, "a", **base), copied(tmp_path, "b", **base, **change)
    found = groups(runs.find(tmp_path))
    assert len(found) == 2 and [len(group.runs) for group in found] == [1, 1]
    assert len({group.label for group in found}) == 2
    said = differ(*(protocol(runs.load(folder)) for folder in (a, b)))
    assert said.startswith("They differ in ") and said.endswith(".") and " against " in said
    assert said.count(" against ") == 1, "in nothing else"


@pytest.mark.parametrize("change", [{"recipe__lr": 0.1}, {"recipe__batch": 64}, {"recipe__seed": 3},
                                    {"spec__layer": "sll"}, {"train_seconds": 1.0}, {"hardware": "CPU arm64"}],
                         ids=lambda change: next(iter(change)))  # fmt: skip
def test_what_a_row_may_choose_does_not(tmp_path, change):
    copied(tmp_path, "a")
    copied(tmp_path, "b", **change)
    [group] = groups(runs.find(tmp_path))
    assert differ(*map(protocol, group.runs)) == "They have one protocol."


def test_a_budget_in_seconds_stands_for_the_epochs(tmp_path):
    a = runs.load(copied(tmp_path, "a", budget=600.0))
    b = runs.load(copied(tmp_path, "b", budget=600.0, recipe__epochs=11))
    assert protocol(a) == protocol(b) and budget(a) == "600 s of one CPU core"
    gpu = runs.load(copied(tmp_path, "c", budget=600.0, hardware="NVIDIA H200"))
    assert budget(gpu) == "600 s on NVIDIA H200" and protocol(gpu) != protocol(a)


def test_a_run_json_that_says_little_is_still_grouped(tmp_path):
    folder = copied(tmp_path, "a", recipe="lost", budget=None)
    found = protocol(runs.load(folder))
    assert isinstance(found, Protocol) and "not said" in found.sentence() and found.budget == "not said"


def test_seeds_share_a_line_with_their_spread(tmp_path):
    for seed, share in ((0, 0.5), (1, 0.7), (2, 0.6)):
        name = f"x-seed{seed}" if seed else "x"
        folder = copied(
            tmp_path, name, recipe__seed=seed, budget=60.0, recipe__epochs=5 + seed, train_seconds=60.0 + seed
        )
        certificates(folder, np.full(10, 0.3), np.arange(10) < 10 * share)
    copied(tmp_path, "y", recipe__lr=0.5, budget=60.0)
    found = runs.find(tmp_path)
    assert [[run.name for run in each] for each in seeds(found)] == [["x", "x-seed1", "x-seed2"], ["y"]]
    line, other = standings(found)
    assert line.name == "x" and len(line.runs) == 3 and other.spread(36) is None
    assert line.clean == pytest.approx(60.0) and line.certified(36) == pytest.approx(60.0)
    assert line.spread(36) == pytest.approx((50.0, 70.0)) and line.certified(255) == 0.0
    assert line.numbers["seconds"] == pytest.approx(61.0)


def test_an_epoch_is_counted_in_core_seconds_on_a_cpu_and_by_the_clock_elsewhere(tmp_path):
    cost = {"epoch": 4, "core_seconds": 20.0, "train_seconds": 60.0}
    lost, none = {"core_seconds": None}, {"epoch": 0}
    cases = [("CPU x", {}, 5.0), ("NVIDIA", lost, 15.0), ("CPU x", lost, None), ("CPU x", none, None)]
    for i, (hardware, change, expected) in enumerate(cases):
        run = runs.load(copied(tmp_path, f"a{i}", hardware=hardware, **cost | change))
        assert measured(run)["epoch_seconds"] == expected


def test_two_runs_of_one_seed_are_two_lines(tmp_path):
    for name, seed in (("a", 0), ("a-again", 0), ("a-seed1", 1), ("b", None), ("c", None)):
        copied(tmp_path, name, recipe__seed=seed, recipe__lr=0.1 if seed is None else 0.2)
    lines = [[run.name for run in line.runs] for line in standings(runs.find(tmp_path))]
    assert lines == [["a", "a-seed1"], ["a-again"], ["b"], ["c"]], "a spread is over different seeds"


def test_means_are_over_the_same_seeds(tmp_path):
    for seed in range(3):
        changes = {"recipe__seed": seed, "results__accuracy": 0.5 + seed / 10, "results__certified": {"36": seed / 10}}
        copied(tmp_path, f"a{seed}", **changes)
    certificates(tmp_path / "a1", np.full(10, 0.3), np.arange(10) < 6)
    (tmp_path / "a2" / "certificates.csv").unlink()
    [line] = standings(runs.find(tmp_path))
    assert (line.clean, line.certified(36), line.certified(37)) == (pytest.approx(60), pytest.approx(10), None)
    assert not line.curves and line.spread(36) is None
    assert [lack for lack in line.lacks if "a2 has no certificates.csv: it is ranked at 36" in lack]


@pytest.mark.parametrize("key", HOSTILE)
def test_numbers_that_are_none_are_not_reckoned_with(tmp_path, key):
    copied(tmp_path, "good", recipe__lr=0.3)
    hostile(copied(tmp_path, "bad", **{key: HOSTILE[key]}))
    for group in groups(runs.find(tmp_path)):
        assert group.label and group.protocol.sentence()
        for line in standings(group.runs):
            assert all(value is None or abs(value) < 1e300 for value in line.numbers.values())
            if line.name == "bad":
                assert not line.curves and line.numbers["images_per_second"] is None
                assert any("a radius is not a number" in lack for lack in line.lacks)


def test_infinite_radii_are_radii(tmp_path):
    hostile(folder := copied(tmp_path, "a"), "inf")
    assert set(certified_curve(runs.load(folder))) == {100.0}


def test_a_label_says_what_its_group_is_not_how_large_it_is(tmp_path):
    copied(tmp_path, "a")
    [alone] = groups(runs.find(tmp_path))
    for i in range(2):
        copied(tmp_path, f"b{i}", recipe__offset=1.0, recipe__lr=0.1 + i)
    first = {group.runs[0].name: group.label for group in groups(runs.find(tmp_path))}
    assert first == {"b0": f"{alone.label}, offset 1", "a": f"{alone.label}, offset 0.39931"}
    for i in range(3):
        copied(tmp_path, f"a{i}", recipe__lr=0.1 + i)
    again = groups(runs.find(tmp_path))
    assert {group.runs[0].name: group.label for group in again} == first and again[0].runs[0].name == "a"
    copied(tmp_path, "c", spec__width=640, recipe__offset=1.0, recipe__temperature=2.0, recipe__pad=9)
    copied(tmp_path, "d", spec__width=64, recipe__offset=1.0, data__notes=["Other pixels, and many words on them."])
    labels = [group.label for group in groups(runs.find(tmp_path))]
    assert len(set(labels)) == 4 and all(re.fullmatch(rf"{alone.label}, protocol [0-9a-f]{{6}}", x) for x in labels)


def test_networks_of_one_budget_are_told_apart(tmp_path):
    for name, width in (("a", 64), ("b", 640)):
        copied(tmp_path, name, spec__width=width)
    assert {group.label.rpartition(", ")[2] for group in groups(runs.find(tmp_path))} == {"width 64", "width 640"}


def test_the_curve_is_the_certified_accuracy_at_every_size():
    run = runs.load(CHECKPOINTS / "mnist-sll")
    curve, found = certified_curve(run), run.certificates
    for k in (0, 1, 36, 100, 255, len(curve) - 1):
        assert curve[k] == pytest.approx(100 * found.accuracy(k / 255 if k else None))
    assert len(curve) == 511, "radii beyond 2 are not asked for"
    short = certified_curve(runs.load(CHECKPOINTS / "cifar10-aol"))
    assert short[-1] == 0.0 < short[-2] and len(short) < 511
    results = run.config["results"]
    assert [curve[k] for k in runs.MARKS] == pytest.approx([100 * results["certified"][str(k)] for k in runs.MARKS])


def test_what_a_folder_lacks_is_said_and_the_rest_given(tmp_path):
    for file in ("certificates.csv", "metrics.csv", "attacks.npz"):
        (copied(tmp_path, file.partition(".")[0]) / file).unlink()
    (copied(tmp_path, "broken") / "attacks.npz").write_bytes(b"no zip")
    lines = {run.name: standings([run])[0] for run in runs.find(tmp_path)}
    for name, file in (("certificates", "certificates.csv"), ("metrics", "metrics.csv"), ("attacks", "attacks.npz")):
        [said] = lines[name].lacks
        assert said.startswith(f"{name} has no {file}: ") and str(tmp_path) not in said
        kept = runs.load(tmp_path / name).config["results"]["certified"]["36"]
        assert lines[name].certified(36) == pytest.approx(100 * kept)
    assert lines["certificates"].certified(37) is None and not lines["certificates"].curves
    assert "run it again" in lines["broken"].lacks[0] and str(tmp_path) not in lines["broken"].lacks[0]
    assert lines["metrics"].numbers["images_per_second"] is None and lines["metrics"].numbers["tightness"] is not None


def test_an_attack_inside_a_radius_is_counted(tmp_path):
    folder = copied(tmp_path, "a")
    stored = {"radius": [0.2, 0.3, 0.1], "DDN": [0.4, 0.2, 0.4], "FMN": [0.5, np.inf, 0.5]}
    np.savez(folder / "attacks.npz", index=[0, 1, 2], steps=5, restarts=3, seed=0, **stored)
    found = attacks(runs.load(folder))
    assert (found["broken"], found["attacked"], found["tightness"]) == pytest.approx((1.0, 3.0, 0.5))
    copied(tmp_path, "a-seed1", recipe__seed=1)
    [line] = standings(runs.find(tmp_path))
    assert line.broken == ("a",) and len(line.runs) == 2


def test_costs_in_run_json_become_axes(tmp_path):
    found = measured(runs.load(copied(tmp_path, "a", core_seconds=12.5, forward_seconds=2e-5, memory_bytes=2**21)))
    assert (found["core_seconds"], found["forward"], found["memory"]) == pytest.approx((12.5, 20.0, 2.0))


def test_runs_that_cannot_be_ranked_are_named(tmp_path):
    copied(tmp_path, "a", state="stopped")
    copied(tmp_path, "b", results=None)
    copied(tmp_path, "c")
    assert unranked(runs.find(tmp_path)) == [("a", "is stopped"), ("b", "has no results in its run.json")]


def test_ranks_and_their_correlation():
    from scipy.stats import rankdata, spearmanr

    generator = np.random.default_rng(1)
    for _ in range(5):
        a, b = generator.integers(0, 5, (2, 8)).astype(float)
        assert ranks(list(a)) == list(rankdata(-a))
        assert spearman(list(a), list(b)) == pytest.approx(spearmanr(a, b).statistic)
    assert spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None


def columns(line):
    return len(re.split(r"(?<!\\)&", line))


def test_latex_has_as_many_cells_as_columns():
    rows = [{"run": "a_b & c", "50 %": 1.5, "note": None}, {"run": r"{x}\y", "50 %": 2, "note": "~^#$<"}]
    text = latex.table(rows, "Protocol: 50 % & more_")
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    spec = re.search(r"\\begin\{tabular\}\{(\w+)\}", text).group(1)
    assert spec == "lrl"
    body = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(body) == 3 and all(columns(line) == len(spec) for line in body)
    assert r"a\_b \& c" in text and r"\{x\}\textbackslash{}y" in text and r"50 \% \& more\_" in text
    assert not re.search(r"(?<!\\)[%#$_](?!\s*\\usepackage)", text.partition("\n")[2])
    order = [text.index(word) for word in (r"\caption", r"\toprule", r"\midrule", r"\bottomrule")]
    assert order == sorted(order)
    with pytest.raises(ValueError, match="needs a row"):
        latex.table([], "x")


def test_a_radius_of_exactly_eps_does_not_count(tmp_path):
    folder = copied(tmp_path, "a")
    certificates(folder, [36 / 255, np.nextafter(36 / 255, 1), 0.0, 1.0], [True, True, True, False])
    [line] = standings(runs.find(tmp_path))
    assert (line.clean, line.certified(36), line.certified(35), line.certified(255)) == (75.0, 25.0, 50.0, 0.0)
    assert line.certified(1) == 50.0, "a radius of 0 certifies nothing"


def test_a_run_of_before_the_schedule_could_be_chosen_stands_beside_newer_ones(tmp_path):
    new = {f"recipe__{name}": value for name, value in (("focus", 0.0), ("rise", 0.3), ("start", "orthogonal"))}
    copied(tmp_path, "old", recipe__seed=0)
    copied(tmp_path, "new", recipe__seed=1, **new)
    (group,) = groups(runs.find(tmp_path))
    assert "rises over 30 % of the steps" in group.protocol.sentence()
    assert [len(each) for each in seeds(group.runs)] == [2], "one line with a spread over two seeds"
    other = copied(tmp_path, "other", recipe__start="gaussian", recipe__focus=5.0)
    said = protocol(runs.load(other)).sentence()
    assert "Weights start gaussian." in said and "temperature 0.25 and focus 5." in said
