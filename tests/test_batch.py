"""Many pictures at once: files and zips, with folders, clutter, broken members and more than fit."""

import csv
import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from lipviz import archives, batch
from lipviz.certify import Certifier


def png(seed=0, size=(8, 8)):
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0]), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


def packed(members, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def certified(tiny_run):
    return tiny_run, Certifier(tiny_run.model, tiny_run.spec.input_shape)


def test_files_and_zips_are_listed_with_their_folders_and_without_clutter():
    members = {
        "photos/a.png": png(1),
        "photos/deep/b.PNG": png(2),
        "photos/": b"",
        "__MACOSX/photos/._a.png": b"x",
        "__MACOSX/photos/icon.png": b"x",
        "photos/.hidden.png": b"x",
        "notes.txt": b"hello",
        "win\\c.png": png(3),
        ".": b"x",  # a name without a name
    }
    found = batch.listing([("x.zip", packed(members))])
    assert [file.name for file in found.files] == ["photos/a.png", "photos/deep/b.PNG", "win\\c.png"]
    assert not found.faults and "notes.txt" in found.notes[0] and "a.png" not in found.notes[0]
    two = batch.listing([("x.zip", packed({"a.png": png(1)})), ("b.png", png(2))])
    assert [file.name for file in two.files] == ["x.zip/a.png", "b.png"]
    assert [file.picture().pixels.shape for file in two.files] == [(8, 8, 3)] * 2


def test_certificates_are_those_of_single_pictures_and_the_broken_are_named(certified):
    run, certifier = certified
    members = {f"{i}.png": png(i) for i in range(70)} | {"broken.png": png(7)[:50], "wide.png": png(9, (20, 10))}
    files = batch.listing([("x.zip", packed(members))]).files
    rows, faults = batch.certify(run, certifier, files)
    assert len(rows) == 71 and [fault.file for fault in faults] == ["broken.png"]
    assert faults[0].words.startswith("broken.png")
    for row, file in [(rows[0], files[0]), (rows[69], files[69])]:
        one = certifier(torch.tensor(np.asarray(Image.open(io.BytesIO(file.read()))))[None, None])
        assert row.radius == pytest.approx(float(one.radius)) and row.answer == run.classes[int(one.label)]
        assert row.certified() == (row.radius > 36 / 255)
    assert "Cut to the centred 10×10" in " ".join(rows[-1].notes)
    lines = list(csv.DictReader(io.StringIO(batch.as_csv(rows, faults))))
    assert len(lines) == 72 and float(lines[0]["radius_l2"]) == rows[0].radius and lines[-1]["notes"] == faults[0].words
    assert lines[-1]["file"] == "broken.png"
    words = " ".join(batch.summary(rows, faults))
    assert (
        f"{sum(row.certified() for row in rows)} of 71 pictures at 36/255" in words and "1 could not be read" in words
    )
    table = batch.shown(rows)
    assert all(float(line["certified radius"]) <= row.radius for line, row in zip(table, rows, strict=True))


def test_another_size_is_asked_of_the_same_rows():
    sizes = [0.0, 9 / 255, 36 / 255, 0.2, 72 / 255, 1.0]
    rows = [batch.Row(f"{i}.png", "net", "cat", 1.0, radius, ()) for i, radius in enumerate(sizes)]
    for k, many in ((0, 5), (9, 4), (36, 3), (72, 1), (255, 0)):
        said = [row.radius > k / 255 for row in rows]
        assert [row.certified(k) for row in rows] == said and sum(said) == many
        assert [line[f"certified at {k}/255"] == "yes" for line in batch.shown(rows, k)] == said
        lines = csv.DictReader(io.StringIO(batch.as_csv(rows, [], k)))
        assert [line[f"certified_{k}_255"] == "yes" for line in lines] == said
        assert f"net certifies {many} of 6 pictures at {k}/255" in batch.summary(rows, [], k)[0]


def secret():
    raw = bytearray(packed({"a.png": png()}))
    raw[raw.find(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


def bomb():
    """More than 1 GB once unpacked; a second's work, so only where it is wanted."""
    return packed({f"{i}.png": bytes(2**26) for i in range(17)})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a zip"),
        (b"hello" * 100, "not a zip"),
        (packed({"a.png": png()})[:-30], "not a zip"),
        (secret(), "encrypted"),
        (packed({}), "no picture"),
        (packed({"a.txt": b"x", "b.zip": packed({"a.png": png()})}), "no picture"),
        (bomb, "more than 1 GB"),
    ],
    ids=["empty", "text", "cut", "encrypted", "nothing in it", "no picture", "bomb"],
)
def test_a_zip_that_cannot_be_used_is_a_sentence_and_the_rest_is_done(content, words):
    content = content() if callable(content) else content
    found = batch.listing([("odd.zip", content), ("b.png", png())])
    assert [file.name for file in found.files] == ["b.png"]
    assert len(found.faults) == 1 and found.faults[0].startswith("odd.zip") and words in found.faults[0]


def test_members_that_cannot_be_read_are_named(certified):
    large = packed({"huge.png": bytes(9 * 2**20), "rare.png": png()}, zipfile.ZIP_BZIP2)
    damaged = bytearray(packed({"bad.png": png()}, zipfile.ZIP_STORED))
    damaged[damaged.find(b"IDAT") + 8] ^= 255
    good = packed({"huge.png": bytes(9 * 2**20), "ok.png": png()})
    found = batch.listing([("a.zip", large), ("b.zip", bytes(damaged)), ("c.zip", good)])
    rows, faults = batch.certify(*certified, found.files)
    assert [row.file for row in rows] == ["c.zip/ok.png"]
    assert len(faults) == 4 and "rare way" in faults[0].words and "8 MB" in faults[3].words
    assert faults[2].file == "b.zip/bad.png" and faults[2].words.startswith("b.zip/bad.png is damaged")


def test_five_thousand_fit_and_more_are_said(monkeypatch):
    one = png()
    found = batch.listing([("many.zip", packed({f"{i}.png": one for i in range(batch.MOST + 1)}, zipfile.ZIP_STORED))])
    assert len(found.files) == batch.MOST >= 5000 and "5,001 pictures; the first 5,000" in found.notes[-1]
    monkeypatch.setattr(archives, "MAX_ENTRIES", 5)
    full = batch.listing([("many.zip", packed({f"{i}.png": one for i in range(6)}))])
    assert not full.files and "more than 5 files" in full.faults[0]


def test_pictures_of_one_name_are_told_apart(certified):
    """Phones send many as image.jpg."""
    found = batch.listing([("image.png", png(1)), ("image.png", b"x"), ("a.png", png(2)), ("image.png", png(3))])
    assert [file.name for file in found.files] == ["image.png", "image.png (2)", "a.png", "image.png (3)"]
    rows, faults = batch.certify(*certified, found.files)
    assert [row.file for row in rows] == ["image.png", "a.png", "image.png (3)"]
    assert faults[0].file == "image.png (2)" and faults[0].words.startswith("image.png (2) ")


def test_nothing_readable_gives_no_rows(certified):
    rows, faults = batch.certify(*certified, batch.listing([("a.png", b"x"), ("b.png", b"")]).files)
    assert not rows and len(faults) == 2 and batch.summary(rows, faults) == ["2 could not be read and are named below."]
    assert batch.as_csv(rows, faults).count("\n") == 3
