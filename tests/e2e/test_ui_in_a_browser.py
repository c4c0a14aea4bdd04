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
from itertools import takewhile
from urllib.error import URLError
from urllib.parse import quote

import pytest
from playwright.sync_api import Page

from tests.e2e.browser import CHROMIUM, opened, texts, wait_for
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


def test_experiments_are_rows_with_their_figures_and_what_differs(project: Project, page: str) -> None:
    newest = project.parents()[:2]
    with opened(page) as seen:
        wait_for(seen, *COLUMNS, *(run.info.run_name for run in newest))
        for run in newest:
            wait_for(seen, run.data.params["lr"])
            figure = f"{run.data.metrics['kid_lite0_raw']:.6f}"[:-4]  # cut, not rounded: the page shows more digits
            seen.get_by_text(figure).first.wait_for()
        # The stages' runs are there, folded away; in these settings no experiment differs.
        assert not {"crawl-import", "resize", "evaluate", "nz", "ngf"} & set(texts(seen.content()))


def test_the_compare_page_shows_both(project: Project, page: str) -> None:
    first, second = project.parents()[:2]
    ids, experiments = ([first.info.run_id, second.info.run_id], [first.info.experiment_id])
    query = f"runs={quote(json.dumps(ids))}&experiments={quote(json.dumps(experiments))}"
    with opened(f"{page.partition('#')[0]}#/compare-runs?{query}") as seen:
        # Of the figures the page renders those that are scrolled to, the first ones by name.
        wait_for(seen, "Comparing 2 Runs from 1 Experiment", "Parallel Coordinates Plot", *ids, "copied_share", "lr")
        seen.locator(".js-plotly-plot").first.wait_for()
        shown = texts(seen.content())
    # A line a setting, a value a run.
    found = [shown[at : at + 3] for at, text in enumerate(shown) if text == "lr"]
    assert ["lr", first.data.params["lr"], second.data.params["lr"]] in found
    # The names of the figures, then their values, a pair a figure.
    start = shown.index("copied_share")
    names = list(takewhile(first.data.metrics.__contains__, shown[start:]))
    values = [float(text) for text in shown[start + len(names) :][: 2 * len(names)]]
    recorded = [run.data.metrics[name] for name in names for run in (first, second)]
    assert values == pytest.approx(recorded, rel=1e-3, abs=1e-3)
    assert any(recorded), "all nought: that would be so on the page of any other run"


def test_the_charts_lay_the_curves_over_each_other_and_step_through_the_samples(project: Project, page: str) -> None:
    curves = ("curves/lossD", "curves/lossG", "curves/quick_kid")
    trained = [run for run in project.parents() if curves[0] in run.data.metrics]
    trained.sort(key=lambda run: run.info.start_time)
    names = [run.info.run_name for run in trained[-2:]]  # the page shows the newest ten
    assert len(names) == 2
    with opened(f"{page}&compareRunsMode=CHART") as seen:
        wait_for(
            seen, "A look at training", "train samples", *(f"{name} ({curve})" for name in names for curve in curves)
        )
        # The slider begins at the last samples of a training, and goes back to those of an earlier epoch.
        last = samples(seen)
        seen.get_by_role("slider").first.press("ArrowLeft")
        seen.locator(f"img[src*='get-artifact']:not([src*='%2Bstep%2B{last}%2B'])").first.wait_for()
        assert samples(seen) < last


def samples(page: Page) -> int:
    """Return the step of the first samples on the page, when they have come."""
    picture = page.locator("img[src*='get-artifact']").first
    picture.wait_for()
    return int(re.search(r"%2Bstep%2B(\d+)%2B", picture.get_attribute("src") or "")[1])  # type: ignore[index]


def test_where_a_server_is_the_store_its_own_page_is_named(project: Project, page: str) -> None:
    server = page.partition("/#")[0]
    printed = project.run("env", f"MLFLOW_TRACKING_URI={server}", "python", "-m", "pipeline.ui")
    assert printed.splitlines()[-2].endswith(f" {page}")
