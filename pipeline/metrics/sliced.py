"""The sliced Wasserstein distance between two sets of features."""

from __future__ import annotations

import numpy as np

from pipeline.metrics.backbone import Features
from pipeline.metrics.distances import Doubles

DIRECTIONS = 1024
AT_ONCE = 64  # directions whose projections are in memory


def sliced_wasserstein(real: Features, fake: Features) -> float:
    """Return the mean, over random directions, of the Wasserstein-1 distance between two sets' shadows on each.

    Rabin et al. 2011 (doi 10.1007/978-3-642-24785-9_37), over features: unlike KID and the Fréchet distance it compares
    whole distributions and not their first moments. It is not the SWD of Karras et al. 2018, which is over patches of
    pixels. The directions are the same in every call, whatever the seed of the run, so that no draw of them is taken
    for a difference; another draw would move the value by about 2 %.

    real, fake: (N, d) and (M, d), N and M at least 1. The unit is the features'. The value depends on N and M: compare
    at equal ones only. The caller scales by 1000.
    """
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(real.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    x, y = real.astype(np.float64), fake.astype(np.float64)
    blocks = np.split(directions, DIRECTIONS // AT_ONCE, axis=1)
    return float(np.mean([_wasserstein_1(x @ block, y @ block) for block in blocks]))


def _wasserstein_1(x: Doubles, y: Doubles) -> Doubles:
    """Return the Wasserstein-1 distances between the columns of (N, k) and (M, k): (k,).

    On a line it is the area between the two quantile functions, which are steps at the multiples of 1/N and 1/M.
    """
    n, m = len(x), len(y)
    # In units of 1 / (N·M), where all steps are whole numbers.
    steps = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    starts, widths = steps[:-1], np.diff(steps)
    apart = np.abs(np.sort(x, axis=0)[starts // m] - np.sort(y, axis=0)[starts // n])
    distances: Doubles = widths @ apart / (n * m)
    return distances
