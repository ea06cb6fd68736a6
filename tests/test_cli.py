"""The command line: tables, JSON, and one line with exit code 2 for what a user got wrong."""

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lipviz.cli import main
from lipviz.digits import rounded_down, rounded_up


@pytest.fixture
def picture(tmp_path):
    """A picture of noise."""
    path = tmp_path / "photo.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def test_certify_as_a_table_and_as_json(tiny_run, picture, capsys):
    assert main(["certify", str(picture), "--model", str(tiny_run.folder)]) == 0
    table = capsys.readouterr().out
    assert "label" in table and "radius" in table and "photo.png" in table and "note: " in table
    assert main(["certify", str(picture), "--model", str(tiny_run.folder), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["label"] in "0123456789" and row["radius"] >= 0 and row["norm"] == "l2" and row["notes"]
    assert table.splitlines()[1].split()[-1] == rounded_down(row["radius"], 4)


def test_runs_and_spectra(tiny_run, capsys):
    assert main(["runs", str(tiny_run.folder.parent)]) == 0
    assert "digits-aol" in capsys.readouterr().out
    assert main(["runs", str(tiny_run.folder.parent), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "finished"
    assert main(["spectra", str(tiny_run.folder)]) == 0
    table = capsys.readouterr().out
    assert "largest" in table
    assert main(["spectra", str(tiny_run.folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert all(layer["bound"] >= layer["largest"] - 1e-12 for layer in report["layers"][:-1])
    assert table.strip().endswith(f"at most {rounded_up(report['bound'], 6)}")
    assert all(f"  {rounded_up(layer['bound'])}  " in table for layer in report["layers"])


def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_listed(tiny_run, tmp_path, capsys):
    for name in ("good", "bare", "wide"):
        shutil.copytree(tiny_run.folder, tmp_path / name)
    (tmp_path / "bare" / "run.json").unlink()
    config = json.loads((tmp_path / "wide" / "run.json").read_text())
    (tmp_path / "wide" / "run.json").write_text(json.dumps(config | {"spec": config["spec"] | {"width": 7}}))
    assert main(["runs", str(tmp_path), "--json"]) == 0
    printed = capsys.readouterr()
    assert [row["run"] for row in json.loads(printed.out)] == ["good"]
    assert "bare: run.json is missing" in printed.err and "wide: run.json: width must be even" in printed.err


def test_no_runs_is_not_an_error(tmp_path, capsys):
    assert main(["runs", str(tmp_path)]) == 0
    assert "lipviz train" in capsys.readouterr().out


def test_train_and_refuse_to_overwrite(tmp_path, capsys):
    command = ["train", "moons", "--layer", "sll", "--epochs", "1", "--out", str(tmp_path / "run"), "--width", "8"]
    assert main(command) == 0
    assert "written to" in capsys.readouterr().out
    assert main(command) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", "--resume", "--out", str(tmp_path / "run")]) == 0


def png(size, mode="1"):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "PNG")
    return buffer.getvalue()


BROKEN = {
    "text.png": b"not a picture",
    "empty.png": b"",
    "cut.png": png((64, 64), "RGB")[:60],
    "huge.png": png((9000, 9000)),
    "heavy.png": png((8, 8)) + bytes(9 * 2**20),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_picture_is_one_line_and_exit_code_two(tiny_run, tmp_path, capsys, name):
    (tmp_path / name).write_bytes(BROKEN[name])
    assert main(["certify", str(tmp_path / name), "--model", str(tiny_run.folder)]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and name in err


@pytest.mark.parametrize("arguments,words", [
    (["certify", "nowhere.png", "--model", "."], "nowhere.png"),
    (["spectra", "nowhere"], r"run.json"),
    (["train"], "moons"),
    (["train", "nowhere"], "nowhere"),
    (["train", "moons", "--layer", "nonsense"], "spectral"),
    (["train", "--resume"], "--out"),
    (["attack", "nowhere", "--data", "digits"], "run.json"),
])  # fmt: skip
def test_mistakes_are_one_line_and_exit_code_two(arguments, words, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


def test_a_network_of_points_takes_no_pictures(tmp_path, picture, capsys):
    main(["train", "moons", "--epochs", "1", "--out", str(tmp_path / "run"), "--width", "8"])
    assert main(["certify", str(picture), "--model", str(tmp_path / "run")]) == 2
    assert "not pictures" in capsys.readouterr().err


def test_the_command_is_installed():
    found = subprocess.run([sys.executable, "-m", "lipviz", "--help"], capture_output=True, text=True, check=True)
    assert all(name in found.stdout for name in ("app", "train", "certify", "runs", "spectra", "attack", "bench"))
