"""What a TIFF's directory says, read from the file's own bytes."""

from __future__ import annotations

import struct

TILE_WIDTH, TILE_LENGTH = 322, 323  # tags
NUMBERS = {3: "H", 4: "I"}  # the types SHORT and LONG, which a side is written in


def tile_pixels(data: bytes) -> int:
    """Return the pixels in a tile of a TIFF's first picture, 0 where it has none; ValueError where that is not plain.

    By the bytes of its directory, as libtiff reads it: Pillow passes over types of numbers that it does not know, and
    takes the last of two entries where libtiff takes the first.
    """
    order, is_big = ("<" if data[:1] == b"I" else ">"), b"+" in data[2:4]
    at = struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)[0]
    count = struct.unpack_from(order + ("Q" if is_big else "H"), data, at)[0]
    first, step, value = (at + 8, 20, 12) if is_big else (at + 2, 12, 8)
    sides: dict[int, int] = {}
    for entry in range(first, min(first + step * count, len(data) - step + 1), step):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag in (TILE_WIDTH, TILE_LENGTH):
            if tag in sides or kind not in NUMBERS:
                raise ValueError("a tile's side is there twice, or is no whole number")
            sides[tag] = struct.unpack_from(order + NUMBERS[kind], data, entry + value)[0]
    return sides.get(TILE_WIDTH, 0) * sides.get(TILE_LENGTH, 0)
