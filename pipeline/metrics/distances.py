"""Distances between two sets of features, each with its standard error: KID and the Fréchet distance.

All arithmetic is in float64. The errors are over another draw of both sets, the real and the generated one; the
training of the generator is held fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from pipeline.metrics.backbone import Features

Doubles = NDArray[np.float64]

# Whose random halves, for the standard errors: a set's seed is the run's and this one. (Not 0: that would be
# the run's own.)
REAL, FAKE = 1, 2
ROWS = 1024  # of a kernel matrix in memory at a time


class Within(NamedTuple):
    """What KID needs of a set alone, so that it is computed once where the set is compared with several."""

    features: Features  # (N, d)
    taken: Doubles  # (N, 1 + subsets) of 0 and 1: all images, then random halves of them
    kernel: Doubles  # (1 + subsets,): the mean kernel of two different images, of all and of each half


def within(features: Features, subsets: int, seed: Sequence[int]) -> Within:
    """Return a set's own part of kid(); the sets that are compared need seeds of their own."""
    x = features.astype(np.float64)
    taken = _whole_and_halves(len(x), subsets, np.random.default_rng(seed))
    n = taken.sum(axis=0)
    return Within(features, taken, (_kernel_sums(x, x, taken, taken) - _diagonal_sums(x, taken)) / (n * (n - 1)))


def kid(real: Features, fake: Features, subsets: int, seed: int) -> tuple[float, float]:
    """Return the Kernel Inception Distance of two sets and its standard error; 0 is the same distribution.

    The unbiased squared maximum mean discrepancy under the cubic kernel (x·y / d + 1)³, over all of both sets
    (Bińkowski et al. 2018, arXiv 1801.01401); it can fall a little below 0. The standard error is the delete-half
    jackknife (Shao and Wu 1989): the standard deviation of the distance over random halves of both sets. Unlike the
    spread over subsets divided by the root of their number, it does not shrink with the number of subsets, which all
    come from the same faces; for sets that are nearly alike it errs on the large side, up to twofold.

    real, fake: (N, d) and (M, d), N and M at least 4. subsets: the number of halves. The caller scales by 1000.
    """
    return kid_between(within(real, subsets, (seed, REAL)), within(fake, subsets, (seed, FAKE)))


def kid_between(real: Within, fake: Within) -> tuple[float, float]:
    """Return kid() of two sets by what is known of each."""
    x, y = real.features.astype(np.float64), fake.features.astype(np.float64)
    n, m = real.taken.sum(axis=0), fake.taken.sum(axis=0)
    between = _kernel_sums(x, y, real.taken, fake.taken) / (n * m)
    whole, *halves = real.kernel + fake.kernel - 2 * between
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


class Gaussian(NamedTuple):
    """What the Fréchet distance needs of a set alone.

    The set less its mean is rows @ factor, and the columns of rows are orthonormal.
    """

    mean: Doubles  # (d,)
    norms: Doubles  # (N,): the squared distance of each image from the mean
    rows: Doubles  # (N, r), r the lesser of N and d
    factor: Doubles  # (r, d)


def gaussian(features: Features) -> Gaussian:
    """Return a set's own part of frechet()."""
    mean = features.mean(axis=0, dtype=np.float64)
    centred = features - mean
    return Gaussian(mean, np.einsum("ij,ij->i", centred, centred), *scipy.linalg.qr(centred, mode="economic"))


def frechet(real: Features, fake: Features) -> tuple[float, float]:
    """Return the Fréchet distance of two sets as Gaussians, |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½), and its standard
    error.

    The formula of FID (Heusel et al. 2017, arXiv 1706.08500), on features that are not Inception's. With Σ = XᵀX for
    the centred and scaled sets X, the trace of the root is the sum of the singular values of X₁X₂ᵀ: no matrix root, no
    complex numbers, and nothing special where there are fewer samples than dimensions.

    The error is by the influence of each face (the infinitesimal jackknife, Efron 1982); Rippl, Munk and Sturm (2016,
    arXiv 1507.04090) have the limit law that it rests on. A real face a, centred, moves the distance in proportion to
    2 a·(μ₁ - μ₂) + |a|² - aᵀTa, where T is the linear map that takes the one Gaussian to the other, and a generated
    face likewise; it is the spread of these over the faces. No set is drawn again, so it costs little more than the
    distance. For sets that are nearly alike it errs on the large side, up to twofold.

    real, fake: (N, d) and (M, d), N and M at least 2. The value depends on N and M: compare at equal ones only.
    """
    return frechet_between(gaussian(real), gaussian(fake))


def frechet_between(real: Gaussian, fake: Gaussian) -> tuple[float, float]:
    """Return frechet() of two sets by what is known of each."""
    n, m = len(real.norms), len(fake.norms)
    left, overlap, right = np.linalg.svd(real.factor @ fake.factor.T, full_matrices=False)
    shift = real.mean - fake.mean
    root = overlap.sum() / np.sqrt((n - 1) * (m - 1))
    distance = shift @ shift + real.norms.sum() / (n - 1) + fake.norms.sum() / (m - 1) - 2 * root

    # aᵀTa by the singular vectors, so that no covariance need have an inverse; overlap is √((n - 1)(m - 1)) too large.
    ratio = np.sqrt((n - 1) / (m - 1))
    moved_x, moved_y = ratio * (real.rows @ left) ** 2 @ overlap, (fake.rows @ right.T) ** 2 @ overlap / ratio
    influence_x = 2 * (real.rows @ (real.factor @ shift)) + real.norms - moved_x
    influence_y = -2 * (fake.rows @ (fake.factor @ shift)) + fake.norms - moved_y
    variance = influence_x.var(ddof=1) / n + influence_y.var(ddof=1) / m
    return float(distance), float(np.sqrt(variance))
