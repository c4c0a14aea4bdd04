"""Against a real MLflow store, as in test_tracking.py."""

from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path

import pytest

from pipeline.atomic import write_json
from pipeline.params import Params
from pipeline.paths import metrics_file
from pipeline.runs import Invocation, differing_settings, past_invocations, table
from pipeline.tracking import PROCESS_TAG, stage_run

# MLflow's own dependencies warn of each other's changes; that is not this project's to mend.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)

DVC_YAML = """stages:
  filter:
    cmd: x
  evaluate:
    cmd: x
"""
DVC_LOCK = """schema: '2.0'
stages:
  evaluate:
    cmd: x
    outs:
    - path: metrics/evaluate.json
      md5: {digest}
"""


def locked(metrics: bytes) -> None:
    Path("dvc.lock").write_text(DVC_LOCK.format(digest=md5(metrics, usedforsecurity=False).hexdigest()))


def test_what_was_run_and_whose_results_are_here(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(DVC_YAML)
    parents, left = [], {}
    for name, lr in (("first", 0.1), ("second", 0.2)):  # of the same faces and weights, as with other evaluate params
        monkeypatch.setenv("DVC_EXP_NAME", name)
        changed = params.model_copy(update={"lr": lr})
        with stage_run("filter", changed):
            write_json(metrics_file("filter"), {"input": 8, "kept": 6})
        with stage_run("evaluate", changed) as run:
            write_json(metrics_file("evaluate"), {"kid_lite0_raw": 100 * lr})
            left[name] = metrics_file("evaluate").read_bytes()
            run.log_parent_metrics({"kid_lite0_raw": 100 * lr, "kid_lite0_raw_se": 1.0})
        parents.append(run.parent_id)
        # Each test process is one invocation; the next run shall be another one's.
        run._client.set_tag(run.parent_id, PROCESS_TAG, name)

    assert not any(one.here for one in past_invocations(10)), "without dvc.lock nothing is known to be here"
    locked(left["first"])
    newest, oldest = past_invocations(10)
    assert [newest.name, oldest.name] == ["second", "first"]
    assert (newest.here, oldest.here) == (False, True)
    assert sorted(oldest.stages) == ["evaluate", "filter"]
    assert oldest.metrics["kept_share"] == 0.75
    assert oldest.params["lr"] == "0.1"
    assert [one.name for one in past_invocations(1)] == ["second"]

    lines = table([newest, oldest]).splitlines()
    assert lines[0].split()[-1] == "lr"
    assert "10.0 ± 1.0" in lines[2]
    assert lines[2].startswith("*")
    assert lines[1].split()[-1] == "0.2"


def test_what_others_log_below_ours_is_no_stage(tmp_path: Path, params: Params, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(DVC_YAML)
    write_json(metrics_file("filter"), {"input": 8, "kept": 6})
    with stage_run("filter", params) as run:
        run._client.create_run(run._open_run.experiment_id, tags={"mlflow.parentRunId": run.parent_id})
    locked(b"")
    with stage_run("evaluate", params) as run:
        pass
    (one,) = past_invocations(10)
    assert list(one.stages) == ["filter", "evaluate"]
    assert one.metrics["kept_share"] == 0.75


def test_a_run_without_figures_has_blanks() -> None:
    one = Invocation(
        "quick",
        datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "FAILED",
        ["train"],
        {"lr": "0.1"},
        {},
        False,
        "0123456789abcdef",
    )
    heading, line = table([one]).splitlines()
    assert "lr" not in heading.split()
    assert line.split() == ["quick", "01234567", "2026-01-02", "03:04", "failed", "train"]


def test_of_a_recipes_tables_the_sums_are_columns() -> None:
    here = [
        Invocation(
            name,
            datetime.now(UTC),
            "FINISHED",
            [],
            {"dataroot:dirt": share, "dataroot:dirt.blur": share},
            {},
            False,
            name,
        )
        for name, share in (("raw", "0.42"), ("pristine", "0.0"))
    ]
    assert differing_settings(here) == ["dataroot:dirt"]
