"""MLflow: one parent run per invocation of dvc, one child run per stage.

Only this module, lineage.py, registry.py, registered.py, flavours.py and serving.py import mlflow. It takes seconds to
import, so it is imported when the first run is opened, not with this module.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from pipeline import invocation, lineage, paths
from pipeline.codec import Pixels
from pipeline.errors import StoreError
from pipeline.lineage import PARENT_TAG
from pipeline.params import Params, flatten

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "anime-dcgan"

SAMPLES = "samples"  # the key of the grids that experiments are compared by
PROCESS_TAG = "process"

# Names the study that a run belongs to. `dvc exp run` hands its environment on to the stages, with --temp too; with
# the queue they would have that of `dvc queue start`.
STUDY_VARIABLE = "PIPELINE_STUDY"
ROWS_AT_ONCE = 50  # MLflow takes 1,000 figures in a call
PICTURELESS = 60.0  # seconds, after a picture that MLflow did not take: each try costs its patience


class StageRun:
    """The MLflow run of a stage, and its parent.

    A fault of the tracking store is printed and never ends the stage: every figure is also in metrics/ and plots/.
    """

    def __init__(self, client: MlflowClient, experiment_id: str, stage: str, run_id: str, parent_id: str) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._stage = stage
        self.run_id = run_id
        self.parent_id = parent_id
        self._pictures_from = 0.0

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures in one batch; step is the x of their curves."""
        self._guard("figures", lambda: self._log_metrics(self.run_id, metrics, step))

    def log_parent_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log headline figures onto the invocation's run, where the UI compares experiments."""
        self._guard("figures", lambda: self._log_metrics(self.parent_id, metrics, None))

    def log_rows(self, rows: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
        """Log the points of curves: figures by name, at the step under the name `step`. Return the rows not taken.

        In as few calls as may be; a row has at most 20 figures.
        """
        for start in range(0, len(rows), ROWS_AT_ONCE):
            batch = rows[start : start + ROWS_AT_ONCE]
            points = [(key, value, int(row["step"])) for row in batch for key, value in row.items() if key != "step"]
            if not self._guard("figures", partial(self._log_points, self.run_id, points)):
                return list(rows[start:])
        return []

    def log_image(self, pixels: Pixels, key: str, step: int) -> None:
        """Log RGB uint8 (H, W, 3) under a key and a step, for the image grid.

        Samples go to the parent too, where experiments are compared, as `train samples` and `evaluate samples`.
        """
        shown = {self.run_id: key} | ({self.parent_id: f"{self._stage} {key}"} if key == SAMPLES else {})
        for run_id, name in shown.items():
            if time.monotonic() >= self._pictures_from:
                log = partial(self._client.log_image, run_id, pixels, key=name, step=step)
                if not self._guard(f"{name}, nor pictures for a minute now", log):
                    self._pictures_from = time.monotonic() + PICTURELESS

    def log_file(self, path: Path, folder: str = "") -> None:
        """Log a file into a folder of the run's artifacts ("" is the top)."""
        self._guard(str(path), lambda: self._client.log_artifact(self.run_id, str(path), folder or None))

    def log_input(self, name: str, digest: str) -> None:
        """Log a data set that the stage reads, by name and digest."""
        self._guard(name, lambda: self._log_inputs({name: digest}))

    def show_skipped(self) -> None:
        """Show in the parent what the stages before this one left that DVC had no need to run."""
        show = partial(lineage.show_skipped, self._client, self._experiment_id, self._stage, self.parent_id)
        self._guard("what was skipped", show)

    def show_results(self) -> None:
        """Show in the parent what this stage, which did its work, left."""
        show = partial(lineage.show_results, self._client, self._stage, self.run_id, self.parent_id)
        self._guard("headline figures", show)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tag the stage's run and its parent."""

        def tag() -> None:
            for run_id in (self.run_id, self.parent_id):
                for key, value in tags.items():
                    self._client.set_tag(run_id, key, value)

        self._guard("tags", tag)

    @contextmanager
    def watch_system(self) -> Iterator[None]:
        """Log what cores, memory, disk, network and GPUs do while the block lasts, as curves `system/…`."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)  # it says when it starts and ends
        monitors: list[SystemMetricsMonitor] = []

        def start() -> None:
            monitors.append(SystemMetricsMonitor(self.run_id, tracking_uri=tracking_uri()))  # type: ignore[no-untyped-call]
            monitors[0].start()  # type: ignore[no-untyped-call]

        self._guard("system metrics", start)
        try:
            yield
        finally:
            for monitor in monitors:
                self._guard("system metrics", monitor.finish)

    def end(self, status: str) -> None:
        """End the stage's run, and its parent until the next stage begins: FINISHED, FAILED or KILLED."""
        for run_id in (self.run_id, self.parent_id):
            self._guard("the end of a run", partial(self._client.set_terminated, run_id, status))

    def _log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int | None) -> None:
        self._log_points(run_id, [(key, value, step or 0) for key, value in metrics.items()])

    def _log_points(self, run_id: str, points: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(run_id, metrics=[Metric(key, float(value), now, step) for key, value, step in points])

    def _log_inputs(self, digests: Mapping[str, str]) -> None:
        from mlflow.entities import Dataset, DatasetInput

        # MLflow refuses digests of more than 36 characters; a SHA-256's first 32 tell any two data sets apart.
        datasets = [Dataset(name, digest[:36], "local", name) for name, digest in digests.items()]
        self._client.log_inputs(self.run_id, datasets=[DatasetInput(dataset) for dataset in datasets])

    def _guard(self, what: str, log: Callable[[], None]) -> bool:
        """Return whether it was logged."""
        try:
            log()
        except Exception as fault:  # the store may be a server that is away, a full disk, a locked database
            print(f"warning: MLflow did not take {what}: {fault}", file=sys.stderr)
            return False
        return True


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the main checkout's store: a temporary checkout's would vanish with it."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.main_checkout(Path.cwd()) / 'mlflow.db'}"


def _experiment_id(client: MlflowClient) -> str:
    if found := client.get_experiment_by_name(EXPERIMENT):
        return str(found.experiment_id)
    # Of a server, the artifact store is the server's choice; the local one must not depend on who ran first, where.
    local = "://" not in tracking_uri() or tracking_uri().startswith("sqlite:")
    artifacts = (paths.main_checkout(Path.cwd()) / "mlartifacts").as_uri() if local else None
    return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))


@contextmanager
def open_store() -> Iterator[tuple[MlflowClient, str]]:
    """Yield a client and the experiment's id, under a lock between this machine's processes.

    The lock, because a first use makes the database: of three processes that did so at once, one or none lived.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow's own patience with a server that is away is minutes for each call.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    state = paths.state_dir()
    state.mkdir(exist_ok=True)
    with FileLock(state / "mlflow.lock"):
        client = MlflowClient(tracking_uri())
        try:
            experiment_id = _experiment_id(client)
        except MlflowException as fault:
            raise StoreError(f"the MLflow store {tracking_uri()} does not answer: {fault}") from None
        yield client, experiment_id


def mark_dead_runs(client: MlflowClient, experiment_id: str) -> None:
    """End as KILLED the runs whose process is gone: a SIGKILL leaves no time to say so."""
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        key = run.data.tags.get(PROCESS_TAG)
        if key and invocation.is_gone(key):
            client.set_tag(run.info.run_id, "error", "the process ended without a word (killed?)")
            client.set_terminated(run.info.run_id, "KILLED")


def _open_parent(client: MlflowClient, experiment_id: str, params: Params, common: dict[str, str]) -> str:
    """Return the invocation's run, set RUNNING: the one that an earlier stage made, or a new one with all params."""
    from mlflow.entities import Param

    key = invocation.process_key(invocation.invocation())
    own = f"tags.{PROCESS_TAG} = '{key}' and tags.kind = 'invocation'"
    if found := client.search_runs([experiment_id], own, max_results=1):
        parent_id = str(found[0].info.run_id)
        client.update_run(parent_id, status="RUNNING")
        return parent_id
    name = invocation.experiment_name() or time.strftime("repro-%Y%m%d-%H%M%S")
    tags = {**common, PROCESS_TAG: key, "kind": "invocation"}
    parent = client.create_run(experiment_id, tags=tags, run_name=name)
    flat = flatten(params.model_dump())
    client.log_batch(parent.info.run_id, params=[Param(name, str(value)) for name, value in flat.items()])
    return str(parent.info.run_id)


@contextmanager
def stage_run(stage: str, params: Params) -> Iterator[StageRun]:
    """Open a stage's run below its invocation's, log its params and inputs, and end both with what became of it.

    A stage that raises leaves a FAILED run with the error as a tag, one that is interrupted a KILLED one.
    """
    import psutil
    from mlflow.entities import Param

    common = {
        "mlflow.source.git.commit": invocation.git_commit(),
        "git_commit": invocation.git_commit(),
        "dvc_exp": invocation.experiment_name() or "",
        "device": "cpu",
    }
    if study := os.environ.get(STUDY_VARIABLE):
        common["study"] = study
    with open_store() as (client, experiment_id):
        mark_dead_runs(client, experiment_id)
        parent_id = _open_parent(client, experiment_id, params, common)
        process = invocation.process_key(psutil.Process())
        tags = {**common, PARENT_TAG: parent_id, PROCESS_TAG: process, "stage": stage}
        child = client.create_run(experiment_id, tags=tags, run_name=stage)
    run = StageRun(client, experiment_id, stage, child.info.run_id, parent_id)
    own = invocation.stage_params(stage, flatten(params.model_dump()))
    client.log_batch(run.run_id, params=[Param(name, str(value)) for name, value in own.items()])
    for name, digest in invocation.input_digests(stage).items():
        run.log_input(name, digest)
    run.show_skipped()

    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
        run.show_results()
    except BaseException as fault:
        status = "FAILED" if isinstance(fault, Exception) else "KILLED"
        run.set_tags({"error": f"{type(fault).__name__}: {fault}"[:500]})
        raise
    finally:
        run.end(status)
