"""MNIST and CIFAR-10 by their names: fetched once by pooch, checked against their publishers' sums, read in memory."""

import gzip
import os
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pooch
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

Part = tuple[UInt8[np.ndarray, "_ c h w"], Int64[np.ndarray, " _"]]  # the parts have numbers of images of their own


@dataclass(frozen=True)
class Source:
    """Where a data set comes from.

    Attributes:
        base: address of the folder of its files.
        files: name -> "md5:" and its sum, as its publishers state it.
        classes: their names in the order of the labels.
        read: from the paths of the files, in their order, to the training and the test part.
        test: the same to the test part alone.
    """

    base: str
    files: dict[str, str]
    classes: tuple[str, ...]
    read: Callable[[list[Path]], tuple[Part, Part]]
    test: Callable[[list[Path]], Part]


def _mnist(paths: list[Path]) -> tuple[Part, Part]:
    return _mnist_part(paths[:2]), _mnist_part(paths[2:])


def _mnist_part(paths: list[Path]) -> Part:
    x, y = (_idx(path) for path in paths)
    return x[:, None], y.astype(np.int64)


def _mnist_test(paths: list[Path]) -> Part:
    return _mnist_part(paths[2:])


def _idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """An IDX file of bytes: two zero bytes, the type 8, the number of axes, their lengths as big-endian int32, data."""
    content = gzip.decompress(path.read_bytes())
    axes = content[3]
    shape = np.frombuffer(content, ">i4", axes, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _cifar10(paths: list[Path]) -> tuple[Part, Part]:
    rows = _batches(paths[0])
    train = np.concatenate([rows[name] for name in sorted(rows) if name.startswith("data_batch")])
    return _labelled(train), _labelled(rows["test_batch"])


def _cifar10_test(paths: list[Path]) -> Part:
    return _labelled(_batches(paths[0], "test_batch")["test_batch"])


def _batches(path: Path, start: str = "") -> dict[str, UInt8[np.ndarray, "_ 3073"]]:
    """The binary version: for each image a byte with its label, then 3 x 32 x 32 bytes; the files named so."""
    rows = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = Path(member.name)
            file = archive.extractfile(member) if name.suffix == ".bin" and name.stem.startswith(start) else None
            if file:
                rows[name.stem] = np.frombuffer(file.read(), np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return rows


def _labelled(rows: UInt8[np.ndarray, "n 3073"]) -> Part:
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)


SOURCES = {
    "mnist": Source(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
        },
        tuple("0123456789"),
        _mnist,
        _mnist_test,
    ),
    "cifar10": Source(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530"},
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        _cifar10,
        _cifar10_test,
    ),
}


def cache() -> Path:
    """Where downloads are kept: LIPVIZ_CACHE, or the cache folder of the system."""
    return Path(os.environ.get("LIPVIZ_CACHE") or pooch.os_cache("lipviz"))


def fetch(name: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], tuple[str, ...]]:
    """The training part, the test part, each uint8 images (n, c, h, w) and labels, and the names of the classes.

    Raises:
        ValueError: no such data set, no connection, or a file that is not the one its publishers describe.
    """
    if name not in SOURCES:
        raise ValueError(f"data sets that can be downloaded are {', '.join(SOURCES)}, got {name!r}")
    source = SOURCES[name]
    paths = [_file(name, source.base + file, known) for file, known in source.files.items()]
    train, test = source.read(paths)
    return _tensors(train), _tensors(test), source.classes


def kept(name: str) -> Path | None:
    """The folder of a data set that has been downloaded before; None where there is none, or a part is missing."""
    folder = cache() / name
    there = name in SOURCES and all((folder / file).is_file() for file in SOURCES[name].files)
    return folder if there else None


def test_part(name: str) -> tuple[Part, tuple[str, ...]]:
    """The test part of a data set that `kept` finds, and the names of its classes; nothing is downloaded.

    Raises:
        ValueError: a file that is not the one its publishers describe.
    """
    source = SOURCES[name]
    try:
        return source.test([cache() / name / file for file in source.files]), source.classes
    except (OSError, EOFError, ValueError, KeyError, IndexError, zlib.error, tarfile.TarError):
        raise ValueError(f"the downloaded files of {name} are damaged: delete {name} in the cache folder") from None


def _tensors(part: Part) -> tuple[Tensor, Tensor]:
    x, y = part
    return torch.from_numpy(x.copy()), torch.from_numpy(y.copy())


def _file(name: str, address: str, known: str) -> Path:
    try:
        return Path(pooch.retrieve(address, known, address.rpartition("/")[2], cache() / name, progressbar=False))
    except ValueError as error:  # what pooch raises on another sum
        raise ValueError(f"{address} is not the file its publishers describe: {error}") from None
    except Exception as error:  # requests, urllib3 and the file system raise kinds of their own
        raise ValueError(
            f"{name} could not be downloaded from {address} ({type(error).__name__}): check the connection, "
            "or give the path of a folder of its images"
        ) from None
