"""MLflow's real page, in a real browser, on the store of a project that real dvc has run twice."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote

import pytest

from tests.e2e.browser import CHROMIUM, look, texts
from tests.e2e.project import Project

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM} here"),
    *(pytest.mark.filterwarnings(f"ignore::{kind}Warning") for kind in ("Deprecation", "Resource", "Future")),
]

START_SECONDS = 120
COLUMNS = ("kid_lite0_raw", "kid_lite0_raw_se", "precision", "recall", "img_per_s", "kept_share", "lr")


@pytest.fixture(scope="module")
def page(project: Project, slow: str) -> Iterator[str]:
    """The address that `make ui` tells for the view of the runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    server = project.popen("python", "-m", "pipeline.ui", "--port", str(port), "--workers", "1")
    try:
        assert server.stdout is not None
        address = next(line.split()[-1] for line in server.stdout if "figures" in line)
        assert address.startswith(f"http://127.0.0.1:{port}/#/experiments/")
        began = time.monotonic()
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except (URLError, OSError):
                assert server.poll() is None, server.stdout.read()
                assert time.monotonic() - began < START_SECONDS
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate()


def test_experiments_are_rows_with_their_figures_and_what_differs(project: Project, page: str, tmp_path: Path) -> None:
    shown = texts(look(page, tmp_path / "profile"))
    for run in project.parents()[:2]:
        assert run.info.run_name in shown
        assert run.data.params["lr"] in shown
        figure = f"{run.data.metrics['kid_lite0_raw']:.3f}"
        assert any(text.startswith(figure) for text in shown), figure
    assert set(COLUMNS) <= set(shown)
    # The stages' runs are there, folded away; in these settings no experiment differs.
    assert not {"crawl-import", "resize", "evaluate", "nz", "ngf"} & set(shown)


def test_the_compare_page_shows_both(project: Project, page: str, tmp_path: Path) -> None:
    first, second = project.parents()[:2]
    ids, experiments = ([first.info.run_id, second.info.run_id], [first.info.experiment_id])
    query = f"runs={quote(json.dumps(ids))}&experiments={quote(json.dumps(experiments))}"
    shown = texts(look(f"{page.partition('#')[0]}#/compare-runs?{query}", tmp_path / "profile"))
    assert {"Comparing 2 Runs from 1 Experiment", "Parallel Coordinates Plot", *ids} <= set(shown)
    # A line a setting, a value a run.
    found = [shown[at : at + 3] for at, text in enumerate(shown) if text == "lr"]
    assert ["lr", first.data.params["lr"], second.data.params["lr"]] in found
    # Of the figures the page renders those that are scrolled to, the first ones by name.
    assert {"copied_share", "coverage", "crawl-import/images"} <= set(shown)
    assert shown.count(f"{first.data.metrics['crawl-import/images']:.0f}") >= 2


def test_the_charts_lay_the_curves_over_each_other_and_step_through_the_samples(
    project: Project, page: str, tmp_path: Path
) -> None:
    document = look(f"{page}&compareRunsMode=CHART", tmp_path / "profile")
    shown = texts(document)
    curves = ("curves/lossD", "curves/lossG", "curves/quick_kid")
    assert {"A look at training", "train samples", *curves} <= {text.partition(" (")[0] for text in shown}
    trained = [run for run in project.parents() if curves[0] in run.data.metrics]
    trained.sort(key=lambda run: run.info.start_time)
    names = [run.info.run_name for run in trained[-2:]]  # the page shows the newest ten
    assert len(names) == 2
    for curve in curves:
        assert {f"{name} ({curve})" for name in names} <= set(shown), "a line an experiment"
    pictures = re.findall(r"<img[^>]+src=\"([^\"]+)", document)
    assert sum("get-artifact" in picture or picture.startswith("blob:") for picture in pictures) >= 1
    assert 'role="slider"' in document


def test_where_a_server_is_the_store_its_own_page_is_named(project: Project, page: str) -> None:
    server = page.partition("/#")[0]
    printed = project.run("env", f"MLFLOW_TRACKING_URI={server}", "python", "-m", "pipeline.ui")
    assert printed.splitlines()[-2].endswith(f" {page}")
