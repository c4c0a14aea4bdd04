"""MLflow down, slow, answering 500, locked or damaged, before, during and after a stage: real stores, real servers."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline import backlog
from pipeline.mlflow_store import open_store
from pipeline.params import Params
from pipeline.tracking import StageRun, stage_run
from tests.mlflow_server import Proxy, mlflow_server

pytestmark = [
    pytest.mark.long,
    *(pytest.mark.filterwarnings(f"ignore::{kind}Warning") for kind in ("Deprecation", "Resource", "Future", "User")),
]

BROKEN = ["refuses", "hangs", "500"]
LOCK = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder; MLflow's own patience is cut short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db?timeout=0.1")
    (tmp_path / "dvc.yaml").write_text("stages:\n  train:\n    cmd: x\n    params:\n    - lr\n")
    return tmp_path


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One for all tests: MLflow remembers for a process where the first server's artifacts go."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as behind:
        proxy = Proxy(behind)
        yield proxy
        proxy.close()


@pytest.fixture
def server(proxy: Proxy, project: Path, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    proxy.mode = "well"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.address)
    return proxy


def log_some(run: StageRun) -> None:
    run.log_rows([{"step": step, "lossG": step / 10} for step in range(1, 4)])
    run.log_image(np.zeros((4, 4, 3), np.uint8), "samples", 1)
    run.set_tags({"device": "cuda"})


def log_more(run: StageRun) -> None:
    run.log_metrics({"kimg": 2.0})
    run.log_file(Path("dvc.yaml"), "plots")


def assert_all_is_there(run: StageRun) -> None:
    with open_store() as (client, _):
        found, parent = client.get_run(run.run_id), client.get_run(run.parent_id)
        steps = [point.step for point in client.get_metric_history(run.run_id, "lossG")]
        files = {file.path for folder in ("plots", "images") for file in client.list_artifacts(run.run_id, folder)}
    assert (found.info.status, parent.info.status) == ("FINISHED", "FINISHED")
    assert found.data.params == {"lr": "0.0002"}
    assert parent.data.params["beta1"] == "0.5"
    assert found.data.metrics == {"lossG": 0.3, "kimg": 2.0}
    assert steps == [1, 2, 3]
    assert found.data.tags["device"] == parent.data.tags["device"] == "cuda"
    assert "plots/dvc.yaml" in files
    assert any(name.startswith("images/samples") for name in files)


@pytest.mark.parametrize("when", ["before", "during"])
@pytest.mark.parametrize("mode", BROKEN)
def test_what_a_server_missed_is_logged_when_it_is_back(
    server: Proxy, params: Params, capsys: pytest.CaptureFixture[str], mode: str, when: str
) -> None:
    server.mode = mode if when == "before" else "well"
    with stage_run("train", params) as run:
        server.mode = mode
        log_some(run)
        server.mode = "well"
        log_more(run)
    told = capsys.readouterr().err
    assert "warning: MLflow did not take" in told
    assert "MLflow has all by now" in told
    assert_all_is_there(run)


@pytest.mark.parametrize("mode", BROKEN)
def test_what_a_server_that_stays_away_lacks_is_named(
    server: Proxy, params: Params, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    server.mode = mode
    began = time.monotonic()
    with stage_run("train", params) as run, run.watch_system():
        log_some(run)
        log_more(run)
    assert time.monotonic() - began < 30
    told = capsys.readouterr().err
    assert "gets no curves of the machine" in told
    (lacks,) = (line for line in told.splitlines() if "MLflow lacks" in line)
    for what in ("settings", "curves", "samples", "train samples", "tags", "figures", "dvc.yaml", "the end of the run"):
        assert what in lacks


@pytest.mark.parametrize("mode", BROKEN)
def test_a_server_that_leaves_at_the_end_is_told_of(
    server: Proxy, params: Params, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    with stage_run("train", params) as run:
        log_some(run)
        log_more(run)
        server.mode = mode
    assert "MLflow lacks the end of the run, the end of the invocation; the figures are in" in capsys.readouterr().err
    server.mode = "well"
    with open_store() as (client, _):
        assert client.get_run(run.run_id).data.metrics == {"lossG": 0.3, "kimg": 2.0}


@pytest.mark.parametrize("mode", ["slow", "every second 500"])
def test_a_server_that_answers_in_the_end_is_waited_for(
    server: Proxy, params: Params, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    server.mode = mode
    with stage_run("train", params) as run:
        log_some(run)
        log_more(run)
    assert "warning: MLflow" not in capsys.readouterr().err
    assert_all_is_there(run)


def test_the_store_is_left_alone_for_a_while_after_a_fault(
    server: Proxy, params: Params, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage_run("train", params) as run:
        server.mode = "hangs"
        run.log_metrics({"a": 1.0})
        began = time.monotonic()
        for step in range(20):
            run.log_metrics({"b": 1.0}, step)
        assert time.monotonic() - began < 1
        server.mode = "well"
        monkeypatch.setattr(run._backlog, "_next_try", time.monotonic())
        run.log_metrics({"c": 1.0})
        with open_store() as (client, _):
            assert client.get_run(run.run_id).data.metrics == {"a": 1.0, "b": 1.0, "c": 1.0}


@pytest.fixture
def held(project: Path) -> Iterator[Callable[[], None]]:
    """Make the store, have another process lock it, and return what ends the lock."""
    with open_store():
        pass
    command = [sys.executable, "-c", LOCK, project / "mlflow.db"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()

        def release() -> None:
            holder.communicate()

        yield release
        if holder.poll() is None:
            release()


def test_a_locked_store_is_logged_to_when_it_is_free(
    held: Callable[[], None], params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage_run("train", params) as run:
        log_some(run)
        held()
        log_more(run)
    told = capsys.readouterr().err
    assert "database is locked" in told
    assert "MLflow has all by now" in told
    assert_all_is_there(run)


def damage(path: Path, how: str) -> None:
    """Leave a damaged store, without MLflow, which would keep its connection to a good one."""
    if how == "truncated":
        store = sqlite3.connect(path)
        store.execute("CREATE TABLE metrics (value)")
        store.executemany("INSERT INTO metrics VALUES (?)", [("x" * 1000,) for _ in range(100)])
        store.commit()
        store.close()
    if how == "half made":  # as MLflow itself leaves it that is killed within its migrations
        store = sqlite3.connect(path)
        store.execute("CREATE TABLE _alembic_tmp_metrics (value)")
        store.close()
        return
    path.write_bytes({"garbage": b"garbage" * 10_000}.get(how) or path.read_bytes()[:60_000])


@pytest.mark.parametrize("how", ["garbage", "truncated", "half made"])
def test_a_damaged_store_is_named_with_its_cure(
    project: Path, params: Params, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    store = project / "mlflow.db"
    damage(store, how)
    with stage_run("train", params) as run:
        log_some(run)
    told = capsys.readouterr().err
    assert f"{store} is damaged (" in told
    assert "put a backup in its place, or move it away and a new one is made" in told
    assert "MLflow lacks" in told


def test_artifacts_that_cannot_be_written_cost_themselves_alone(
    project: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "mlartifacts").write_text("no folder")
    with stage_run("train", params) as run:
        log_some(run)
        log_more(run)
    assert "MLflow lacks samples, train samples, dvc.yaml; the figures are in" in capsys.readouterr().err
    store = sqlite3.connect(project / "mlflow.db")
    assert store.execute("SELECT count(*) FROM metrics WHERE run_uuid = ?", [run.run_id]).fetchone() == (4,)
    store.close()


def test_a_password_in_the_address_is_not_shown(
    project: Path, params: Params, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "LAST_PATIENCE", 0.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@127.0.0.1:9")
    with stage_run("train", params):
        pass
    told = capsys.readouterr().err
    assert "the MLflow store http://127.0.0.1:9 does not answer" in told
    assert "secret" not in told
