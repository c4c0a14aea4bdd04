"""`make ui`: MLflow's page on the project's store, after the runs that a kill left open are marked."""

from __future__ import annotations

import os
import sys

from pipeline.tracking import mark_dead_runs, open_store, tracking_uri


def main() -> None:
    """Become `mlflow ui`; further arguments (`--port 5001`) are passed on."""
    with open_store() as (client, experiment_id):
        mark_dead_runs(client, experiment_id)
    # Its job runners serve GenAI features that this project has none of, at 240 MB each.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    # Of MLflow's own dependencies, once for each of its processes.
    os.environ["PYTHONWARNINGS"] = "ignore::DeprecationWarning,ignore::UserWarning"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", tracking_uri(), *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
