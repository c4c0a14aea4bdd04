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
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipeline.metrics.backbone import Features
from pipeline.metrics.coverage import coverage_figures, diversity
from pipeline.metrics.distances import frechet_distance, kid
from pipeline.metrics.sliced import sliced_wasserstein
from pipeline.metrics.standard_errors import coverage_errors, frechet_error
from pipeline.params import EvaluateParams

MOST_THREADS = 8  # each with copies of two sets in float64: half a gigabyte at 20,000 faces


def all_figures(
    fakes: Mapping[str, Features], rulers: Mapping[str, Features], knobs: EvaluateParams, seed: int
) -> dict[str, float]:
    """Return every figure of each set of fakes, alone and against each ruler, by its name, rounded to six decimals.

    fakes: features (M, 1280) by who made them: "" (netG's EMA), `live` and `floor`. rulers: features (N, 1280) of the
    holdouts clean, raw and perhaps pristine. N and M are at least 4.
    """
    # The longest first, so that no core ends long after the others.
    tasks = [(who, ruler, figures) for figures in COMPARISONS for who in fakes for ruler in rulers]

    def compare(task: tuple[str, str, Comparison]) -> dict[str, float]:
        who, ruler, figures = task
        compared = figures(rulers[ruler], fakes[who], knobs, seed)
        return {figure_name(figure, who, ruler): round(value, 6) for figure, value in compared.items()}

    # One BLAS thread a task, tasks side by side: with more threads than free cores BLAS takes many times as long, and
    # the last digits would depend on their number.
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(min(MOST_THREADS, len(os.sched_getaffinity(0)))) as pool,
    ):
        varied = {who: pool.submit(diversity, features) for who, features in fakes.items()}
        done = list(tqdm(pool.map(compare, tasks), total=len(tasks), desc="compare", unit="figure"))
    alone = {
        figure_name(figure, who, "raw"): round(value, 6)
        for who, future in varied.items()
        for figure, value in zip(("diversity", "diversity_se"), future.result(), strict=True)
    }
    return {name: value for figures in done for name, value in figures.items()} | alone


def _coverage(real: Features, fake: Features, knobs: EvaluateParams, seed: int) -> dict[str, float]:
    shares = coverage_figures(real, fake, knobs.nearest_k)
    errors = coverage_errors(real, fake, knobs.nearest_k, knobs.kid_subsets, seed)
    return vars(shares) | {f"{name}_se": error for name, error in vars(errors).items()}


def _frechet(real: Features, fake: Features, _knobs: EvaluateParams, _seed: int) -> dict[str, float]:
    return {"fd_lite0": frechet_distance(real, fake), "fd_lite0_se": frechet_error(real, fake)}


def _kid(real: Features, fake: Features, knobs: EvaluateParams, seed: int) -> dict[str, float]:
    value, error = kid(real, fake, knobs.kid_subsets, seed)
    return {"kid_lite0": 1000 * value, "kid_lite0_se": 1000 * error}


def _sliced(real: Features, fake: Features, _knobs: EvaluateParams, _seed: int) -> dict[str, float]:
    apart, error = sliced_wasserstein(real, fake)
    return {"swd_lite0": 1000 * apart, "swd_lite0_se": 1000 * error}


# Real and fake features, knobs and seed → figures by their stems, each with its standard error; distances but for the
# Fréchet one are ×1000.
Comparison = Callable[[Features, Features, EvaluateParams, int], dict[str, float]]
COMPARISONS: tuple[Comparison, ...] = (_coverage, _frechet, _kid, _sliced)


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
