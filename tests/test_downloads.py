"""Downloads, from a server on this machine: fetched once, checked, read; what can go wrong is said in a sentence."""

import gzip
import hashlib
import io
import tarfile
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from lipviz import data, downloads

RNG = np.random.default_rng(0)


def idx(values):
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
    return gzip.compress(header + values.tobytes())


def mnist():
    parts = [RNG.integers(0, 256, (n, 28, 28), np.uint8) for n in (6, 3)]
    labels = [np.arange(n, dtype=np.uint8) for n in (6, 3)]
    contents = [idx(a) for pair in zip(parts, labels, strict=True) for a in pair]
    return dict(zip(downloads.SOURCES["mnist"].files, contents, strict=True)), parts, labels


def cifar10():
    """Two batches of training images, out of order in the archive, and one of test images."""
    parts = [RNG.integers(0, 256, (4, 3, 32, 32), np.uint8) for _ in range(3)]
    labels = [np.array([0, 9, 3, k], np.uint8) for k in range(3)]
    files = ["data_batch_1", "data_batch_2", "test_batch"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for i in (1, 2, 0):
            content = np.concatenate([labels[i][:, None], parts[i].reshape(4, -1)], axis=1).tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{files[i]}.bin")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    joined = [np.concatenate(parts[:2]), parts[2]], [np.concatenate(labels[:2]), labels[2]]
    return {"cifar-10-binary.tar.gz": buffer.getvalue()}, *joined


MADE = {"mnist": mnist, "cifar10": cifar10}


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """Serves made-up data sets in the place of their publishers: call it with the name and files; .asked counts."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

        def log_message(self, *_):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("LIPVIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def publish(name, files):
        for file, content in files.items():
            (folder / file).write_bytes(content)
        sums = {file: f"md5:{hashlib.md5(content).hexdigest()}" for file, content in files.items()}
        address = f"http://127.0.0.1:{server.server_port}/"
        source = replace(downloads.SOURCES[name], base=address, files=sums)
        monkeypatch.setitem(downloads.SOURCES, name, source)
        return asked

    yield publish
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", data.DOWNLOADS)
def test_a_data_set_is_fetched_once_and_read(name, publisher):
    files, parts, labels = MADE[name]()
    asked = publisher(name, files)
    found = data.load(name)
    assert len(asked) == len(files)
    for x, y, part, label in zip((found.x, found.x_test), (found.y, found.y_test), parts, labels, strict=True):
        assert np.array_equal(x.numpy().squeeze(), part.squeeze()) and y.tolist() == label.tolist()
    assert found.name == name and len(found.classes) == 10 and found.x.shape[1:] in ((1, 28, 28), (3, 32, 32))
    data.load(name)
    assert len(asked) == len(files), "the second time nothing is asked for"
    with pytest.raises(ValueError, match="leave shape out"):
        data.load(name, (3, 8, 8))


def test_another_file_is_refused_and_not_kept(publisher, tmp_path):
    files, *_ = mnist()
    publisher("mnist", files)
    first = next(iter(files))
    (tmp_path / "served" / first).write_bytes(b"something else")
    with pytest.raises(ValueError, match=f"{first} is not the file its publishers describe"):
        data.load("mnist")
    assert not list((tmp_path / "cache").rglob("*.gz"))


def test_no_connection_is_a_sentence(publisher, monkeypatch):
    publisher("cifar10", cifar10()[0])
    source = replace(downloads.SOURCES["cifar10"], base="http://127.0.0.1:1/")
    monkeypatch.setitem(downloads.SOURCES, "cifar10", source)
    with pytest.raises(ValueError, match=r"cifar10 could not be downloaded .* give the path of a folder"):
        data.load("cifar10")
    with pytest.raises(ValueError, match="mnist, cifar10, got 'svhn'"):
        downloads.fetch("svhn")


def test_the_names_agree():
    assert tuple(downloads.SOURCES) == data.DOWNLOADS
    for source in downloads.SOURCES.values():
        assert source.base.startswith("https://") and all(known.startswith("md5:") for known in source.files.values())
