from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.scores import all_figures
from pipeline.params import Params
from pipeline.reports.figure_table import Entry, Line, better_of, rounded, table


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        pytest.param(396.495922, 1.724957, "396.5 ± 1.7", id="two digits of the error"),
        pytest.param(0.805856, 0.111077, "0.81 ± 0.11", id="small error"),
        pytest.param(-0.00001, 0.0577, "0.000 ± 0.058", id="no minus nought"),
        pytest.param(1234.5, 123.0, "1234 ± 123", id="large error"),
        pytest.param(0.0, 0.0, "0.000", id="no error to speak of"),
        pytest.param(0.5, 1e-9, "0.500000 ± 0.000000", id="tiny error"),
        pytest.param(219.435738, None, "219.4", id="unknown error"),
        pytest.param(0.9424, None, "0.942", id="unknown error of a share"),
    ],
)
def test_rounded(value: float, error: float | None, text: str) -> None:
    assert rounded(value, error) == text


def test_a_figure_stands_beside_its_floor_with_their_errors() -> None:
    figures = {
        "kid_lite0_clean": 20.0, "kid_lite0_clean_se": 1.0, "kid_lite0_raw": 30.0, "kid_lite0_raw_se": 2.0,
        "kid_lite0_floor": 0.5, "kid_lite0_floor_se": 0.25, "kid_lite0_floor_clean": 0.1,
        "kid_lite0_live_raw": 35.0, "precision": 0.75, "precision_se": 0.01, "precision_floor": 0.9,
        "copied_share": 0.02, "copied_share_se": 0.002, "new_figure": 7.0, "new_figure_se": 0.5,
    }  # fmt: skip
    entries = table(figures, copied=0.01)
    told = {entry.title: (entry.better, entry.lines) for entry in entries}
    assert told == {
        "KID ×1000": (
            "lower",
            [Line("raw", "30.0 ± 2.0", "35.0", "0.50 ± 0.25"), Line("clean", "20.0 ± 1.0", "", "0.100")],
        ),
        "precision": ("higher", [Line("raw", "0.750 ± 0.010", "", "0.900")]),
        "copied share": ("floor", [Line("", "0.0200 ± 0.0020", "", "about 0.01")]),
        "new_figure": ("", [Line("", "7.00 ± 0.50", "", "")]),
    }
    assert [entry.title for entry in entries] == list(told)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_figure_of_an_evaluation_is_explained(params: Params) -> None:
    """Whoever adds a figure to the scores says here what it means."""
    draw = np.random.default_rng(0)
    sets = {who: draw.normal(size=(8, 4)).astype(np.float32) for who in ("", "live", "floor")}
    rulers = {name: draw.normal(size=(8, 4)).astype(np.float32) for name in ("clean", "raw", "pristine")}
    knobs = params.evaluate.model_copy(update={"kid_subsets": 2})
    entries = table(all_figures(sets, rulers, knobs, 0) | {"copied_share": 0.0}, 0.01)
    assert [entry.title for entry in entries if not entry.says] == []
    assert [len(entry.lines) for entry in entries] == [3] * 7 + [1, 1]
    *compared, copied = (line for entry in entries for line in entry.lines)
    assert all(line.generated and line.live and line.floor for line in compared)
    assert not copied.live
    assert isinstance(entries[0], Entry)


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("kid_lite0_live_raw", "lower"),
        ("precision", "higher"),
        ("coverage_clean", "higher"),
        ("diversity", "floor"),
        ("kid_lite0_floor", ""),
        ("n_generated", ""),
    ],
)
def test_which_way_is_better(name: str, better: str) -> None:
    assert better_of(name) == better
