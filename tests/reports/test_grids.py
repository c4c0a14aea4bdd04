from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.reports.grids import grid, pairs_grid, write_gif, write_png


def flat_faces(values: list[int], channels: int = 3) -> np.ndarray:
    return np.stack([np.full((4, 6, channels), value, np.uint8) for value in values])


@pytest.mark.parametrize(
    ("count", "columns", "size"),
    [
        # make_grid puts 2 pixels around each face: height = rows * (4 + 2) + 2, width = columns * (6 + 2) + 2.
        pytest.param(4, 2, (14, 18, 3), id="two full rows"),
        pytest.param(3, 2, (14, 18, 3), id="last row short"),
        pytest.param(2, 8, (8, 18, 3), id="fewer faces than columns"),
    ],
)
def test_grid_size(count: int, columns: int, size: tuple[int, int, int]) -> None:
    assert grid(flat_faces([10] * count), columns).shape == size


@pytest.mark.parametrize("channels", [pytest.param(1, id="luma"), pytest.param(3, id="RGB")])
def test_grid_places_faces_row_by_row_on_white(channels: int) -> None:
    picture = grid(flat_faces([10, 20, 30], channels), columns=2)
    assert picture.dtype == np.uint8
    assert picture[2, 2].tolist() == [10] * 3
    assert picture[2, 10].tolist() == [20] * 3
    assert picture[8, 2].tolist() == [30] * 3
    assert picture[0, 0].tolist() == [255] * 3
    assert picture[8, 10].tolist() == [255] * 3


def test_pairs_grid_puts_each_row_over_its_partners() -> None:
    picture = pairs_grid(flat_faces([1, 2, 3]), flat_faces([101, 102, 103]), columns=2)
    corners = [[int(picture[2 + 6 * row, 2 + 8 * column, 0]) for column in range(2)] for row in range(4)]
    assert corners == [[1, 2], [101, 102], [3, 255], [103, 255]]


def test_png_keeps_every_pixel_and_its_bytes_repeat(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    write_png(pixels, tmp_path / "new" / "a.png")
    write_png(pixels, tmp_path / "b.png")
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert np.array_equal(np.asarray(picture), pixels)
    assert (tmp_path / "new" / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_gif_shows_every_frame_for_its_time_and_repeats(tmp_path: Path) -> None:
    frames = [np.full((8, 8, 3), value, np.uint8) for value in (0, 128, 255)]
    write_gif(frames, tmp_path / "a.gif", frame_ms=120)
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 3
        assert film.info["loop"] == 0
        for number, value in enumerate((0, 128, 255)):
            film.seek(number)
            assert film.info["duration"] == 120
            assert film.convert("RGB").getpixel((4, 4)) == (value, value, value)


def test_gif_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not enough values"):
        write_gif([], tmp_path / "a.gif", frame_ms=100)
    assert list(tmp_path.iterdir()) == []
