"""The pages of pictures: every sample, good and broken uploads, hostile addresses, missing and broken runs."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from lipviz import pictures, runs, samples, ui
from lipviz.certify import Certifier
from lipviz.images import Picture, fit
from pages import charts, tables

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("home", "certify", "radii")
NONSENSE = ("", "EVIL", "-1", "1e99", "nan", "<script>alert(1)</script>", "../../etc/passwd", "0/255", "😀" * 50)
KEYS = {
    "home": (),
    "certify": (
        "ci_from",
        "ci_sample",
        "ci_runs",
        "ci_way",
        "ci_eps",
        "ci_seen",
        "ci_steps",
        "ci_break",
        "ci_file",
        "ci_camera",
    ),
    "radii": ("cr_data", "cr_runs_digits", "cr_eps", "cr_one_digits", "cr_from", "cr_to", "cr_who"),
}


@pytest.fixture
def folder(tmp_path, tiny_run, monkeypatch):
    """A folder of one small run of digits, the only runs of the app."""
    monkeypatch.setattr(ui, "CHECKPOINTS", tmp_path / "none")
    monkeypatch.setenv("LIPVIZ_RUNS", str(tmp_path / "runs"))
    shutil.copytree(tiny_run.folder, tmp_path / "runs" / "digits-aol")
    return tmp_path / "runs"


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """No runs at all."""
    monkeypatch.setattr(ui, "CHECKPOINTS", tmp_path / "none")
    monkeypatch.setenv("LIPVIZ_RUNS", str(tmp_path / "runs"))


@pytest.fixture(scope="module")
def certified(tiny_run):
    """The run and its certifier."""
    return tiny_run, Certifier(tiny_run.model, tiny_run.spec.input_shape)


def opened(page, **query):
    """The page, run in the frame of the app with an address."""
    at = AppTest.from_file(ROOT / "lipviz" / "shell.py", default_timeout=120)
    at.switch_page(f"../pages/{page}.py")
    for key, value in query.items():
        at.query_params[key] = value
    return at.run()


def words(at):
    """Everything the page says in Markdown, captions and messages."""
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error)
    return "\n".join(element.value for kind in kinds for element in kind).replace("\\", "")


def encoded(array, format="PNG"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, format)
    return file.getvalue()


@pytest.mark.parametrize("page", PAGES)
def test_page_opens_with_a_picture(folder, page):
    at = opened(page)
    assert not at.exception and not at.error
    assert at.title[0].value.endswith("?")
    assert at.get("bidi_component") if page == "radii" else bool(charts(at)) == (page != "home")


@pytest.mark.parametrize("page", PAGES)
def test_without_runs_a_page_says_how_to_train_one(empty, page):
    at = opened(page)
    assert not at.exception
    assert "lipviz train" in words(at)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_in_the_address_gives_the_default(folder, page, value):
    at = opened(page, **dict.fromkeys(KEYS[page], value))
    assert not at.exception
    assert at.title


def test_address_sets_the_state(folder):
    at = opened("certify", ci_sample="Coffee", ci_eps="255/255", ci_way="random noise")
    assert not at.exception
    assert "Reduced from 600×400" in words(at)
    assert at.segmented_control(key="ci_way").value == "random noise"
    assert at.select_slider(key="ci_eps").value == 255


@pytest.mark.parametrize("name", samples.names())
def test_every_sample_is_certified(folder, name):
    at = opened("certify", ci_sample=name)
    assert not at.exception and not at.error
    assert "l2 norm, pixels in [0, 1]" in words(at) or "nothing is proven" in words(at)


def test_upload(folder):
    at = opened("certify")
    at.segmented_control(key="ci_from").set_value("Upload").run()
    assert not at.exception
    assert "not stored" in words(at)
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    at.file_uploader(key="ci_file").upload("mine.png", encoded(noise)).run()
    assert not at.exception and not at.error
    assert "Resized from 60×60 to 8×8" in words(at)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"this is not a picture",
        encoded(np.zeros((50, 50, 3), np.uint8))[:60],
        encoded(np.zeros((5000, 5000), np.uint8)),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        bytes(9 * 2**20),
    ],
    ids=["empty", "text", "truncated", "25 million pixels", "svg", "9 MB"],
)
def test_broken_upload_gives_a_sentence(folder, content):
    at = opened("certify")
    at.segmented_control(key="ci_from").set_value("Upload").run()
    at.file_uploader(key="ci_file").upload("broken_*.png", content).run()
    assert not at.exception
    assert len(at.error) == 1 and "broken\\_\\*\\.png" in at.error[0].value
    assert "Traceback" not in words(at) and str(ROOT) not in words(at)
    assert charts(at), "the sample stays"


def test_camera_is_asked_for_only_when_chosen(folder):
    at = opened("certify", ci_from="Camera")
    assert not at.get("camera_input")
    at.segmented_control(key="ci_from").set_value("Camera").run()
    assert not at.exception
    assert at.get("camera_input")


def test_every_size_and_way_and_chip(folder):
    at = opened("certify")
    for way in pictures.WAYS:
        at.segmented_control(key="ci_way").set_value(way).run()
        for k in (0, 36, 765):
            at.select_slider(key="ci_eps").set_value(k).run()
            assert not at.exception
    for i in range(3):
        at.button(key=f"ci_try{i}").click().run()
        assert not at.exception
    assert at.pills(key="ci_sample").value == "Palace"


def all_runs(at):
    """The table of all runs on the page Certified radii."""
    return next(frame for frame in tables(at) if "clean %" in frame)


def test_radii_numbers_and_chips(folder):
    at = opened("radii", cr_eps="0")
    for k in (0, 36, 510):
        at.number_input(key="cr_eps").set_value(k).run()
        assert not at.exception
        table = all_runs(at)
        run = runs.load(folder / "digits-aol")
        assert table["certified at eps %"][0] == pytest.approx(100 * run.certificates.accuracy(k / 255), abs=0.06)
        assert table["budget"][0] == "1 epochs, whatever they took"
    for i in range(3):
        at.button(key=f"cr_try{i}").click().run()
        assert not at.exception
    assert "l2, pixels in [0, 1]" in words(at)


def test_radii_keeps_data_sets_apart(folder):
    broken = json.loads((folder / "digits-aol" / "run.json").read_text())
    broken["data"] |= {"name": "other", "notes": ["A JPEG copy."]}
    shutil.copytree(folder / "digits-aol", folder / "other-aol")
    (folder / "other-aol" / "run.json").write_text(json.dumps(broken))
    at = opened("radii")
    assert list(all_runs(at)["run"]) == ["digits-aol"]
    at.pills(key="cr_data").set_value("other").run()
    assert not at.exception
    assert list(all_runs(at)["run"]) == ["other-aol"]
    assert "A JPEG copy." in words(at)


def _nan_weights(run):
    tensors = runs.read_tensors(run / "weights.safetensors")
    runs.write_tensors(run / "weights.safetensors", {k: torch.full_like(v, torch.nan) for k, v in tensors.items()})


def _truncated(run):
    path = run / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize("break_it", [_nan_weights, _truncated])
@pytest.mark.parametrize("page", ["home", "certify"])
def test_broken_weights_give_a_sentence(folder, page, break_it):
    break_it(folder / "digits-aol")
    at = opened(page)
    assert not at.exception
    assert len(at.error) == 1 and "weights" in at.error[0].value and str(folder) not in at.error[0].value


@pytest.mark.parametrize(
    "text", ["", "index,label\n", "index,label,prediction,margin,radius\n", "a,b\n1\n", "\x00\x00"]
)
def test_broken_certificates_give_a_sentence(folder, text):
    (folder / "digits-aol" / "certificates.csv").write_text(text)
    at = opened("radii")
    assert not at.exception
    assert at.error or at.warning


@pytest.mark.parametrize("change", [{"results": 3}, {"results": {"bound": "large"}}, {"data": {"name": None}}])
def test_odd_run_file(folder, change):
    path = folder / "digits-aol" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    for page in PAGES:
        at = opened(page)
        assert not at.exception


def test_names_of_classes_are_not_markup(folder):
    path = folder / "digits-aol" / "run.json"
    config = json.loads(path.read_text())
    config["data"]["classes"] = ["**bold** <b>![x](http://x)"] * 10
    path.write_text(json.dumps(config))
    at = opened("certify")
    assert not at.exception
    assert all("<b>" not in element.proto.body for element in at.get("html"))
    assert all("**bold**" not in element.value for element in at.markdown)


@pytest.mark.parametrize("name", samples.names())
def test_sample_pictures(name):
    for shape in ((1, 8, 8), (1, 28, 28), (3, 32, 32)):
        picture = samples.load(name, shape)
        assert picture.pixels.dtype == np.uint8 and picture.pixels.std() > 10
        assert fit(picture, shape)[0].shape == shape


def test_digit_samples_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    for name, sample in samples.SAMPLES.items():
        if sample.row >= 0:
            assert str(bunch.target[sample.row]) == sample.truth == name[-1]
            expected = np.rint(bunch.images[sample.row] * 255 / 16)
            assert np.array_equal(fit(samples.load(name, (1, 8, 8)), (1, 8, 8))[0][0], expected)
    with pytest.raises(ValueError, match="expected one of"):
        samples.load("Unicorn")


@pytest.mark.parametrize("way", pictures.WAYS)
@pytest.mark.parametrize("name", ["Digit 3", "Digit 9", "Cat"])
def test_walk_stays_above_the_proof(certified, way, name):
    run, certifier = certified
    answer = pictures.answer(run, certifier, samples.load(name, (1, 8, 8)))
    sizes = [k / 255 for k in (0, 9, 36, 108, 255, 510)]
    walk = pictures.walk(certifier, answer.pixels, way, sizes)
    assert walk.size[0] == 0 and walk.margin[0] == pytest.approx(answer.margin, abs=1e-12)
    assert (walk.size <= np.array(sizes) + 1e-12).all()
    assert walk.pixels.min() >= 0 and walk.pixels.max() <= 1
    np.testing.assert_allclose(np.linalg.norm((walk.pixels - walk.pixels[0]).reshape(6, -1), axis=1), walk.size)
    inside = walk.size < answer.radius
    assert (walk.label[inside] == walk.label[0]).all()
    line = answer.margin * (1 - walk.size / answer.radius)
    assert (walk.margin >= line - 1e-9).all()


def test_gradient_lowers_the_margin_more_than_noise(certified):
    run, certifier = certified
    pixels = pictures.answer(run, certifier, samples.load("Digit 3", (1, 8, 8))).pixels
    towards, noise = (pictures.walk(certifier, pixels, way, [0.0, 0.5]) for way in pictures.WAYS)
    assert towards.margin[1] < noise.margin[1]
    with pytest.raises(ValueError, match="way must be one of"):
        pictures.walk(certifier, pixels, "up", [0.0])


def test_flat_network_is_walked_all_the_same():
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    torch.nn.init.zeros_(flat[1].weight)
    walk = pictures.walk(Certifier(flat, (1, 2, 2)), np.full((1, 2, 2), 99, np.uint8), "nearest class", [0.0, 0.1])
    assert walk.size[1] == pytest.approx(0.1)


def test_data_uri_holds_the_exact_pixels():
    import base64

    for shape in ((1, 3, 5), (3, 4, 2)):
        pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        png = base64.b64decode(pictures.data_uri(pixels).split(",")[1])
        found = np.atleast_3d(np.asarray(Image.open(io.BytesIO(png)))).transpose(2, 0, 1)
        assert np.array_equal(found, pixels)
        assert pictures.data_uri(pixels / 255) == pictures.data_uri(pixels)


def test_class_without_a_name_is_a_number(certified):
    run, certifier = certified
    nameless = runs.Run(run.folder, run.config | {"data": {"name": "digits", "classes": ["zero"]}})
    answer = pictures.answer(nameless, certifier, Picture(np.full((8, 8, 3), 200, np.uint8)))
    assert answer.label in ("zero", *map(str, range(1, 10)))
