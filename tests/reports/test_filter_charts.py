from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.cleaning.verdict import DROP_RULES, REPAIR_RULES
from pipeline.reports.filter_charts import SAYS, charts


@pytest.fixture(scope="module")
def drawn(heap, params):
    return {chart.name: chart for chart in charts(heap.verdicts, params.filter)}


def test_every_measure_that_meets_a_threshold_has_a_chart(drawn):
    measures = {rule.measure for rules in (DROP_RULES, REPAIR_RULES) for some in rules.values() for rule in some}
    assert set(drawn) == {*measures, "difference"} == set(SAYS)


@pytest.mark.parametrize(
    ("name", "told", "marks"),
    [
        pytest.param("side", [("too small", 3)], ["← min_side 32"], id="a derived measure"),
        pytest.param("information", [("uniform", 3)], ["← min_information 1.05"], id="the one that told"),
        pytest.param("edges", [("uniform", 0)], ["← min_edges 0.1"], id="one that did not"),
        pytest.param("blur", [("blurry", 60)], ["max_blur 0.48 →"], id="one of two that are needed"),
        pytest.param(
            "contrast", [("uniform", 0), ("faded", 3)], ["← min_contrast 12", "← faded_contrast 110"], id="two labels"
        ),
        pytest.param("gamma", [("bright", 3), ("dark", 3)], ["← min_gamma 0.35", "max_gamma 2.5 →"], id="both sides"),
        pytest.param("difference", [("near duplicate", 3), ("holdout twin", 3)], ["← max_difference 0.2"], id="pairs"),
    ],
)
def test_what_a_measure_told(drawn, name, told, marks):
    assert drawn[name].told == told
    assert [line.label for line in drawn[name].drawing.lines] == marks


def test_what_is_at_its_threshold_is_not_over_it(heap, params):
    """Levels are whole numbers, and so are their thresholds."""
    at = pa.array([params.filter.min_contrast] * len(heap.verdicts), pa.float64())
    levels = heap.verdicts.set_column(heap.verdicts.column_names.index("contrast"), "contrast", at)
    (contrast,) = (chart for chart in charts(levels, params.filter) if chart.name == "contrast")
    assert dict(contrast.told)["uniform"] == 0


def test_a_copys_copy_over_the_limit_is_counted_among_the_copies(verdicts_of, params):
    found = verdicts_of(["good", "near duplicate", "near duplicate"])
    apart = found.set_column(found.column_names.index("difference"), "difference", pa.array([None, 0.1, 0.7]))
    (chart,) = (one for one in charts(apart, params.filter) if one.name == "difference")
    assert dict(chart.told)["near duplicate"] == 2
    assert sum(bar.dropped for bar in chart.drawing.bars) == sum(bar.all for bar in chart.drawing.bars)


def test_colours_lie_on_the_side_that_a_threshold_speaks_against(drawn):
    blur = drawn["blur"].drawing
    assert {bar.dropped > 0 for bar in blur.bars if bar.x < blur.lines[0].x} == {False}
    assert {bar.dropped == bar.all for bar in blur.bars if bar.x >= blur.lines[0].x} == {True}
    gamma = drawn["gamma"].drawing
    assert {bar.dropped for bar in gamma.bars} == {0}
    assert {bar.acted > 0 for bar in gamma.bars if gamma.lines[0].x <= bar.x < gamma.lines[1].x} == {False}


def test_nothing_readable_gives_no_chart(verdicts_of, params):
    assert list(charts(verdicts_of(["unreadable"]), params.filter)) == []
