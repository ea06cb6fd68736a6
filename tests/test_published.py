"""Published results: every entry has its source, nothing that was not verified, numbers that can be."""

import csv

import pytest

from lipviz import published
from lipviz.layers import LAYERS
from lipviz.published import COLUMNS, FILE, of, read


def test_every_entry_has_a_source_a_protocol_and_a_mark():
    entries = read()
    assert len(entries) > 100
    for entry in entries:
        assert entry.source and entry.protocol and entry.mark in published.MARKS
        assert set(entry.mark) <= set("VRS+"), "notes of third parties and recollections are left out"
        assert not entry.row or entry.row in LAYERS
        assert 2018 <= entry.year <= 2026
        assert any(entry.certified(k) is not None for k in published.RADII)
    assert len({(entry.data, entry.source, entry.name) for entry in entries}) == len(entries)


def test_headlines():
    found = {(e.method, e.size, e.budget): e for e in of("cifar10")}
    aol = found["AOL", "Large", "1000 epochs"]
    assert (aol.clean, *map(aol.certified, published.RADII)) == (71.6, 64.0, 56.4, 49.0, 23.7)
    soc = found["SOC", "M", "24 h"]
    assert (soc.clean, soc.certified_36, soc.certified_255, soc.parameters) == (76.9, 66.3, 6.72, 25_100_000)
    sll = found["SLL", "X-Large", "1000 epochs"]
    assert sll.certified_36 == 65.8 and "corrected later" in sll.note
    assert not any(e.certified_36 == 64.8 for e in of("cifar10") if e.row == "sll"), "only third parties have that one"
    two_hours = [e for e in of("cifar10") if published.COMPARISON in e.source and e.budget == "2 h"]
    assert len(two_hours) == 27 and all(e.mark == "V" and e.certified_72 is None for e in two_hours)


def test_between_two_radii_a_range_is_known():
    entry = next(e for e in of("cifar10") if e.name == "SOC-15 + CR")
    assert entry.between(0) == (76.4, 76.4) and entry.between(36) == (63.0, 63.0)
    assert entry.between(20) == (63.0, 76.4) and entry.between(80) == (35.5, 48.5)
    assert entry.between(109) is None, "nothing was published above 108/255"
    without_clean = next(e for e in of("cifar10") if e.clean is None and e.certified_72 is None)
    assert without_clean.between(20) is None and without_clean.between(36) == (without_clean.certified_36,) * 2


def broken(tmp_path, **cells):
    path = tmp_path / "published.csv"
    with FILE.open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*first, *(k for k in cells if k not in first)])
        writer.writeheader()
        writer.writerow(first | cells)
    return path


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"clean": "100.1"}, "line 2: clean must lie between 0 and 100"),
        ({"certified_36": "-1"}, "certified_36 must lie between"),
        ({"certified_36": "nan"}, "certified_36 must lie between"),
        ({"certified_72": "many"}, "must be a number, got 'many'"),
        ({"clean": "50", "certified_36": "51"}, "cannot rise"),
        ({"mark": "N"}, "mark must be one of"),
        ({"mark": "M"}, "mark must be one of"),
        ({"source": " "}, "source is empty"),
        ({"protocol": ""}, "protocol is empty"),
        ({"parameters": "-5"}, "parameters must lie"),
        ({"colour": "red"}, "expected the columns"),
    ],
)
def test_a_broken_entry_is_refused_with_its_line(tmp_path, cells, words):
    with pytest.raises(ValueError, match=words):
        read(broken(tmp_path, **cells))


def test_a_line_with_too_many_or_too_few_cells_is_refused(tmp_path):
    path = broken(tmp_path)
    whole = path.read_text()
    path.write_text(whole.rstrip("\r\n") + ",more\n")
    with pytest.raises(ValueError, match=f"expected {len(COLUMNS)} cells"):
        read(path)
    path.write_text(whole.splitlines()[0] + "\ncifar10,somewhere\n")
    with pytest.raises(ValueError, match="line 2"):
        read(path)
