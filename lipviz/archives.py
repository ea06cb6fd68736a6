"""Untrusted zips: what they hold, and one member at a time, never more of it than a picture may have.

Nothing is written to the disk, and nothing that a zip says about itself is believed: neither its sizes nor its names.
"""

import io
import zipfile
from pathlib import Path, PurePosixPath

from lipviz.images import EXTENSIONS, MAX_BYTES, ImageError

MAX_UNPACKED = 4 * 2**30  # bytes of all members of a zip
MAX_ENTRIES = 50_000  # of an upload; each costs half a kilobyte of memory once its name is read
_ENTRY = b"PK\x01\x02"  # how each entry of the list at the end of a zip begins


def open_zip(source: Path | bytes, name: str, limit: int = MAX_UNPACKED, kind: str = "not a zip") -> zipfile.ZipFile:
    """A zip whose members may be read.

    Args:
        source: a path, or the content of the file.
        name: what error messages call it.
        limit: bytes that all members may have together.
        kind: what the message says the file is, if it is no zip.

    Raises:
        ValueError: no zip, an encrypted one, or more than fits.
    """
    if isinstance(source, bytes) and source.count(_ENTRY) > MAX_ENTRIES:
        raise ValueError(f"{name} holds more than {MAX_ENTRIES:,} files, the most read here: pack fewer pictures.")
    try:
        archive = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except Exception:  # a broken zip makes the library raise nearly anything
        raise ValueError(f"{name} is {kind} that can be opened.") from None
    members = archive.infolist()
    encrypted = any(member.flag_bits & 1 for member in members)
    large = sum(member.file_size for member in members) > limit
    if encrypted or large:
        archive.close()
        if encrypted:
            raise ValueError(f"{name} is encrypted: pack it again without a password.")
        size = f"{limit // 2**30} GB" if limit >= 2**30 else f"{limit // 2**20} MB"
        raise ValueError(f"{name} holds more than {size} once unpacked: pack fewer pictures.")
    return archive


def member(archive: zipfile.ZipFile, name: str, called: str = "") -> bytes:
    """At most one byte more than a picture may have: what a zip says about its sizes is not trusted.

    Error messages call it `called`, or by its name in the zip.
    """
    try:
        # The decoders of other methods cannot be told to stop at a length.
        if archive.getinfo(name).compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            with archive.open(name) as file:
                return file.read(MAX_BYTES + 1)
    except Exception:  # so does a broken member
        raise ImageError(f"{called or name} is damaged inside the zip: pack it again.") from None
    raise ImageError(f"{called or name} is packed in a rare way: pack it again as an ordinary (deflated) zip.")


def parts(name: str) -> tuple[str, ...]:
    """The folders of a member and its own name, whichever way the slashes lean."""
    return PurePosixPath(name.replace("\\", "/")).parts


def is_hidden(path: tuple[str, ...]) -> bool:
    """What systems leave in a zip without being asked: __MACOSX, and names that begin with a dot."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path)


def is_picture(path: tuple[str, ...]) -> bool:
    """Whether the name says so; what is in it is another question."""
    return bool(path) and not is_hidden(path) and path[-1].rpartition(".")[2].lower() in EXTENSIONS
