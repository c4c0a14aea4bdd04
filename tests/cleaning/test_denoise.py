from __future__ import annotations

from typing import get_args

import cv2
import numpy as np
import pytest

from pipeline.cleaning.denoise import DENOISERS, replace_impulses
from pipeline.cleaning.opponent import noise_sigmas
from pipeline.params import Denoiser

GAUSSIAN = [name for name in DENOISERS if name != "median"]


def psnr(left, right):
    return 10 * np.log10(255**2 / np.mean((left.astype(float) - right) ** 2))


def test_impulses_are_replaced_and_nothing_else_is_touched(face):
    pristine = np.clip(face(2), 20, 235)
    rng = np.random.default_rng(0)
    dots = rng.random((96, 96))
    noisy = pristine.copy()
    noisy[dots < 0.03], noisy[dots > 0.97] = 0, 255
    cleaned = replace_impulses(noisy)
    untouched = (dots >= 0.03) & (dots <= 0.97)
    assert np.array_equal(cleaned[untouched], pristine[untouched])
    assert psnr(cleaned, pristine) > psnr(noisy, pristine) + 15


def test_a_dot_takes_the_median_of_its_clean_neighbours():
    pixels = np.full((5, 5, 3), 100, np.uint8)
    pixels[2, 2] = 255
    pixels[2, 3] = 0
    assert np.array_equal(replace_impulses(pixels), np.full((5, 5, 3), 100, np.uint8))


def test_a_dot_among_dots_sees_past_them():
    pixels = np.full((9, 9, 3), 100, np.uint8)
    pixels[3:6, 3:6] = np.array([[255, 0, 255], [0, 0, 0], [255, 255, 255]])[:, :, None]
    assert np.array_equal(replace_impulses(pixels), np.full((9, 9, 3), 100, np.uint8))


def noisy(pristine, sigma, seed=1):
    noise = np.random.default_rng(seed).normal(0, sigma, pristine.shape)
    return np.clip(np.rint(pristine + noise), 0, 255).astype(np.uint8)


def test_the_family_is_what_params_offer():
    assert set(DENOISERS) == set(get_args(Denoiser))


@pytest.mark.parametrize("name", GAUSSIAN)
def test_noise_on_a_flat_picture_is_halved_at_least(name):
    flat = np.full((64, 64, 3), (90, 120, 150), np.uint8)
    cleaned = DENOISERS[name](noisy(flat, 12), np.full(3, 12, np.float32))
    assert (cleaned - flat.astype(float)).std() < 12 / 2
    assert cleaned.mean(axis=(0, 1)) == pytest.approx([90, 120, 150], abs=1)


@pytest.mark.parametrize("name", GAUSSIAN)
def test_a_step_stays_a_step(name):
    step = np.full((64, 64, 3), 60, np.uint8)
    step[:, 32:] = 190
    cleaned = DENOISERS[name](noisy(step, 10), np.full(3, 10, np.float32)).mean(axis=(0, 2))
    assert cleaned[32] - cleaned[31] > 0.85 * 130


@pytest.mark.parametrize("name", GAUSSIAN)
def test_gaussian_noise_on_a_face_goes(face, name):
    pristine = np.clip(cv2.GaussianBlur(face(2), (0, 0), 0.7), 60, 195)
    damaged = noisy(pristine, 20)
    assert psnr(DENOISERS[name](damaged, noise_sigmas(damaged)), pristine) > psnr(damaged, pristine) + 5


@pytest.mark.parametrize("shape", [(40, 56), (33, 17), (9, 9), (2, 5), (1, 1)])
@pytest.mark.parametrize("name", GAUSSIAN)
def test_without_noise_a_picture_of_any_size_stays(name, shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert np.array_equal(DENOISERS[name](pixels, np.zeros(3, np.float32)), pixels)
    cleaned = DENOISERS[name](pixels, np.full(3, 15, np.float32))
    assert (cleaned.shape, cleaned.dtype) == (pixels.shape, np.uint8)


def test_the_median_needs_no_measure_of_the_noise():
    pixels = np.full((5, 5, 3), 100, np.uint8)
    pixels[2, 2] = 255
    assert np.array_equal(DENOISERS["median"](pixels, np.zeros(3, np.float32)), np.full((5, 5, 3), 100, np.uint8))
