from __future__ import annotations

import numpy as np
import torch

from pipeline.dcgan.networks import Generator
from pipeline.dcgan.sampling import generate, sample_noise
from pipeline.reports.grids import grid
from pipeline.reports.samples import draw_faces, evaluation_pictures


def test_faces_are_drawn_from_their_noise_in_order() -> None:
    netG = Generator(nz=4, ngf=2, nc=3, image_size=32).eval()
    z = sample_noise(150, 4, seed=7)
    assert np.abs(draw_faces(netG, z, "test").astype(int) - generate(netG, z, 150)).max() <= 1


def test_pictures_show_what_their_names_say() -> None:
    torch.manual_seed(0)
    netG = Generator(nz=4, ngf=2, nc=3, image_size=32).eval()
    z = sample_noise(64, 4, seed=7)
    drawn = np.full((70, 32, 32, 3), 50, np.uint8)
    real = np.full((10, 32, 32, 3), 100, np.uint8)
    train = np.full((3, 32, 32, 3), 150, np.uint8)
    train[2], drawn[66] = 160, 60
    distances, twins = np.arange(70.0) + 1, np.zeros(70, int)
    distances[66], twins[66] = 0.5, 2
    shown = evaluation_pictures(netG, 7, drawn, real, train, (distances, twins))

    assert np.array_equal(shown["samples"], grid(generate(netG, z, 64), 8))
    walk = shown["interpolation"]
    ends = generate(netG, z[:16], 16)
    assert np.array_equal(walk[2:34, 2:34], ends[0])
    assert np.abs(walk[2:34, -34:-2].astype(int) - ends[8]).max() <= 1
    assert not np.array_equal(walk[2:34, 2:34], walk[2:34, 36:68])
    # 10 faces a side, 8 in a row; 34 pixels a cell, a gap of 16.
    assert shown["real_vs_generated"].shape == (2 * 34 + 2, 2 * (8 * 34 + 2) + 16, 3)
    assert shown["real_vs_generated"][5, 5, 0] == 100
    assert shown["real_vs_generated"][5, -5, 0] == 50
    assert [int(shown["nearest"][5 + 34 * row, 5, 0]) for row in range(4)] == [50, 150, 50, 150]
    assert [int(shown["suspicious"][5 + 34 * row, 5, 0]) for row in range(4)] == [60, 160, 50, 150]
