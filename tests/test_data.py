"""Every source gives the same kind of data, splits keep sets apart, and a bad file costs no more than itself."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lipviz import data
from lipviz.data import Data, as_float, augment, digits, folder, load, split, toy

CLASSES = ("bird", "cat", "dog")


def png(value, size=(8, 8), mode="RGB"):
    """A PNG of one colour, (value, 10, 20) or grey."""
    buffer = io.BytesIO()
    Image.new(mode, size, (value, 10, 20) if mode == "RGB" else value).save(buffer, "PNG")
    return buffer.getvalue()


def one_level(count=10, **options):
    """File name -> content; picture i of class k has the red value 20 k + i."""
    return {f"{c}/{i}.png": png(20 * k + i, **options) for k, c in enumerate(CLASSES) for i in range(count)}


def two_levels():
    """The same with a test folder, whose red values start at 100."""
    train = {f"train/{name}": content for name, content in one_level(4).items()}
    return train | {f"test/{c}/{i}.png": png(100 + 20 * k + i) for k, c in enumerate(CLASSES) for i in range(2)}


def as_folder(files, path):
    """Write the files below a new folder."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def as_zip(files, path):
    """Write the files into a zip."""
    path = path.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(params=[as_folder, as_zip])
def stored(request, tmp_path):
    """Stores files as a folder, then as a zip."""
    return lambda files, name="pictures": request.param(files, tmp_path / name)


def reds(x):
    """The red value of each picture, which names it."""
    return x[:, 0, 0, 0].tolist()


def same(a, b):
    """Whether two data sets hold the same tensors."""
    return all(torch.equal(getattr(a, key), getattr(b, key)) for key in ("x", "y", "x_test", "y_test"))


@pytest.mark.parametrize("name", data.TOYS)
def test_toys(name):
    toys = toy(name, n=201, seed=3)
    assert toys.x.shape == toys.x_test.shape == (201, 2) and toys.x.dtype == torch.float32
    assert toys.input_shape == (2,) and len(toys.classes) == 2
    assert abs(toys.y.sum().item() - 100.5) < 1
    assert same(toys, toy(name, n=201, seed=3)) and not same(toys, toy(name, n=201, seed=4))
    assert torch.cdist(toys.x, toys.x_test).min() > 0


@pytest.mark.parametrize("name", data.TOYS)
def test_toys_without_noise_can_be_learned(name):
    toys = toy(name, n=1000, noise=0.0)
    nearest = torch.cdist(toys.x_test, toys.x).argmin(1)
    assert (toys.y[nearest] == toys.y_test).float().mean() > 0.99
    assert 0.5 < toys.x.abs().max() < 2.1


@pytest.mark.parametrize("name", data.TOYS)
def test_noise_is_the_standard_deviation(name):
    moved = toy(name, n=4000, noise=0.5).x - toy(name, n=4000, noise=0.0).x
    assert (moved.std(dim=0) - 0.5).abs().max() < 0.02


@pytest.mark.parametrize("options", [{"name": "rings"}, {"n": 1}, {"noise": -1.0}])
def test_toys_refuse(options):
    with pytest.raises(ValueError, match="moons"):
        toy(**{"name": "moons", **options})


def test_digits():
    d = digits(seed=1)
    assert d.input_shape == (1, 8, 8) and d.x.dtype == torch.uint8
    assert len(d.x) + len(d.x_test) == 1797 and d.x.max() == 255 and d.x.min() == 0
    held, kept = d.y_test.bincount(), d.y.bincount()
    assert (held / (held + kept) - 0.2).abs().max() < 0.01
    assert same(d, digits(seed=1)) and not same(d, digits(seed=2))


def test_as_float():
    x = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert torch.equal(as_float(x), torch.tensor([0, 0.2, 1]))
    points = torch.tensor([300.0], dtype=torch.float64)
    assert as_float(points) is points


def test_one_level_is_split(stored):
    d = folder(stored(one_level()), seed=5)
    assert d.classes == CLASSES and d.input_shape == (3, 8, 8) and d.name == "pictures" and d.notes == ()
    assert sorted(reds(d.x) + reds(d.x_test)) == sorted(20 * k + i for k in range(3) for i in range(10))
    assert d.y_test.tolist() == [0, 0, 1, 1, 2, 2]
    for x, y in ((d.x, d.y), (d.x_test, d.y_test)):
        assert [red // 20 for red in reds(x)] == y.tolist()
    assert same(d, folder(stored(one_level()), seed=5))
    assert not same(d, folder(stored(one_level()), seed=6))


def test_train_and_test_folders(stored):
    d = folder(stored(two_levels()), seed=1)
    assert reds(d.x_test) == [100, 101, 120, 121, 140, 141] and max(reds(d.x)) < 100
    assert d.y_test.tolist() == [0, 0, 1, 1, 2, 2] and len(d.x) == 12
    assert same(d, folder(stored(two_levels()), seed=2))


def test_the_test_set_alone(stored, monkeypatch):
    """As in the whole set, broken pictures in both parts included; no training picture is opened."""
    path = stored(two_levels() | {"train/cat/0.png": b"broken", "test/cat/0.png": b"broken"})
    whole, opened = load(str(path), (3, 8, 8)), []
    open_picture = data.open_picture
    monkeypatch.setattr(data, "open_picture", lambda read, name: opened.append(name) or open_picture(read, name))
    alone = load(str(path), (3, 8, 8), training=False)
    assert len(opened) == 6 and all(name.startswith("test/") for name in opened)
    assert alone.classes == whole.classes == CLASSES and alone.x.shape == (0, 3, 8, 8) and len(alone.y) == 0
    assert torch.equal(alone.x_test, whole.x_test) and torch.equal(alone.y_test, whole.y_test)
    assert len(alone.x_test) == 5 and [note for note in whole.notes if "test/" in note] == list(alone.notes)


def test_the_test_set_alone_where_the_split_is_ours(stored):
    path = stored(one_level())
    whole, alone = (load(str(path), (3, 8, 8), training=training) for training in (True, False))
    assert torch.equal(alone.x_test, whole.x_test) and torch.equal(alone.y, whole.y)


@pytest.mark.parametrize("files", [one_level(), two_levels()])
def test_top_folder_and_clutter_make_no_difference(stored, files):
    clutter = ("__MACOSX/cat/1.png", "top/.hidden/1.png", "top/cat/._2.png", "top/readme.txt", "labels/list.csv")
    wrapped = {f"top/{name}": content for name, content in files.items()} | dict.fromkeys(clutter, b"x")
    wrapped |= {"top/preview.png": png(255), "cover.png": png(255)}  # in no class
    d = folder(stored(wrapped, "wrapped"))
    assert same(d, folder(stored(files))) and d.notes == ()


def test_backslashes_in_a_zip(tmp_path):
    files = {name.replace("/", "\\"): content for name, content in one_level().items()}
    assert same(folder(as_zip(files, tmp_path / "a")), folder(as_zip(one_level(), tmp_path / "b")))


def test_a_class_of_trains(stored):
    files = {f"{c}/{i}.png": png(i) for c in ("bus", "train") for i in range(3)}
    assert folder(stored(files)).classes == ("bus", "train")


def test_unreadable_pictures_are_skipped_and_named(stored):
    files = one_level() | {"cat/bad.jpg": b"not a picture", "dog/none.gif": b""}
    d = folder(stored(files))
    assert same(d, folder(stored(one_level(), "good")))
    assert len(d.notes) == 2 and "cat/bad.jpg" in d.notes[0] and "dog/none.gif" in d.notes[1]
    many = folder(stored(one_level() | {f"cat/bad{i}.jpg": b"x" for i in range(50)}, "many"))
    assert len(many.notes) == 21 and many.notes[-1] == "Skipped: 30 more."


REFUSED = {
    "nothing": ({"readme.txt": b"x"}, "no class folders"),
    "no class folder": ({"1.png": png(1), "2.png": png(2)}, "no class folders"),
    "one class": ({"cat/1.png": png(1), "cat/2.png": png(2)}, "one class only, cat"),
    "no readable picture": ({"cat/1.png": b"x", "dog/1.png": b"x"}, "None of the 2 pictures"),
    "class missing in test": (two_levels() | {"train/emu/1.png": png(1)}, "emu only in train"),
    "class missing in train": (two_levels() | {"test/emu/1.png": png(1)}, "emu only in train or only in test"),
    "no test folder": ({f"{p}/{c}/1.png": png(1) for p in ("train", "val") for c in "ab"}, "none called test"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_in_a_sentence(kind, stored):
    files, words = REFUSED[kind]
    path = stored(files)
    with pytest.raises(ValueError, match=words) as caught:
        folder(path)
    assert str(path.parent) not in str(caught.value) and str(caught.value).endswith(".")


def test_own_size_and_channels(stored):
    assert folder(stored(one_level(size=(20, 12)), "a")).input_shape == (3, 12, 20)
    assert folder(stored(one_level(mode="L"), "b")).input_shape == (1, 8, 8)
    assert folder(stored(one_level() | {"cat/x.png": png(1, (9, 9))}, "c")).input_shape == (3, 32, 32)
    assert folder(stored(one_level(size=(65, 65)), "d")).input_shape == (3, 32, 32)
    assert folder(stored(one_level() | {"cat/x.png": png(1, mode="L")}, "e")).input_shape == (3, 8, 8)


def test_given_shape(stored):
    d = folder(stored(one_level() | {"cat/x.png": png(50, (300, 100))}), shape=(1, 28, 28))
    assert d.input_shape == (1, 28, 28) and len(d.x) + len(d.x_test) == 31
    assert folder(stored(one_level(mode="L")), shape=(3, 8, 8)).input_shape == (3, 8, 8)


def test_no_such_path_and_no_zip(tmp_path):
    with pytest.raises(ValueError, match="nothing called none"):
        folder(tmp_path / "none")
    (tmp_path / "text.zip").write_bytes(b"hello")
    half = as_zip(one_level(), tmp_path / "half")
    half.write_bytes(half.read_bytes()[:-200])
    for name in ("text.zip", "half.zip"):
        with pytest.raises(ValueError, match=f"{name} is neither a folder nor a zip"):
            folder(tmp_path / name)


def test_encrypted_zip(tmp_path):
    path = as_zip(one_level(), tmp_path / "secret")
    raw = bytearray(path.read_bytes())
    raw[raw.find(b"PK\x01\x02") + 8] |= 1  # the flag of a password, in the directory at the end
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="encrypted"):
        folder(path)


def test_broken_members_are_skipped(tmp_path):
    path = as_zip(one_level() | {"cat/broken.png": png(199)}, tmp_path / "broken")
    raw = bytearray(path.read_bytes())
    raw[raw.find(b"IDAT", raw.find(b"cat/broken.png")) + 6] ^= 255
    path.write_bytes(raw)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("cat/huge.png", bytes(9 * 2**20), zipfile.ZIP_DEFLATED)
        archive.writestr("cat/rare.png", png(1), zipfile.ZIP_BZIP2)
    d = folder(path)
    assert same(d, folder(as_zip(one_level(), tmp_path / "good")))
    for note, words in zip(d.notes, ("broken.png is damaged", "huge.png has 8.0 MB", "rare.png is"), strict=True):
        assert words in note


def test_limits_of_a_set(stored, monkeypatch):
    monkeypatch.setattr(data, "open_picture", lambda *_: pytest.fail("was read"))
    monkeypatch.setattr(data, "MAX_PICTURES", 29)
    path = stored(one_level())
    with pytest.raises(ValueError, match="30 pictures, at most 29"):
        folder(path)
    monkeypatch.setattr(data, "MAX_PICTURES", 30)
    monkeypatch.setattr(data, "MAX_UNPACKED", 1000)
    if path.suffix == ".zip":
        with pytest.raises(ValueError, match="holds more than"):
            folder(path)


def test_a_zip_writes_nothing(tmp_path, monkeypatch):
    path = as_zip(one_level() | {"../../evil/1.png": png(1), "/evil/2.png": png(2)}, tmp_path / "z")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert len(folder(path).x) > 0
    assert sorted(tmp_path.rglob("*")) == before


def test_load_by_name_and_by_path(stored):
    assert same(load("moons", seed=2), toy("moons", seed=2)) and same(load("digits", seed=2), digits(2))
    path = stored(one_level())
    assert same(load(path, seed=2), folder(path, seed=2))
    assert load(str(path), shape=(1, 4, 4)).input_shape == (1, 4, 4)
    assert load("digits", shape=(1, 8, 8)).input_shape == (1, 8, 8)


@pytest.mark.parametrize("source", ["nothing-here", Path("moons"), ""])
def test_load_lists_what_there_is(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"spirals, digits, mnist, cifar10, or a path|no class folders"):
        load(source)


@pytest.mark.parametrize("name", ["moons", "digits"])
def test_load_refuses_a_shape_it_cannot_give(name):
    with pytest.raises(ValueError, match="leave shape out"):
        load(name, shape=(3, 32, 32))


def counted(counts):
    """A data set with so many points of each class; the first coordinate is the index of the point."""
    y = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    x = torch.stack([torch.arange(len(y)).float()] * 2, dim=1)
    return Data("counted", tuple("abcd"[: len(counts)]), x, y, torch.full((1, 2), -1.0), torch.tensor([0]))


def test_split_never_touches_the_test_set():
    whole = counted([40, 10, 2, 1])
    d = split(whole, 0.1, seed=0)
    assert d.y_test.bincount(minlength=4).tolist() == [4, 1, 1, 0]
    assert sorted(d.x[:, 0].tolist() + d.x_test[:, 0].tolist()) == list(range(53))
    assert torch.equal(whole.y[d.x_test[:, 0].long()], d.y_test)
    assert split(whole, 0.99, seed=0).y.bincount().tolist() == [1, 1, 1, 1]
    assert same(d, split(whole, 0.1, seed=0)) and not same(d, split(whole, 0.1, seed=1))
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            split(whole, share, seed=0)


def slow_augment(x, generator, pad, flip):
    """Pad with numpy, crop and flip one image after the other, from the same draws."""
    b, _, h, w = x.shape
    dy, dx = (torch.randint(-min(pad, s - 1), min(pad, s - 1) + 1, (b, 1), generator=generator) for s in (h, w))
    mirror = torch.randint(2, (b, 1), generator=generator) if flip else torch.zeros(b, 1)
    out = []
    for image, top, left, turn in zip(x.numpy(), dy[:, 0], dx[:, 0], mirror[:, 0], strict=True):
        py, px = min(pad, h - 1), min(pad, w - 1)
        padded = np.pad(image, ((0, 0), (py, py), (px, px)), mode="reflect")
        crop = padded[:, py + top : py + top + h, px + left : px + left + w]
        out.append(crop[..., ::-1] if turn else crop)
    return torch.from_numpy(np.stack(out))


@pytest.mark.parametrize("size", [(3, 8, 8), (1, 5, 9), (3, 1, 7), (2, 2, 3), (1, 1, 1)])
@pytest.mark.parametrize("pad", [0, 2, 4])
@pytest.mark.parametrize("flip", [True, False])
def test_augment_equals_the_slow_loop(size, pad, flip):
    x = torch.randint(256, (40, *size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    fast = augment(x, torch.Generator().manual_seed(7), pad, flip)
    slow = slow_augment(x, torch.Generator().manual_seed(7), pad, flip)
    assert fast.dtype == torch.uint8 and torch.equal(fast, slow)


def test_augment_draws_for_each_image():
    image = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8)
    x = image.repeat(500, 1, 1, 1)
    out = augment(x, torch.Generator().manual_seed(0), pad=2)
    assert len(out.unique(dim=0)) == 50  # 5 x 5 shifts, mirrored or not
    mirrored = (out[:, 0, 4, 3] > out[:, 0, 4, 4]).float().mean()
    assert 0.4 < mirrored < 0.6
    with pytest.raises(ValueError, match="0 or more"):
        augment(x, torch.Generator(), pad=-1)
    assert torch.equal(x, image.repeat(500, 1, 1, 1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_augment_on_a_gpu_with_a_generator_of_the_cpu():
    x = torch.randint(256, (40, 3, 8, 8), dtype=torch.uint8)
    moved = augment(x.cuda(), torch.Generator().manual_seed(7))
    assert torch.equal(moved.cpu(), augment(x, torch.Generator().manual_seed(7)))
    assert augment(x.cuda(), torch.Generator("cuda").manual_seed(7)).is_cuda


@pytest.mark.skipif("LIPVIZ_DATA" not in os.environ, reason="set LIPVIZ_DATA to the folder of cifar10 and mnist")
@pytest.mark.parametrize(("name", "shape"), [("cifar10", (3, 32, 32)), ("mnist", (1, 28, 28))])
def test_real_pictures(name, shape, tmp_path):
    for source in (Path(os.environ["LIPVIZ_DATA"]) / name / "test").iterdir():
        (tmp_path / source.name).mkdir()
        for file in sorted(source.iterdir())[:10]:
            (tmp_path / source.name / file.name).symlink_to(file.resolve())
    d = folder(tmp_path)
    assert d.input_shape == shape and len(d.classes) == 10 and d.notes == ()
    assert len(d.x) == 80 and d.y_test.bincount().tolist() == [2] * 10
    assert as_float(d.x).std() > 0.1
