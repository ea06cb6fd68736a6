"""The frame of every page: tasks, what a lesson link hides, links, and the code behind the pictures."""

import json
from pathlib import Path

import pytest
from PIL import Image
from shipped import CHECKPOINTS, NAMES

import lipviz
from lipviz import pictures, radii, radii_words, runs, samples, snippets, ui_page
from lipviz.images import open_picture
from pages import opened

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))


def styles(at):
    return [block.proto.body for block in at.get("html") if block.proto.body.startswith('<style>[class*="st-key-part_')]


@pytest.mark.parametrize("page", PAGES)
def test_a_lesson_link_hides_and_sets_a_task(page):
    at = opened(page, hide="controls,words,EVIL", task="Make the **red** disc $touch$ zero. <script>", v="1")
    [style] = styles(at)
    assert "part_controls" in style and "part_words" in style and "EVIL" not in style and "part_chips" not in style
    task = next(info.value for info in at.info if "Your task" in info.value)
    assert "\\*\\*red" in task and "\\<script" in task
    assert not any("another version" in caption.value for caption in at.caption)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("version", ["99", "", "EVIL", "-1"])
def test_a_link_of_another_version_still_opens(page, version):
    at = opened(page, v=version, hide=",,,", task="  ")
    assert any("another version" in caption.value for caption in at.caption)
    assert not styles(at) and not any("Your task" in info.value for info in at.info)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_its_parts(page):
    files = [ROOT / "pages" / f"{page}.py", ROOT / "lipviz" / f"ui_{page}.py"]
    source = "".join(path.read_text() for path in files if path.exists())
    assert "ui_page.begin(" in source and "ui_page.finish(" in source and "ui_page.depths(" in source
    assert "ui.try_this(" in source or page in ("home", "lessons"), "their links are suggestions"


def test_a_part_that_is_none_is_refused():
    with pytest.raises(ValueError, match="a page has the parts"):
        ui_page.part("footer")


def run(code, monkeypatch, folder, capsys):
    monkeypatch.chdir(folder)
    exec(compile(code, "code", "exec"), {})
    return capsys.readouterr().out


@pytest.mark.parametrize("k", [0, 36, 700])
def test_code_of_radii(monkeypatch, tmp_path, capsys, k):
    (tmp_path / "checkpoints").symlink_to(CHECKPOINTS)
    folders = [f"checkpoints/{name}" for name in NAMES[:2]]
    said = run(radii_words.code(folders, folders[0], k), monkeypatch, tmp_path, capsys)
    first = runs.load(CHECKPOINTS / NAMES[0])
    both = radii.sandwich(first.certificates, first.attacks)
    for name in NAMES[:2]:
        share = 100 * runs.load(CHECKPOINTS / name).certificates.accuracy(k / 255)
        assert f"{name} {share:.1f} % beyond {k}/255" in said
    assert f"certified, the attacked images {100 * (both.kept[k] / both.n):.1f} % beyond" in said
    assert f"under attack {100 * (both.stands[k] / both.n):.1f} % beyond" in said
    assert (tmp_path / "radii.html").stat().st_size > 1e6


def test_code_of_a_certificate(monkeypatch, tmp_path, capsys):
    found, certify = [], lipviz.certify
    monkeypatch.setattr(lipviz, "certify", lambda *asked: found.append(certify(*asked)) or found[0])
    said = run(snippets.certify(str(CHECKPOINTS / NAMES[0])), monkeypatch, tmp_path, capsys)
    assert f"no change of l2 norm below {float(found[0].radius)} alters" in said


@pytest.mark.parametrize("sample", ["Digit 3", None])
def test_code_of_the_margin(monkeypatch, tmp_path, capsys, sample):
    Image.new("L", (30, 30), 99).save(tmp_path / "picture.jpg")
    name = next(name for name in NAMES if name.startswith("mnist"))
    said = run(snippets.margin(str(CHECKPOINTS / name), sample, "random noise", 0.2), monkeypatch, tmp_path, capsys)
    made = lipviz.load(CHECKPOINTS / name)
    picture = samples.load(sample, made.spec.input_shape) if sample else open_picture(tmp_path / "picture.jpg")
    found = pictures.answer(made, lipviz.Certifier(made.model, made.spec.input_shape), picture)
    assert f"{found.label} margin {found.margin} no change of l2 norm below {found.radius} alters" in said
    assert "margin, random noise" in (tmp_path / "margin.html").read_text()


def test_code_of_training(monkeypatch, tmp_path, capsys):
    said = run(snippets.train("moons", "aol", 8, 1, 0), monkeypatch, tmp_path, capsys)
    kept = json.loads((tmp_path / "runs" / "mine" / "run.json").read_text())
    assert "accuracy" in said and (kept["spec"]["layer"], kept["spec"]["width"]) == ("aol", 8)
    assert (kept["recipe"]["epochs"], kept["recipe"]["seed"]) == (1, 0)
