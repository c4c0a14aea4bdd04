"""The benchmarks' own arithmetic, on labels whose score is known."""

import numpy as np
import pytest

from benchmarks.filter_quality import psnr, reject_score, rejects
from benchmarks.filter_vs_peers import one_each
from benchmarks.hash_search import drawn


def label(file, expect, pair="", kind="kind"):
    return {"file": file, "kind": kind, "expect": expect, "pair": pair}


LABELS = [
    label("clean", "keep"),
    label("original", "keep"),
    label("copy", "reject", pair="original", kind="copy"),
    label("blurred", "reject", kind="blurred"),
    label("noisy", "repair"),
]


@pytest.mark.parametrize(
    ("dropped", "precision", "recall"),
    [
        pytest.param({"copy", "blurred"}, 1, 1, id="all"),
        pytest.param({"original", "blurred"}, 1, 1, id="the other of a pair"),
        pytest.param({"copy", "original", "blurred"}, 2 / 3, 1, id="both of a pair"),
        pytest.param({"blurred", "clean", "noisy"}, 1 / 3, 1 / 2, id="wrong ones"),
        pytest.param(set(), 0, 0, id="none"),
    ],
)
def test_rejects_are_scored(dropped, precision, recall):
    scored = reject_score(*rejects(LABELS, dropped))
    assert scored[:2] == pytest.approx((precision, recall))
    assert scored[2] == pytest.approx(2 * precision * recall / max(precision + recall, 1e-9))


def test_of_each_list_of_duplicates_one_stays():
    assert one_each({"a"}, [["a", "b"], ["c", "d", "e"]]) == {"a", "d", "e"}


def test_psnr_of_a_known_error():
    flat = np.zeros((8, 8, 3), np.uint8)
    assert psnr(flat + np.uint8(10), flat) == pytest.approx(28.13, abs=0.01)
    assert psnr(flat, flat) == pytest.approx(54.15, abs=0.01)


def test_drawn_hashes_are_the_same_again_and_hold_copies():
    hashes = drawn(2_000)
    assert np.array_equal(hashes, drawn(2_000))
    assert len(np.unique(hashes)) < len(hashes)
