"""All figures of an evaluation, by the names that metrics/evaluate.json gives them.

A name is the figure, then `_live` (netG without EMA) or `_floor` (real training faces instead of generated ones), then
the ruler `_clean`, `_raw` or `_pristine`, then `_se` (standard error), which every figure has. Precision, recall,
density, coverage and the floors leave `_raw` out: it is the ruler that no filter setting moves; so does copied_share,
for which copying.py compares with the raw holdout. `diversity` is of a set alone and has no ruler. Figures against the
clean ruler compare only at equal filter params. What official.py adds, `fid` and those in `_inception`, is against the
raw holdout alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, TypeVar

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipeline.metrics.backbone import Features
from pipeline.metrics.coverage import Balls, balls, coverage_between, diversity
from pipeline.metrics.distances import FAKE, REAL, Gaussian, Within, frechet_between, gaussian, kid_between, within
from pipeline.metrics.sliced import sliced_wasserstein
from pipeline.metrics.standard_errors import HalfBalls, coverage_errors_between, half_balls
from pipeline.params import EvaluateParams

Own = TypeVar("Own")  # what is known of a set alone

# Each with copies of two sets in float64 and blocks of a matrix, 0.9 GB at 20,000 faces; beside them each set's
# Gaussian, 0.2 GB.
MOST_THREADS = 8


def all_figures(
    fakes: Mapping[str, Features], rulers: Mapping[str, Features], knobs: EvaluateParams, seed: int
) -> dict[str, float]:
    """Return every figure of each set of fakes, alone and against each ruler, by its name, rounded to six decimals.

    fakes: features (M, 1280) by who made them: "" (netG's EMA), `live` and `floor`. rulers: features (N, 1280) of the
    holdouts clean, raw and perhaps pristine. N and M are at least 4.
    """
    with (
        # One BLAS thread a task, tasks side by side: with more threads than free cores BLAS takes many times as long,
        # and the last digits would depend on their number.
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(min(MOST_THREADS, len(os.sched_getaffinity(0)))) as pool,
    ):
        varied = {who: pool.submit(diversity, features) for who, features in fakes.items()}
        tasks = [task for comparison in COMPARISONS for task in _submit(comparison, fakes, rulers, knobs, seed, pool)]
        try:
            found = [task.result() for task in tqdm(tasks, desc="compare", unit="figure")]
        except BaseException:  # Ctrl-C too need not wait for the rest
            pool.shutdown(cancel_futures=True)
            raise
    alone = {
        figure_name(figure, who, "raw"): round(value, 6)
        for who, future in varied.items()
        for figure, value in zip(("diversity", "diversity_se"), future.result(), strict=True)
    }
    return {name: value for figures in found for name, value in figures.items()} | alone


class Comparison(NamedTuple, Generic[Own]):
    """Figures of two sets by their stems, each with its standard error; distances but for the Fréchet one are ×1000."""

    # What a set needs alone, computed once; the seed is the run's and the set's role in it, REAL or FAKE.
    prepare: Callable[[Features, EvaluateParams, tuple[int, int]], Own]
    # Of what was prepared of a real and a fake set.
    compare: Callable[[Own, Own], dict[str, float]]


def _submit(
    comparison: Comparison[Own],
    fakes: Mapping[str, Features],
    rulers: Mapping[str, Features],
    knobs: EvaluateParams,
    seed: int,
    pool: ThreadPoolExecutor,
) -> list[Future[dict[str, float]]]:
    """Start to compare each set of fakes with each ruler.

    The pool takes tasks in their order, so that no pair waits for a set that nobody has begun to prepare.
    """

    def prepare(features: Features, role: int) -> Future[Own]:
        return pool.submit(comparison.prepare, features, knobs, (seed, role))

    def compare(who: str, fake: Future[Own], ruler: str, real: Future[Own]) -> dict[str, float]:
        figures = comparison.compare(real.result(), fake.result())
        return {figure_name(figure, who, ruler): round(value, 6) for figure, value in figures.items()}

    drawn = {who: prepare(features, FAKE) for who, features in fakes.items()}
    kept = {ruler: prepare(features, REAL) for ruler, features in rulers.items()}
    return [pool.submit(compare, who, fake, *each) for who, fake in drawn.items() for each in kept.items()]


def _prepare_coverage(features: Features, knobs: EvaluateParams, seed: tuple[int, int]) -> tuple[Balls, HalfBalls]:
    halves = half_balls(features, knobs.nearest_k, knobs.kid_subsets, seed)
    return balls(features, knobs.nearest_k), halves


def _coverage(real: tuple[Balls, HalfBalls], fake: tuple[Balls, HalfBalls]) -> dict[str, float]:
    shares, errors = coverage_between(real[0], fake[0]), coverage_errors_between(real[1], fake[1])
    return vars(shares) | {f"{name}_se": error for name, error in vars(errors).items()}


def _prepare_frechet(features: Features, _knobs: EvaluateParams, _seed: tuple[int, int]) -> Gaussian:
    return gaussian(features)


def _frechet(real: Gaussian, fake: Gaussian) -> dict[str, float]:
    return _with_error("fd_lite0", frechet_between(real, fake), 1)


def _prepare_kid(features: Features, knobs: EvaluateParams, seed: tuple[int, int]) -> Within:
    return within(features, knobs.kid_subsets, seed)


def _kid(real: Within, fake: Within) -> dict[str, float]:
    return _with_error("kid_lite0", kid_between(real, fake), 1000)


def _as_it_is(features: Features, _knobs: EvaluateParams, _seed: tuple[int, int]) -> Features:
    return features


def _sliced(real: Features, fake: Features) -> dict[str, float]:
    return _with_error("swd_lite0", sliced_wasserstein(real, fake), 1000)


def _with_error(figure: str, value_and_error: tuple[float, float], scale: float) -> dict[str, float]:
    value, error = value_and_error
    return {figure: scale * value, f"{figure}_se": scale * error}


COMPARISONS: tuple[Comparison[Any], ...] = (  # the longest first, so that no core ends long after the others
    Comparison(_prepare_coverage, _coverage),
    Comparison(_prepare_frechet, _frechet),
    Comparison(_prepare_kid, _kid),
    Comparison(_as_it_is, _sliced),
)


def figure_name(figure: str, who: str, ruler: str) -> str:
    """Return a figure's flat name: (kid_lite0_se, live, clean) gives kid_lite0_live_clean_se; see the module."""
    stem, error, _ = figure.partition("_se")
    raw_is_meant = who == "floor" or not stem.endswith("_lite0")
    parts = [stem, who, "" if ruler == "raw" and raw_is_meant else ruler]
    return "_".join(part for part in parts if part) + error


def summary(figures: Mapping[str, float]) -> str:
    """Return the headline figures as a line to print."""
    return (
        f"KID×1000 {figures['kid_lite0_raw']:.1f} ± {figures['kid_lite0_raw_se']:.1f} against the raw holdout, where "
        f"real training faces reach {figures['kid_lite0_floor']:.1f}; {figures['kid_lite0_clean']:.1f} ± "
        f"{figures['kid_lite0_clean_se']:.1f} against the clean one (compares only at equal filter params); "
        f"precision {figures['precision']:.2f}, recall {figures['recall']:.2f}, density {figures['density']:.2f}, "
        f"coverage {figures['coverage']:.2f}"
    )
