"""The sliced Wasserstein distance between two sets of features."""

from __future__ import annotations

import numpy as np

from pipeline.metrics.backbone import Features
from pipeline.metrics.distances import Doubles

DIRECTIONS = 1024
AT_ONCE = 64  # directions whose projections are in memory


def sliced_wasserstein(real: Features, fake: Features) -> tuple[float, float]:
    """Return the mean, over random directions, of the Wasserstein-1 distance between two sets' shadows on each, and its
    standard error.

    Rabin et al. 2011 (doi 10.1007/978-3-642-24785-9_37), over features: unlike KID and the Fréchet distance it compares
    whole distributions and not their first moments. It is not the SWD of Karras et al. 2018, which is over patches of
    pixels. The directions are the same in every call, whatever the seed of the run, so that no draw of them is taken
    for a difference; another draw would move the value by about 2 %, which the standard error leaves out.

    That is by the influence of each face (the infinitesimal jackknife, Efron 1982), which is its Kantorovich potential,
    averaged over the directions; del Barrio, Giné and Matrán (1999) have the limit law on a line. For sets that are
    nearly alike it errs on the large side.

    real, fake: (N, d) and (M, d), N and M at least 1. The unit is the features'. The value depends on N and M: compare
    at equal ones only. The caller scales by 1000.
    """
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(real.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    both = np.concatenate([real, fake]).astype(np.float64)
    distance, potentials = 0.0, np.zeros(len(both))
    for block in np.split(directions, DIRECTIONS // AT_ONCE, axis=1):
        distances, of_faces = _wasserstein_1(both @ block, len(real))
        distance += distances.sum() / DIRECTIONS
        potentials += of_faces.sum(axis=1) / DIRECTIONS
    variance = sum(part.var() / len(part) for part in (potentials[: len(real)], potentials[len(real) :]))
    return float(distance), float(np.sqrt(variance))


def _wasserstein_1(both: Doubles, n: int) -> tuple[Doubles, Doubles]:
    """Return the Wasserstein-1 distances between the first n rows and the others, by column, and each row's potential.

    On a line the distance is the area between the two distribution functions, and the potential, at a point, the length
    to its left on which the first function is the higher, less that on which the second is.
    both: (n + m, k) → (k,) and (n + m, k).
    """
    m = len(both) - n
    order = both.argsort(axis=0, kind="stable")
    widths = np.diff(np.take_along_axis(both, order, axis=0), axis=0)
    # In units of 1 / (n·m), where all heights are whole numbers.
    heights = np.where(order < n, m, -n).cumsum(axis=0)[:-1]
    potentials = np.zeros_like(both)
    np.put_along_axis(potentials, order[1:], (np.sign(heights) * widths).cumsum(axis=0), axis=0)
    distances: Doubles = (np.abs(heights) * widths).sum(axis=0) / (n * m)
    return distances, potentials
