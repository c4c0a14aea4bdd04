"""MLflow: one parent run per invocation of dvc, one child run per stage.

Only this module, mlflow_store.py, lineage.py, registry.py, registered.py, flavours.py and serving.py import mlflow. It
takes seconds to import, so it is imported when the first run is opened, not with this module.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeline import invocation, lineage
from pipeline.backlog import Backlog
from pipeline.codec import Pixels
from pipeline.inputs import Inputs
from pipeline.lineage import PARENT_TAG
from pipeline.messages import shown, without_secrets
from pipeline.mlflow_store import explain, open_store, tracking_uri
from pipeline.params import Params, flatten
from pipeline.recipe import recipe_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

SAMPLES = "samples"  # the key of the grids that experiments are compared by
PROCESS_TAG = "process"

# Names the study that a run belongs to. `dvc exp run` hands its environment on to the stages, with --temp too; with
# the queue they would have that of `dvc queue start`.
STUDY_VARIABLE = "PIPELINE_STUDY"
# Curves of training that the invocation's run gets too, where experiments are compared.
CURVES = ("lossD", "lossG", "quick_kid")
ROWS_AT_ONCE = 50  # MLflow takes 1,000 figures in a call


class Opened(NamedTuple):
    """A stage's run and its invocation's, and where they are."""

    client: MlflowClient
    experiment_id: str
    run_id: str
    parent_id: str


class StageRun:
    """The MLflow run of a stage, and its parent.

    A fault of the tracking store is printed and never ends the stage: every figure is also in metrics/ and plots/. What
    the store does not take is kept and tried again, at the latest at the stage's end: nothing stays out of it unsaid.
    """

    def __init__(self, stage: str, params: Params) -> None:
        self._stage = stage
        self._params = params
        self._opened: Opened | None = None
        self._backlog = Backlog(self._open)

    @property
    def run_id(self) -> str:
        """The stage's run; LookupError while the store has not taken it."""
        return self._open_run.run_id

    @property
    def parent_id(self) -> str:
        """The invocation's run; LookupError while the store has not taken it."""
        return self._open_run.parent_id

    @property
    def _client(self) -> MlflowClient:
        return self._open_run.client

    @property
    def _open_run(self) -> Opened:
        if self._opened is None:
            raise LookupError("the run is not there yet")
        return self._opened

    def log_settings(self) -> None:
        """Log the stage's params onto its run, and all of them, and a recipe's, onto its invocation's."""

        def log() -> None:
            flat = flatten(self._params.model_dump())
            self._client.log_batch(self.run_id, params=_params(invocation.stage_params(self._stage, flat)))
            if not self._client.get_run(self.parent_id).data.params:
                self._client.log_batch(self.parent_id, params=_params(flat | recipe_settings(Path(flat["dataroot"]))))

        self._backlog.add("settings", log)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures in one batch; step is the x of their curves."""
        points = _points([(key, value, step or 0) for key, value in metrics.items()])
        self._backlog.add("figures", lambda: self._client.log_batch(self.run_id, metrics=points))

    def log_parent_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log headline figures onto the invocation's run, where the UI compares experiments."""
        points = _points([(key, value, 0) for key, value in metrics.items()])
        self._backlog.add("headline figures", lambda: self._client.log_batch(self.parent_id, metrics=points))

    def log_rows(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Log the points of curves: figures by name, at the step under the name `step`.

        In as few calls as may be; a row has at most 20 figures. CURVES go to the parent too, as `curves/…`.
        """
        for start in range(0, len(rows), ROWS_AT_ONCE):
            batch = rows[start : start + ROWS_AT_ONCE]
            found = [(key, value, int(row["step"])) for row in batch for key, value in row.items() if key != "step"]
            self._backlog.add("curves", partial(self._log_points, _points(found)))

    def log_image(self, pixels: Pixels, key: str, step: int) -> None:
        """Log RGB uint8 (H, W, 3) under a key and a step, for the image grid.

        Samples go to the parent too, where experiments are compared, as `train samples` and `evaluate samples`.
        """
        self._backlog.add(key, lambda: self._client.log_image(self.run_id, pixels, key=key, step=step))
        if key == SAMPLES:
            name = f"{self._stage} {key}"
            self._backlog.add(name, lambda: self._client.log_image(self.parent_id, pixels, key=name, step=step))

    def log_file(self, path: Path, folder: str = "") -> None:
        """Log a file into a folder of the run's artifacts ("" is the top)."""
        self._backlog.add(str(path), lambda: self._client.log_artifact(self.run_id, str(path), folder or None))

    def log_input(self, name: str, digest: str) -> None:
        """Log a data set that the stage reads, by name and digest."""
        self._backlog.add(name, lambda: self._log_inputs({without_secrets(name): digest}))

    def show_skipped(self) -> None:
        """Show in the parent what the stages before this one left that DVC had no need to run."""

        def show() -> None:
            lineage.show_skipped(self._client, self._open_run.experiment_id, self._stage, self.parent_id)

        self._backlog.add("what was skipped", show)

    def show_results(self) -> None:
        """Show in the parent what this stage, which did its work, left."""

        def show() -> None:
            lineage.show_results(self._client, self._stage, self.run_id, self.parent_id)

        self._backlog.add("headline figures", show)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tag the stage's run and its parent."""

        def tag() -> None:
            for run_id in (self.run_id, self.parent_id):
                for key, value in tags.items():
                    self._client.set_tag(run_id, key, value)

        self._backlog.add("tags", tag)

    @contextmanager
    def watch_system(self) -> Iterator[None]:
        """Log what cores, memory, disk, network and GPUs do while the block lasts, as curves `system/…`."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)  # it says when it starts and ends
        monitor: SystemMetricsMonitor | None = None
        try:
            monitor = SystemMetricsMonitor(self.run_id, tracking_uri=tracking_uri())  # type: ignore[no-untyped-call]
            monitor.start()  # type: ignore[no-untyped-call]
        except Exception as fault:  # these are of the moment: there is nothing to keep for later
            print(f"warning: MLflow gets no curves of the machine: {explain(fault)}", file=sys.stderr)
        try:
            yield
        finally:
            if monitor:
                monitor.finish()  # type: ignore[no-untyped-call]

    def end(self, status: str) -> None:
        """End the stage's run, and its parent until the next stage begins: FINISHED, FAILED or KILLED.

        What the store has not taken until then is tried a last time, and named where it is lost.
        """
        self._backlog.add("the end of the run", lambda: self._client.set_terminated(self.run_id, status))
        self._backlog.add("the end of the invocation", lambda: self._client.set_terminated(self.parent_id, status))
        self._backlog.finish()

    def _log_points(self, points: Sequence[Metric]) -> None:
        from mlflow.entities import Metric

        self._client.log_batch(self.run_id, metrics=points)
        shown = [Metric(f"curves/{at.key}", at.value, at.timestamp, at.step) for at in points if at.key in CURVES]
        self._client.log_batch(self.parent_id, metrics=shown)

    def _log_inputs(self, digests: Mapping[str, str]) -> None:
        from mlflow.entities import Dataset, DatasetInput

        # MLflow refuses digests of more than 36 characters; a SHA-256's first 32 tell any two data sets apart.
        datasets = [Dataset(name, digest[:36], "local", name) for name, digest in digests.items()]
        self._client.log_inputs(self.run_id, datasets=[DatasetInput(dataset) for dataset in datasets])

    def _open(self) -> None:
        self._opened = _open_run(self._stage)


def _points(figures: Iterable[tuple[str, float, int]]) -> list[Metric]:
    """Return (name, value, step) as MLflow has them, of this moment."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(key, float(value), now, step) for key, value, step in figures]


def _params(flat: Mapping[str, object]) -> list[Param]:
    from mlflow.entities import Param

    return [Param(name, without_secrets(str(value))) for name, value in flat.items()]


def mark_dead_runs(client: MlflowClient, experiment_id: str) -> None:
    """End as KILLED the runs whose process is gone: a SIGKILL leaves no time to say so."""
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        key = run.data.tags.get(PROCESS_TAG)
        if key and invocation.is_gone(key):
            client.set_tag(run.info.run_id, "error", "the process ended without a word (killed, or MLflow was away)")
            client.set_terminated(run.info.run_id, "KILLED")


def _open_parent(client: MlflowClient, experiment_id: str, common: dict[str, str]) -> str:
    """Return the invocation's run, set RUNNING: the one that an earlier stage made, or a new one.

    One process of `dvc exp run --temp` may have several, because it goes on with the experiments that others stashed.
    """
    key = invocation.process_key(invocation.invocation())
    made_here = f"tags.{PROCESS_TAG} = '{key}' and tags.kind = 'invocation'"
    for run in client.search_runs([experiment_id], made_here):
        if run.data.tags.get("dvc_exp") == common["dvc_exp"]:
            client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
    name = invocation.experiment_name() or time.strftime("repro-%Y%m%d-%H%M%S")
    tags = {**common, PROCESS_TAG: key, "kind": "invocation"}
    return str(client.create_run(experiment_id, tags=tags, run_name=name).info.run_id)


def _open_run(stage: str) -> Opened:
    """Make a stage's run, below that of its invocation."""
    import psutil

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
        parent_id = _open_parent(client, experiment_id, common)
        process = invocation.process_key(psutil.Process())
        tags = {**common, PARENT_TAG: parent_id, PROCESS_TAG: process, "stage": stage}
        child = client.create_run(experiment_id, tags=tags, run_name=stage)
    return Opened(client, experiment_id, str(child.info.run_id), parent_id)


@contextmanager
def stage_run(stage: str, params: Params) -> Iterator[StageRun]:
    """Open a stage's run below its invocation's, log its params and inputs, and end both with what became of it.

    A stage that raises leaves a FAILED run with the error as a tag, one that is interrupted a KILLED one. StageError
    where its params, its code or the dataroot are others in the end: DVC, which looks at them after the stage, would
    hold its result for theirs, and not run it again.
    """
    inputs = Inputs(stage)
    run, status = StageRun(stage, params), "FAILED"
    try:
        run.log_settings()
        for name, digest in invocation.input_digests(stage).items():
            run.log_input(name, digest)
        run.show_skipped()
        yield run
        inputs.require_unchanged()
        status = "FINISHED"
        run.show_results()
    except BaseException as fault:
        status = "FAILED" if isinstance(fault, Exception) else "KILLED"
        run.set_tags({"error": shown(f"{type(fault).__name__}: {fault}")[:500]})
        raise
    finally:
        run.end(status)
