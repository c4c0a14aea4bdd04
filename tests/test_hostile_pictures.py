"""Pictures that are made to do harm: each is a reason or a picture, in bounded time and memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from pipeline.codec import MOST_SCANS, DecodeError, decode
from tests.memory import measured

SIDE = 2000
MOST_PIXELS = SIDE * SIDE
MOST_SECONDS, BYTES_A_PIXEL = 5, 30
GOOD = zlib.compress(b"".join(b"\0" + bytes(48) for _ in range(16)))
BOMB = zlib.compress(bytes(10**8), 9)
IMPORTS = """
import time
from pathlib import Path
from pipeline.codec import DecodeError, decode, decode_trusted
"""
READ_ALL = """
for path in sorted(Path(sys.argv[1]).iterdir()):
    data, started = path.read_bytes(), time.monotonic()
    try:
        came = decode(data, int(sys.argv[2])).shape
        assert decode_trusted(data).shape == came
    except DecodeError as fault:
        came = str(fault)
    print(json.dumps([path.name, came, time.monotonic() - started]))
"""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes = GOOD, extra: bytes = b"", bits: int = 8, colours: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", tag, kind, count, value)


def tiff(*entries: bytes) -> bytes:
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


def with_segment(jpeg: bytes, marker: int, data: bytes) -> bytes:
    return jpeg[:2] + b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data + jpeg[2:]


def cleared(gif: bytes, extent: bytes) -> bytes:
    """Return a GIF whose frame has that place and size, and is to be cleared, for which Pillow makes as much room."""
    at = gif.index(b"\0,") + 1
    return gif[:at] + b"!\xf9\4\10\0\0\0\0," + extent + gif[at + 9 :]


def packed_bmp(width: int, height: int, before: bytes = b"") -> bytes:
    """Return a BMP of 256 colours whose every pixel is a run of its own (RLE8), behind other packed bytes."""
    runs = before + (b"\1\7" * width + b"\0\0") * height + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    start = 14 + len(head) + 1024
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + head + b"\1\2\3\0" * 256 + runs


def with_scans(jpeg: bytes, count: int) -> bytes:
    """Return a progressive JPEG whose last scan comes so many times more."""
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + last * count + jpeg[-2:]


def one_tile(side: int, kind: int = 4, *more: tuple[int, int, int, int]) -> bytes:
    """Return a TIFF of 16×16 pixels, cut from one tile of so many a side."""
    tile = zlib.compress(bytes(3 * side * side))
    tags = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 2), (277, 3, 1, 3)]
    tags += [(322, kind, 1, side), *more, (323, kind, 1, side), (324, 4, 1, 0), (325, 4, 1, len(tile))]
    start = len(tiff(*(entry(*tag) for tag in tags)))
    tags[-2] = (324, 4, 1, start)
    return tiff(*(entry(*tag) for tag in tags)) + tile


@pytest.fixture(scope="module")
def cases(save: Callable[..., bytes]) -> dict[str, tuple[bytes, str | None]]:
    """Bytes, and the reason for which they are refused, None where they are a picture, by what is wrong with them."""
    small = Image.new("RGB", (16, 16), "red")
    large = {mode: Image.new(mode, (SIDE, SIDE)) for mode in ("RGB", "RGBA", "CMYK", "F", "P")}
    large["I;16"] = Image.fromarray(np.zeros((SIDE, SIDE), np.uint16))
    jpeg, gif, bmp = (save(small, kind) for kind in ("JPEG", "GIF", "BMP"))
    frame = jpeg.index(b"\xff\xc0") + 5
    progressive = save(large["RGB"], "JPEG", progressive=True)
    exif = b"Exif\0\0" + tiff(entry(0x8769, 4, 1, 8), entry(0x8825, 4, 1, 8), entry(0x0112, 3, 1, 6))
    exif = exif[:-4] + struct.pack("<I", 8)  # the next directory is the first
    cyclic = save(small, "TIFF")
    at = struct.unpack("<I", cyclic[4:8])[0]
    end = at + 2 + 12 * struct.unpack("<H", cyclic[at : at + 2])[0]
    sides = [entry(256, 4, 1, 16), entry(257, 4, 1, 16)]
    icc = b"ICC_PROFILE\0\1\xff" + b"x" * 60_000
    return {
        "PNG whose pixels go on": (png(16, 16, BOMB), None),
        "PNG, bomb in zTXt": (png(16, 16, extra=chunk(b"zTXt", b"k\0\0" + BOMB)), "damaged"),
        "PNG, bomb in iTXt": (png(16, 16, extra=chunk(b"iTXt", b"k\0\1\0\0\0" + BOMB)), "damaged"),
        "PNG, bomb in iCCP": (png(16, 16, extra=chunk(b"iCCP", b"k\0\0" + BOMB)), "damaged"),
        "PNG, 5,000 texts": (png(16, 16, extra=chunk(b"tEXt", b"k\0" + b"x" * 1000) * 5000), None),
        "PNG, 65,535 a side": (png(65_535, 65_535), "too many pixels"),
        "PNG, 2^31 - 1 a side": (png(2**31 - 1, 2**31 - 1), "too many pixels"),
        "PNG, 2^31 - 1 by 1": (png(2**31 - 1, 1), "too many pixels"),
        "PNG, no sides": (png(0, 0), "not an image"),
        "PNG, RGBA": (save(large["RGBA"], "PNG"), None),
        "PNG, 16 bits": (save(large["I;16"], "PNG"), None),
        "PNG, transparent palette": (save(large["P"], "PNG", transparency=0), None),
        "WebP bomb": (save(large["RGB"], "WEBP"), None),
        "AVIF bomb": (save(large["RGB"], "AVIF", speed=10), None),
        "TIFF bomb, LZW": (save(large["RGB"], "TIFF", compression="tiff_lzw"), None),
        "TIFF bomb, deflate": (save(large["RGB"], "TIFF", compression="tiff_deflate"), None),
        "TIFF of floats": (save(large["F"], "TIFF", compression="tiff_deflate"), None),
        "TIFF, cyclic directories": (patched(cyclic, end, cyclic[4:8]), None),
        "TIFF, a tile of 4 megapixels": (one_tile(SIDE), None),
        "TIFF, a tile of 400 megapixels": (one_tile(10 * SIDE), "too many pixels"),
        "TIFF, a tile whose side is of a type that Pillow does not know": (one_tile(SIDE, 9), "damaged"),
        "TIFF, a tile of two widths": (one_tile(SIDE, 4, (322, 4, 1, 16)), "damaged"),
        "TIFF, 2^28 strips": (tiff(*sides, entry(273, 4, 2**28, 8), entry(279, 4, 2**28, 8)), "not an image"),
        "TIFF, 65,000 tags": (tiff(*sides, *(entry(30_000 + tag, 12, 2, 8) for tag in range(35_000))), "damaged"),
        "TIFF, 1,000 tags of the same 500 KB": (
            tiff(*sides, *(entry(30_000 + tag, 7, 500_000, 8) for tag in range(1_000))) + bytes(500_000), "not an image"
        ),
        "GIF, screen of 65,535 a side": (patched(gif, 6, b"\xff" * 4), "too many pixels"),
        "GIF, 65,535 a side to be cleared": (cleared(gif, b"\0\0\0\0" + b"\xff" * 4), "too many pixels"),
        "GIF, the largest screen": (patched(gif, 6, struct.pack("<HH", SIDE, SIDE)), None),
        "BMP, 2^31 - 1 a side": (patched(bmp, 18, struct.pack("<ii", 2**31 - 1, 2**31 - 1)), "too many pixels"),
        "BMP, packed, 250,000 runs": (packed_bmp(500, 500), None),
        "BMP, packed, 4,000,000 runs of nothing": (packed_bmp(500, 500, b"\0\2\0\0" * 4_000_000), "too many parts"),
        "BMP, negative sides": (patched(bmp, 18, struct.pack("<ii", -7, -(2**31))), "too many pixels"),
        "JPEG, 65,535 a side": (patched(jpeg, frame, b"\xff" * 4), "too many pixels"),
        "JPEG, CMYK": (save(large["CMYK"], "JPEG"), None),
        "JPEG, 50,000 scans": (with_scans(progressive, 50_000), "too many scans"),
        "JPEG, 5,000,000 empty segments": (b"\xff\xd8" + b"\xff\xe5\0\2" * 5_000_000, "too many parts"),
        "JPEG, 10,000,000 empty segments behind it": (
            jpeg[:-2] + b"\xff\xe5\0\0" * 10_000_000 + b"\xff\xda" * 101, "too many parts"
        ),
        "JPEG, 20 MB between two segments": (b"\xff\xd8" + b"\xff" * 20_000_000, "too many parts"),
        "PNG, 1,000,000 empty chunks": (png(16, 16, extra=chunk(b"prVt", b"") * 1_000_000), "too many parts"),
        "GIF, 4,000,000 comments": (gif[:13] + b"!\xfe\1a\0" * 4_000_000, "too many parts"),
        "JPEG, EXIF that leads back to itself": (with_segment(jpeg, 0xE1, exif), None),
        "JPEG, EXIF of 2^32 values": (
            with_segment(jpeg, 0xE1, b"Exif\0\0" + tiff(entry(0x0112, 3, 2**32 - 1, 8))), None
        ),
        "PNG, EXIF of 1,000 tags of the same 500 KB": (
            png(16, 16, extra=chunk(b"eXIf", tiff(*(entry(1_000 + tag, 7, 500_000, 8) for tag in range(1_000)))
            + bytes(500_000))), None
        ),
        "JPEG, a direction in words": (
            with_segment(jpeg, 0xE1, b"Exif\0\0" + tiff(entry(0x0112, 2, 4, 0x41414141))), None
        ),
        "JPEG, 100 profiles": (jpeg[:2] + with_segment(jpeg, 0xE2, icc)[2:-len(jpeg) + 2] * 100 + jpeg[2:], None),
    }  # fmt: skip


@pytest.fixture(scope="module")
def came(cases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    """What a process of its own made of each: a reason or a shape, and the seconds; and by "peak" its bytes at most."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (data, _) in cases.items():
        (folder / name).write_bytes(data)
    told, peak = measured(IMPORTS, READ_ALL, folder, MOST_PIXELS)
    return {name: (what, seconds) for name, what, seconds in told} | {"peak": peak}


def test_each_is_a_reason_or_a_picture(cases, came) -> None:
    reasons = {name: came[name][0] if isinstance(came[name][0], str) else None for name in cases}
    assert reasons == {name: reason for name, (_, reason) in cases.items()}


def test_none_takes_long(cases, came) -> None:
    assert {name: came[name][1] for name in cases if came[name][1] > MOST_SECONDS} == {}


def test_memory_goes_by_the_pixels_that_are_allowed(came) -> None:
    assert came["peak"] < BYTES_A_PIXEL * MOST_PIXELS


def test_only_the_scans_of_the_picture_itself_count(save) -> None:
    """Behind a phone's JPEG there may lie a film, and within its segments a preview: both look like scans."""
    plain = save(Image.new("RGB", (32, 32), "red"), "JPEG", progressive=True)
    films = b"\xff\xda\0\2" * 2 * MOST_SCANS
    for data in (plain + films, with_segment(plain, 0xED, films), with_scans(plain, 80)):
        assert decode(data, 10**6).shape == (32, 32, 3)
    with pytest.raises(DecodeError, match="too many scans"):
        decode(with_scans(plain, MOST_SCANS), 10**6)
