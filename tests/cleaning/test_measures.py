from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.measure import blur_effect

from pipeline.cleaning import measures as m
from pipeline.cleaning.views import levels_of

FLAT = np.full((64, 64), 90, np.uint8)
RAMP = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
CHECKS = (np.indices((64, 64)).sum(axis=0) % 2 * 200).astype(np.uint8)


def rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[:, :, None], 3, axis=2)


@pytest.mark.parametrize(
    ("gray", "levels"),
    [pytest.param(FLAT, 0, id="flat"), pytest.param(RAMP, 252, id="ramp"), pytest.param(CHECKS, 200, id="checks")],
)
def test_contrast_is_the_span_of_levels(gray, levels):
    assert m.contrast(m.span(gray[None])) == levels


def test_contrast_ignores_a_few_outliers():
    gray = FLAT.copy()
    gray[0, :10] = 255
    assert m.contrast(m.span(gray[None])) == 0


def test_white_is_the_brightest_channel():
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[..., 1] = 130
    assert m.white(pixels[None]) == 130


@pytest.mark.parametrize(
    ("gray", "bits"),
    [
        pytest.param(FLAT, 0, id="one colour"),
        pytest.param(CHECKS, 1, id="two colours"),
        pytest.param(RAMP, 3, id="eight levels"),
        pytest.param(RAMP // 4, 3, id="faded, as many"),
    ],
)
def test_information_is_the_entropy_of_the_colours(gray, bits):
    assert m.information(rgb(gray)[None], m.span(gray[None])) == pytest.approx(bits, abs=0.02)


def test_edges_are_beside_a_step_and_not_on_a_slope():
    step = np.zeros((64, 64), np.uint8)
    step[:, 32:] = 100
    for gray, share in ((step, 2 / 64), (RAMP, 0), (step // 5, 2 / 64)):
        assert m.edges(levels_of(gray[None]), m.span(gray[None])) == share


@pytest.mark.parametrize("seed", range(6))
def test_blur_effect_equals_skimage(seed):
    rng = np.random.default_rng(seed)
    gray = rng.integers(0, 256, (64, 64)).astype(np.uint8)
    gray = np.asarray(cv2.GaussianBlur(gray, (0, 0), 0.3 + seed / 2), np.uint8)
    assert m.blur_effect(levels_of(gray[None])) == pytest.approx(float(blur_effect(gray)), abs=1e-6)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 135])
def test_blur_counts_in_its_own_direction(face, degrees):
    gray = np.asarray(cv2.cvtColor(face(1, side=64), cv2.COLOR_RGB2GRAY), np.uint8)
    line = np.zeros((11, 11), np.float32)
    line[5] = 1
    line = cv2.warpAffine(line, cv2.getRotationMatrix2D((5, 5), degrees, 1), (11, 11))
    moved = np.asarray(cv2.filter2D(gray, -1, line / line.sum()), np.uint8)
    assert m.blur(levels_of(moved[None])) > m.blur(levels_of(gray[None])) + 0.1
    assert m.sharpness(levels_of(moved[None])) < m.sharpness(levels_of(gray[None])) / 2


def test_stripes_are_sharp_across_and_not_along():
    stripes = np.tile(np.array([0, 200], np.uint8), (64, 32))
    assert m.sharpness(levels_of(stripes[None])) == 0
    assert m.sharpness(levels_of(CHECKS[None])) == 0, "along the diagonals a chessboard is flat"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    assert m.sharpness(levels_of(noise[None])) == pytest.approx(np.sqrt(6), rel=0.05), (
        "1² + 2² + 1², whatever the direction"
    )


def test_a_flat_picture_is_blurred_and_not_sharp():
    assert m.blur(levels_of(FLAT[None])) == 1
    assert m.sharpness(levels_of(FLAT[None])) == 0


def test_sharpness_does_not_depend_on_contrast():
    noise = np.random.default_rng(1).integers(0, 64, (64, 64)).astype(np.uint8)
    assert m.sharpness(levels_of((noise * 4)[None])) == pytest.approx(m.sharpness(levels_of(noise[None])), rel=1e-6)


@pytest.mark.parametrize("sigma", [5.0, 12.0, 30.0])
def test_noise_is_the_deviation_of_white_noise(sigma):
    plane = np.random.default_rng(0).normal(128, sigma, (256, 256)).astype(np.float32)
    assert m.noise(plane) == pytest.approx(sigma, rel=0.03)


def test_noise_is_blind_to_slopes_and_steps():
    assert m.noise(RAMP.astype(np.float32)) == pytest.approx(0, abs=1e-4)
    assert m.noise(np.repeat(RAMP[:, ::8], 8, axis=1).astype(np.float32)) == pytest.approx(0, abs=1e-4)


def test_impulses_are_lone_dots():
    pixels = np.full((20, 20, 3), 128, np.uint8)
    pixels[3, 3], pixels[10, 15] = 255, 0
    assert m.impulses(pixels) == 2 / 400
    pixels[12] = 0
    assert m.impulses(pixels) == 2 / 400, "a line is no noise"


@pytest.mark.parametrize("size", [2, 15])
def test_blockiness_of_a_small_picture_is_none(size):
    assert m.blockiness(np.zeros((size, 40), np.uint8)) == 1


def test_blockiness_finds_jpeg_blocks_on_the_grid(face):
    pixels = face(3)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 8])
    blocks = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_RGB2GRAY)
    plain = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    assert m.blockiness(np.asarray(plain, np.uint8)) < 1.6
    assert m.blockiness(np.asarray(blocks, np.uint8)) > 2.3
    assert m.blockiness(np.asarray(blocks[4:, 4:], np.uint8)) < 1.3, (
        "off the grid, the same steps are the picture's own"
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 2), (17, 16), (700, 500)])
def test_every_shape_can_be_measured(shape, params):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    (found,) = m.measure([pixels], 64, params.filter)
    assert np.isfinite(found).all()
    assert (found.height, found.width) == shape


@pytest.mark.parametrize("image_size", [32, 64, 128])
def test_no_measure_depends_on_the_pictures_beside_it(face, params, image_size):
    rng = np.random.default_rng(0)
    pictures = [face(seed, side=int(side)) for seed, side in enumerate(rng.integers(40, 300, 9))]
    pictures += [np.clip(face(3) * gain, 0, 255).astype(np.uint8) for gain in (0.1, 0.3, 4)]
    together = m.measure(pictures, image_size, params.filter)
    assert together == [m.measure([picture], image_size, params.filter)[0] for picture in pictures]
    assert m.measure([], image_size, params.filter) == []
