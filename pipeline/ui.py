"""`make ui`: MLflow's page on the project's store, after the runs that a kill left open are marked.

Where MLFLOW_TRACKING_URI names a server, that has the page already, and its address is told.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import socket
import sys
from collections.abc import Sequence

from pipeline.messages import without_credentials
from pipeline.runs import differing_settings, past_invocations
from pipeline.tracking import mark_dead_runs, open_store, tracking_uri

# A view that MLflow's page takes from a tag of the experiment; its own start shows neither figures nor settings.
VIEW = "headline"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
FIGURES = ("kid_lite0_raw", "kid_lite0_raw_se", "precision", "recall", "img_per_s", "kept_share")
NEWEST = 50  # runs whose settings are compared


def view_state(differing: Sequence[str]) -> str:
    """Return the state of the page's table that shows the headline figures and the settings that differ."""
    columns = [f"metrics.`{name}`" for name in FIGURES] + [f"params.`{name}`" for name in differing]
    return json.dumps({"selectedColumns": columns})


def prepare() -> str:
    """Mark the runs that a kill left open, and make the view anew; return its path on the page."""
    differing = differing_settings(past_invocations(NEWEST))
    with open_store() as (client, experiment_id):
        mark_dead_runs(client, experiment_id)
        client.set_experiment_tag(experiment_id, VIEW_TAG, view_state(differing))
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW}"


def require_free(host: str, port: int) -> None:
    """End with a line where another server has the port: MLflow's own would end without a fault."""
    try:
        socket.create_server((host, port)).close()
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            sys.exit(f"{host}:{port} is in use already; try 'python -m pipeline.ui --port {port + 1}'")


def main() -> None:
    """Become `mlflow ui`; further arguments (`--port 5001`) are passed on."""
    server = tracking_uri()
    if server.startswith(("http://", "https://")):
        print(f"The runs, their figures and what differs: {without_credentials(server).rstrip('/')}/{prepare()}")
        return
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    options.add_argument("--host", "-h", default="127.0.0.1")
    options.add_argument("--port", "-p", default=5000, type=int)
    told, _ = options.parse_known_args()
    require_free(told.host, told.port)
    print(f"The runs, their figures and what differs: http://{told.host}:{told.port}/{prepare()}", flush=True)
    # Its job runners serve GenAI features that this project has none of, at 240 MB each.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    # Of MLflow's own dependencies, once for each of its processes.
    os.environ["PYTHONWARNINGS"] = "ignore::DeprecationWarning,ignore::UserWarning"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", server, *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
