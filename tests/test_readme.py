"""What the README says is what the project does."""

import csv
import re
from pathlib import Path

import pytest
from shipped import CHECKPOINTS, NAMES

from lipviz import runs
from lipviz.cli import _parser
from lipviz.layers import LAYERS

README_FILE = Path(__file__).parent.parent / "README.md"
README = README_FILE.read_text()


def test_the_table_of_layers_is_the_table():
    lines = [line for line in README.splitlines() if re.match(r"\| `\w+` \|", line)]
    assert [re.match(r"\| `(\w+)`", line).group(1) for line in lines] == list(LAYERS)
    for line, row in zip(lines, LAYERS.values(), strict=True):
        cells = [cell.strip() for cell in line.replace(r"\|", "¦").split("|")]
        assert cells[2:4] == [row.title, row.reference]
        assert cells[4] == f"[{row.form}](docs/{row.form}.md)"
        assert cells[5] == row.formula.replace("|", "¦")
        assert (cells[6] == "no") == (row.dense is None) and (cells[7] == "no") == (row.conv is None)
        assert cells[8:10] == [row.guarantee, row.cost.replace("|", "¦")]
        assert (README_FILE.parent / "docs" / f"{row.form}.md").exists()


def test_the_python_example_runs():
    code = re.search(r"```python\n(.*?)```", README, re.S).group(1)
    names = {}
    exec(code, names)
    assert names["lipviz"].bound(names["net"], (3, 32, 32)).value <= 1.000001


@pytest.mark.parametrize("line", re.findall(r"^    lipviz (.*?)(?:  +#|$)", README, re.M))
def test_the_commands_parse(line):
    assert callable(_parser().parse_args(line.split()).command)


@pytest.mark.parametrize("name", NAMES)
def test_the_results_are_those_of_the_run_folders(name):
    results = runs.load(CHECKPOINTS / name).config["results"]
    line = next(line for line in README.splitlines() if line.startswith(f"| `{name}` |"))
    numbers = [float(cell) for cell in re.findall(r"\d+\.\d", line.split("|", 2)[2])[:5]]
    expected = [results["accuracy"], *(results["certified"][str(k)] for k in runs.MARKS)]
    assert numbers == [float(f"{100 * share:.1f}") for share in expected]


def test_the_tries_of_the_zoo_are_those_of_the_files():
    docs, table = README_FILE.parent / "docs", []
    left = ("run", "seconds", "images", "certified_403", "seed")  # the lines of --csv, of which not all is told
    for file, images in (("tuning.csv", "2500"), ("tuning-more.csv", "2500"), ("tuning-1.58.csv", "3000")):
        rows = list(csv.DictReader((docs / file).read_text().splitlines()))
        for row in rows:
            told = left if "tried" in row else ("run", "images")
            table.append([row["run"], *(value for key, value in row.items() if key not in told)])
        assert {row["images"] for row in rows} == {images}
    told = [line.strip("| ").split(" | ") for line in (docs / "tuning.md").read_text().splitlines()]
    assert table == [cells for cells in told if cells[0].startswith(("cifar10-", "mnist-"))]


def test_the_share_certified_at_1_58_is_that_of_the_run():
    rows = list(csv.DictReader((CHECKPOINTS / "mnist-best-1.58" / "certificates.csv").read_text().splitlines()))
    far = sum(row["label"] == row["prediction"] and float(row["radius"]) > 1.58 for row in rows)
    assert f"({100 * (far / len(rows)):.1f} % certified at 1.58)" in README
