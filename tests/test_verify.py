"""`lipviz verify` agrees with a folder as it was written, and sees every way in which it can be changed."""

import json
import math
import shutil
from dataclasses import asdict

import numpy as np
import pytest

from lipviz import runs
from lipviz.autoattack import FILE, Outcome, Plan
from lipviz.cli import main
from lipviz.verify import verify


@pytest.fixture
def run(tiny_run, tmp_path):
    """A finished run with attacks, to be changed."""
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    index = np.arange(0, 300, 50)
    radius = tiny_run.certificates.radius[index]
    np.savez(folder / "attacks.npz", index=index, radius=radius, steps=1, restarts=0, seed=0, DDN=1.1 * radius + 1e-3)
    run = runs.load(folder)
    right, certified = counts(run)
    runs.write_json(folder / FILE, asdict(Outcome(Plan(), "p", 10, right, certified, right - certified, 0)))
    return run


def counts(run):
    """Right and certified answers among ten evenly spaced test images, one by one."""
    rows, eps = run.certificates, Plan().eps
    index = [int(i * (len(rows.index) - 1) / 9) for i in range(10)]
    right = [i for i in index if rows.label[i] == rows.prediction[i]]
    return len(right), sum(bool(rows.radius[i] > eps) for i in right)


def test_a_folder_as_it_was_written_agrees(run, capsys):
    assert all(finding.holds for finding in verify(run, "digits", None))
    assert main(["verify", str(run.folder), "--data", "digits", "--images", "30"]) == 0
    said = capsys.readouterr().out
    for words in (
        "Computed again for 30 of",
        "as run.json says",
        "none ended inside",
        f"AutoAttack left {counts(run)[1]} of 10 images",
    ):
        assert words in said
    assert main(["verify", str(run.folder)]) == 0 and "--data" in capsys.readouterr().out


def csv(folder, column, change):
    rows = runs.read_csv(folder / "certificates.csv")
    rows[0][column] = change(rows[0][column])
    runs.write_csv(folder / "certificates.csv", rows)


def config(folder, change):
    written = json.loads((folder / "run.json").read_text())
    change(written["results"])
    runs.write_json(folder / "run.json", written)


def attacks(folder, **changes):
    with np.load(folder / "attacks.npz") as stored:
        kept = dict(stored)
    np.savez(folder / "attacks.npz", **kept | changes)


def weights(folder):
    tensors = runs.read_tensors(folder / "weights.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.ndim > 1)
    runs.write_tensors(folder / "weights.safetensors", tensors | {name: tensors[name].roll(1, 0)})


def auto(folder, **changes):
    written = json.loads((folder / FILE).read_text())
    runs.write_json(folder / FILE, written | {k: change(written[k]) for k, change in changes.items()})


@pytest.mark.parametrize("change,words", [
    (lambda f: csv(f, "radius", lambda r: float(r) - 1e-6), "another radius than in certificates.csv for 1, first"),
    (lambda f: csv(f, "radius", lambda r: float(r) * (1 + 5e-7)), "a larger radius, which is not certified, for 1"),
    (lambda f: csv(f, "prediction", lambda p: (int(p) + 1) % 10), "another answer"),
    (lambda f: csv(f, "label", lambda p: (int(p) + 1) % 10), "another label"),
    (lambda f: csv(f, "margin", lambda m: float(m) + 1e-3), "another margin"),
    (lambda f: csv(f, "index", lambda i: int(i) + 1), "another index"),
    (weights, "another margin"),
    (lambda f: config(f, lambda results: results.update(bound=1.5)), "not 1.5 as run.json says"),
    (lambda f: config(f, lambda results: results.update(bound=results["bound"] * (1 - 1e-6))), "as run.json says"),
    (lambda f: config(f, lambda results: results.pop("bound")), "no Lipschitz bound"),
    (lambda f: config(f, lambda results: results["certified"].update({"36": 0.999})), "accuracy at 36/255 is"),
    (lambda f: config(f, lambda results: results.pop("accuracy")), "run.json says None"),
    (lambda f: config(f, lambda results: results.update(accuracy=math.nan)), "run.json says nan"),
    (lambda f: attacks(f, DDN=np.full(6, 1e-6)), "6 ended inside a certified radius, which is a bug"),
    (lambda f: attacks(f, radius=np.full(6, 0.001)), "other radii than certificates.csv"),
    (lambda f: attacks(f, index=np.arange(6) + 10**6), "does not have: attack again"),
    (lambda f: (f / "attacks.npz").write_bytes(b""), "run it again"),
    (lambda f: auto(f, broken=lambda n: n + 1), "certified: it ended inside a certified radius"),
    (lambda f: auto(f, inside=lambda n: n + 1, broken=lambda n: n + 1), "certified: it ended inside"),
    (lambda f: auto(f, right=lambda n: n + 1, broken=lambda n: n + 1), "autoattack.json counts other right"),
    (lambda f: auto(f, certified=lambda n: n - 1), "autoattack.json counts other right or certified answers than"),
    (lambda f: auto(f, images=lambda n: n + 10**4), "autoattack.json counts other right or certified answers than"),
])  # fmt: skip
def test_what_was_changed_is_named(run, capsys, change, words):
    change(run.folder)
    assert main(["verify", str(run.folder), "--data", "digits", "--images", "20"]) == 1
    assert words in capsys.readouterr().out


def test_what_cannot_be_verified_is_one_sentence(run, capsys):
    assert main(["verify", str(run.folder), "--data", "moons"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (run.folder / "certificates.csv").unlink()
    assert (
        main(["verify", str(run.folder)]) == 2 and "has no certificates.csv: finish it with" in capsys.readouterr().err
    )
