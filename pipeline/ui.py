"""`make ui`: MLflow's page on the project's store, after the runs that a kill left open are marked.

Where MLFLOW_TRACKING_URI names a server, that has the page already, and its address is told.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.errors import ParamsError, StageError
from pipeline.faults import faults
from pipeline.messages import without_credentials
from pipeline.mlflow_store import SERVERS, open_store, tracking_uri
from pipeline.runs import differing_settings, past_invocations
from pipeline.tracking import CURVES, SAMPLES, mark_dead_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

# A view that MLflow's page takes from a tag of the experiment; its own start shows neither figures nor settings.
VIEW = "headline"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
FIGURES = ("kid_lite0_raw", "kid_lite0_raw_se", "precision", "recall", "img_per_s", "kept_share")
NEWEST = 50  # runs whose settings are compared
LAST_PORT = 65535


def view_state(differing: Sequence[str], last_step: int) -> str:
    """Return the state of the page: the table has the headline figures and the settings that differ.

    The charts begin with the curves of training, a line an experiment, and with what each drew at last_step.
    """
    columns = [f"metrics.`{name}`" for name in FIGURES] + [f"params.`{name}`" for name in differing]
    section = "A look at training"  # they are in the order of the alphabet
    card = {"metricSectionId": section, "runsCountToCompare": 10, "deleted": False, "isGenerated": False}
    line = {"type": "LINE", "xAxisKey": "step", "lineSmoothness": 0, "scaleType": "linear", "range": {}}
    names = [f"curves/{name}" for name in CURVES]
    charts = [
        *({**card, **line, "uuid": name, "metricKey": name, "selectedMetricKeys": [name]} for name in names),
        {**card, "type": "IMAGE", "uuid": SAMPLES, "imageKeys": [f"train {SAMPLES}"], "step": last_step},
    ]
    # High enough that MLflow's list of settings leaves room for the samples below it.
    shape = {"columns": 2, "cardHeight": 760}
    sections = [{"uuid": section, "name": section, "display": True, "isReordered": True, **shape}]
    return json.dumps({"selectedColumns": columns, "compareRunCharts": charts, "compareRunSections": sections})


def prepare() -> str:
    """Mark the runs that a kill left open, and make the view anew; return its path on the page."""
    differing = differing_settings(past_invocations(NEWEST))
    with open_store() as (client, experiment_id):
        mark_dead_runs(client, experiment_id)
        state = view_state(differing, last_step(client, experiment_id))
        client.set_experiment_tag(experiment_id, VIEW_TAG, state)
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW}"


def last_step(client: MlflowClient, experiment_id: str) -> int:
    """Return the step of the last samples of the newest training that has drawn any, 0 where none of the newest has.

    One that failed early has curves and no samples.
    """
    trained = client.search_runs(
        [experiment_id],
        f"metrics.`curves/{CURVES[0]}` >= 0",
        max_results=NEWEST,
        order_by=["attributes.start_time DESC"],
    )
    for run in trained:
        paths = [image.path for image in client.list_artifacts(run.info.run_id, "images")]
        named = (re.match(rf"images/train {SAMPLES}\Wstep\W(\d+)\W", path) for path in paths)
        if steps := [int(found[1]) for found in named if found]:
            return max(steps)
    return 0


def tell(server: str) -> None:
    """Prepare the page, and tell where it is."""
    page = f"{server}/{prepare()}"
    print(f"The runs, their figures and what differs: {page}")
    print(f"Curves and samples, side by side: {page}&compareRunsMode=CHART", flush=True)


def require_free(host: str, port: int) -> None:
    """Raise StageError where another server has the port: MLflow's own would end without a fault."""
    if not 1 <= port <= LAST_PORT:
        raise ParamsError(f"--port {port} is no port; they go from 1 to {LAST_PORT}")
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            free = port + 1 if port < LAST_PORT else port - 1
            raise StageError(f"{host}:{port} is in use already; try 'python -m pipeline.ui --port {free}'") from None


def serve() -> None:
    """Become `mlflow ui`; further arguments (`--port 5001`) are passed on."""
    options = argparse.ArgumentParser(
        "python -m pipeline.ui", description="Show MLflow's page.",
        epilog="The other options are those of `mlflow ui`.", add_help=False, allow_abbrev=False,
    )  # fmt: skip
    options.add_argument("--help", action="help", help="show this and end")  # -h is MLflow's --host
    options.add_argument("--host", "-h", default="127.0.0.1", help="0.0.0.0 for all who reach this machine")
    options.add_argument("--port", "-p", default=5000, type=int)
    told, _ = options.parse_known_args()
    server = tracking_uri()
    if server.startswith(SERVERS):
        tell(without_credentials(server).rstrip("/"))
        return
    require_free(told.host, told.port)
    tell(f"http://{f'[{told.host}]' if ':' in told.host else told.host}:{told.port}")
    print("MLflow is starting: they open in some ten seconds. Ctrl-C ends it.", flush=True)
    # Its job runners serve GenAI features that this project has none of, at 240 MB each.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    # Of MLflow's own dependencies, once for each of its processes.
    os.environ["PYTHONWARNINGS"] = "ignore::DeprecationWarning,ignore::UserWarning"
    os.environ["MLFLOW_BACKEND_STORE_URI"] = server  # and not an option, which every user of the machine can read
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", *sys.argv[1:]])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    with faults("make ui"):
        serve()
