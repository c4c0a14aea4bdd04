"""Standard errors of precision, recall, density and coverage, which have no formula for one.

They are over another draw of both sets, the real and the generated one; the training of the generator is held fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.backbone import Features
from pipeline.metrics.coverage import Coverage, squared_distances
from pipeline.metrics.distances import FAKE, REAL


class HalfBalls(NamedTuple):
    """A set's random halves and the balls around the images of each: see coverage.Balls."""

    features: Features  # (N, d)
    taken: NDArray[np.bool_]  # (halves, N): which images each half has
    radii: Features  # (halves, N), squared; -1, in which nothing lies, of an image that the half does not have
    k: int


def half_balls(features: Features, nearest_k: int, halves: int, seed: Sequence[int]) -> HalfBalls:
    """Return a set's own part of coverage_errors(); the sets that are compared need seeds of their own."""
    x = features.astype(np.float32, copy=False)
    taken = _halves(len(x), halves, np.random.default_rng(seed))
    k = min(nearest_k, len(x) // 2 - 1)
    return HalfBalls(x, taken, _radii(x, taken, k), k)


def coverage_errors(real: Features, fake: Features, nearest_k: int, halves: int, seed: int) -> Coverage:
    """Return the standard errors of coverage_figures(), by the delete-half jackknife (Shao and Wu 1989).

    Each is the figure's standard deviation over random halves of both sets, the balls drawn anew in each half: to hold
    them fixed and count images alone finds a third to four fifths of the true error, and a bootstrap, which takes
    images twice, would shrink the balls. Halves have larger balls, so that it mostly errs on the large side, up to
    1.5-fold. But where fakes lie at the real set's rim a few large balls decide precision and density, and halves of
    one sample share them: there it is typically half of the true error. None is found where all halves agree, as they
    may at a figure of 0.

    real, fake: (N, d) and (M, d), N and M at least 4. In float32, in half the time: a neighbour more or less at a
    ball's rim is nothing beside another half.
    """
    x = half_balls(real, nearest_k, halves, (seed, REAL))
    return coverage_errors_between(x, half_balls(fake, nearest_k, halves, (seed, FAKE)))


def coverage_errors_between(real: HalfBalls, fake: HalfBalls) -> Coverage:
    """Return coverage_errors() of two sets by the balls of each."""
    halves = len(real.taken)
    held = np.zeros(fake.taken.shape, np.int64)  # how many real images' balls each fake one lies in
    recalled, covered = np.zeros(halves), np.zeros(halves)
    for rows, distances in squared_distances(real.features, fake.features):
        for half in range(halves):
            of_half = real.taken[half, rows]
            taken = distances[of_half]
            inside = (taken < real.radii[half, rows][of_half, None]) & fake.taken[half]
            held[half] += inside.sum(axis=0, dtype=np.int32)
            covered[half] += inside.any(axis=1).sum()
            recalled[half] += (taken < fake.radii[half]).any(axis=1).sum()
    n, m = len(real.features) // 2, len(fake.features) // 2
    figures = (held > 0).sum(axis=1) / m, recalled / n, held.sum(axis=1) / (real.k * m), covered / n
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
