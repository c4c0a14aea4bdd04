from __future__ import annotations

import base64

import numpy as np
import pytest

from pipeline.codec import decode, encode_png
from pipeline.records import CLEAN_SCHEMA, write_shard
from pipeline.reports.contact_sheet import choose, data_uri, read_pictures, shrink


@pytest.mark.parametrize(
    ("distance", "nearest", "others", "expected"),
    [
        pytest.param([3.0, 1.0, 2.0], 1, 5, [(10, False), (12, True), (11, True)], id="fewer than asked"),
        pytest.param([1.0, 2, 3, 4, 5, 6, 7], 1, 2, [(16, False), (11, True), (10, True)], id="evenly from the rest"),
        pytest.param([4.0, 3.0, 2.0], 2, 0, [(11, False), (12, True)], id="the nearest need not be borderline"),
        pytest.param([np.nan, 2.0], 2, 0, [(10, False), (11, True)], id="without distance never borderline"),
        pytest.param([], 3, 3, [], id="none"),
    ],
)
def test_choose(distance, nearest, others, expected):
    rows = np.arange(10, 10 + len(distance))
    assert choose(rows, np.array(distance), nearest, others, borderline=2.0) == expected


def test_read_pictures_finds_rows_across_groups_and_shards(tmp_path):
    def rows(start):
        for row in range(start, start + 100):
            data = encode_png(np.full((4, 4, 3), row, np.uint8))
            yield {"row": row, "image": {"bytes": data, "path": str(row)}}

    for start in (0, 100):
        write_shard(tmp_path / f"{start}.parquet", rows(start), CLEAN_SCHEMA)
    pictures = read_pictures(tmp_path, [3, 99, 150, 3])
    assert {row: int(pixels[0, 0, 0]) for row, pixels in pictures.items()} == {3: 3, 99: 99, 150: 150}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param((40, 56), (40, 56), id="small"),
        pytest.param((192, 96), (96, 48), id="halved"),
        pytest.param((2, 500), (1, 96), id="a line"),
    ],
)
def test_a_small_copy_is_a_jpeg_of_at_most_96_pixels(shape, expected):
    uri = data_uri(shrink(np.full((*shape, 3), (200, 40, 90), np.uint8)))
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    pixels = decode(base64.b64decode(data), 10**6)
    assert pixels.shape[:2] == expected
    assert np.abs(pixels.astype(int) - (200, 40, 90)).max() < 8
