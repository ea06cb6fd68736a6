"""Untrusted picture files -> uint8 pixels of a known size, or one sentence that says what is wrong.

Nothing of a file is believed before it is checked: its length, then its format (by content, not by name),
then its width x height, and only then its pixels. `open_picture` has the limits, `fit` the way to a network.
"""

import io
import math
import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, UnidentifiedImageError

MAX_BYTES = 8 * 2**20
MAX_PIXELS = 16_000_000
MAX_PHOTO = 64_000_000  # of an ordinary JPEG, as phones take them: it is decoded at a fraction of its size
LONGEST_SIDE = 512
EXTENSIONS = ("png", "jpg", "jpeg", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm", "webp")

# WEBP stands last: a Pillow built without it raises when asked for it, after the others have had their turn.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP")
_FORMATS_IN_WORDS = "PNG, JPEG, GIF, BMP, TIFF, PPM or WEBP"
_MAX_SCANS = 100  # a progressive JPEG has about ten; thousands in 8 MB keep a decoder busy for minutes
_MANY_FRAMES = 2**20  # bytes; Pillow walks through a whole file to count its frames, seconds for 8 MB of tiny ones
_MODES_IN_WORDS = {"1": "1-bit pixels", "P": "Palette", "PA": "Palette", "CMYK": "CMYK", "YCbCr": "YCbCr"}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow warns about odd files through the filters of the whole process. They are changed by one thread at a
# time, which also bounds the memory that many visitors can ask for at once.
_one_at_a_time = threading.Lock()


class ImageError(ValueError):
    """A picture that cannot be used; the message is one sentence fit to show to a visitor."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: red, green and blue, (height, width, 3), from 0 to 255, at most 512 pixels a side.
        notes: one plain sentence for everything that was done to the file's own pixels.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    notes: tuple[str, ...] = ()


def open_picture(source: bytes | str | Path, name: str = "the file") -> Picture:
    """Decode one untrusted picture file.

    Args:
        source: the content of a file, or the path to one.
        name: what error messages call the file; a path is called by its own last part unless this is given.

    Returns:
        The first frame as RGB, upright, on white, shrunk to at most 512 pixels a side; a picture that is no
        larger keeps its exact pixels.

    Raises:
        ImageError: empty, above 8 MB, above 16 million pixels (64 of an ordinary JPEG), not one of the formats read
            here, or broken.
    """
    if isinstance(source, bytes):
        raw = source
    else:
        path = Path(source)
        name = path.name if name == "the file" else name
        raw = _read(path, name)
    _check_length(len(raw), name)
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _decode(raw, name)


def fit(
    picture: Picture, shape: tuple[int, int, int]
) -> tuple[UInt8[np.ndarray, "channels height width"], tuple[str, ...]]:
    """Bring a picture to the input shape of a network.

    The largest centred part with the target's aspect is cut out, made grey where the network has one channel
    (ITU-R 601: 0.299 R + 0.587 G + 0.114 B), and resized with Pillow's Lanczos filter, which is widened with
    the reduction and so does not alias. A picture that already has the size keeps its exact pixels.

    Args:
        picture: what `open_picture` returned.
        shape: (channels, height, width) with 1 or 3 channels.

    Returns:
        The pixels, (channels, height, width), from 0 to 255, and one sentence for each thing that was done.
    """
    channels, height, width = shape
    if channels not in (1, 3) or min(height, width) < 1:
        raise ValueError(f"shape must be (1 or 3, height, width) with sides of 1 or more, got {shape}.")
    pixels, notes = _cut(picture.pixels, height, width)
    if channels == 1:
        pixels, grey_notes = _grey(pixels)
        notes += grey_notes
    if pixels.shape[:2] != (height, width):
        notes += (f"Resized from {_size(pixels)} to {width}×{height} pixels (Lanczos filter).",)
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
    return np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1)), notes


def _cut(pixels: np.ndarray, height: int, width: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """The largest centred part of aspect width : height, as a view."""
    h, w = pixels.shape[:2]
    new_h = max(1, min(h, round(w * height / width)))
    new_w = max(1, min(w, round(h * width / height)))
    if (new_h, new_w) == (h, w):
        return pixels, ()
    top, left = (h - new_h) // 2, (w - new_w) // 2
    part = pixels[top : top + new_h, left : left + new_w]
    return part, (f"Cut to the centred {_size(part)} of {_size(pixels)} pixels.",)


def _grey(pixels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """RGB (h, w, 3) -> grey (h, w); pixels that are grey already keep their exact value."""
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return red, ()
    return np.asarray(Image.fromarray(pixels).convert("L")), ("Colours turned to grey (ITU-R 601).",)


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[0]}"


def _read(path: Path, name: str) -> bytes:
    try:
        if not path.is_file():  # false for folders, pipes and devices too
            raise ImageError(f"There is no picture file called {name}: check the name.")
        _check_length(path.stat().st_size, name)
        return path.read_bytes()
    except ImageError:
        raise
    except (OSError, ValueError):
        raise ImageError(f"{name} cannot be read: check its name and its permissions.") from None


def _check_length(length: int, name: str) -> None:
    if length == 0:
        raise ImageError(f"{name} is empty: choose a {_FORMATS_IN_WORDS} picture.")
    if length > MAX_BYTES:
        raise ImageError(
            f"{name} has {length / 2**20:.1f} MB, at most {MAX_BYTES // 2**20} MB are read here: "
            "choose a smaller picture."
        )


def _decode(raw: bytes, name: str) -> Picture:
    try:
        with Image.open(io.BytesIO(raw), formats=_FORMATS) as image:
            _check_header(image, raw, name)
            deep = _deep(image, raw)  # decoding may forget it
            picture = _picture(image, len(raw))
            return replace(picture, notes=(*picture.notes, *deep))
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"{name} is not a picture that can be read here: choose {_FORMATS_IN_WORDS}.") from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"{name} has far more than {MAX_PIXELS // 10**6} million pixels, the most read here: "
            "choose a smaller picture."
        ) from None
    except Exception:
        # A broken file makes Pillow raise nearly anything: OSError, SyntaxError, struct.error, KeyError, ...
        raise ImageError(
            f"{name} is broken, cut short or of a rare kind, and cannot be decoded: save it again as PNG."
        ) from None


def _check_header(image: Image.Image, raw: bytes, name: str) -> None:
    """Refuse what would cost too much to decode; no pixel is decoded yet."""
    plain = image.format in ("JPEG", "MPO") and not image.info.get("progressive")
    halved = min(image.size) >= 4 * LONGEST_SIDE  # at least, by `_picture`
    most = MAX_PHOTO if plain and halved else MAX_PIXELS
    if image.width * image.height > most:
        raise ImageError(
            f"{name} has {image.width}×{image.height} pixels, at most {most // 10**6} million are read "
            "here: choose a smaller picture."
        )
    # Inside JPEG data a byte ff is followed by 00, so that ff da marks the start of a scan.
    if image.format in ("JPEG", "MPO") and raw.count(b"\xff\xda") > _MAX_SCANS:
        raise ImageError(f"{name} is a JPEG of more than {_MAX_SCANS} scans: save it again as PNG.")


def _picture(image: Image.Image, length: int) -> Picture:
    notes = _frame_notes(image, length)
    if max(image.size) > LONGEST_SIDE:
        notes.append(f"Reduced from {image.width}×{image.height} pixels to {LONGEST_SIDE} on the longest side.")
        # A large JPEG is decoded at a fraction of its size; twice the final size is left for the filter.
        image.draft(None, (2 * LONGEST_SIDE, 2 * LONGEST_SIDE))
    image.load()
    for step in _STEPS:
        image, note = step(image)
        if note:
            notes.append(note)
    return Picture(np.array(image), tuple(notes))


def _frame_notes(image: Image.Image, length: int) -> list[str]:
    if not getattr(image, "is_animated", False):
        return []
    count = getattr(image, "n_frames", 1) if length < _MANY_FRAMES else "many"
    return [f"First frame of {count}."]


def _deep(image: Image.Image, raw: bytes) -> list[str]:
    """A note where colours of more than 8 bits are decoded to 8: PNG says it in byte 24, TIFF and PPM have a field."""
    bits = 8
    if image.format == "PNG":
        bits = raw[24]
    elif image.format == "TIFF":
        bits = max(np.ravel(image.tag_v2.get(258, 8)).tolist())  # type: ignore[attr-defined]
    elif image.format == "PPM" and (found := re.match(rb"P[36]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s+(\d+)", raw)):
        bits = 16 if int(found[1]) > 255 else 8
    colours = image.mode not in ("L", "1", "F") and not image.mode.startswith("I")  # grey has a note of its own
    return [f"Colours of {bits} bits reduced to 8."] if bits > 8 and colours else []


def _upright(image: Image.Image) -> tuple[Image.Image, str]:
    try:
        turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken EXIF data raise nearly anything, and the pixels are fine without them
        turn = None
    if turn is None:
        return image, ""
    return image.transpose(turn), "Turned upright as its EXIF orientation says."


def _eight_bits(image: Image.Image) -> tuple[Image.Image, str]:
    """Grey of 16 bits, 32 bits or floats -> 0 to 255.

    16-bit values are scaled by 255 / 65535, floats from 0 to 1 by 255; floats from 0 to 255 stay. Other
    ranges say nothing about black and white, so their own smallest and largest value become 0 and 255.
    """
    if image.mode != "F" and not image.mode.startswith("I"):
        return image, ""
    deep = image if image.mode == "F" else image.convert("I")
    low, high = cast(tuple[float, float], deep.getextrema())
    if not math.isfinite(high - low):
        raise ValueError("a pixel is not a number")
    kind = "Float" if deep.mode == "F" else "16-bit" if low >= 0 and high <= 65535 else "32-bit"
    for top in {"Float": (1, 255), "16-bit": (65535,), "32-bit": ()}[kind]:
        if low >= 0 and high <= top:
            low, high = 0, top
            break
    scale = 255 / max(high - low, 1e-30)
    offset = 0.5 - low * scale  # the conversion to 8 bits cuts the fraction off
    return deep.point(lambda value: value * scale + offset).convert("L"), f"{kind} grey rescaled to 8 bits."


def _rgb_or_rgba(image: Image.Image) -> tuple[Image.Image, str]:
    kind = _MODES_IN_WORDS.get(image.mode)
    note = f"{kind} converted to RGB." if kind else ""
    return image.convert("RGBA" if image.has_transparency_data else "RGB"), note


def _small(image: Image.Image) -> tuple[Image.Image, str]:
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return image, ""


def _on_white(image: Image.Image) -> tuple[Image.Image, str]:
    if image.mode == "RGB":
        return image, ""
    opaque = image.getchannel("A").getextrema() == (255, 255)
    white = Image.new("RGBA", image.size, "white")
    note = "" if opaque else "Transparent parts put on white."
    return Image.alpha_composite(white, image).convert("RGB"), note


# Shrinking comes before the white canvas, which then costs little memory.
_STEPS: tuple[Callable[[Image.Image], tuple[Image.Image, str]], ...] = (
    _upright,
    _eight_bits,
    _rgb_or_rgba,
    _small,
    _on_white,
)
