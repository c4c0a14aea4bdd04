from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.registry import objection
from pipeline.results import Results

PARAMS = {"evaluate.n_generated": "5000", "dataroot": "faces", "filter.blur": "True"}


def results(run_id: str, kid: float, se: float = 3.0, **params: str) -> Results:
    figures = {"kid_lite0_raw": kid, "kid_lite0_raw_se": se}
    return Results(run_id, f"made up {run_id}", PARAMS | params, figures, None, None, run_id=run_id)


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        pytest.param(results("b", 89.9, 4.0), None, id="beyond twice sqrt(3² + 4²)"),
        pytest.param(results("b", 90.0, 4.0), "lower by no more than twice the error", id="just not"),
        pytest.param(results("b", 100.0), "not lower than", id="equal"),
        pytest.param(results("b", 150.0), "not lower than the champion's 100.0 ± 3.0", id="worse"),
        pytest.param(results("b", 50.0, **{"evaluate.n_generated": "64"}), "evaluate.n_generated 5000 and 64", id="n"),
        pytest.param(results("b", 50.0, dataroot="others"), "dataroot faces and others", id="other faces"),
        pytest.param(results("b", 50.0, **{"filter.blur": "False"}), None, id="the raw ruler knows no filter"),
        pytest.param(results("a", 50.0), "it is the champion", id="itself"),
    ],
)
def test_objection(candidate: Results, says: str | None) -> None:
    found = objection(results("a", 100.0), candidate)
    assert found is None if says is None else says in str(found)


def test_the_champions_own_weights_take_its_place_where_newer_code_has_measured_them(tmp_path: Path) -> None:
    """Nothing else could after a change of that code: no figures compare."""
    for name in ("champion", "other"):
        (tmp_path / name).write_bytes(name.encode())
    champion = results("a", 100.0)._replace(generator=tmp_path / "champion", metrics_code="old")
    anew = results("b", 120.0)._replace(generator=tmp_path / "champion", metrics_code="new")
    assert objection(champion, anew) is None
    assert "by other code" in str(objection(champion, anew._replace(generator=tmp_path / "other")))
    assert "not lower than" in str(objection(champion, anew._replace(metrics_code="old")))
