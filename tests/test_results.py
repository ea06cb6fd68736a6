"""RESULTS.md is what the run folders say, byte for byte."""

import re
import shutil
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from folders import certificates, copied
from shipped import CHECKPOINTS

from lipviz import results, results_published, runs
from lipviz.cli import main
from lipviz.layers import LAYERS
from lipviz.published import of
from lipviz.standings import spearman

PAGE = Path(__file__).parents[1] / "RESULTS.md"


def tables(text):
    """The Markdown tables of a text, each a list of rows of cells."""
    found, table = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            table.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif table:
            found.append(table)
            table = []
    return found


def test_the_page_is_generated_byte_for_byte(tmp_path):
    out = tmp_path / "RESULTS.md"
    assert main(["results", str(CHECKPOINTS), "--out", str(out)]) == 0
    assert out.read_bytes() == PAGE.read_bytes(), "run `lipviz results --out RESULTS.md` and commit what it writes"


def test_every_table_is_whole_and_every_number_is_that_of_its_folder():
    text = PAGE.read_text()
    for table in tables(text):
        assert len({len(row) for row in table}) == 1 and len(table) > 2
    measured = [table for table in tables(text) if table[0][:2] == ["run", "layer"]]
    rows = {row[0].strip("`"): row for table in measured for row in table if row[0].startswith("`")}
    for run in runs.find(CHECKPOINTS):
        if run.name in rows and rows[run.name][-1] == "1":
            numbers = run.config["results"]
            expected = [numbers["accuracy"], *(numbers["certified"][str(k)] for k in runs.MARKS)]
            assert rows[run.name][2:7] == [f"{100 * share:.1f}" for share in expected]
    assert "cifar10-aol" in rows


def test_the_orders_are_those_of_the_numbers():
    text = PAGE.read_text()
    table = next(table for table in tables(text) if table[0][0] == "size")
    group = next(g for g in results.groups(runs.find(CHECKPOINTS)) if g.label in text)
    here = {run.spec.layer: run.config["results"]["certified"]["36"] for run in group.runs}
    for size, methods, correlation, _, order, _ in table[2:]:
        there = {e.row: e.certified_36 for e in of("cifar10") if (e.size, e.budget) == (size, "2 h") and e.row in here}
        assert int(methods) == len(there)
        rho = spearman([here[row] for row in there], list(there.values()))
        assert correlation == f"{rho:.2f}"
        best = max(there, key=here.get)
        assert order.startswith(LAYERS[best].title)


def test_levels_are_held_against_those_of_the_same_method(tmp_path):
    for name, share in (("aol", 0.4), ("bro", 0.5), ("cpl", 0.7)):
        copied(tmp_path, name, spec__layer=name, results__certified={"36": share})
        (tmp_path / name / "certificates.csv").unlink()
    copied(tmp_path, "best", spec__layer="cpl", results__certified={"36": 0.8}, budget=60.0)
    (tmp_path / "best" / "certificates.csv").unlink()
    page = results.generate(tmp_path)
    [table] = [table for table in tables(page) if table[0][0] == "method" and table[0][1] == "run here"]
    sizes = {size: results_published.comparison(size) for size in results_published.SIZES}
    there = {size: {e.row: e.certified_36 for e in entries} for size, entries in sizes.items()}
    assert table[0][3:] == ["here at 36/255", *(f"there {size}" for size in there), "here - there XS, points"]
    assert [row[1] for row in table[2:]] == ["`aol`", "`cpl`", "`best`"], "of BRO there is none"
    for row, ours, name in zip(table[2:], (40.0, 70.0, 80.0), ("aol", "cpl", "cpl"), strict=True):
        levels = [f"{there[size][name]:.1f}" for size in there]
        assert row[3:] == [f"{ours:.1f}", *levels, f"{ours - there['XS'][name]:+.1f}"]
    assert "Here minus there XS: -15.6 to +21.8 points." in page
    assert "*There*, under other\nprotocols: 1-Lipschitz Layers Compared" in page


def test_mnist_is_held_against_what_was_published_on_it(tmp_path):
    for name, share in (("aol", 0.9), ("sandwich", 0.8), ("sll", 0.7)):
        folder = copied(tmp_path, name, "mnist-aol", spec__layer=name, results__certified={"36": share})
        radius = {"aol": 2.0, "sandwich": 0.2, "sll": 0.1}[name]
        certificates(folder, np.full(10, radius), np.arange(10) < 10 * share)
    page = results.generate(tmp_path)
    [table] = [table for table in tables(page) if table[0][1] == "run here"]
    assert table[0][4:] == ["there gamma 1", "there gamma 2", "there gamma 4", "here - there gamma 1, points"]
    assert [row[1:2] + row[3:] for row in table[2:]] == [
        ["`aol`", "90.0", "85.5", "89.9", "92.4", "+4.5"],
        ["`sandwich`", "80.0", "96.3", "98.2", "98.4", "-16.3"],
    ]
    turned = "AOL above Sandwich (90.0 and 80.0 here, 85.5 and 96.3 there)"
    assert f"* gamma 1: the same there: none. Not there: {turned}." in page and "LipKernel (arXiv" in page
    assert "`aol`\nhas the most of the runs, 90.0 %." in page and "* gamma 4: 20 epochs, 3 seeds" in page
    certificates(tmp_path / "aol", np.full(10, 0.2), np.arange(10) < 7)
    assert "* gamma 1: the same there: Sandwich above AOL (80.0 and 70.0" in results.generate(tmp_path)


def test_an_order_turned_round_is_minus_one(tmp_path):
    names = ["aol", "cayley", "sll", "cpl"]  # worst to best at XS, 2 h
    for name, share in zip(names, (0.4, 0.3, 0.2, 0.1), strict=True):
        copied(tmp_path, name, spec__layer=name, results__certified={"36": share})
        (tmp_path / name / "certificates.csv").unlink()
    lines = tables(results.generate(tmp_path))
    table = next(table for table in lines if table[0][0] == "size")
    there = {e.row: e.certified_36 for e in results_published.comparison("XS")}
    assert table[2][0] == "XS" and sorted(names, key=there.get)[-1] == "cpl"
    assert table[2][2] == f"{spearman([0.4, 0.3, 0.2, 0.1], [there[n] for n in names]):.2f}"
    assert "With 4 methods a correlation is coarse" in results.generate(tmp_path)
    assert float(table[2][2]) < -0.5 and table[2][4].startswith("AOL, Cayley")


@pytest.mark.parametrize("n", [3, 6])
def test_one_swap_changes_the_correlation_by_no_less_and_no_more(n):
    """Every swap of neighbours in one order, against every other order."""
    here = [float(i) for i in range(n)]
    changes = [
        abs(spearman(here, there) - spearman([*here[:i], here[i + 1], here[i], *here[i + 2 :]], there))
        for there in permutations(here)
        for i in range(n - 1)
    ]
    assert results_published._swap(n) == pytest.approx((min(changes), max(changes)))


def test_the_order_is_held_against_the_epochs_that_fitted(tmp_path):
    for name, epochs, share in (("aol", 9, 0.1), ("cayley", 2, 0.3), ("sll", 5, 0.2), ("plain", 20, 0.0)):
        copied(tmp_path, name, spec__layer=name, epoch=epochs, recipe__epochs=epochs, budget=60.0,
               results__certified={"36": share})  # fmt: skip
        (tmp_path / name / "certificates.csv").unlink()
    text = " ".join(results.generate(tmp_path).split())
    assert "from 2 epochs (Cayley) to 9 epochs (AOL). Over the 3 constrained families" in text
    assert "correlate by -1.00 (Spearman)" in text, "without the plain network"


def test_what_was_spent_of_the_budget_is_held_against_the_order(tmp_path):
    for name, spent, share in (("aol", 50.4, 0.1), ("cayley", 70.0, 0.2), ("sll", 60.0, 0.3), ("plain", 80.0, 0.9)):
        copied(tmp_path, name, spec__layer=name, core_seconds=spent, budget=60.0, results__certified={"36": share})
        (tmp_path / name / "certificates.csv").unlink()
    text = " ".join(results.generate(tmp_path).split())
    assert "whole epochs, so the runs spent from 50 to 80 core-seconds" in text
    assert "Over the 3 with a constraint these and the certified accuracy at 36/255 correlate by 0.50" in text
    assert "images/s" not in text, "other work ran beside the runs"


def test_missing_files_are_named_and_the_rest_is_given(tmp_path):
    for name in ("cifar10-aol", "cifar10-sll"):
        copied(tmp_path, name, name)
    (tmp_path / "cifar10-aol" / "attacks.npz").unlink()
    copied(tmp_path, "half", state="stopped")
    text = results.generate(tmp_path)
    assert "* cifar10-aol has no attacks.npz: there is no median" in text and "| `cifar10-aol` |" in text
    assert "* `half` is stopped." in text and "| `half` |" not in text
    assert "Fewer than three families are in both" in text and str(tmp_path) not in text


def test_two_protocols_are_two_tables_and_their_difference_is_told(tmp_path):
    copied(tmp_path, "a")
    copied(tmp_path, "b", budget=60.0)
    text = results.generate(tmp_path)
    measured = [table for table in tables(text) if table[0][:2] == ["run", "layer"]]
    assert len(measured) == 2 and all(len(table) == 3 for table in measured)
    assert "They differ in the budget (" in text


def test_a_broken_attack_is_shouted(tmp_path):
    folder = copied(tmp_path, "a")
    np.savez(folder / "attacks.npz", index=[0], radius=[0.2], DDN=[0.1])
    assert "**An attack ended inside a certified radius, which is a bug: a.**" in results.generate(tmp_path)


def test_the_smallest_changes_are_held_against_the_certificates(tmp_path):
    """Four images: certified at 36/255, under attack at it, changed within it, wrong."""
    for name, steps in (("a", 30), ("b", 30), ("c", 7)):
        folder = copied(tmp_path, name, spec__layer={"a": "aol", "b": "sll", "c": "bro"}[name], recipe__offset=4)
        certificates(folder, [0.2, 0.1, 0.1, 0.2], [True, True, True, False])
        kept = {"restarts": 1, "seed": 0} if steps == 30 else {}
        found = {"DDN": [0.3, 0.2, 0.3, 0.3], "FMN": [0.3, 0.3, 0.12, 1.7]}
        arrays = {"index": range(4), "radius": [0.2, 0.1, 0.1, 0.2], "steps": steps, **kept}
        np.savez(folder / "attacks.npz", **arrays, **found)
    (tmp_path / "b" / "attacks.npz").unlink()
    page = results.generate(tmp_path)
    first, second = [table for table in tables(page) if table[0][1] == "attacked images"]
    assert first[0][2:] == ["certified at 36/255", "under attack at 36/255", "certified at 403/255",
                            "under attack at 403/255", "changes inside a certified radius"]  # fmt: skip
    assert first[2:] == [["`a`", "4", "25.0", "50.0", "0.0", "0.0", "0"], ["`b`", *[""] * 6], ["`c`", *[""] * 6]]
    assert [row[1] for row in second[2:]] == ["", "", "4"]
    assert "by DDN, FMN; l2, pixels in [0, 1], 30 steps, 1 restart of FMN" in page and "by DDN, FMN; steps 7." in page
    copied(tmp_path, "d", spec__layer="cpl", recipe__offset=4)
    (tmp_path / "d" / "certificates.csv").write_bytes((tmp_path / "a" / "certificates.csv").read_bytes())
    assert "* d: attacks.npz and certificates.csv are not of one training" in results.generate(tmp_path)


def test_the_far_radius_stands_where_the_loss_asks_for_it():
    for table in tables(PAGE.read_text()):
        if table[0][1] == "attacked images":
            offset = runs.load(CHECKPOINTS / table[2][0].strip("`")).config["recipe"]["offset"]
            assert ("certified at 403/255" in table[0]) == (offset > 1)
            assert {row[-1] for row in table[2:]} <= {"0", ""}, "none inside a certified radius"


def test_an_empty_folder_is_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="no runs in it"):
        results.generate(tmp_path)
    assert main(["results", str(tmp_path)]) == 2 and "no runs in it" in capsys.readouterr().err


def test_the_order_of_folders_does_not_matter(tmp_path):
    for name in ("cifar10-sll", "cifar10-aol", "cifar10-cpl"):
        shutil.copytree(CHECKPOINTS / name, tmp_path / "checkpoints" / name)
    first = results.generate(tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "cifar10-aol").rename(tmp_path / "moved")
    (tmp_path / "moved").rename(tmp_path / "checkpoints" / "cifar10-aol")
    assert results.generate(tmp_path / "checkpoints") == first
