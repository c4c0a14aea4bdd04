"""Against a real MLflow store, as in test_tracking.py; tests/e2e/test_ui_in_a_browser.py looks at the page."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.mlflow_store import open_store
from pipeline.params import Params
from pipeline.tracking import PROCESS_TAG, stage_run
from pipeline.ui import VIEW_TAG, prepare

# MLflow's own dependencies warn of each other's changes; that is not this project's to mend.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


def test_the_view_has_the_headline_figures_and_the_settings_that_differ(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for lr in (0.1, 0.2):
        with stage_run("train", params.model_copy(update={"lr": lr})) as run:
            for step in (10, 30):
                run.log_image(np.zeros((8, 8, 3), np.uint8), "samples", step)
            run.log_rows([{"step": step, "lossD": lr, "lossG": 1.0, "D_x": 0.5} for step in (10, 20)])
        # Each test process is one invocation; the next run shall be another one's.
        run._client.set_tag(run.parent_id, PROCESS_TAG, f"host/{run.run_id}/1")
    with pytest.raises(ValueError, match="early"), stage_run("train", params) as failed:
        failed.log_rows([{"step": 10, "lossD": 0.3, "lossG": 1.0, "D_x": 0.5}])
        raise ValueError("early")
    assert prepare() == "#/experiments/1/runs?viewStateShareKey=headline"
    with open_store() as (client, experiment_id):
        state = json.loads(client.get_experiment(experiment_id).tags[VIEW_TAG])
        points = client.get_metric_history(run.parent_id, "curves/lossD")
    columns = state["selectedColumns"]
    assert columns[0] == "metrics.`kid_lite0_raw`"
    assert [column for column in columns if column.startswith("params.")] == ["params.`lr`"]
    *lines, samples = state["compareRunCharts"]
    assert [line["metricKey"] for line in lines] == ["curves/lossD", "curves/lossG", "curves/quick_kid"]
    assert [(point.step, point.value) for point in points] == [(10, 0.2), (20, 0.2)]
    assert (samples["imageKeys"], samples["step"]) == (["train samples"], 30)


def test_a_port_in_use_ends_with_1_and_a_line(tmp_path: Path, root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [sys.executable, "-m", "pipeline.ui", "--port", str(port)]
        ended = subprocess.run(
            command, cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False
        )
    expected = f"127.0.0.1:{port} is in use already; try 'python -m pipeline.ui --port {port + 1}'\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", expected)
