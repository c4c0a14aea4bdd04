"""Against a real MLflow store, as in test_tracking.py."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from pipeline.atomic import write_json
from pipeline.invocation import upstream
from pipeline.mlflow_store import open_store
from pipeline.params import Params
from pipeline.paths import metrics_file
from pipeline.runs import past_invocations
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
    - {{path: data/clean, md5: '{clean}'}}
    - {{path: metrics/filter.json, md5: '{filter}'}}
  resize:
    cmd: x
    deps:
    - {{path: data/clean, md5: '{clean}'}}
    outs:
    - {{path: data/faces, md5: '{faces}'}}
    - {{path: metrics/resize.json, md5: '{resize}'}}
  train:
    cmd: x
    deps:
    - {{path: data/faces/train.npy, md5: '{train}'}}
    outs:
    - {{path: metrics/train.json, md5: '{kimg}'}}
  other:
    cmd: x
    outs:
    - {{path: else, md5: '0'}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(DVC_YAML)
    return tmp_path


def lock(clean: str, faces: str, train: str = "") -> None:
    """Write the lock as DVC does after filter and resize, and after a training on faces with that digest."""
    digests = {name: md5(metrics_file(name)) for name in ("filter", "resize")}
    kimg = md5(metrics_file("train")) if train else ""
    Path("dvc.lock").write_text(LOCK.format(clean=clean * 32, faces=faces, train=train, kimg=kimg, **digests))


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324


def invoke(stages: dict[str, dict[str, float]], params: Params) -> dict[str, StageRun]:
    """Run stages, each of which leaves these figures, as an invocation of their own."""
    runs = {}
    for stage, figures in stages.items():
        with stage_run(stage, params) as run:
            write_json(metrics_file(stage), figures)
        runs[stage] = run
        if stage == "filter":  # what dvc notes before the next stage starts
            metrics_file("resize").touch()
            lock(clean=str(figures["kept"]), faces="f" * 32)
    # Each test process is one invocation; the next run shall be another one's.
    run._client.set_tag(run.parent_id, PROCESS_TAG, f"host/{run.run_id}/1")
    return runs


def test_what_was_skipped_is_shown_and_its_maker_linked(project: Path, params: Params) -> None:
    made = invoke({"filter": {"input": 8, "kept": 6}, "resize": {"train": 6}}, params)
    lock(clean="6", faces="a" * 32)
    # Other runs of these stages, with other results; then those of the first are here again.
    invoke({"filter": {"input": 8, "kept": 5}, "resize": {"train": 5}}, params)
    write_json(metrics_file("filter"), {"input": 8, "kept": 6})
    write_json(metrics_file("resize"), {"train": 6})
    lock(clean="6", faces="a" * 32)
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


def test_a_training_is_known_again_where_only_the_holdout_is_another(project: Path, params: Params) -> None:
    """DVC looks at train.npy alone, and its lock has no digest of that but the training's own."""
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], check=True)
    Path("dvc.yaml").unlink()
    first, second = (faces_with(holdout) for holdout in (b"one", b"another"))
    Path("dvc.yaml").write_text(DVC_YAML + "  evaluate:\n    cmd: x\n    deps: [data/faces, metrics/train.json]\n")
    invoke({"filter": {"input": 8, "kept": 6}, "resize": {"train": 6}}, params)
    lock("6", first)
    trained = invoke({"train": {"kimg": 2.0}}, params)["train"]
    lock("6", second, train=md5(Path("data/faces/train.npy")))
    later = invoke({"evaluate": {"n_generated": 1}}, params)["evaluate"]
    with open_store() as (client, _):
        assert client.get_run(later.parent_id).data.tags["skipped.train"] == trained.run_id


def faces_with(holdout: bytes) -> str:
    """Put data/faces with that holdout into DVC's cache, and return its digest."""
    Path("data/faces").mkdir(parents=True, exist_ok=True)
    Path("data/faces/train.npy").write_bytes(b"train")
    Path("data/faces/holdout_raw.npy").write_bytes(holdout)
    subprocess.run(["dvc", "add", "--quiet", "data/faces"], check=True)
    tracked = Path("data/faces.dvc")
    digest = next(line.split()[-1] for line in tracked.read_text().splitlines() if "md5:" in line)
    tracked.unlink()
    return digest


def test_settings_are_those_that_each_stage_ran_with(project: Path, params: Params, monkeypatch) -> None:
    """params.yaml may have changed before a later stage began."""
    Path("dvc.yaml").write_text(DVC_YAML + "    params: [lr]\n")
    with stage_run("filter", params):
        pass
    with stage_run("train", params.model_copy(update={"lr": 0.125})):
        pass
    (found,) = past_invocations(1)
    assert found.params["lr"] == "0.125"
    assert found.params["beta1"] == "0.5"


def test_what_another_clone_made_is_shown_without_a_link(project: Path, params: Params) -> None:
    write_json(metrics_file("filter"), {"input": 8, "kept": 6})
    write_json(metrics_file("resize"), {"train": 6})
    lock(clean="c", faces="f" * 32)
    later = invoke({"train": {"kimg": 2.0}}, params)["train"]
    with open_store() as (client, _):
        parent = client.get_run(later.parent_id).data
    assert parent.metrics["kept_share"] == 0.75
    assert (parent.tags["skipped.filter"], parent.tags["skipped.resize"]) == ("unknown", "unknown")
    assert parent.tags["mlflow.note.content"] == "Unchanged since an earlier run: filter, resize."
