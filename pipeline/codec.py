"""Untrusted bytes → RGB uint8, safely; and back."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipeline.tiff import tile_pixels

Pixels = NDArray[np.uint8]

# Formats that are drawn by a decoder alone. EPS and the like start programs; the rest are rare or no pictures.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")

# EXIF's tag, and what undoes each of its values.
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Each scan of a JPEG goes through all of its pixels. Real ones have a dozen at most, and 75 bytes are enough for one.
MOST_SCANS = 100
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # of a segment: it has a length, and perhaps a content

# Pillow looks at a header segment by segment, in Python, and keeps what it finds. A PNG of 50 MB in parts of 8 KB takes
# 25,000 reads; a file that is nothing but empty segments would take millions, many seconds, and 30 times its size.
MOST_READS = 200_000

# But a BMP that is packed has its pixels read byte by byte, two for each run: 1.5 million runs in a second.
MOST_BMP_READS = 3_000_000

# A TIFF's tile is decoded whole, however little of it the picture takes; ordinary ones are up to this large.
LARGEST_TILE = 1024 * 1024  # pixels

# By what Pillow multiplies the grey of a PNG of 2 or 4 bits; not that which its tRNS block says is to be clear.
GREY_STEPS = {"L;2": 85, "L;4": 17}

# The size is checked against max_pixels; Pillow's own guard depends on a global, which is set while a header is read.
Image.MAX_IMAGE_PIXELS = None
_OPENING = Lock()


class DecodeError(Exception):
    """The bytes are no picture that can be used; the message is a short countable reason."""


class _BoundedReader(io.BytesIO):
    """Bytes that Pillow may read from so often, and no more: then it raises DecodeError."""

    reads, most = 0, MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, as io.BytesIO does."""
        self.reads += 1
        if self.reads > self.most:
            raise DecodeError("too many parts")
        return super().read(size)


def decode(data: bytes, max_pixels: int) -> Pixels:
    """Return a picture as its author would see it: RGB uint8 (H, W, 3), upright, on white, first frame.

    Right for CMYK, alpha, palette, 16 bits a channel, grey, EXIF-rotated and animated files. Raises DecodeError for
    anything else: no picture, damaged, truncated, or more than max_pixels pixels.
    """
    image, _ = decode_with_format(data, max_pixels)
    return np.array(image, dtype=np.uint8)


def decode_with_format(data: bytes, max_pixels: int) -> tuple[Image.Image, str]:
    """Return decode(data, max_pixels) while Pillow still has it, and the name of the file's format, as Pillow calls it.

    Whoever asks whether a file can be read, and how large it is, needs no copy of its pixels.
    """
    with opened(data, max_pixels) as image:
        if _has_too_many_scans(data):
            raise DecodeError("too many scans")
        return _to_rgb(image), str(image.format)


@contextmanager
def opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Yield a picture of which no more than the header is read. Raises DecodeError, within the block too."""
    if not data:
        raise DecodeError("empty file")
    # Pillow warns of harmless oddities (a broken EXIF block, palette transparency); they are no news to the user.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader = _BoundedReader(data)
        try:
            with _open(reader, max_pixels) as image:
                if image.width * image.height > max_pixels:
                    raise DecodeError("too many pixels")
                if image.format == "TIFF" and tile_pixels(data) > max(max_pixels, LARGEST_TILE):
                    raise DecodeError("too many pixels")
                reader.most = MOST_BMP_READS if image.format == "BMP" else MOST_READS
                yield image
        except DecodeError:
            raise
        except Image.DecompressionBombError:
            raise DecodeError("too many pixels") from None
        except UnidentifiedImageError:
            raise DecodeError("not an image") from None
        except MemoryError:
            raise DecodeError("too little memory") from None
        except Exception as error:  # a decoder on hostile bytes may raise anything
            raise DecodeError(_reason(error)) from None


def _open(reader: _BoundedReader, max_pixels: int) -> Image.Image:
    """Return Image.open(); Pillow itself refuses what is over max_pixels + 1.

    Whoever asks the opened picture how large it is comes too late: for a GIF's first frame, which may be larger than
    the GIF, room may be made while the header is read. Pillow's limit is a global, of which it allows twice as much.
    """
    with _OPENING:
        Image.MAX_IMAGE_PIXELS = (max_pixels + 1) // 2
        try:
            return Image.open(reader, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = None


def _has_too_many_scans(data: bytes) -> bool:
    """Walk a JPEG's segments to its end: what lies behind that, or within one of them, is none of its scans."""
    if not data.startswith(b"\xff\xd8") or data.count(b"\xff\xda") <= MOST_SCANS:
        return False
    scans, segments, at = 0, 0, 2
    while scans <= MOST_SCANS and (found := _MARKER.search(data, at)) and found[0] != b"\xff\xd9":
        segments += 1
        if segments > MOST_READS:
            raise DecodeError("too many parts")
        scans += found[0] == b"\xff\xda"
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return scans > MOST_SCANS


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.format == "PNG":
        _scale_clear(image)
    image.load()
    image = _upright(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        # 16 bits of grey: Pillow's own conversion to 8 clips instead of scaling.
        deep = np.asarray(image).astype(np.float32)
        deep /= 257  # in place, as the rest: a copy of 50 million pixels takes 200 MB
        grey = np.clip(np.rint(deep, out=deep), 0, 255, out=deep).astype(np.uint8)
        if isinstance(clear := image.info.get("transparency"), int):
            grey[np.asarray(image) == clear] = 255  # on white, as below
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        # The same as Pillow's own palette and tRNS expansion, laid on the white that a browser page would show.
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return image if image.mode == "RGB" else image.convert("RGB")


def _scale_clear(image: Image.Image) -> None:
    """Bring what a PNG's tRNS block says is clear to 8 bits, as Pillow does with the pixels alone."""
    depth, clear = image.tile[0].args, image.info.get("transparency")  # type: ignore[attr-defined]
    if depth in GREY_STEPS and isinstance(clear, int):
        image.info["transparency"] = clear * GREY_STEPS[depth]
    elif depth == "RGB;16B" and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _upright(image: Image.Image) -> Image.Image:
    """Return a picture as its EXIF says it is to be seen; where that is broken, as it is.

    Pillow's own exif_transpose() refuses what it can't read, and writes the whole EXIF anew, which one tag of an odd
    type makes impossible.
    """
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # metadata may be anything, and make its reader raise anything
        return image
    return image if turn is None else image.transpose(turn)


def _reason(error: Exception) -> str:
    text = str(error).lower()
    return "truncated" if "truncated" in text or "unexpected end" in text else "damaged"


def decode_trusted(data: bytes) -> Pixels:
    """Return decode() of bytes that crawl-import has already found readable, three times as fast for a plain JPEG.

    OpenCV and Pillow share libjpeg-turbo, but OpenCV ignores CMYK inversion and some EXIF rotations: only a
    three-component JPEG without an EXIF or Adobe block takes the short way.
    """
    if _is_plain_jpeg(data):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        if pixels is not None:
            return pixels.astype(np.uint8, copy=False)
    return decode(data, max_pixels=2**31)


def _is_plain_jpeg(data: bytes) -> bool:
    """Walk a JPEG's segments to its frame header: no APP1 (EXIF) or APP14 (Adobe) before it, three components."""
    if data[:2] != b"\xff\xd8":
        return False
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (0xE1, 0xEE):
            return False
        if 0xC0 <= marker <= 0xC2:
            return data[at + 9] == 3
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def encode_png(pixels: Pixels) -> bytes:
    """Return RGB uint8 (H, W, 3) as PNG bytes; lossless, fast rather than small (zlib level 1)."""
    return _encode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Return RGB uint8 (H, W, 3) as JPEG bytes; quality 0 to 100."""
    return _encode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(suffix: str, pixels: Pixels, options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"OpenCV could not encode an image of shape {pixels.shape}")
    return data.tobytes()
