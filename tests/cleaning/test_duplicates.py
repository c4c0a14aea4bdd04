from __future__ import annotations

import numpy as np
import pytest

from pipeline.cleaning.duplicates import (
    best_first,
    champions,
    duplicate_reasons,
    groups,
    one_per_content,
    same_content_pairs,
)


def outcome(pairs, holdout="", dropped="", rank=None, same="abcd", within=True):
    """Return the reasons for four pictures a, b, c, d; holdout and dropped name some of them."""
    names = np.array(list("abcd"))
    group = groups(4, np.array([["abcd".index(name) for name in pair] for pair in pairs], np.int64).reshape(-1, 2))
    in_holdout, kept = np.isin(names, list(holdout)), ~np.isin(names, list(dropped))
    champion = champions(group, in_holdout, kept, np.arange(4) if rank is None else np.array(rank))
    reasons = duplicate_reasons(champion, np.array(["abcd".index(name) for name in same]), in_holdout, kept, within)
    return list(reasons), "".join("abcd"[at] for at in champion)


NEAR, EXACT, TWIN = "near duplicate", "exact duplicate", "holdout twin"


@pytest.mark.parametrize(
    ("case", "reasons", "champion"),
    [
        pytest.param({"pairs": []}, [None] * 4, "abcd", id="no copies"),
        pytest.param({"pairs": ["ab"]}, [None, NEAR, None, None], "aacd", id="the best stays"),
        pytest.param({"pairs": ["ab"], "rank": [1, 0, 2, 3]}, [NEAR, None, None, None], "bbcd", id="the better second"),
        pytest.param({"pairs": ["ab", "bc"]}, [None, NEAR, NEAR, None], "aaad", id="a chain is a group"),
        pytest.param({"pairs": ["ab"], "same": "aacd"}, [None, EXACT, None, None], "aacd", id="the same bytes"),
        pytest.param({"pairs": ["ab"], "holdout": "b"}, [TWIN, None, None, None], "bbcd", id="the holdout wins"),
        pytest.param(
            {"pairs": ["ab", "bc"], "holdout": "bc"}, [TWIN, None, NEAR, None], "bbbd", id="two in the holdout"
        ),
        pytest.param(
            {"pairs": ["ab", "bc"], "holdout": "c"}, [TWIN, TWIN, None, None], "cccd", id="all train members of a group"
        ),
        pytest.param(
            {"pairs": ["ab"], "holdout": "b", "dropped": "b"},
            [TWIN, None, None, None],
            "bbcd",
            id="a dropped holdout copy",
        ),
        pytest.param(
            {"pairs": ["ab", "bc"], "holdout": "ab", "dropped": "a"},
            [None, None, TWIN, None],
            "bbbd",
            id="the kept holdout copy stays",
        ),
        pytest.param({"pairs": ["ab"], "within": False}, [None] * 4, "aacd", id="within a split, off"),
        pytest.param(
            {"pairs": ["ab"], "holdout": "b", "within": False},
            [TWIN, None, None, None],
            "bbcd",
            id="the guard, never off",
        ),
    ],
)
def test_which_copy_stays(case, reasons, champion):
    assert outcome(**case) == (reasons, champion)


def test_best_first_prefers_undamaged_large_fat_and_sharp():
    repairs = np.array([None, "dark", None, None, None, None], object)
    area = np.array([100, 400, 200, 200, 200, 200.0])
    size = np.array([90, 90, 50, 80, 80, 80.0])
    blur = np.array([0.1, 0.1, 0.1, 0.4, 0.2, 0.2])
    rank = best_first(repairs, area, size, blur)
    assert np.argsort(rank).tolist() == [4, 5, 3, 2, 0, 1]


def test_same_bytes_are_chained_among_the_members():
    contents = np.array([7, 9, 7, -1, 7, 9])
    assert same_content_pairs(contents, np.array([0, 1, 2, 4, 5])).tolist() == [[0, 2], [2, 4], [1, 5]]
    assert one_per_content(contents, np.array([0, 1, 2, 4, 5])).tolist() == [0, 1]
