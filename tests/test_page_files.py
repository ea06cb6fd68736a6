"""A run folder that misses a file, or holds rubbish for it: a page says what it cannot draw, and draws the rest."""

import shutil

import numpy as np
import pytest

from lipviz import ui
from pages import opened

# page -> the address that shows the run of that name
PAGES = {
    "radii": lambda name: {"cr_one_digits": name},
    "spectra": lambda name: {"sp_runs": [name]},
    "discs": lambda name: {"gd_source": name},
    "certify": lambda name: {"ci_runs": [name, "good"]},
    "train": lambda name: {"tr_run": name},
    "compare": lambda name: {},
}
FILES = ("certificates.csv", "attacks.npz", "metrics.csv", "spectra.npz", "weights.safetensors")
# what a page needs, and where nothing can be drawn without it
SAID = {("radii", "certificates.csv"), ("radii", "attacks.npz"), ("discs", "weights.safetensors"),
        ("certify", "weights.safetensors"), ("train", "metrics.csv"), ("compare", "certificates.csv"),
        ("compare", "attacks.npz"), ("compare", "metrics.csv")}  # fmt: skip
SAID_IF_BROKEN = SAID | {("spectra", "spectra.npz"), ("discs", "spectra.npz")}
BLANK = {("discs", "weights.safetensors"), ("train", "metrics.csv")}
RUBBISH = {
    "certificates.csv": b"index,label,prediction,margin,radius\nnan,1,1,0.5,0.5\n",
    "attacks.npz": b"no zip",
    "metrics.csv": b"\xff\xfe,epoch\n",
    "spectra.npz": b"PK\x03\x04 cut off",
    "weights.safetensors": b"cut off",
}


@pytest.fixture
def root(tmp_path, tiny_run, monkeypatch):
    """Three copies of a small run."""
    monkeypatch.setattr(ui, "CHECKPOINTS", tmp_path / "none")
    monkeypatch.setenv("LIPVIZ_RUNS", str(tmp_path / "runs"))
    found = tiny_run.certificates
    for name in ("good", "missing", "broken"):
        folder = shutil.copytree(tiny_run.folder, tmp_path / "runs" / name)
        np.savez(folder / "attacks.npz", index=found.index, radius=found.radius, DDN=found.radius + 0.1, steps=1)
    return tmp_path / "runs"


@pytest.mark.parametrize("page", ["radii", "certify", "compare"])
def test_a_radius_that_is_not_a_number_is_said(root, page):
    path = root / "broken" / "certificates.csv"
    head, *rows = path.read_text().splitlines()
    index, label, *_ = rows[0].split(",")
    path.write_text("\n".join([head, f"{index},{label},{label},0.5,nan", *rows[1:], ""]))
    at = opened(page, **PAGES[page]("broken"))
    said = "\n".join(element.value for kind in (at.caption, at.info, at.warning, at.error) for element in kind)
    assert "a radius is not a number" in said or page == "certify", "which reads no radii"


@pytest.mark.parametrize("page", PAGES)
def test_a_run_without_a_run_json_is_named_on_every_page_that_lists_runs(root, page):
    (root / "missing" / "run.json").unlink()
    (root / "broken" / "run.json").write_text('{"spec": {}, "data": {}, "recipe": {}, "state": "finished"}')
    at = opened(page)
    said = [element.value.replace("\\", "") for element in at.caption if "Left out" in element.value]
    assert len(said) == 1 and "missing: run.json is missing" in said[0] and "broken: run.json: the spec is" in said[0]
    assert str(root) not in said[0] and len(at.get("bidi_component")) > 1, "good is drawn"
    for name in ("missing", "broken"):
        shutil.copy(root / "good" / "run.json", root / name / "run.json")
    assert not any("Left out" in element.value for element in at.run().caption)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_it_cannot_draw_and_draws_the_rest(root, page, file):
    (root / "missing" / file).unlink()
    (root / "broken" / file).write_bytes(RUBBISH[file])
    for name, told in (("missing", SAID), ("broken", SAID_IF_BROKEN)):
        at = opened(page, **PAGES[page](name))
        kinds = (at.markdown, at.caption, at.info, at.warning, at.error)
        said = "\n".join(element.value for kind in kinds for element in kind).replace("\\", "")
        assert str(root) not in said and "Traceback" not in said
        if (page, file) in told:
            assert file in said, name
        if (page, file) not in BLANK:
            pictures = at.get("bidi_component")
            assert len(pictures) > 1, "more than the bar of links"
