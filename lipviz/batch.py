"""Many pictures at once: several files or zips to a table of certificates, in portions, with what was wrong by name."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from lipviz import archives
from lipviz.certify import Certifier
from lipviz.digits import rounded_down
from lipviz.images import ImageError, Picture, fit, open_picture
from lipviz.runs import Run
from lipviz.tables import counted

MOST = 5000  # pictures at once
PORTION = 32  # certified between two steps of the progress line
UNPACKED = 2**30  # bytes of all members of a zip
SIZE = 36  # /255, the smallest at which the literature compares; pages may ask for another


@dataclass(frozen=True)
class File:
    """A picture that can be read when its turn comes; `read` raises ImageError."""

    name: str
    read: Callable[[], bytes]

    def picture(self) -> Picture:
        """Its pixels; raises ImageError with a sentence that names the file."""
        return open_picture(self.read(), self.name)


class Fault(NamedTuple):
    """A file that could not be read, and the sentence that says why."""

    file: str
    words: str


@dataclass(frozen=True)
class Listing:
    """The pictures among the uploaded files.

    Attributes:
        files: in order.
        faults: a sentence for each file that could not be opened.
        notes: a sentence about what was left out on purpose.
    """

    files: tuple[File, ...]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """What one network says about one picture: the certificate, l2, pixels in [0, 1]."""

    file: str
    network: str
    answer: str
    margin: float
    radius: float
    notes: tuple[str, ...]

    def certified(self, k: int = SIZE) -> bool:
        """Whether no change of size k/255 can alter the answer."""
        return self.radius > k / 255


def is_zip(name: str) -> bool:
    """Whether the name says so."""
    return name.lower().endswith(".zip")


def listing(uploads: Sequence[tuple[str, bytes]]) -> Listing:
    """The pictures in uploaded files (name, content); zips are opened, with all their folders.

    Phones send many pictures under one name: the second of a name is called "name (2)".
    """
    read: list[tuple[str, Callable[[str], bytes]]] = []  # name, and from what errors call it to its content
    faults, other = [], []
    for name, content in uploads:
        if not is_zip(name):
            read.append((name, partial(_same, content)))
            continue
        try:
            archive = archives.open_zip(content, name, UNPACKED)
        except ValueError as error:
            faults.append(str(error))
            continue
        inside = [member for member in archive.namelist() if not member.endswith(("/", "\\"))]
        shown = [member for member in inside if not archives.is_hidden(archives.parts(member))]
        pictures = [member for member in shown if archives.is_picture(archives.parts(member))]
        other += sorted(set(shown) - set(pictures))
        if not pictures:
            faults.append(f"{name} holds no picture: expected files such as cat.png or photos/cat.jpg.")
        before = f"{name}/" if len(uploads) > 1 else ""
        read += [(before + member, partial(archives.member, archive, member)) for member in pictures]
    files, met = [], Counter[str]()
    for name, content_of in read[:MOST]:
        met[name] += 1
        own = name if met[name] == 1 else f"{name} ({met[name]})"
        files.append(File(own, partial(content_of, own)))
    notes = []
    if other:
        notes.append(f"Left out, not pictures by their names: {_some(other)}.")
    if len(read) > MOST:
        notes.append(f"These are {len(read):,} pictures; the first {MOST:,} are certified, the most at once.")
    return Listing(tuple(files), tuple(faults), tuple(notes))


def _same(content: bytes, _: str) -> bytes:
    return content


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def certify(run: Run, certifier: Certifier, files: Sequence[File]) -> tuple[list[Row], list[Fault]]:
    """A row for each picture that can be read, certified in one batch in float64, a fault for each other one."""
    channels, height, width = certifier.input_shape
    read, arrays, faults = [], [], []
    for file in files:
        try:
            picture = file.picture()
        except ImageError as error:
            faults.append(Fault(file.name, str(error)))
            continue
        pixels, notes = fit(picture, (channels, height, width))
        read.append((file.name, (*picture.notes, *notes)))
        arrays.append(pixels)
    if not arrays:
        return [], faults
    found = certifier(torch.from_numpy(np.stack(arrays)), PORTION)
    numbers = zip(read, found.label.tolist(), found.margin.tolist(), found.radius.tolist(), strict=True)
    return [Row(name, run.name, run.class_name(k), m, r, notes) for (name, notes), k, m, r in numbers], faults


def brief(name: str, most: int = 24) -> str:
    """A file name short enough for a phone: its beginning and its end.

    >>> brief("cat.png"), brief("holiday/a very long name of a picture.jpeg")
    ('cat.png', 'holiday/a v…picture.jpeg')
    """
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"


def shown(rows: Sequence[Row], k: int = SIZE) -> list[dict[str, Any]]:
    """The rows of a table, rounded so that no radius claims more than is proven; k/255 is the size asked for."""
    return [
        {
            "file": brief(row.file),
            "network": row.network,
            "answer": row.answer,
            "margin": float(f"{row.margin:.3g}"),
            "certified radius": rounded_down(row.radius),
            f"certified at {k}/255": "yes" if row.certified(k) else "no",
            "notes": " ".join(row.notes),
        }
        for row in rows
    ]


def summary(rows: Sequence[Row], faults: Sequence[Fault], k: int = SIZE) -> list[str]:
    """A sentence for each network about the size k/255, and one for what could not be read."""
    sentences = []
    for network in dict.fromkeys(row.network for row in rows):
        own = [row for row in rows if row.network == network]
        middle = rounded_down(float(np.median([row.radius for row in own])))
        [(often, times)] = Counter(row.answer for row in own).most_common(1)
        sentences.append(
            f"{network} certifies {sum(row.certified(k) for row in own):,} of {len(own):,} pictures at {k}/255 "
            f"(l2, pixels in [0, 1]); the median radius is {middle}, and the answer given most often is {often} "
            f"({counted(times, 'time')})."
        )
    if faults:
        are = "is" if len(faults) == 1 else "are"
        sentences.append(f"{len(faults):,} could not be read and {are} named below.")
    return sentences


def as_csv(rows: Sequence[Row], faults: Sequence[Fault], k: int = SIZE) -> str:
    """Every row in full, asked at the size k/255, then a line for each file that could not be read."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["file", "network", "answer", "margin", "radius_l2", f"certified_{k}_255", "notes"])
    for row in rows:
        numbers = (repr(row.margin), repr(row.radius), "yes" if row.certified(k) else "no")
        lines.writerow([row.file, row.network, row.answer, *numbers, " ".join(row.notes)])
    lines.writerows([[fault.file, "", "", "", "", "", fault.words] for fault in faults])
    return text.getvalue()
