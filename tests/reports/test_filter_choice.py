from __future__ import annotations

import numpy as np
import pytest

from pipeline.reports.filter_choice import DROPPED, GROUPS, KEPT, MEMBERS, PAIRS, UNCURED, largest_groups, sections


def strips_of(verdicts, params, title):
    (section,) = (section for section in sections(verdicts, params) if section.title == title)
    return section.strips


@pytest.fixture(scope="module")
def verdicts(verdicts_of):
    return verdicts_of(["good", "good", *["blurry"] * 50, *["dark"] * 20, *["not cured"] * 9, *["good"] * 50])


def test_a_sheet_leads_from_the_clearest_case_over_the_threshold(verdicts, params):
    blurry, kept = strips_of(verdicts, params.filter, "blurry")
    blur = verdicts["blur"].to_numpy()
    over, under = ([blur[row] for row, _ in strip.rows] for strip in (blurry, kept))
    assert over == sorted(over, reverse=True)
    assert (over[0], over[-1]) == (blur[2:52].max(), blur[2:52].min())
    assert len(over) == sum(DROPPED)
    assert under[0] == max(under) == blur[verdicts["kept"].to_numpy()].max()
    assert under == sorted(under, reverse=True)
    assert blurry.rows[-1][1]
    assert kept.rows[0][1]
    assert not blurry.rows[0][1]


def test_borderline_is_within_a_fifth_of_the_threshold(verdicts, params):
    blur, sharpness = verdicts["blur"].to_numpy(), verdicts["sharpness"].to_numpy()
    for strip in strips_of(verdicts, params.filter, "blurry"):
        for row, borderline in strip.rows:
            ratio = min(blur[row] / params.filter.max_blur, params.filter.min_sharpness / sharpness[row])
            assert borderline == (1 / 1.2 <= ratio <= 1.2)


def test_repairs_and_what_escaped_them(verdicts, params):
    done, failed, escaped = strips_of(verdicts, params.filter, "gaussian noise")
    assert (len(done.rows), len(failed.rows)) == (0, UNCURED)
    assert {verdicts["noise"][row].as_py() > params.filter.max_noise for row, _ in failed.rows} == {True}
    assert not {row for row, _ in escaped.rows} & {row for row, _ in failed.rows}
    done, failed, escaped = strips_of(verdicts, params.filter, "dark")
    assert (len(done.rows), len(failed.rows), done.pair) == (sum(PAIRS), 0, "repair")
    assert verdicts["gamma"][escaped.rows[0][0]].as_py() == pytest.approx(2.0)


def test_of_what_is_far_from_a_threshold_three_are_enough(verdicts, params):
    assert len(strips_of(verdicts, params.filter, "aspect")[1].rows) == 3


def test_a_filter_that_is_off_spares_nothing(verdicts, params):
    off = params.filter.model_copy(update={"blur": False})
    assert strips_of(verdicts, off, "blurry")[1].rows == []


def test_what_was_left_alone_is_a_fair_sample(verdicts, params):
    (strip,) = strips_of(verdicts, params.filter, "left alone")
    rows = [row for row, _ in strip.rows]
    assert len(rows) == KEPT
    assert (max(rows), min(rows)) == (len(verdicts) - 1, 0)


def test_a_copy_is_borderline_by_its_difference(verdicts_of, params):
    verdicts = verdicts_of(["good", "good", *["near duplicate"] * 40, *["exact duplicate"] * 5])
    (strip,) = strips_of(verdicts, params.filter, "near duplicate")
    difference = [verdicts["difference"][row].as_py() for row, _ in strip.rows]
    assert difference == sorted(difference)
    assert difference[-1] == 0.19
    assert [mark for _, mark in strip.rows] == [value >= 0.2 / 1.2 for value in difference]
    (strip,) = strips_of(verdicts, params.filter, "exact duplicate")
    assert [mark for _, mark in strip.rows] == [False] * 5


def test_the_largest_groups_come_first(verdicts_of):
    verdicts = verdicts_of(["good", "good", *["holdout twin"] * 3, *["near duplicate"] * 12])
    groups, total = largest_groups(verdicts)
    assert total == 2
    assert [(group.best, group.total) for group in groups] == [(0, 12), (1, 3)]
    assert [len(group.copies) for group in groups] == [MEMBERS, 3]


def test_groups_are_bounded(verdicts_of):
    verdicts = verdicts_of(["good"] * 50 + ["near duplicate"] * 50)
    winners = np.where(np.arange(100) < 50, -1, np.arange(100) - 50)
    column = verdicts["duplicate_of"].type
    verdicts = verdicts.set_column(
        verdicts.schema.get_field_index("duplicate_of"),
        "duplicate_of",
        [[None if best < 0 else int(best) for best in winners]],
    )
    assert verdicts["duplicate_of"].type == column
    groups, total = largest_groups(verdicts)
    assert (len(groups), total, groups[0].best) == (GROUPS, 50, 0)


def test_no_copies(verdicts_of):
    assert largest_groups(verdicts_of(["good"])) == ([], 0)


def test_what_is_asked_of_all_has_sections_of_its_own(verdicts_of, repairs_of, params):
    verdicts = verdicts_of(["good"] * 30 + ["not cured"] * 3)
    verdicts = repairs_of(verdicts, ["denoised"] * 20 + ["denoised and toned"] * 9 + [None] + ["denoised"] * 3)
    asked = params.filter.model_copy(update={"denoise_all": "wavelet", "tone_all": "log"})
    totals = {section.title: section.total for section in sections(verdicts, asked)}
    assert list(totals)[-4:] == ["denoised", "toned", "denoised and toned", "left alone"]
    assert list(totals.values())[-4:] == [23, 0, 9, 1]
    (strip,) = strips_of(verdicts, asked, "denoised")
    assert (len(strip.rows), strip.pair) == (sum(PAIRS), "repair")
    done, failed, escaped = strips_of(verdicts, asked, "gaussian noise")
    assert (len(done.rows), len(failed.rows)) == (0, 3)
    assert len(escaped.rows) >= 3
    assert "toned" not in {section.title for section in sections(verdicts, params.filter)}
