"""What evaluate draws with a generator: many faces to measure, and pictures to look at."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.codec import Pixels
from pipeline.dcgan.interpolation import interpolate
from pipeline.dcgan.networks import Generator
from pipeline.dcgan.sampling import generate, sample_noise
from pipeline.faces import Faces
from pipeline.metrics.copying import Doubles, Indices
from pipeline.reports.grids import grid, pairs_grid, side_by_side

BATCH = 32  # more of them go through the caches of a CPU no faster
COLUMNS = 8
SHOWN = 64


def draw_faces(netG: Generator, z: Tensor, label: str) -> Faces:
    """Return the faces uint8 (N, H, W, C) that netG makes of noise z (N, nz, 1, 1), under a progress bar."""
    netG.to(memory_format=torch.channels_last)  # in place, and changes no weight: a CPU draws in two thirds of the time
    drawn = []
    with tqdm(total=len(z), desc=label, unit="img") as bar:
        for batch in torch.split(z, BATCH):
            drawn.append(generate(netG, batch, BATCH))
            bar.update(len(batch))
    return np.concatenate(drawn)


def evaluation_pictures(
    netG: Generator, seed: int, drawn: Faces, real: Faces, train: Faces, near: tuple[Doubles, Indices]
) -> dict[str, Pixels]:
    """Return the pictures, RGB uint8 (H, W, 3), by the names of their files.

    samples: 64 generated faces, from the noise that training's film is drawn from.
    real_vs_generated: as many real faces on the left as generated ones on the right.
    interpolation: each row walks from one generated face to another.
    nearest: rows of generated faces, each with its twin from the training faces right below.
    suspicious: the same of those that are nearest to their twins.
    drawn, real, train: uint8 (N, H, W, C); near: of each of drawn the distance to its twin, and that one's index.
    """
    z = sample_noise(SHOWN, netG.nz, seed)
    walk = interpolate(z[:COLUMNS], z[COLUMNS : 2 * COLUMNS], steps=COLUMNS)
    beside = min(SHOWN, len(real))
    distances, twins = near
    suspects = distances.argsort(kind="stable")[:SHOWN]
    return {
        "samples": grid(generate(netG, z, SHOWN), COLUMNS),
        "real_vs_generated": side_by_side(real[:beside], drawn[:beside], COLUMNS),
        "interpolation": grid(generate(netG, walk, SHOWN), COLUMNS),
        "nearest": pairs_grid(drawn[:SHOWN], train[twins[:SHOWN]], COLUMNS),
        "suspicious": pairs_grid(drawn[suspects], train[twins[suspects]], COLUMNS),
    }
