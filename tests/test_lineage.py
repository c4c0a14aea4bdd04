"""Against a real MLflow store, as in test_tracking.py."""

import hashlib
from pathlib import Path

import pytest

from pipeline.atomic import write_json
from pipeline.invocation import upstream
from pipeline.mlflow_store import open_store
from pipeline.params import Params
from pipeline.paths import metrics_file
from pipeline.tracking import PROCESS_TAG, StageRun, stage_run

# MLflow's own dependencies warn of each other's changes; that is not this project's to mend.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)

DVC_YAML = """stages:
  filter:
    cmd: x
    deps: [data/raw]
  resize:
    cmd: x
    deps: [data/clean]
  train:
    cmd: x
    deps: [data/faces/train.npy, x.py]
"""
LOCK = """schema: '2.0'
stages:
  filter:
    cmd: x
    outs:
    - {{path: data/clean, md5: {clean}}}
    - {{path: metrics/filter.json, md5: {filter}}}
  resize:
    cmd: x
    outs:
    - {{path: data/faces, md5: {faces}}}
    - {{path: metrics/resize.json, md5: {resize}}}
  other:
    cmd: x
    outs:
    - {{path: else, md5: 0}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(DVC_YAML)
    return tmp_path


def lock(clean: str, faces: str) -> None:
    """Write the lock as DVC does after filter and resize."""
    digests = {name: hashlib.md5(metrics_file(name).read_bytes()).hexdigest() for name in ("filter", "resize")}  # noqa: S324
    Path("dvc.lock").write_text(LOCK.format(clean=clean * 32, faces=faces * 32, **digests))


def invoke(stages: dict[str, dict[str, float]], params: Params) -> dict[str, StageRun]:
    """Run stages, each of which leaves these figures, as an invocation of their own."""
    runs = {}
    for stage, figures in stages.items():
        with stage_run(stage, params) as run:
            write_json(metrics_file(stage), figures)
        runs[stage] = run
        if stage == "filter":  # what dvc notes before the next stage starts
            metrics_file("resize").touch()
            lock(clean=str(figures["kept"]), faces="f")
    # Each test process is one invocation; the next run shall be another one's.
    run._client.set_tag(run.parent_id, PROCESS_TAG, f"host/{run.run_id}/1")
    return runs


def test_what_was_skipped_is_shown_and_its_maker_linked(project: Path, params: Params) -> None:
    made = invoke({"filter": {"input": 8, "kept": 6}, "resize": {"train": 6}}, params)
    lock(clean="6", faces="a")
    # Other runs of these stages, with other results; then those of the first are here again.
    invoke({"filter": {"input": 8, "kept": 5}, "resize": {"train": 5}}, params)
    write_json(metrics_file("filter"), {"input": 8, "kept": 6})
    write_json(metrics_file("resize"), {"train": 6})
    lock(clean="6", faces="a")
    assert upstream("train") == ["filter", "resize"]

    later = invoke({"train": {"kimg": 2.0}}, params)["train"]
    with open_store() as (client, _):
        parent, first = client.get_run(later.parent_id).data, client.get_run(made["filter"].parent_id).data
    shown = {"filter/input": 8, "filter/kept": 6, "kept_share": 0.75, "resize/train": 6}
    assert first.metrics == shown
    assert parent.metrics == shown | {"kimg": 2.0}
    assert parent.tags["skipped.filter"] == made["filter"].run_id
    assert parent.tags["skipped.resize"] == made["resize"].run_id
    assert f"[filter](#/experiments/1/runs/{made['filter'].run_id})" in parent.tags["mlflow.note.content"]
    assert not any(tag.startswith("skipped.") for tag in first.tags)


def test_what_another_clone_made_is_shown_without_a_link(project: Path, params: Params) -> None:
    write_json(metrics_file("filter"), {"input": 8, "kept": 6})
    write_json(metrics_file("resize"), {"train": 6})
    lock(clean="c", faces="f")
    later = invoke({"train": {"kimg": 2.0}}, params)["train"]
    with open_store() as (client, _):
        parent = client.get_run(later.parent_id).data
    assert parent.metrics["kept_share"] == 0.75
    assert (parent.tags["skipped.filter"], parent.tags["skipped.resize"]) == ("unknown", "unknown")
    assert parent.tags["mlflow.note.content"] == "Unchanged since an earlier run: filter, resize."
