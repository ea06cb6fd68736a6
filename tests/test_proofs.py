"""A certificate as a file: what it says is computed again from the weights, and what was altered is found."""

import base64
import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from lipviz import proofs, runs
from lipviz.certify import Certifier
from lipviz.cli import main
from lipviz.networks import build


@pytest.fixture(scope="module")
def run(tiny_run):
    return runs.load(tiny_run.folder)


@pytest.fixture(scope="module")
def certifier(run):
    return Certifier(run.model, run.spec.input_shape)


@pytest.fixture(scope="module")
def pixels(run):
    return np.random.default_rng(0).integers(0, 256, run.spec.input_shape, dtype=np.uint8)


@pytest.fixture
def said(run, certifier, pixels):
    """As it is read from a file."""
    return json.loads(json.dumps(proofs.proof(run, certifier, pixels)))


def test_what_was_written_holds(said, run, certifier, pixels):
    assert said["radius"] > 0 and len(said["layers"]) == len(certifier.bound.layers)
    found = proofs.check(said, run)
    assert len(found) == 6 and all(finding.holds for finding in found), found
    with Image.open(io.BytesIO(base64.b64decode(said["pixels"].split(",")[1]))) as image:
        assert np.array_equal(np.asarray(image), pixels[0])


def _first(layers):
    return layers[next(i for i, layer in enumerate(layers) if layer["value"] > 0)]


ALTERED = {
    "a larger radius": lambda said: said.update(radius=said["radius"] * (1 + 1e-7)),
    "no number as the radius": lambda said: said.update(radius=float("nan")),
    "a negative radius": lambda said: said.update(radius=-0.1),
    "other weights": lambda said: said.update(weights_sha256="0" * 64),
    "other pixels": lambda said: said.update(pixels_sha256="0" * 64),
    "a smaller bound of a layer": lambda said: _first(said["layers"]).update(
        value=0.5 * _first(said["layers"])["value"]
    ),
    "a smaller bound of the body": lambda said: said.update(bound_of_body=0.9 * said["bound_of_body"]),
    "a layer less": lambda said: said["layers"].pop(),
    "other logits": lambda said: said["logits"].reverse(),
    "a logit less": lambda said: said["logits"].pop(),
    "another norm": lambda said: said.update(norm="linf"),
    "another unit": lambda said: said.update(unit="pixels from 0 to 255"),
    "no error of the logits": lambda said: said.update(error_of_logits=0.0),
    "another method": lambda said: said["layers"][-1].update(method="wishful thinking"),
    "a promise more": lambda said: said.update(certified_linf_radius=0.5),
    "a hair less of the body": lambda said: said.update(bound_of_body=said["bound_of_body"] * (1 - 1.9e-6)),
    "a larger margin": lambda said: said.update(margin=said["margin"] + 1e-3),
    "another answer": lambda said: said.update(label="other"),
}


@pytest.mark.parametrize("change", ALTERED)
def test_what_was_altered_is_found(change, said, run, certifier):
    ALTERED[change](said)
    assert sum(not finding.holds for finding in proofs.check(said, run, certifier)) == 1


def test_a_radius_a_hair_larger_is_not_called_certified(said, run, certifier):
    said["radius"] *= 1 + 9e-9
    *_, last = proofs.check(said, run, certifier)
    assert last.holds and "agrees to eight digits" in last.text and "is certified;" not in last.text
    said["radius"] = -1.0
    assert not proofs.check(said, run, certifier)[-1].holds


def test_where_nothing_is_certified_no_radius_is(said, run, certifier, monkeypatch):
    monkeypatch.setattr(Certifier, "radius", lambda self, s, e, label: torch.zeros(len(s), dtype=torch.float64))
    said["radius"] = 1e-13
    assert not proofs.check(said, run, certifier)[-1].holds


@pytest.mark.parametrize("kind", ["16 bits", "palette", "transparent"])
def test_a_picture_that_viewers_show_in_another_way_is_refused(kind, said, run, certifier, pixels):
    grey = pixels[0]
    image = Image.fromarray(grey.astype(np.uint16) * 257 if kind == "16 bits" else grey)
    file = io.BytesIO()
    if kind == "palette":
        image = image.convert("P")
        image.putpalette([255 - i for i in range(256) for _ in range(3)])
    image.save(file, "PNG", **({"transparency": 3} if kind == "transparent" else {}))
    said["pixels"] = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    with pytest.raises(ValueError, match="not 8 bits of grey"):
        proofs.check(said, run, certifier)


def test_a_certificate_names_the_weights_that_made_it(tiny_run, tmp_path, pixels):
    """Training writes over the file at every evaluation, while a page holds the network of before."""
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    run = runs.load(folder)
    certifier = Certifier(run.model, run.spec.input_shape)
    other = {name: 2 * tensor for name, tensor in run.model.state_dict().items()}
    runs.write_tensors(folder / "weights.safetensors", other)
    said = proofs.proof(run, certifier, pixels)
    assert said["weights_sha256"] != proofs.weights_hash(run)
    assert not all(finding.holds for finding in proofs.check(said, runs.load(folder)))
    with pytest.raises(ValueError, match=r"Certifier\(run\.model"):
        proofs.proof(run, Certifier(build(run.spec), run.spec.input_shape), pixels)


def test_another_picture_has_another_certificate(said, run, certifier, pixels):
    said["pixels"] = proofs.data_uri(255 - pixels)
    assert not all(finding.holds for finding in proofs.check(said, run, certifier))


BROKEN = {
    "nothing": lambda said: said.clear(),
    "no radius": lambda said: said.pop("radius"),
    "a word as the radius": lambda said: said.update(radius="large"),
    "no picture": lambda said: said.update(pixels="data:image/png;base64,AAAA"),
    "no base64": lambda said: said.update(pixels="data:image/png;base64,A"),
    "a number as the picture": lambda said: said.update(pixels=3),
    "another shape": lambda said: said.update(pixels=proofs.data_uri(np.zeros((1, 3, 3), np.uint8))),
    "layers that are none": lambda said: said.update(layers=[1, 2]),
    "words as logits": lambda said: said.update(logits=["a"]),
}


@pytest.mark.parametrize("change", BROKEN)
def test_what_is_no_certificate_is_a_sentence(change, said, run, certifier):
    BROKEN[change](said)
    with pytest.raises(ValueError, match=f"not a certificate of {run.name}: .+"):
        proofs.check(said, run, certifier)


def test_the_command_line_writes_and_verifies_certificates(tiny_run, tmp_path, capsys, monkeypatch):
    picture, file = tmp_path / "grey.png", tmp_path / "grey.json"
    Image.new("L", (16, 16), 99).save(picture)
    assert main(["certify", str(picture), "--model", str(tiny_run.folder), "--json"]) == 0
    file.write_text(capsys.readouterr().out)
    assert main(["verify", str(file), "--model", str(tiny_run.folder)]) == 0
    assert capsys.readouterr().out.count("ok ") == 6
    (tmp_path / "runs").symlink_to(tiny_run.folder.parent)
    monkeypatch.chdir(tmp_path)  # the run is found by its weights
    assert main(["verify", str(file)]) == 0
    said = json.loads(file.read_text())
    said[0]["radius"] += 0.01
    file.write_text(json.dumps(said))
    assert main(["verify", str(file)]) == 1
    assert "NOT The radius" in capsys.readouterr().out
    file.write_text(json.dumps([said[0] | {"weights_sha256": "0"}]))
    for content, words in ((file.read_text(), "give --model"), ("{", "not a file of JSON"), ("3", "not a certificate")):
        file.write_text(content)
        assert main(["verify", str(file)]) == 2
        assert words in capsys.readouterr().err
