from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
from jinja2 import DictLoader, Environment

from pipeline.reports.histogram import BINS, LABEL, LEFT, MACRO, PLOT, RIGHT, Mark, bin_edges, counted, histogram

NONE = np.zeros(0)


def test_edges_are_equal_but_that_a_mark_is_one():
    edges = bin_edges(np.linspace(0, 45, 46), [20.3])
    assert len(edges) == BINS + 1
    assert 20.3 in edges
    assert 20.0 not in edges
    assert np.allclose(np.delete(edges, 20), np.delete(np.arange(46.0), 20))


def test_edges_on_a_logarithmic_axis_are_equal_ratios():
    edges = bin_edges(np.array([1.0, 1000.0]), [], log=True)
    assert np.allclose(edges[1:] / edges[:-1], 1000 ** (1 / BINS))


def test_a_freak_does_not_squeeze_the_rest():
    values = np.append(np.linspace(0, 1, 10_000), 1e6)
    edges = bin_edges(values, [])
    assert edges[-1] == pytest.approx(1, abs=0.01)
    chart = histogram("blur", values, NONE, NONE, [])
    assert chart.bars[-1].x + chart.bars[-1].width == pytest.approx(RIGHT, abs=0.1)
    assert "0 to 1e+06" in chart.title


@pytest.mark.parametrize(
    ("values", "marks"),
    [
        pytest.param([1.0, 2.0], [50.0], id="far over"),
        pytest.param([90.0, 100.0], [0.5], id="far under"),
        pytest.param([5.0, 5.0], [5.0], id="all on it"),
        pytest.param([5.0], [], id="one value"),
        pytest.param([0.0, 0.0], [], id="zeros"),
        pytest.param([1.0, 9.0], [4.0, 4.01], id="two in one bin"),
    ],
)
def test_edges_ascend_and_hold_values_and_marks(values, marks):
    edges = bin_edges(np.array(values), marks)
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= min(values + marks)
    assert edges[-1] >= max(values + marks)
    assert set(marks) <= set(edges.tolist())


@pytest.mark.parametrize("mark", [48.0, 100.0, 300.0])
def test_what_lies_on_a_mark_of_a_logarithmic_axis_is_on_its_right(mark: float) -> None:
    values = np.repeat([mark - 4, mark, mark + 9, 4 * mark], [500, 300, 100, 5])
    edges, counts = counted(values, [mark], log=True)
    assert counts[: edges.tolist().index(mark)].sum() == 500


def test_heights_are_logarithms_of_counts():
    values = np.repeat([1.0, 2.0, 3.0], [99, 9, 1])
    chart = histogram("noise", values, np.repeat([2.0, 3.0], [3, 1]), np.array([3.0]), [])
    assert [(bar.all, bar.acted, bar.dropped) for bar in chart.bars] == [
        (PLOT, 0, 0),
        (PLOT / 2, round(PLOT * np.log10(4) / 2, 1), 0),
        *[(round(PLOT * np.log10(2) / 2, 1),) * 3],
    ]
    assert [label for _, label in chart.y_ticks] == ["1", "10"]
    assert [bar.title.split(": ")[1] for bar in chart.bars] == ["99", "9", "1"]


def test_a_mark_stands_at_its_value_and_bins_end_there():
    values = np.linspace(0, 100, 1001)
    chart = histogram("x", values, values[values >= 25], NONE, [Mark("min_x", 25, False), Mark("max_x", 80, True)])
    first, second = chart.lines
    assert first.x == pytest.approx(LEFT + (RIGHT - LEFT) * 0.25, abs=0.5)
    assert second.x == pytest.approx(LEFT + (RIGHT - LEFT) * 0.80, abs=0.5)
    assert (first.label, first.anchor, second.label, second.anchor) == ("← min_x 25", "start", "max_x 80 →", "end")
    assert second.y - first.y == LABEL
    for bar in chart.bars:
        assert bar.acted == (bar.all if bar.x >= first.x else 0)


@pytest.mark.parametrize(
    ("values", "log", "expected"),
    [
        pytest.param([0.0, 10.0], False, ["0", "2", "4", "6", "8", "10"], id="even"),
        pytest.param([0.0, 0.9], False, ["0", "0.2", "0.4", "0.6", "0.8"], id="below one"),
        pytest.param([12.0, 250.0], False, ["50", "100", "150", "200", "250"], id="not from zero"),
        pytest.param([1.0, 30.0], True, ["1", "2", "5", "10", "20"], id="ratios"),
        pytest.param([1.0, 30_000.0], True, ["1", "10", "100", "1000", "10000"], id="many ratios"),
    ],
)
def test_ticks_are_round(values, log, expected):
    assert [label for _, label in histogram("x", np.array(values), NONE, NONE, [], log).x_ticks] == expected


def test_large_counts_have_short_labels():
    chart = histogram("x", np.zeros(100_001), NONE, NONE, [])
    assert [label for _, label in chart.y_ticks] == ["1", "10", "100", "1k", "10k", "100k"]


class Shapes(HTMLParser):
    def __init__(self):
        super().__init__()
        self.shapes, self.texts = [], []

    def handle_starttag(self, tag, attributes):
        self.shapes.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts += [data.strip()] if data.strip() else []


def test_the_macro_draws_it_all_and_trusts_no_name():
    environment = Environment(loader=DictLoader({"histogram": MACRO}), autoescape=True)
    chart = histogram("<b>", np.array([1.0, 2.0]), np.array([2.0]), np.array([2.0]), [Mark("max_b", 1.5, True)])
    text = environment.from_string('{% from "histogram" import draw %}{{ draw(chart) }}').render(chart=chart)
    shapes = Shapes()
    shapes.feed(text)
    classes = [named.get("class") for tag, named in shapes.shapes if tag == "path"]
    assert [name for name in classes if name in ("all", "acted", "dropped")] == ["all", "all", "acted", "dropped"]
    (svg,) = (named for tag, named in shapes.shapes if tag == "svg")
    assert svg["role"] == "img"
    assert svg["aria-label"] == chart.title == "<b> of 2 images, 1 to 2; max_b is 1.5"
    assert "max_b 1.5 →" in shapes.texts
    assert "<b>" not in text
