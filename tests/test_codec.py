import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.codec import DecodeError, decode, decode_trusted, decode_with_format, encode_jpeg, encode_png
from tests.test_hostile_pictures import chunk, png

BIG = 10**6


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", pytest.param("WEBP", id="WEBP lossless")])
def test_lossless_formats_are_exact(picture, save, kind: str) -> None:
    data = save(picture, kind, **({"lossless": True} if kind == "WEBP" else {}))
    pixels, name = decode_with_format(data, BIG)
    assert name == kind
    np.testing.assert_array_equal(pixels, picture)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_are_close(picture, save, kind: str) -> None:
    assert psnr(decode(save(picture, kind, quality=95), BIG), picture) > 35


def test_alpha_is_laid_on_white(picture, save) -> None:
    alpha = np.zeros(picture.shape[:2], np.uint8)
    alpha[:, :20] = 255
    pixels = decode(save(np.dstack([picture, alpha]), "PNG"), BIG)
    np.testing.assert_array_equal(pixels[:, :20], picture[:, :20])
    assert (pixels[:, 20:] == 255).all()


def test_grey_with_alpha(save) -> None:
    grey_alpha = np.zeros((8, 8, 2), np.uint8)
    grey_alpha[:, :4, 1] = 255
    pixels = decode(save(Image.fromarray(grey_alpha, "LA"), "PNG"), BIG)
    assert (pixels[:, :4] == 0).all()
    assert (pixels[:, 4:] == 255).all()


def test_palette_and_its_transparency(save) -> None:
    image = Image.fromarray(np.repeat(np.array([[0, 1, 2]], np.uint8), 8, axis=0), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    pixels = decode(save(image, "PNG", transparency=1), BIG)
    np.testing.assert_array_equal(pixels[0], [[255, 0, 0], [255, 255, 255], [0, 0, 255]])


@pytest.mark.parametrize("value", [0, 1, 127, 200, 255])
def test_sixteen_bits_of_grey_are_scaled_not_clipped(save, value: int) -> None:
    data = save(Image.fromarray(np.full((8, 8), value * 257, np.uint16)), "PNG")
    assert (decode(data, BIG) == value).all()


def test_a_transparent_level_of_sixteen_bits_is_laid_on_white(save) -> None:
    deep = np.full((8, 8), 5000, np.uint16)
    deep[:4] = 300
    data = save(Image.fromarray(deep), "PNG", transparency=300)
    assert decode(data, 100)[:, 0, 0].tolist() == [255] * 4 + [19] * 4


@pytest.mark.parametrize(
    ("bits", "colours", "row", "clear", "shown"),
    [
        pytest.param(1, 0, b"\x50", b"\0\1", [0, 255, 0, 255], id="1 bit"),
        pytest.param(2, 0, b"\x1b", b"\0\1", [0, 255, 170, 255], id="2 bits"),
        pytest.param(4, 0, b"\x05\xa7", b"\0\5", [0, 255, 170, 119], id="4 bits"),
        pytest.param(8, 0, b"\0\5\xa0\x70", b"\0\5", [0, 255, 160, 112], id="8 bits"),
        pytest.param(
            16, 2, struct.pack(">12H", 0, 9, 9, 300, 300, 300, 600, 9, 9, 900, 9, 9), struct.pack(">3H", 300, 300, 300),
            [0, 255, 2, 3], id="16 bits of each colour",
        ),
    ],
)  # fmt: skip
def test_the_transparent_level_of_any_depth_is_laid_on_white(
    bits: int, colours: int, row: bytes, clear: bytes, shown: list[int]
) -> None:
    data = png(4, 1, zlib.compress(b"\0" + row), chunk(b"tRNS", clear), bits, colours)
    assert decode(data, BIG)[0, :, 0].tolist() == shown


def test_a_picture_that_there_is_no_memory_for_is_no_damaged_one() -> None:
    code = (
        "import resource, sys; from pipeline.codec import DecodeError, decode;"
        "limit = 100_000_000 + int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize();"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit));"
        "decode(sys.stdin.buffer.read(), 10**9)"
    )
    large = png(8000, 8000, zlib.compress(bytes(8000 * 24_001)))
    found = subprocess.run([sys.executable, "-c", code], input=large, capture_output=True, check=False)
    assert b"DecodeError: too little memory" in found.stderr


def test_grey(save) -> None:
    pixels = decode(save(np.full((8, 8), 77, np.uint8), "PNG"), BIG)
    assert pixels.shape == (8, 8, 3)
    assert (pixels == 77).all()


def test_cmyk(save) -> None:
    """Full magenta and yellow on paper is red."""
    cmyk = Image.merge("CMYK", [Image.new("L", (16, 16), value) for value in (0, 255, 255, 0)])
    pixels = decode_trusted(save(cmyk, "JPEG", quality=95))
    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() <= 4


@pytest.mark.parametrize(("orientation", "quarter_turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_rotation_is_undone(picture, save, orientation: int, quarter_turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = save(picture, "JPEG", quality=95, exif=exif)
    assert psnr(decode_trusted(data), np.rot90(picture, quarter_turns)) > 35


@pytest.mark.parametrize("orientation", range(9))
def test_every_orientation_is_what_pillow_makes_of_it(picture, save, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = save(picture, "PNG", exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode_trusted(data), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_a_broken_exif_block_is_no_damage_of_the_picture(picture, save, format_: str) -> None:
    data = save(picture, format_, exif=b"Exif\0\0no TIFF file", **({} if format_ == "JPEG" else {"lossless": True}))
    assert np.abs(decode(data, BIG).astype(int) - picture).mean() < 3


@pytest.mark.parametrize("tag", [0x0128, 0x0100, 0x0131])  # ResolutionUnit, ImageWidth, Software
@pytest.mark.parametrize("kind", [1, 5])  # BYTE, RATIONAL
def test_a_tag_of_an_odd_type_keeps_no_picture_from_being_turned(picture, save, tag: int, kind: int) -> None:
    """Pillow reads it, and can't write it again."""
    value = {1: struct.pack("<4B", 1, 0, 0, 0), 5: struct.pack("<I", 8)}[kind]
    entries = struct.pack("<HHI4s", tag, kind, 1, value) + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    data = save(picture, "JPEG", quality=95, exif=exif)
    assert psnr(decode(data, BIG), np.rot90(picture, 3)) > 35


def test_animation_gives_its_first_frame(save) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    pixels = decode(save(frames[0], "GIF", save_all=True, append_images=frames[1:]), BIG)
    assert (pixels == [255, 0, 0]).all()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "empty file", id="empty"),
        pytest.param(b"<html><body>404</body></html>", "not an image", id="html"),
        pytest.param(bytes(range(256)) * 8, "not an image", id="garbage"),
        pytest.param(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image", id="a program for Ghostscript"
        ),
    ],
)
def test_no_picture_has_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=f"^{reason}$"):
        decode(data, BIG)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_file_is_refused(picture, save, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = save(noise, "JPEG")
    with pytest.raises(DecodeError, match="truncated"):
        decode(data[: int(len(data) * share)], BIG)


def test_size_is_refused_before_the_pixels_are_decoded(save) -> None:
    """The pixels are missing, so that a decoder which began with them would say `truncated`."""
    data = save(Image.new("L", (3000, 3000)), "PNG")
    with pytest.raises(DecodeError, match=r"^too many pixels$"):
        decode(data[:100], 3000 * 3000 - 1)
    with pytest.raises(DecodeError, match=r"^truncated$"):
        decode(data[:100], 3000 * 3000)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_the_short_way_gives_the_same_pixels(save, subsampling: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    data = save(noise, "JPEG", quality=80, subsampling=subsampling)
    difference = np.abs(decode_trusted(data).astype(int) - decode(data, BIG).astype(int))
    assert difference.max() <= 2


def test_png_round_trip(picture) -> None:
    np.testing.assert_array_equal(decode(encode_png(picture), BIG), picture)


def test_jpeg_quality_is_kept(picture) -> None:
    assert len(encode_jpeg(picture, 30)) < len(encode_jpeg(picture, 95))
    with Image.open(io.BytesIO(encode_jpeg(picture, 95))) as image:
        assert image.format == "JPEG"
