"""DVC's own comparisons, of a project's first run and an experiment with another lr."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from pipeline import plots_page
from tests.e2e.project import Project

pytestmark = pytest.mark.long


def test_exp_show_has_both_with_their_figures(project: Project, slow: str) -> None:
    rows = list(csv.DictReader(project.run("dvc", "exp", "show", "--csv").splitlines()))
    (row,) = (row for row in rows if row["Experiment"] == slow)
    assert float(row["lr"]) == 0.00001
    figures = json.loads((project.folder / "metrics/evaluate.json").read_text())
    (first,) = (row for row in rows if row["rev"] == "workspace")
    assert float(first["kid_lite0_raw"]) == pytest.approx(figures["kid_lite0_raw"], rel=1e-4)
    assert first["kid_lite0_raw"] != row["kid_lite0_raw"]


def test_params_and_metrics_diff_show_what_differs(project: Project, slow: str) -> None:
    settings = json.loads(project.run("dvc", "params", "diff", "HEAD", slow, "--json"))
    assert settings == {"params.yaml": {"lr": {"old": 0.0002, "new": 0.00001, "diff": pytest.approx(-0.00019)}}}
    figures = json.loads(project.run("dvc", "metrics", "diff", "HEAD", slow, "--json"))
    assert figures["metrics/evaluate.json"]["kid_lite0_raw"]["diff"] != 0
    assert set(figures) == {"metrics/evaluate.json", "metrics/train.json"}


def test_plots_diff_overlays_the_curves_and_sets_the_pictures_side_by_side(project: Project, slow: str) -> None:
    plots = json.loads(project.run("dvc", "plots", "diff", "HEAD", slow, "--json", "--split"))["data"]
    for name, label in (("losses", "y"), ("probabilities", "y"), ("plots/quick_kid.csv", "quick_kid")):
        (curves,) = plots[name]
        assert curves["revisions"] == ["HEAD", slow]
        anchors = curves["anchor_definitions"]
        assert (anchors["<DVC_METRIC_X_LABEL>"], anchors["<DVC_METRIC_Y_LABEL>"]) == ("kimg", label)
        assert {point["rev"] for point in anchors["<DVC_METRIC_DATA>"]} == {"HEAD", slow}
    assert [picture["revisions"] for picture in plots["plots/samples.png"]] == [["HEAD"], [slow]]


def test_plots_show_draws_the_rejects_and_the_measures(project: Project) -> None:
    plots = json.loads(project.run("dvc", "plots", "show", "--json"))["data"]
    rejects, histograms = (plots[name][0]["content"] for name in ("plots/rejects.csv", "plots/histograms.csv"))
    figures = json.loads((project.folder / "metrics/filter.json").read_text())
    counts = {bar["reason"]: int(bar["count"]) for bar in rejects["data"]["values"]}
    assert {f"rejected.{reason}": count for reason, count in counts.items() if count} == {
        name: count for name, count in figures.items() if name.startswith("rejected.")
    }
    readable = figures["input"] - counts["unreadable"]
    drawn: Counter[str] = Counter()
    for one in histograms["data"]["values"]:
        drawn[one["measure"]] += int(one["count"])
    assert drawn == dict.fromkeys(("blur", "sharpness", "contrast", "noise"), readable)
    for chart in (rejects, histograms):
        assert "<DVC_METRIC" not in json.dumps(chart), "an anchor of the template was not filled"


def test_plots_show_writes_a_page_that_needs_no_network(project: Project, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(plots_page.page())
    words = ("--html-template", str(tmp_path / "page.html"), "--out", str(tmp_path / "shown"))
    page = Path(project.run("dvc", "plots", "show", *words).split("file://")[-1].strip()).read_text()
    assert "Rejects by reason" in page
    assert "Measures of all images" in page
    assert re.findall(r"<(?:script|link)\s[^>]*(?:src|href)=[^>]*>", page) == []
