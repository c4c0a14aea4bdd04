from __future__ import annotations

import numpy as np

from pipeline.metrics.belief import Beliefs
from pipeline.reports.belief_charts import BASE, BINS, belief_charts
from pipeline.reports.histogram import LEFT, PLOT, RIGHT


def test_three_sets_on_one_scale() -> None:
    # Of the training faces all lie in the last bin, of the holdout a half, of the generated all in the first.
    beliefs = Beliefs(np.full(4, 1.0), np.array([0.0, 0.999]), np.array([0.001]))
    charts = {chart.name: chart.drawing for chart in belief_charts(beliefs)}
    train, holdout, generated = charts.values()
    assert [name.split(",")[0] for name in charts] == ["D(x)", "D(x)", "D(G(z))"]

    width = (RIGHT - LEFT) / BINS
    (bar,) = train.bars
    assert (bar.x, bar.width) == (round(RIGHT - width, 1), round(width, 1))
    assert (bar.all, bar.acted, bar.dropped) == (PLOT, 0, 0)
    assert bar.title == "0.975 to 1: 100.0%"
    assert [(bar.acted, bar.all) for bar in holdout.bars] == [(PLOT / 2, 0)] * 2
    assert [(bar.dropped, bar.x) for bar in generated.bars] == [(PLOT, LEFT)]

    assert [(line.label, line.x, line.anchor) for line in (train.lines[0], generated.lines[0])] == [
        ("mean 1.000", RIGHT, "end"),
        ("mean 0.001", round(LEFT + 0.001 * (RIGHT - LEFT), 1), "start"),
    ]
    assert train.y_ticks == generated.y_ticks
    assert train.y_ticks[0] == (BASE, "0%")
    assert train.y_ticks[-1] == (BASE - PLOT, "100%")
