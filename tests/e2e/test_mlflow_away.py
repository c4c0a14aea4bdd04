"""All five stages with an MLflow server that is not there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.project import Project
from tests.mlflow_server import free_port

pytestmark = pytest.mark.long


def test_the_pipeline_runs_without_its_mlflow_server_and_says_so(new_project: Callable[[], Project]) -> None:
    project = new_project()
    address = f"http://127.0.0.1:{free_port()}"
    project.environment |= {"MLFLOW_TRACKING_URI": address, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    printed = project.run("dvc", "repro")
    assert printed.count(f"the MLflow store {address} does not answer") >= 5
    assert printed.count("warning: MLflow lacks ") == 5
    for path in ("plots/losses.csv", "models/generator.safetensors", "metrics/evaluate.json", "plots/samples.png"):
        assert (project.folder / path).stat().st_size > 0
    assert "up to date" in project.run("dvc", "status")
