"""Against a real MLflow store, as in test_tracking.py; tests/e2e/test_ui_in_a_browser.py looks at the page."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.mlflow_store import open_store
from pipeline.params import Params
from pipeline.tracking import PROCESS_TAG, stage_run
from pipeline.ui import VIEW_TAG, prepare
from tests.mlflow_server import free_port

# MLflow's own dependencies warn of each other's changes; that is not this project's to mend.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


def test_the_view_has_the_headline_figures_and_the_settings_that_differ(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").touch()
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


def test_runs_that_a_kill_left_open_are_marked(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {}")
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom pipeline.params import load_params\n"
        f"from pipeline.tracking import stage_run\nwith stage_run('train', load_params(Path('{root}/params.yaml'))):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)

    def states() -> set[str]:
        with open_store() as (client, experiment_id):
            return {run.info.status for run in client.search_runs([experiment_id])}

    assert states() == {"RUNNING"}
    prepare()
    assert states() == {"KILLED"}


@pytest.fixture
def make_ui(tmp_path: Path, root: Path) -> Callable[..., tuple[int, str]]:
    """Return a function that starts the page and returns the exit code and what it says of a fault."""
    shutil.copy(root / "params.yaml", tmp_path)

    def run(*options: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "pipeline.ui", *options]
        ended = subprocess.run(
            command, cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False
        )
        assert ended.stdout == ""
        return ended.returncode, ended.stderr

    return run


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_port_in_use_ends_with_1_and_a_line(make_ui: Callable[..., tuple[int, str]], host: str, family: int) -> None:
    try:
        other = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} here")
    with other:
        port = other.getsockname()[1]
        said = f"make ui: {host}:{port} is in use already; try 'python -m pipeline.ui --port {port + 1}'\n"
        assert make_ui("--host", host, "--port", str(port)) == (1, said)


@pytest.mark.parametrize("port", ["0", "70000"])
def test_no_port_ends_with_2_and_a_line(make_ui: Callable[..., tuple[int, str]], port: str) -> None:
    assert make_ui("--port", port) == (2, f"make ui: --port {port} is no port; they go from 1 to 65535\n")


def test_help_starts_nothing(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-m", "pipeline.ui", "--help"]
    told = subprocess.check_output(command, cwd=tmp_path, env={"PYTHONPATH": str(root)}, text=True)
    assert told.startswith("usage: python -m pipeline.ui")
    assert "starting" not in told


def test_a_damaged_store_ends_with_1_and_a_line(make_ui: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    code, said = make_ui("--port", str(free_port()))
    assert (code, said.count("\n")) == (1, 1)
    assert "is damaged" in said


def test_elsewhere_no_store_is_made(make_ui: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "params.yaml").unlink()
    assert make_ui() == (2, "make ui: params.yaml is missing; run from the project's root\n")
    assert list(tmp_path.iterdir()) == []
