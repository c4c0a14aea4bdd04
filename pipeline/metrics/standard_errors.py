"""Standard errors of the figures that have no simple formula for one: the Fréchet distance, and precision, recall,
density and coverage.

All are over another draw of both sets, the real and the generated one; the training of the generator is held fixed.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from pipeline.metrics.backbone import Features
from pipeline.metrics.coverage import Coverage, squared_distances


def frechet_error(real: Features, fake: Features) -> float:
    """Return the standard error of frechet_distance(), by its influence function (the infinitesimal jackknife, Efron
    1982); Rippl, Munk and Sturm (2016, arXiv 1507.04090) have the limit law that it rests on.

    A real face a, centred, moves the distance in proportion to 2 a·(μ₁ - μ₂) + |a|² - aᵀTa, where T is the linear map
    that takes the one Gaussian to the other, and a generated face likewise; it is the spread of these over the faces.
    No set is drawn again, so it costs as much as the distance itself. For sets that are nearly alike it errs on the
    large side, up to twofold.

    real, fake: (N, d) and (M, d), N and M at least 2.
    """
    x, y = (features.astype(np.float64) - features.mean(axis=0, dtype=np.float64) for features in (real, fake))
    shift = real.mean(axis=0, dtype=np.float64) - fake.mean(axis=0, dtype=np.float64)
    (rows_x, factor_x), (rows_y, factor_y) = (scipy.linalg.qr(centred, mode="economic") for centred in (x, y))
    left, overlap, right = np.linalg.svd(factor_x @ factor_y.T, full_matrices=False)
    # aᵀTa by the singular vectors, so that no covariance need have an inverse; overlap is √((N - 1)(M - 1)) too large.
    ratio = np.sqrt((len(x) - 1) / (len(y) - 1))
    moved_x, moved_y = ratio * (rows_x @ left) ** 2 @ overlap, (rows_y @ right.T) ** 2 @ overlap / ratio
    influence_x = 2 * x @ shift + (x * x).sum(axis=1) - moved_x
    influence_y = -2 * y @ shift + (y * y).sum(axis=1) - moved_y
    return float(np.sqrt(influence_x.var(ddof=1) / len(x) + influence_y.var(ddof=1) / len(y)))


def coverage_errors(real: Features, fake: Features, nearest_k: int, halves: int, seed: int) -> Coverage:
    """Return the standard errors of coverage_figures(), by the delete-half jackknife (Shao and Wu 1989).

    Each is the figure's standard deviation over random halves of both sets, the balls drawn anew in each half: to hold
    them fixed and count images alone finds a third to four fifths of the true error, and a bootstrap, which takes
    images twice, would shrink the balls. Halves have larger balls, so that it mostly errs on the large side, up to
    1.5-fold. None is found where all halves agree, as they may at a figure of 0.

    real, fake: (N, d) and (M, d), N and M at least 4.
    """
    # In float32, in half the time: a neighbour more or less at a ball's rim is nothing beside another half.
    x, y = real.astype(np.float32), fake.astype(np.float32)
    rng = np.random.default_rng(seed)
    in_x, in_y = _halves(len(x), halves, rng), _halves(len(y), halves, rng)
    real_k = min(nearest_k, len(x) // 2 - 1)
    real_radii = _radii(x, in_x, real_k)
    fake_radii = _radii(y, in_y, min(nearest_k, len(y) // 2 - 1))
    balls = np.zeros((halves, len(y)), np.int64)
    recalled, covered = np.zeros(halves), np.zeros(halves)
    for rows, distances in squared_distances(x, y):
        for half in range(halves):
            taken = distances[in_x[half, rows]]
            inside = (taken < real_radii[half, rows][in_x[half, rows], None]) & in_y[half]
            balls[half] += inside.sum(axis=0, dtype=np.int32)
            covered[half] += inside.any(axis=1).sum()
            recalled[half] += (taken < fake_radii[half]).any(axis=1).sum()
    n, m = len(x) // 2, len(y) // 2
    figures = (balls > 0).sum(axis=1) / m, recalled / n, balls.sum(axis=1) / (real_k * m), covered / n
    return Coverage(*(float(np.std(figure, ddof=1)) for figure in figures))


def _halves(count: int, halves: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which rows each random half takes: (halves, count)."""
    taken = np.zeros((halves, count), np.bool_)
    for half in taken:
        half[rng.choice(count, count // 2, replace=False)] = True
    return taken


def _radii(x: Features, taken: NDArray[np.bool_], k: int) -> Features:
    """Return each row's squared distance to its k-th nearest other row within each half: (halves, N).

    Of rows that are not in the half it is -1, within which nothing lies. Looked up among each row's nearest of all,
    which are so many that not one row in 10¹¹ has fewer than k in a half.
    """
    some = min(4 * k + 40, len(x) - 1)
    radii = np.full(taken.shape, -1.0, np.float32)
    for rows, distances in squared_distances(x, x):
        own = np.arange(len(distances))
        distances[own, own + rows.start] = np.inf
        nearest = np.argpartition(distances, some - 1, axis=1)[:, :some]
        nearest = np.take_along_axis(nearest, np.take_along_axis(distances, nearest, axis=1).argsort(axis=1), axis=1)
        for half, found in zip(taken, radii, strict=True):
            inside = half[nearest].cumsum(axis=1) >= k
            kth = np.where(inside.any(axis=1), inside.argmax(axis=1), some - 1)
            reach = distances[own, nearest[own, kth]]
            found[rows] = np.where(half[rows], reach, -1.0)
    return radii
