from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import StageError
from pipeline.metrics.backbone import Features
from pipeline.metrics.coverage import coverage_figures
from pipeline.metrics.distances import frechet, kid
from pipeline.metrics.rulers import load_enough, load_rulers
from pipeline.metrics.scores import COMPARISONS, Comparison, all_figures, figure_name, summary
from pipeline.metrics.sliced import sliced_wasserstein
from pipeline.metrics.standard_errors import coverage_errors
from pipeline.params import EvaluateParams

KNOBS = EvaluateParams(
    generator="last",
    n_generated=64,
    n_real=64,
    kid_subsets=5,
    nearest_k=3,
    copied_percentile=1.0,
    inception_weights=None,
    cache_mb=1.0,
)


@pytest.mark.parametrize(
    ("figure", "who", "ruler", "name"),
    [
        pytest.param("kid_lite0", "", "clean", "kid_lite0_clean", id="KID, clean"),
        pytest.param("kid_lite0", "", "raw", "kid_lite0_raw", id="KID, raw"),
        pytest.param("kid_lite0_se", "", "pristine", "kid_lite0_pristine_se", id="its error"),
        pytest.param("kid_lite0_se", "live", "clean", "kid_lite0_live_clean_se", id="without EMA"),
        pytest.param("fd_lite0", "", "raw", "fd_lite0_raw", id="Fréchet"),
        pytest.param("swd_lite0", "floor", "raw", "swd_lite0_floor", id="sliced Wasserstein's floor"),
        pytest.param("diversity", "", "raw", "diversity", id="diversity"),
        pytest.param("diversity", "floor", "raw", "diversity_floor", id="real diversity"),
        pytest.param("kid_lite0", "floor", "raw", "kid_lite0_floor", id="floor"),
        pytest.param("kid_lite0_se", "floor", "raw", "kid_lite0_floor_se", id="floor's error"),
        pytest.param("fd_lite0", "floor", "clean", "fd_lite0_floor_clean", id="floor, clean"),
        pytest.param("precision", "", "raw", "precision", id="precision"),
        pytest.param("coverage", "", "clean", "coverage_clean", id="coverage, clean"),
        pytest.param("recall", "floor", "raw", "recall_floor", id="recall's ceiling"),
        pytest.param("precision_se", "", "raw", "precision_se", id="precision's error"),
        pytest.param("coverage_se", "floor", "clean", "coverage_floor_clean_se", id="its ceiling's error, clean"),
    ],
)
def test_names(figure: str, who: str, ruler: str, name: str) -> None:
    assert figure_name(figure, who, ruler) == name


def test_all_figures_are_finite_under_the_pinned_names() -> None:
    rng = np.random.default_rng(0)
    real, floor, fake = (rng.normal(shift, 1, (40, 8)).astype(np.float32) for shift in (0, 0, 1))
    figures = all_figures({"": fake, "live": fake, "floor": floor}, {"clean": real, "raw": real}, KNOBS, seed=0)
    pinned = (
        "kid_lite0_clean kid_lite0_clean_se kid_lite0_raw kid_lite0_raw_se kid_lite0_live_clean kid_lite0_live_raw "
        "fd_lite0_clean fd_lite0_raw precision recall density coverage precision_clean coverage_clean "
        "kid_lite0_floor fd_lite0_floor swd_lite0_clean swd_lite0_raw swd_lite0_floor diversity diversity_floor "
        "fd_lite0_live_clean swd_lite0_live_raw precision_live recall_live density_live_clean coverage_live "
        "diversity_live"
    )
    assert set(pinned.split()) <= set(figures)
    assert "diversity_clean" not in figures
    assert {name for name in figures if not name.endswith("_se") and f"{name}_se" not in figures} == set()
    assert not any(name.startswith("fid") or "inception" in name for name in figures)
    json.dumps(figures, allow_nan=False)
    assert figures["kid_lite0_live_raw"] == figures["kid_lite0_raw"] > 100 > abs(figures["kid_lite0_floor"])
    assert figures["precision_live"] == figures["precision"] < figures["precision_floor"]
    assert figures["fd_lite0_raw"] > figures["fd_lite0_floor"]
    assert f"{figures['kid_lite0_raw']:.1f}" in summary(figures)


@pytest.mark.parametrize("cores", [pytest.param(1, id="one core"), pytest.param(8, id="eight")])
def test_each_pair_is_compared_and_each_set_prepared_once(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[int] = []

    def counted(comparison: Comparison[Any]) -> Comparison[Any]:
        def prepare(features: Features, *rest: Any) -> Any:
            prepared.append(len(features))
            return comparison.prepare(features, *rest)

        return comparison._replace(prepare=prepare)

    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores))
    monkeypatch.setattr("pipeline.metrics.scores.COMPARISONS", [counted(each) for each in COMPARISONS])
    rng = np.random.default_rng(0)
    drawn, live, clean, raw, pristine = (
        rng.normal(count / 30, 1, (count, 8)).astype(np.float32) for count in (30, 31, 32, 33, 34)
    )
    fakes, rulers = {"": drawn, "live": live}, {"clean": clean, "raw": raw, "pristine": pristine}
    figures = all_figures(fakes, rulers, KNOBS, seed=3)

    assert sorted(prepared) == sorted(len(COMPARISONS) * [30, 31, 32, 33, 34])
    for who, fake in fakes.items():
        for ruler, real in rulers.items():
            expected = {
                "kid_lite0": 1000 * kid(real, fake, KNOBS.kid_subsets, 3)[0],
                "kid_lite0_se": 1000 * kid(real, fake, KNOBS.kid_subsets, 3)[1],
                "fd_lite0": frechet(real, fake)[0],
                "fd_lite0_se": frechet(real, fake)[1],
                "swd_lite0": 1000 * sliced_wasserstein(real, fake)[0],
                **vars(coverage_figures(real, fake, KNOBS.nearest_k)),
                "recall_se": coverage_errors(real, fake, KNOBS.nearest_k, KNOBS.kid_subsets, 3).recall,
            }
            found = {figure: figures[figure_name(figure, who, ruler)] for figure in expected}
            assert found == pytest.approx(expected, abs=1e-6)


def test_a_comparison_that_fails_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    begun: list[int] = []
    first = COMPARISONS[0]._replace(prepare=fail)
    others = [Comparison(lambda *_: begun.append(1) or time.sleep(0.1), fail) for _ in range(20)]
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(1))
    monkeypatch.setattr("pipeline.metrics.scores.COMPARISONS", [first, *others])
    sets = {"raw": np.zeros((4, 2), np.float32)}
    with pytest.raises(MemoryError):
        all_figures(sets, sets, KNOBS, seed=0)
    assert len(begun) < 5


def save_arrays(folder: Path, **counts: int) -> None:
    for name, count in counts.items():
        np.save(folder / f"{name}.npy", np.zeros((count, 8, 8, 3), np.uint8))


def test_rulers_are_clean_and_raw_and_pristine_where_there_is_one(tmp_path: Path) -> None:
    save_arrays(tmp_path, holdout_clean=4, holdout_raw=5)
    assert {name: len(faces) for name, faces in load_rulers(tmp_path).items()} == {"clean": 4, "raw": 5}
    save_arrays(tmp_path, holdout_pristine=6)
    assert list(load_rulers(tmp_path)) == ["clean", "raw", "pristine"]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        pytest.param({"holdout_clean": 9}, "holdout_raw.npy is missing", id="missing"),
        pytest.param({"holdout_clean": 3, "holdout_raw": 9}, "holdout_clean.npy has 3 faces", id="too small"),
    ],
)
def test_rulers_that_cannot_measure_are_refused(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    save_arrays(tmp_path, **counts)
    with pytest.raises(StageError, match=message):
        load_rulers(tmp_path)


def test_too_few_training_faces_are_refused(tmp_path: Path) -> None:
    save_arrays(tmp_path, train=2)
    with pytest.raises(StageError, match="at least 4"):
        load_enough("train", tmp_path)
