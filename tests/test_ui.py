"""Against a real MLflow store, as in test_tracking.py; tests/e2e/test_ui_in_a_browser.py looks at the page."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.params import Params
from pipeline.tracking import PROCESS_TAG, open_store, stage_run
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
        with stage_run("filter", params.model_copy(update={"lr": lr})) as run:
            pass
        # Each test process is one invocation; the next run shall be another one's.
        run._client.set_tag(run.parent_id, PROCESS_TAG, f"host/{run.run_id}/1")
    assert prepare() == "#/experiments/1/runs?viewStateShareKey=headline"
    with open_store() as (client, experiment_id):
        columns = json.loads(client.get_experiment(experiment_id).tags[VIEW_TAG])["selectedColumns"]
    assert columns[0] == "metrics.`kid_lite0_raw`"
    assert [column for column in columns if column.startswith("params.")] == ["params.`lr`"]


def test_a_port_in_use_ends_with_1_and_a_line(tmp_path: Path, root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [sys.executable, "-m", "pipeline.ui", "--port", str(port)]
        ended = subprocess.run(
            command, cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False
        )
    expected = f"127.0.0.1:{port} is in use already; try 'python -m pipeline.ui --port {port + 1}'\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", expected)
