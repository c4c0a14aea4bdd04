from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.cleaning.dct import shrink_noise
from pipeline.cleaning.opponent import from_opponent, noise_sigmas, opponent_planes


def psnr(left, right):
    return 10 * np.log10(255**2 / np.mean((left.astype(float) - right) ** 2))


def test_opponent_planes_keep_lengths():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, 3)).astype(np.uint8)
    planes = opponent_planes(pixels)
    assert planes.shape == (3, 6, 7)
    assert np.array_equal(from_opponent(planes), pixels)
    assert np.allclose((planes**2).sum(axis=0), (pixels.astype(float) ** 2).sum(axis=2), rtol=1e-5)


@pytest.mark.parametrize("sigma", [12, 30])
def test_gaussian_noise_goes(face, sigma):
    pristine = np.clip(cv2.GaussianBlur(face(2), (0, 0), 0.7), 60, 195)
    noisy = np.clip(pristine + np.random.default_rng(1).normal(0, sigma, pristine.shape), 0, 255).astype(np.uint8)
    sigmas = noise_sigmas(noisy)
    assert sigmas == pytest.approx([sigma] * 3, rel=0.25)
    assert psnr(shrink_noise(noisy, sigmas), pristine) > psnr(noisy, pristine) + 5


@pytest.mark.parametrize("shape", [(40, 56), (33, 17), (9, 9)])
def test_without_noise_a_picture_stays(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert np.array_equal(shrink_noise(pixels, np.zeros(3, np.float32)), pixels)
