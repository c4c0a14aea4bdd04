"""What an invocation's MLflow run tells of its stages: headline figures, and who made what DVC had no need to make."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pipeline import invocation, paths
from pipeline.dvc_cache import folder_md5
from pipeline.headline import headline

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"  # the description that the UI shows, in Markdown
RESULT_TAG = "result"  # of a stage's run: the digest that its outputs are known by
METRICS_CODE_TAG = "metrics_code"  # of evaluate's run: DVC's digest of the code that its figures were measured by
SKIPPED_TAG = "skipped."  # and a stage's name, of an invocation's run: the run that made what that stage would make
UNKNOWN = "unknown"  # made elsewhere, as in another clone


def show_results(client: MlflowClient, stage: str, run_id: str, parent_id: str) -> None:
    """Tag the run of a stage that did its work with the digest that finds it; show its figures in the parent."""
    metrics = paths.metrics_file(stage)
    if metrics.exists():
        md5 = hashlib.md5(metrics.read_bytes(), usedforsecurity=False).hexdigest()
        client.set_tag(run_id, RESULT_TAG, invocation.result_key(stage, md5, invocation.read_digests(stage)))
        _show_figures(client, [stage], parent_id)
    if stage == "evaluate" and paths.METRICS_CODE.exists():
        client.set_tag(run_id, METRICS_CODE_TAG, folder_md5(paths.METRICS_CODE))


def show_skipped(client: MlflowClient, experiment_id: str, stage: str, parent_id: str) -> None:
    """Show in the parent the figures of the stages before this one that DVC skipped, and link their runs."""
    tags = client.get_run(parent_id).data.tags
    told = {child.data.tags["stage"] for child in stage_runs(client, experiment_id, parent_id)} | {
        tag.removeprefix(SKIPPED_TAG) for tag in tags if tag.startswith(SKIPPED_TAG)
    }
    skipped = [name for name in invocation.upstream(stage) if name not in told]
    if skipped:
        _show_figures(client, skipped, parent_id)
        makers = {name: maker_of(client, experiment_id, name) for name in skipped}
        for name, maker in makers.items():
            client.set_tag(parent_id, SKIPPED_TAG + name, maker.info.run_id if maker else UNKNOWN)
        client.set_tag(parent_id, NOTE_TAG, _note(makers, tags.get(NOTE_TAG, "")))


def stage_runs(client: MlflowClient, experiment_id: str, parent_id: str) -> list[Run]:
    """Return the runs of an invocation's stages, the newest first; what somebody else put below it is none of them."""
    below = client.search_runs([experiment_id], f"tags.`{PARENT_TAG}` = '{parent_id}'")
    return [run for run in below if "stage" in run.data.tags]


def settings(parent: Run, stages: Iterable[Run]) -> dict[str, str]:
    """Return the settings of an invocation, given the runs of its stages, the oldest first.

    Its own are those of its first stage; params.yaml may have changed before a later one began.
    """
    found = dict(parent.data.params)
    for stage in stages:
        found |= stage.data.params
    return found


def _show_figures(client: MlflowClient, stages: Iterable[str], parent_id: str) -> None:
    """Log the stages' figures onto the parent, those that it does not have yet."""
    from mlflow.entities import Metric

    files = {stage: paths.metrics_file(stage) for stage in stages}
    shown: dict[str, float] = {}
    for stage, file in files.items():
        shown |= headline(stage, json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
    there, now = client.get_run(parent_id).data.metrics, int(time.time() * 1000)
    new = [Metric(name, float(value), now, 0) for name, value in shown.items() if name not in there]
    client.log_batch(parent_id, metrics=new)


def maker_of(client: MlflowClient, experiment_id: str, stage: str) -> Run | None:
    """Return the newest run that left what dvc.lock has of a stage."""
    made = f"tags.`{RESULT_TAG}` = '{invocation.locked_result(stage)}'"
    found = client.search_runs([experiment_id], made, max_results=1, order_by=["attributes.start_time DESC"])
    return found[0] if found else None


def _note(makers: Mapping[str, Run | None], before: str) -> str:
    """Return a run's description, with links to the runs that made what it found made."""
    told = [
        f"[{stage}](#/experiments/{maker.info.experiment_id}/runs/{maker.info.run_id})" if maker else stage
        for stage, maker in makers.items()
    ]
    return "\n\n".join(filter(None, [before, f"Unchanged since an earlier run: {', '.join(told)}."]))
