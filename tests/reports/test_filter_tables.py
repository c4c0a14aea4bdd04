from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest

from pipeline.reports.filter_tables import MAIN, write_tables


@pytest.fixture
def tables(tmp_path, params):
    def read(verdicts):
        paths = tmp_path / "rejects.csv", tmp_path / "histograms.csv"
        write_tables(verdicts, params.filter, *paths)
        return [list(csv.DictReader(path.read_text().splitlines())) for path in paths]

    return read


def test_every_reason_is_counted_also_where_it_never_was_one(tables, verdicts_of):
    rejects, _ = tables(verdicts_of(["blurry", "good", "faded", "blurry", "holdout twin", "unreadable"]))
    found = {"unreadable": 1, "blurry": 2, "holdout twin": 1}
    reasons = [
        "unreadable",
        "aspect",
        "too small",
        "uniform",
        "blurry",
        "exact duplicate",
        "near duplicate",
        "holdout twin",
    ]
    assert [(row["reason"], int(row["count"])) for row in rejects] == [
        (reason, found.get(reason, 0)) for reason in reasons
    ]


def test_each_readable_image_is_in_one_bin_of_each_measure(tables, heap, params):
    _, histograms = tables(heap.verdicts)
    readable = sum(reason != "unreadable" for reason in heap.verdicts["reason"].to_pylist())
    counts = Counter()
    for row in histograms:
        counts[row["measure"]] += int(row["count"])
    assert counts == dict.fromkeys(MAIN, readable)
    ends = {measure: [row for row in histograms if row["measure"] == measure] for measure in MAIN}
    for rows in ends.values():
        assert [row["high"] for row in rows[:-1]] == [row["low"] for row in rows[1:]]


def test_a_threshold_parts_two_bins(tables, heap, params):
    """So that what is over it can be added up."""
    _, histograms = tables(heap.verdicts)
    over = [row for row in histograms if row["measure"] == "blur" and float(row["low"]) >= params.filter.max_blur]
    blur = heap.verdicts["blur"].to_numpy()
    assert sum(int(row["count"]) for row in over) == np.sum(blur > params.filter.max_blur) == 60


def test_nothing_readable_leaves_no_bins(tables, verdicts_of):
    assert tables(verdicts_of(["unreadable"]))[1] == []
