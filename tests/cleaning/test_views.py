from __future__ import annotations

import numpy as np
import pytest

from pipeline.cleaning.views import centre_square, extremes, net_view, work_view
from pipeline.packing import resize_face


def test_net_view_is_the_centre_square():
    wide = np.zeros((64, 96, 3), np.uint8)
    wide[:, 16:80] = 200
    assert np.array_equal(net_view(wide, 64), np.full((64, 64, 3), 200, np.uint8))


@pytest.mark.parametrize("length", range(64, 73))
def test_the_centre_square_is_what_resize_cuts(length):
    pixels = np.random.default_rng(0).integers(0, 256, (length, 64, 3), np.uint8)
    for picture in (pixels, pixels.transpose(1, 0, 2)):
        assert np.array_equal(centre_square(picture), resize_face(picture, 64, 3))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param((100, 300), (100, 300), id="small enough"),
        pytest.param((512, 1024), (256, 512), id="halved"),
        pytest.param((900, 300), (768, 256), id="upright"),
    ],
)
def test_work_view_bounds_the_shortest_side(shape, expected):
    pixels = np.zeros((*shape, 3), np.uint8)
    view = work_view(pixels, 256)
    assert view.shape[:2] == expected
    assert (view is pixels) == (shape == expected)


def test_extremes_are_over_the_channels():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3)).astype(np.uint8)
    darkest, brightest = extremes(pixels)
    assert np.array_equal(darkest, pixels.min(axis=2))
    assert np.array_equal(brightest, pixels.max(axis=2))
