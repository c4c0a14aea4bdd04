"""Does netG draw new faces, or training faces again: distances to the nearest training face, beside a holdout's."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom
from threadpoolctl import threadpool_limits

from pipeline.metrics.backbone import Features
from pipeline.metrics.scores import MOST_THREADS
from pipeline.params import EvaluateParams

Doubles = NDArray[np.float64]
Indices = NDArray[np.intp]

ROWS = 256  # of a matrix of products in memory at a time and thread: 20 MB beside 20,000 training faces


def nearest(queries: Features, pool: Features) -> tuple[Doubles, Indices]:
    """Return for each query how far its nearest feature vector in the pool is, and that one's index.

    queries, pool: (Q, d) and (P, d) → (Q,) and (Q,). The search is in their own precision, which in float32 can err
    only between neighbours that are equally near but for rounding; the distance is then taken from the two vectors in
    float64, so that of an exact copy it is exactly 0.
    """
    half_norms = np.einsum("ij,ij->i", pool, pool) / 2

    def search(start: int) -> tuple[Doubles, Indices]:
        rows = queries[start : start + ROWS]
        # |x - y|² is least where |y|²/2 - x·y is.
        products = rows @ pool.T
        found = np.subtract(half_norms, products, out=products).argmin(axis=1)
        return np.linalg.norm(rows.astype(np.float64) - pool[found], axis=1), found

    # Threads by blocks and not within BLAS, for the reason that scores.all_figures gives.
    cores = min(MOST_THREADS, len(os.sched_getaffinity(0)))
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cores) as threads:
        distances, indices = zip(*threads.map(search, range(0, len(queries), ROWS)), strict=True)
    return np.concatenate(distances), np.concatenate(indices)


def copying_figures(drawn: Doubles, holdout: Doubles, knobs: EvaluateParams, seed: int) -> dict[str, float]:
    """Return copied_share() and its standard error by their names in metrics/evaluate.json."""
    apart = (drawn, holdout, knobs.copied_percentile)
    error = copied_share_error(*apart, knobs.kid_subsets, seed)
    return {"copied_share": copied_share(*apart), "copied_share_se": error}


def copied_share(drawn: Doubles, holdout: Doubles, percentile: float) -> float:
    """Return the share of drawn faces that are nearer to a training face than nearly all of the holdout is.

    Nearer than the given percentile of the holdout's own distances, so that a generator that has learnt the
    distribution, and no picture by heart, has expected_share(); the idea is that of the data-copying test of Meehan,
    Chaudhuri and Dasgupta (2020, arXiv 2004.05675), without its cells. A generator whose faces are far from all real
    ones has 0, whatever it has learnt by heart.

    drawn, holdout: distances (M,) and (N,) to the nearest of the same training faces.
    """
    # Weibull's percentile: of N + 1 draws from one distribution each is the smallest as often as any other.
    return float((drawn < np.percentile(holdout, percentile, method="weibull")).mean())


def expected_share(holdout: int, percentile: float) -> float:
    """Return copied_share() of fresh draws from the distribution that so many holdout faces are from, on average.

    That is percentile / 100, but for few holdout faces, of which the nearest or the farthest is the bound: 1 / (N + 1),
    or N / (N + 1).
    """
    return min(max(percentile / 100, 1 / (holdout + 1)), holdout / (holdout + 1))


def is_below_chance(share: float, drawn: int, holdout: int, percentile: float) -> bool:
    """Whether copied_share() is so low that fresh draws from the holdout's distribution would seldom have it (2.5 %).

    Of M fresh draws as many lie below the j-th smallest of N others as BetaBinomial(M, j, N + 1 - j) says, whatever the
    distribution; the bootstrap's error is 0 where the share is, and can't tell. drawn, holdout: M and N.
    """
    rank = expected_share(holdout, percentile) * (holdout + 1)
    return bool(betabinom.cdf(round(share * drawn), drawn, rank, holdout + 1 - rank) < 0.025)


def copied_share_error(drawn: Doubles, holdout: Doubles, percentile: float, resamples: int, seed: int) -> float:
    """Return the standard error of copied_share(), by the bootstrap (Efron 1979): its standard deviation over fresh
    draws, with replacement, from both sets of distances.

    The training faces are held fixed. Where no drawn face is copied it says little: there may be one in some M / 3.
    """
    rng = np.random.default_rng(seed)
    shares = [
        copied_share(rng.choice(drawn, len(drawn)), rng.choice(holdout, len(holdout)), percentile)
        for _ in range(resamples)
    ]
    return float(np.std(shares, ddof=1))
