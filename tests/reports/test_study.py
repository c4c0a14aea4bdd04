"""On outcomes whose figures are known by arithmetic."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.paired import Interval
from pipeline.reports.study import (
    Arm,
    Level,
    as_json,
    closed_gap,
    comparison,
    level_page,
    markdown,
    shared_seeds,
    write_study,
)


def arm(name: str, pristine: Mapping[int, float], raw: Mapping[int, float] | None = None, kimg: float = 100.0) -> Arm:
    outcomes = {seed: {"kimg": kimg, "pristine": kid} for seed, kid in pristine.items()}
    for seed, kid in (raw or {}).items():
        outcomes[seed]["raw"] = kid
    return Arm(name, 1000, outcomes)


def level(cleaned: Mapping[int, float], pristine: Mapping[int, float] | None = None) -> Level:
    raw = {0: 400.0, 1: 410.0, 2: 420.0}
    arms = [arm("raw", raw, raw), arm("cleaned", cleaned, dict.fromkeys(cleaned, 400.0))]
    return Level(0.42, arms + ([arm("pristine", pristine)] if pristine else []))


BETTER = {0: 378.0, 1: 390.0, 2: 402.0}  # raw - 22, - 20, - 18
PRISTINE = {0: 361.0, 1: 370.0, 2: 379.0}  # raw - 39, - 40, - 41


def test_a_difference_is_of_pairs_and_in_per_cent_of_each_pair() -> None:
    whole = level(BETTER)
    found = comparison(whole.arms[1], whole.arms[0], "pristine")
    assert found is not None
    assert (found["pairs"], found["difference"].value) == (3, -20.0)
    # Deviation 2 over √3, times t(0.975, 2) = 4.3027.
    assert found["difference"].high == pytest.approx(-20 + 4.3027 * 2 / np.sqrt(3), abs=1e-3)
    assert found["per_cent"].value == pytest.approx(-100 * (22 / 400 + 20 / 410 + 18 / 420) / 3)
    assert found["smallest_detectable"] > 0


@pytest.mark.parametrize("raw", [0.0, -0.5])
def test_of_a_figure_that_is_not_above_0_there_are_no_per_cents(raw: float) -> None:
    arms = [arm("raw", {0: raw, 1: 2.0, 2: 3.0}), arm("cleaned", {0: 1.0, 1: 1.0, 2: 1.0})]
    found = comparison(arms[1], arms[0], "pristine")
    assert found is not None
    assert found["per_cent"] is None
    row, verdict = (line for line in level_page(Level(0.42, arms)) if line.startswith(("| cleaned", "- Against")))
    assert "%" not in verdict
    assert row.split(" | ")[-2] == "–"


def test_a_seed_that_one_arm_lacks_counts_for_none() -> None:
    raw, other = arm("raw", {0: 400.0, 1: 410.0, 2: 420.0}), arm("cleaned", {1: 400.0, 2: 415.0, 3: 1.0})
    assert shared_seeds(raw, other) == [1, 2]
    found = comparison(other, raw, "pristine")
    assert found is not None
    assert found["difference"].value == -7.5


def test_one_pair_or_another_ruler_compares_nothing() -> None:
    raw, other = arm("raw", {0: 400.0, 1: 410.0}), arm("cleaned", {1: 400.0})
    assert comparison(other, raw, "pristine") is None
    assert comparison(arm("pristine", {0: 390.0, 1: 400.0}), raw, "raw") is None
    assert comparison(raw, raw, "pristine") is None


def test_the_share_of_the_gap() -> None:
    share = closed_gap(level(BETTER, PRISTINE))
    assert isinstance(share, Interval)
    assert share.value == pytest.approx(0.5)
    assert share.low < 0.5 < share.high
    assert closed_gap(level(BETTER)) is None
    assert closed_gap(level(BETTER, {0: 300.0})) is None


@pytest.mark.parametrize(
    ("cleaned", "says"),
    [
        pytest.param(BETTER, "cleaning helped: KID×1000 by -20.0 (-25.0 … -15.0)", id="better"),
        pytest.param({0: 422.0, 1: 430.0, 2: 438.0}, "cleaning made it worse: KID×1000 by +20.0", id="worse"),
        pytest.param({0: 380.0, 1: 410.0, 2: 439.0}, "no effect of cleaning is shown", id="chance"),
    ],
)
def test_the_page_says_what_follows(cleaned: dict[int, float], says: str) -> None:
    page = markdown([level(cleaned, PRISTINE)], {"ngf": "16"})
    assert f"Against the undamaged holdout, {says}" in page
    assert "| raw | 1000 faces | 100.0 | 3 | 410.0 ± 5.8 | 410.0 ± 5.8 | – | – | – |" in page
    assert "`ngf=16`" in page
    assert "42% of the images damaged or copied" in page


def test_the_page_says_how_much_of_the_gap_closes_or_that_there_is_none() -> None:
    assert "Cleaning closes 50% (" in markdown([level(BETTER, PRISTINE)], {})
    by_chance = markdown([level(BETTER, {0: 300.0, 1: 410.0, 2: 520.0})], {})
    assert "can't be told: that there is a gap at all is within chance." in by_chance
    assert "can't be told: pristine came out worse than raw." in markdown(
        [level(BETTER, {0: 440.0, 1: 450.0, 2: 461.0})], {}
    )


def test_the_page_says_how_unequal_the_images_shown_are() -> None:
    arms = [arm("raw", BETTER, kimg=100.0), arm("cleaned", PRISTINE, kimg=102.0)]
    assert "The images shown differ by 2.0% at most." in markdown([Level(0.42, arms)], {})


def test_too_little_leaves_a_page_all_the_same(tmp_path: Path) -> None:
    for arms in (
        [],
        [arm("raw", {}), arm("cleaned", {})],
        [arm(name, {0: 400.0}) for name in ("raw", "cleaned", "pristine")],
    ):
        page = write_study([Level(0.42, arms)], {}, {}, tmp_path)
        assert "nothing follows" in page


def test_the_files_hold_the_same_figures(tmp_path: Path) -> None:
    levels = [level(BETTER, PRISTINE), level(BETTER)]
    page = write_study(levels, {"ngf": "16"}, {"lr": 0.1}, tmp_path)
    assert (tmp_path / "study.md").read_text(encoding="utf-8") == page
    found = json.loads((tmp_path / "study.json").read_text())
    assert found == json.loads(json.dumps(as_json(levels, {"ngf": "16"}, {"lr": 0.1})))
    cleaned = found["levels"][0]["arms"]["cleaned"]
    assert cleaned["to_raw_by_pristine"]["difference"]["value"] == -20.0
    assert cleaned["to_raw_by_raw"]["pairs"] == 3
    assert "to_raw_by_raw" not in found["levels"][0]["arms"]["pristine"]
    assert found["levels"][0]["gap_closed"]["value"] == pytest.approx(0.5)
    with Image.open(tmp_path / "study.png") as picture:
        assert picture.format == "PNG"


def test_a_part_of_the_filter_is_judged_by_the_pairs_without_and_with_it() -> None:
    """Raw's luck, the same in both differences to raw, would hide that each seed is 5 better without."""
    raw, cleaned = {0: 300.0, 1: 410.0, 2: 520.0}, {0: 400.0, 1: 401.0, 2: 402.0}
    without = {0: 396.0, 1: 396.0, 2: 396.0}
    found = Level(0.21, [arm("raw", raw), arm("cleaned", cleaned), arm("no-dedup", without)])
    table = [line for line in level_page(found) if line.startswith("| no-dedup")]
    assert [line.split(" | ")[-3].split(" (")[0] for line in table] == ["-14.0", "-5.0"]
    told = as_json([found], {}, {})["levels"][0]["arms"]
    assert told["no-dedup"]["to_cleaned_by_pristine"]["difference"]["high"] == pytest.approx(
        -5 + 4.3027 / 3**0.5, abs=1e-3
    )
    assert "to_cleaned_by_pristine" not in told["raw"]


def test_a_part_is_told_where_only_the_whole_stands_beside_it() -> None:
    lines = level_page(Level(0.21, [arm("cleaned", BETTER), arm("no-blur", PRISTINE)]))
    assert "| no-blur | -20.0 (" in "\n".join(lines)
