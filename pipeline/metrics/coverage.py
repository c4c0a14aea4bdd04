"""Is what was generated good, and is it varied: precision, recall, density and coverage, by nearest neighbours, and
diversity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.backbone import Features

Doubles = NDArray[np.float64]
Real = TypeVar("Real", np.float32, np.float64)

ROWS = 256  # of a distance matrix in memory at a time: more are no faster


@dataclass(frozen=True)
class Coverage:
    """Four figures about fake against real; all lie in 0 … 1, except density, which may exceed 1.

    precision: the share of fake images that lie among the real ones.
    recall: the share of real images that lie among the fake ones.
    density: like precision, counting among how many real ones, so that one outlier can't vouch for many fakes.
    coverage: the share of real images that have a fake one near.
    """

    precision: float
    recall: float
    density: float
    coverage: float


class Balls(NamedTuple):
    """A set and a ball around each of its images, which reaches to the k-th nearest other one."""

    features: Features  # (N, d)
    radii: Doubles  # (N,), squared
    k: int


def balls(features: Features, nearest_k: int) -> Balls:
    """Return a set's own part of coverage_figures()."""
    k = min(nearest_k, len(features) - 1)
    return Balls(features, _radii(features.astype(np.float64), k), k)


def coverage_figures(real: Features, fake: Features, nearest_k: int) -> Coverage:
    """Return precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991), density and coverage (Naeem et al.
    2020, arXiv 2002.09797), as the latter's package prdc defines them.

    Around each image a ball reaches to its nearest_k-th neighbour of its own kind; strictly inside counts.
    real, fake: (N, d) and (M, d), N and M at least 2; where a set has too few images for nearest_k, the farthest
    neighbour there is makes its balls. Recall and coverage depend on M: compare at equal ones.
    """
    return coverage_between(balls(real, nearest_k), balls(fake, nearest_k))


def coverage_between(real: Balls, fake: Balls) -> Coverage:
    """Return coverage_figures() of two sets by the balls of each."""
    x, y = real.features.astype(np.float64), fake.features.astype(np.float64)
    held = np.zeros(len(y), np.int64)  # how many real images' balls each fake one lies in
    recalled = covered = 0
    for rows, distances in squared_distances(x, y):
        inside = distances < real.radii[rows, None]
        held += inside.sum(axis=0)
        covered += int(inside.any(axis=1).sum())
        recalled += int((distances < fake.radii).any(axis=1).sum())
    return Coverage(
        precision=float((held > 0).mean()),
        recall=recalled / len(x),
        density=float(held.mean() / real.k),
        coverage=covered / len(x),
    )


def diversity(features: Features) -> tuple[float, float]:
    """Return how varied a set is, the mean Euclidean distance between the features of two of its images, and its
    standard error.

    As Zhu et al. 2017 (arXiv 1711.11586) measure it, with these features in LPIPS's place and over all pairs instead of
    random ones. 0 is one image again and again; compare with that of real images, for more is not always better: noise
    is varied too. The value does not depend on N but by chance. Its error is that of a mean over pairs (Hoeffding
    1948): twice that of the mean of each image's distance to the others.

    features: (N, d), N at least 2.
    """
    x = features.astype(np.float64)
    sums = [np.sqrt(distances).sum(axis=1) for _, distances in squared_distances(x, x)]
    means = np.concatenate(sums) / (len(x) - 1)
    return float(means.mean()), float(2 * means.std(ddof=1) / np.sqrt(len(x)))


def squared_distances(x: NDArray[Real], y: NDArray[Real]) -> Iterator[tuple[slice, NDArray[Real]]]:
    """Yield |x_i - y_j|² a block of rows i at a time, in the sets' own precision."""
    y_norms = (y * y).sum(axis=1)
    for start in range(0, len(x), ROWS):
        rows = slice(start, start + ROWS)
        block = x[rows]
        yield rows, np.maximum((block * block).sum(axis=1)[:, None] + y_norms - 2 * block @ y.T, 0.0)


def _radii(x: Doubles, k: int) -> Doubles:
    """Return each row's squared distance to its k-th nearest other row."""
    radii = np.empty(len(x))
    for rows, distances in squared_distances(x, x):
        own = np.arange(len(distances))
        distances[own, own + rows.start] = np.inf
        radii[rows] = np.partition(distances, k - 1, axis=1)[:, k - 1]
    return radii
