"""Distances between two sets of features: KID and the Fréchet distance. All arithmetic is in float64."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from pipeline.metrics.backbone import Features

Doubles = NDArray[np.float64]

ROWS = 1024  # of a kernel matrix in memory at a time


def kid(real: Features, fake: Features, subsets: int, seed: int) -> tuple[float, float]:
    """Return the Kernel Inception Distance of two sets and its standard error; 0 is the same distribution.

    The unbiased squared maximum mean discrepancy under the cubic kernel (x·y / d + 1)³, over all of both sets
    (Bińkowski et al. 2018, arXiv 1801.01401); it can fall a little below 0. The standard error is the delete-half
    jackknife (Shao and Wu 1989): the standard deviation of the distance over random halves of both sets. Unlike the
    spread over subsets divided by the root of their number, it does not shrink with the number of subsets, which all
    come from the same faces; for sets that are nearly alike it errs on the large side, up to twofold.

    real, fake: (N, d) and (M, d), N and M at least 4. subsets: the number of halves. The caller scales by 1000.
    """
    x, y = real.astype(np.float64), fake.astype(np.float64)
    rng = np.random.default_rng(seed)
    in_x, in_y = _whole_and_halves(len(x), subsets, rng), _whole_and_halves(len(y), subsets, rng)
    n, m = in_x.sum(axis=0), in_y.sum(axis=0)
    within_x = (_kernel_sums(x, x, in_x, in_x) - _diagonal_sums(x, in_x)) / (n * (n - 1))
    within_y = (_kernel_sums(y, y, in_y, in_y) - _diagonal_sums(y, in_y)) / (m * (m - 1))
    whole, *halves = within_x + within_y - 2 * _kernel_sums(x, y, in_x, in_y) / (n * m)
    return float(whole), float(np.std(halves, ddof=1))


def _whole_and_halves(count: int, subsets: int, rng: np.random.Generator) -> Doubles:
    """Return 0/1 weights (count, 1 + subsets): the first column takes all, each other one a random half."""
    weights = np.zeros((count, 1 + subsets))
    weights[:, 0] = 1.0
    for column in range(1, 1 + subsets):
        weights[rng.choice(count, count // 2, replace=False), column] = 1.0
    return weights


def _kernel_sums(x: Doubles, y: Doubles, in_x: Doubles, in_y: Doubles) -> Doubles:
    """Return, for each column s of the weights, the sum of kernel(x_i, y_j) over the i and j that it takes."""
    total = np.zeros(in_x.shape[1])
    for start in range(0, len(x), ROWS):
        rows = slice(start, start + ROWS)
        kernel = (x[rows] @ y.T / x.shape[1] + 1.0) ** 3
        total += (in_x[rows] * (kernel @ in_y)).sum(axis=0)
    return total


def _diagonal_sums(x: Doubles, in_x: Doubles) -> Doubles:
    total: Doubles = ((x * x).sum(axis=1) / x.shape[1] + 1.0) ** 3 @ in_x
    return total


def frechet_distance(real: Features, fake: Features) -> float:
    """Return the Fréchet distance of two sets as Gaussians: |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½).

    The formula of FID (Heusel et al. 2017, arXiv 1706.08500), on features that are not Inception's. With Σ = XᵀX for
    the centred and scaled sets X, the trace of the root is the sum of the singular values of X₁X₂ᵀ: no matrix root, no
    complex numbers, and nothing special where there are fewer samples than dimensions.

    real, fake: (N, d) and (M, d), N and M at least 2. The value depends on N and M: compare at equal ones only.
    """
    x, y = _factor(real), _factor(fake)
    shift = real.mean(axis=0, dtype=np.float64) - fake.mean(axis=0, dtype=np.float64)
    overlap = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(shift @ shift + (x * x).sum() + (y * y).sum() - 2 * overlap)


def _factor(features: Features) -> Doubles:
    """Return X with XᵀX the unbiased covariance of features, and at most as many rows as columns."""
    centred = features - features.mean(axis=0, dtype=np.float64)
    scaled: Doubles = centred / np.sqrt(len(features) - 1)
    return scipy.linalg.qr(scaled, mode="r")[0][: scaled.shape[1]] if len(scaled) > scaled.shape[1] else scaled
