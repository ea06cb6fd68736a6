"""Every kind of bad or odd picture gives the right pixels or one sentence, and no warning or lost memory."""

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lipviz import images
from lipviz.images import ImageError, Picture, fit, open_picture

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encoded(pixels, kind="PNG", mode=None, **options):
    """The bytes of a picture file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def png(width, height, rows):
    """A 1-bit PNG that claims any size, with the given compressed rows."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_small_pictures_keep_their_exact_pixels(kind):
    for mode in ("RGB",) if kind == "PPM" else ("RGB", "RGBA"):
        picture = open_picture(encoded(COLOURS, kind, mode, **({"lossless": True} if kind == "WEBP" else {})))
        np.testing.assert_array_equal(picture.pixels, COLOURS)
        assert picture.notes == ()


REFUSED = {
    "empty": (b"", "empty"),
    "text": (b"hello" * 100, "not a picture"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not a picture"),
    "above 8 MB": (encoded(COLOURS) + bytes(8 * 2**20), "8.0 MB"),
    "truncated PNG": (encoded(COLOURS)[:-60], "broken"),
    "truncated header": (encoded(COLOURS)[:20], "broken|not a picture"),
    "truncated JPEG": (encoded(COLOURS.repeat(20, 0).repeat(20, 1), "JPEG")[:1500], "broken"),
    "truncated GIF": (encoded(COLOURS, "GIF", "P")[:-20], "broken"),
    "9000 x 9000": (png(9000, 9000, bytes(1126 * 9000)), "9000×9000"),
    "12000 x 12000": (png(12000, 12000, bytes(1501 * 12000)), "12000×12000|far more"),
    "30000 x 30000": (png(30000, 30000, bytes(3751 * 30000)), "far more"),
    "JPEG of many scans": (encoded(COLOURS, "JPEG")[:-2] + b"\xff\xda" * 101 + b"\xff\xd9", "scans"),
    "not a number": (encoded(np.full((3, 3), np.nan, np.float32), "TIFF"), "broken"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_in_one_sentence(kind, tmp_path):
    content, words = REFUSED[kind]
    with pytest.raises(ImageError, match=words) as caught:
        open_picture(content, "mine.png")
    message = str(caught.value)
    assert message.startswith("mine.png ") and message.endswith(".") and "\n" not in message

    path = tmp_path / "theirs.png"
    path.write_bytes(content)
    for source in (path, str(path)):
        with pytest.raises(ImageError, match=words) as caught:
            open_picture(source)
        assert "theirs.png" in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_missing_files_and_folders_are_refused_without_their_path(tmp_path):
    for path in (tmp_path / "none.png", tmp_path, tmp_path / "nul\0.png"):
        with pytest.raises(ImageError) as caught:
            open_picture(path)
        assert str(tmp_path.parent) not in str(caught.value)


def test_size_is_checked_before_reading(tmp_path, monkeypatch):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: reading it would not end
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("was read"))
    with pytest.raises(ImageError, match="MB"):
        open_picture(path)


def test_pixels_are_checked_before_decoding(monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("was decoded"))
    with pytest.raises(ImageError, match="9000×9000"):
        open_picture(REFUSED["9000 x 9000"][0])


def test_damaged_bytes_never_raise_anything_else():
    originals = [encoded(COLOURS, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP")]
    rng = np.random.default_rng(1)
    outcomes = set()
    for original in originals * 60:
        damaged = bytearray(original)
        for place in rng.integers(len(damaged), size=4):
            damaged[place] = rng.integers(256)
        try:
            outcomes.add(open_picture(bytes(damaged)).pixels.dtype)
        except ImageError:
            outcomes.add("refused")
    assert outcomes == {np.dtype(np.uint8), "refused"}


def test_large_pictures_are_reduced():
    line = open_picture(encoded(Image.new("L", (17000, 1), 7)))
    assert line.pixels.shape == (1, 512, 3) and (line.pixels == 7).all()
    assert line.notes == ("Reduced from 17000×1 pixels to 512 on the longest side.",)
    photo = open_picture(encoded(Image.new("RGB", (3000, 2000), (200, 100, 50)), "JPEG"))
    assert photo.pixels.shape == (341, 512, 3)
    assert np.abs(photo.pixels - np.array([200, 100, 50])).max() <= 2


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (5, 4), (20 * k, 0, 0)) for k in range(1, 13)]
    for kind in ("GIF", "PNG", "TIFF"):
        picture = open_picture(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert (picture.pixels == [20, 0, 0]).all()
        assert "First frame of 12." in picture.notes


def test_counting_the_frames_of_a_long_file_is_left_out():
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    content = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * 80_000 + b"\x3b"
    assert "First frame of many." in open_picture(content).notes


def on_white(alpha):
    """What a pixel of value 100 and this alpha shows on white."""
    return round(100 * alpha / 255 + 255 * (1 - alpha / 255))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_put_on_white(mode):
    alpha = np.array([[0, 128, 255]], np.uint8)
    grey = np.full_like(alpha, 100)
    channels = [grey] * (3 if mode == "RGBA" else 1) + [alpha]
    picture = open_picture(encoded(np.stack(channels, axis=-1)))
    expected = [on_white(a) for a in (0, 128, 255)]
    assert np.abs(picture.pixels[0].astype(int) - np.array(expected)[:, None]).max() <= 1
    assert picture.notes == ("Transparent parts put on white.",)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
@pytest.mark.parametrize("options", [{}, {"transparency": 1}])
def test_palette(kind, options):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture = open_picture(encoded(image, kind, **options))
    middle = [255, 255, 255] if options else [40, 50, 60]
    np.testing.assert_array_equal(picture.pixels[0], [[10, 20, 30], middle, [70, 80, 90]])
    assert picture.notes[0] == "Palette converted to RGB."
    assert ("Transparent parts put on white." in picture.notes) == bool(options)


def test_palette_with_several_alphas_gives_no_warning():
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([100] * 6)
    picture = open_picture(encoded(image, transparency=bytes([0, 128])))
    assert picture.pixels[0, 0, 0] == 255
    assert abs(int(picture.pixels[0, 1, 0]) - on_white(128)) <= 1


SIXTEEN_BITS = np.array([[0, 257, 32768, 65535]], np.uint16)
TO_EIGHT_BITS = {
    "1-bit": (np.array([[True, False]]), "PNG", [255, 0]),
    "16-bit PNG": (SIXTEEN_BITS, "PNG", [0, 1, 128, 255]),
    "16-bit TIFF": (SIXTEEN_BITS, "TIFF", [0, 1, 128, 255]),
    "16-bit, dark": (SIXTEEN_BITS[:, :2], "PNG", [0, 1]),
    "32-bit": (np.array([[-100_000, 0, 100_000]], np.int32), "TIFF", [0, 128, 255]),
    "Float from 0 to 1": (np.array([[0, 0.2, 0.5]], np.float32), "TIFF", [0, 51, 128]),
    "Float from 0 to 255": (np.array([[0, 3, 200]], np.float32), "TIFF", [0, 3, 200]),
    "Float of another range": (np.array([[-1, 0, 4]], np.float32), "TIFF", [0, 51, 255]),
    "Float, constant": (np.array([[-7, -7]], np.float32), "TIFF", [0, 0]),
}


@pytest.mark.parametrize("kind", TO_EIGHT_BITS)
def test_other_depths_are_rescaled(kind):
    values, container, expected = TO_EIGHT_BITS[kind]
    picture = open_picture(encoded(values, container))
    np.testing.assert_array_equal(picture.pixels[0], np.array(expected)[:, None].repeat(3, axis=1))
    assert len(picture.notes) == 1 and picture.notes[0].startswith(re.split("[ ,]", kind)[0])


def deep_png(bits):
    """2 x 1 colours, by hand: the library writes 8 bits only."""
    row = b"\0" + (b"\x12\x34" * 6 if bits == 16 else b"\x12" * 6)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 2, 1, bits, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "PPM"])
def test_colours_of_16_bits_are_noted(kind):
    """Cutting them to 8 moves the picture before the network sees it."""
    deep = deep_png(16) if kind == "PNG" else b"P6\n# by hand\n2 1\n65535\n" + b"\x12\x34" * 6
    flat = deep_png(8) if kind == "PNG" else b"P6\n2 1\n255\n" + b"\x12" * 6
    assert open_picture(deep).notes == ("Colours of 16 bits reduced to 8.",)
    assert open_picture(flat).notes == ()
    assert np.array_equal(open_picture(deep).pixels, open_picture(flat).pixels)


def test_cmyk_jpeg():
    picture = open_picture(encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG"))
    assert np.abs(picture.pixels.astype(int) - [0, 255, 255]).max() <= 2
    assert picture.notes == ("CMYK converted to RGB.",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation(orientation, kind):
    # How the EXIF standard stores an upright picture: which stored array must be turned back to COLOURS.
    stored = {
        1: COLOURS,
        2: COLOURS[:, ::-1],
        3: COLOURS[::-1, ::-1],
        4: COLOURS[::-1],
        5: COLOURS.swapaxes(0, 1),
        6: np.rot90(COLOURS, 1),
        7: COLOURS[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(COLOURS, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    picture = open_picture(encoded(np.ascontiguousarray(stored), kind, exif=exif))
    np.testing.assert_array_equal(picture.pixels, COLOURS)
    if kind == "PNG":  # Pillow turns a TIFF by itself
        assert bool(picture.notes) == (orientation != 1)


def test_rotated_jpeg():
    exif = Image.Exif()
    exif[274] = 6
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :16] = 255  # the left half becomes the upper half
    picture = open_picture(encoded(stored, "JPEG", exif=exif))
    assert picture.pixels.shape == (32, 16, 3)
    assert picture.pixels[:16].min() > 250 and picture.pixels[16:].max() < 5
    assert picture.notes == ("Turned upright as its EXIF orientation says.",)


def test_broken_exif_does_not_cost_the_picture():
    for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x01"):
        np.testing.assert_array_equal(open_picture(encoded(COLOURS, exif=exif)).pixels, COLOURS)


def resident_megabytes():
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs /proc/self/status to read the memory in use")
    return int(status.read_text().split("VmRSS:")[1].split()[0]) / 1024


def test_memory_comes_back_after_refused_bombs():
    bombs = [REFUSED[kind][0] for kind in ("9000 x 9000", "12000 x 12000", "30000 x 30000")]
    allowed = png(4000, 4000, bytes(501 * 4000))
    open_picture(allowed)
    before = resident_megabytes()
    for bomb in bombs * 7:
        with pytest.raises(ImageError):
            open_picture(bomb)
    open_picture(allowed)
    assert resident_megabytes() - before < 20


def test_fit_is_the_identity_at_the_right_size():
    pixels, notes = fit(Picture(COLOURS), (3, 6, 9))
    np.testing.assert_array_equal(pixels, COLOURS.transpose(2, 0, 1))
    assert notes == ()
    grey = COLOURS[..., :1].repeat(3, axis=2)
    pixels, notes = fit(Picture(grey), (1, 6, 9))
    np.testing.assert_array_equal(pixels, grey[None, ..., 0])
    assert notes == ()


def test_fit_cuts_the_centre():
    pixels, notes = fit(Picture(COLOURS), (3, 6, 6))
    np.testing.assert_array_equal(pixels, COLOURS[:, 1:7].transpose(2, 0, 1))
    assert notes == ("Cut to the centred 6×6 of 9×6 pixels.",)
    assert fit(Picture(COLOURS), (3, 12, 6))[1][0] == "Cut to the centred 3×6 of 9×6 pixels."


def test_fit_turns_to_grey_by_itu_r_601():
    pixels, notes = fit(Picture(COLOURS), (1, 6, 9))
    assert np.abs(pixels[0] - COLOURS @ np.array([0.299, 0.587, 0.114])).max() <= 0.51
    assert notes == ("Colours turned to grey (ITU-R 601).",)


def test_fit_does_not_alias():
    stripes = np.zeros((60, 60, 3), np.uint8)
    stripes[:, ::2] = 200  # period 2: shrinking by picking pixels gives all black or all white
    pixels, notes = fit(Picture(stripes), (3, 7, 7))
    assert np.abs(pixels.astype(int) - 100).max() < 25
    assert notes == ("Resized from 60×60 to 7×7 pixels (Lanczos filter).",)


def test_fit_takes_any_picture_to_any_shape():
    for size in ((1, 1), (1, 500), (500, 1), (3, 7)):
        picture = Picture(np.full((*size, 3), 9, np.uint8))
        for shape in ((3, 32, 32), (1, 28, 28), (1, 5, 40), (3, 1, 1)):
            pixels, _ = fit(picture, shape)
            assert pixels.shape == shape and pixels.dtype == np.uint8 and (pixels == 9).all()
    for shape in ((2, 8, 8), (3, 0, 8)):
        with pytest.raises(ValueError, match="shape must be"):
            fit(picture, shape)


@pytest.mark.parametrize(
    ("size", "options", "read"),
    [((8000, 6000), {}, True), ((9000, 8000), {}, False), ((8000, 6000), {"progressive": True}, False),
     ((40_000, 1200), {}, False)],
    ids=["a phone's", "too large", "progressive", "long and thin: decoded in full"],
)  # fmt: skip
def test_photos_of_phones_are_read(size, options, read, monkeypatch):
    photo, decoded = encoded(Image.new("L", size, 128), "JPEG", **options), []
    monkeypatch.setattr(images, "_STEPS", (lambda image: decoded.append(image.size) or (image, ""), *images._STEPS))
    if not read:
        with pytest.raises(ImageError, match=f"{size[0]}×{size[1]} pixels, at most (16|64) million"):
            open_picture(photo)
        return
    picture = open_picture(photo)
    assert picture.pixels.shape == (384, 512, 3) and (picture.pixels == 128).all()
    assert decoded[0][0] * decoded[0][1] <= images.MAX_PIXELS / 4
