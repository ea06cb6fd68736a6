"""Run folders: what is broken is named, and the numbers that ship are what the weights give."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file
from shipped import CHECKPOINTS, GROUPED, NAMES, ROWS, certifier, run_and_images, shipped

from lipviz import runs
from lipviz.cli import main
from lipviz.recipes import Recipe
from lipviz.train import recipe_of
from lipviz.verify import recomputed, verify


@pytest.fixture
def copy(tiny_run, tmp_path):
    """A copy of a finished run, to be broken."""
    return shutil.copytree(tiny_run.folder, tmp_path / "run")


def edit(folder, change):
    config = json.loads((folder / "run.json").read_text())
    change(config)
    (folder / "run.json").write_text(json.dumps(config))


@pytest.mark.parametrize("key", runs.KEYS)
def test_a_missing_key_is_named(copy, key):
    edit(copy, lambda config: config.pop(key))
    with pytest.raises(runs.RunError, match=rf"run\.json.*{key}"):
        runs.load(copy)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"spec": 1, "data": 2, "recipe": {}, "state": "finished"}'])
def test_a_broken_run_json_is_named(copy, content):
    (copy / "run.json").write_text(content)
    with pytest.raises(runs.RunError, match=r"run\.json"):
        runs.load(copy)


@pytest.mark.parametrize("change", [{"width": "wide"}, {"layer": "nonsense"}, {"width": 7}, {"extra": 1}])
def test_a_broken_spec_is_named(copy, change):
    edit(copy, lambda config: config["spec"].update(change))
    with pytest.raises(runs.RunError, match=r"run\.json"):
        _ = runs.load(copy).spec


def broken_weights(folder, kind):
    path = folder / "weights.safetensors"
    good = runs.read_tensors(path)
    name = "3.weight"
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "not safetensors":
        path.write_bytes(b"PK\x03\x04 nothing of the kind" * 10)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "missing file":
        path.unlink()
    elif kind == "missing":
        save_file({k: v for k, v in good.items() if k != name}, path)
    elif kind == "unknown":
        save_file({**good, "other": torch.zeros(1)}, path)
    elif kind == "shape":
        save_file({**good, name: torch.zeros(2, 2)}, path)
    else:
        good[name][0, 0] = float(kind)
        save_file(good, path)


@pytest.mark.parametrize(
    "kind", ["truncated", "not safetensors", "empty", "missing file", "missing", "unknown", "shape", "nan", "inf"]
)
def test_broken_weights_are_named(copy, kind):
    broken_weights(copy, kind)
    with pytest.raises(runs.RunError, match=r"weights\.safetensors"):
        _ = runs.load(copy).model


@pytest.mark.parametrize("file,content", [
    ("certificates.csv", "index,label\n0,1\n"),
    ("certificates.csv", "index,label,prediction,margin,radius\n0,1,1,x,2\n"),
    ("metrics.csv", "epoch,loss\n1\n"), ("spectra.npz", "nothing")])  # fmt: skip
def test_broken_tables_are_named(copy, file, content):
    (copy / file).write_text(content)
    with pytest.raises(runs.RunError, match=file.replace(".", r"\.")):
        run = runs.load(copy)
        _ = run.certificates, run.metrics, run.spectra


def test_a_folder_that_is_no_run_is_left_out_of_the_list(copy):
    (copy.parent / "empty").mkdir()
    (copy.parent / "broken").mkdir()
    (copy.parent / "broken" / "run.json").write_text("{")
    assert [run.name for run in runs.find(copy.parent, copy.parent / "nowhere")] == ["run"]
    with pytest.raises(runs.RunError, match=r"no run\.json"):
        runs.load(copy.parent / "empty")


def test_what_is_left_out_is_named_with_the_reason(copy):
    root = copy.parent
    for name in ("bare", "cut", "keyless", "odd", "spec", "shapeless", "listed"):
        shutil.copytree(copy, root / name)
    (root / "bare" / "run.json").unlink()
    (root / "cut" / "run.json").write_text("{")
    edit(root / "keyless", lambda config: config.pop("data"))
    (root / "odd" / "run.json").write_bytes(b"\xff\xfe")
    edit(root / "spec", lambda config: config["spec"].update(width=7))
    edit(root / "shapeless", lambda config: config["spec"].update(kind="mlp", input_shape=[]))
    (root / "listed" / "run.json").write_text("[]")
    (root / "uploads").mkdir()
    found = {folder.name: why for folder, why in runs.unreadable(root, root / "nowhere")}
    assert list(found) == sorted(["bare", "cut", "keyless", "odd", "spec", "shapeless", "listed"])
    assert found["bare"] == "run.json is missing" and "key 'data' is missing" in found["keyless"]
    assert found["cut"].startswith("run.json: not readable as JSON") and "width must be even" in found["spec"]
    assert not any(str(root) in why for why in found.values())


def test_writing_is_atomic(tmp_path):
    path = tmp_path / "table.csv"
    runs.write_csv(path, [{"a": 1, "b": 2}])
    with pytest.raises(TypeError):
        runs.write_json(path, {"a": object()})
    assert runs.read_csv(path) == [{"a": "1", "b": "2"}] and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("name", GROUPED)
def test_what_a_shipped_folder_says_agrees_and_no_attack_is_inside_a_radius(name):
    run = shipped(name)
    assert run.config["state"] == "finished" and "hardware" in run.config
    assert run.config["results"]["test_images"] == 10_000
    assert not [finding.text for finding in verify(run, certifier=certifier(name)) if not finding.holds]


@pytest.mark.parametrize("name", GROUPED)
def test_shipped_numbers_come_from_the_weights(name, image_data):
    run, images, label, index = run_and_images(name, image_data, 50)
    [found] = recomputed(certifier(name), run.certificates, images, label.numpy(), index.numpy())
    assert found.holds, found.text


@pytest.mark.parametrize("source", ["cifar10", "mnist"])
def test_rows_differ_in_the_layer_the_learning_rate_and_the_epochs_that_fit_the_budget(source):
    configs = [runs.load(CHECKPOINTS / f"{source}-{row}").config for row in ROWS]
    for part, free in (("spec", {"layer"}), ("recipe", {"lr", "epochs"}), ("data", set())):
        assert len({json.dumps({k: v for k, v in c[part].items() if k not in free}) for c in configs}) == 1
    assert len({c["budget"] for c in configs}) == 1
    assert isinstance(recipe_of(runs.load(CHECKPOINTS / NAMES[0])), Recipe)
    if source == "cifar10":
        assert all("JPEG" in " ".join(c["data"]["notes"]) for c in configs)


def test_what_ships_is_small():
    sizes = [p.stat().st_size for p in CHECKPOINTS.rglob("*") if p.is_file()]
    assert sum(sizes) < 40 * 2**20 and not list(CHECKPOINTS.rglob("resume*"))


@pytest.mark.parametrize("part", ["results", "recipe"])
def test_a_part_of_run_json_that_is_no_table_ends_in_words(copy, part, capsys):
    config = json.loads((copy / "run.json").read_text())
    config[part] = ["x"]
    config["data"]["notes"] = "one sentence"
    (copy / "run.json").write_text(json.dumps(config))
    run = runs.load(copy)
    assert getattr(run, part) == {} and run.notes == () and run.seed == 0
    assert main(["runs", str(copy.parent)]) == 0 and run.name in capsys.readouterr().out
    assert main(["verify", str(copy)]) == (1 if part == "results" else 0)
