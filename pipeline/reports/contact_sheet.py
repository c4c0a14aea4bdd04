"""Contact sheets for HTML pages: which pictures to show of many, and small self-contained copies of them."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.codec import Pixels, decode_trusted, encode_jpeg
from pipeline.records import open_shard, shard_paths

Rows = NDArray[np.int64]

# The longest side of a picture on a page, in pixels, and its JPEG quality: some 5 kB each.
SIDE, QUALITY = 96, 90


def choose(
    rows: Rows, distance: NDArray[np.float64], nearest: int, others: int, borderline: float = 0.0
) -> list[tuple[int, bool]]:
    """Return up to nearest + others of the rows from the furthest to the nearest, True if within borderline.

    distance: float64 (N,) from the threshold; NaN where there is none, which counts as the furthest. The others are
    taken evenly from what is not among the nearest, so that all degrees are seen.
    """
    order = np.argsort(distance, kind="stable")
    near, rest = order[:nearest], order[nearest:]
    sample = rest[np.linspace(0, len(rest) - 1, min(others, len(rest))).astype(np.intp)]
    shown = np.concatenate([near, sample])[::-1]
    return list(zip(rows[shown].tolist(), (distance[shown] <= borderline).tolist(), strict=True))


def read_pictures(folder: Path, rows: Iterable[int]) -> dict[int, Pixels]:
    """Return small copies of the images of those rows of a folder of shards: RGB uint8, at most 96 pixels a side.

    Only the row groups that hold one of the rows are read.
    """
    wanted = np.array(sorted(set(rows)), np.int64)
    pictures: dict[int, Pixels] = {}
    for shard in shard_paths(folder):
        with open_shard(shard) as file:
            for group in range(file.num_row_groups):
                numbers = file.read_row_group(group, columns=["row"])["row"].to_numpy()
                (places,) = np.nonzero(np.isin(numbers, wanted))
                if len(places):
                    images = file.read_row_group(group, columns=["image"])["image"].take(places).to_pylist()
                    for row, image in zip(numbers[places].tolist(), images, strict=True):
                        pictures[row] = shrink(decode_trusted(image["bytes"]))
    return pictures


def shrink(pixels: Pixels) -> Pixels:
    """Return RGB uint8 (H, W, 3) with its longest side reduced to 96 pixels, if it is longer."""
    height, width = pixels.shape[:2]
    scale = min(SIDE / max(height, width), 1.0)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def data_uri(pixels: Pixels) -> str:
    """Return RGB uint8 (H, W, 3) as the data URI of a JPEG."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(pixels, QUALITY)).decode("ascii")
