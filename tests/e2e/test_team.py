"""A team's store: MLflow's server over HTTP, on PostgreSQL and with the artifacts proxied; and that server gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.e2e.browser import CHROMIUM, opened, wait_for
from tests.e2e.project import Project
from tests.e2e.servers import free_port, serving
from tests.e2e.test_pipeline import STAGES, work_off

# Debian keeps them off the PATH.
INITDB = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(INITDB is None, reason="no initdb here, which PostgreSQL's server brings"),
    *(pytest.mark.filterwarnings(f"ignore::{kind}Warning") for kind in ("Deprecation", "Resource", "Future")),
]

Serve = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of an empty PostgreSQL database, on a socket in a folder of its own."""
    assert INITDB is not None
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses root
    folder = Path(tempfile.mkdtemp(prefix="postgres"))  # tmp_path is root's alone, and too long for a socket
    if user:
        shutil.chown(folder, user)

    def run(program: str, *words: str) -> None:
        command = [Path(INITDB).with_name(program), "--pgdata", folder / "data", *words]
        subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    run("initdb", "--username", "mlflow", "--auth", "trust", "--no-sync")
    run("pg_ctl", "start", "--wait", "--log", str(folder / "log"), "-o", f"-c listen_addresses='' -k {folder}")
    yield f"postgresql+psycopg2://mlflow@/postgres?host={folder}"
    run("pg_ctl", "stop", "--mode", "immediate")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def team(new_project: Callable[[], Project]) -> Project:
    """A project whose runs go to a server, which a test starts with `serve`."""
    project = new_project()
    project.environment["PYTHONUNBUFFERED"] = "1"
    project.environment["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{free_port()}"
    return project


@pytest.fixture(scope="module")
def serve(team: Project, database: str, tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """A function whose context has the server, always the same one."""
    folder, address = tmp_path_factory.mktemp("server"), team.environment["MLFLOW_TRACKING_URI"]
    command = f"mlflow server --backend-store-uri {database} --artifacts-destination {folder}/artifacts --workers 1"
    where = f"--host 127.0.0.1 --port {address.rpartition(':')[2]}"
    environment = team.environment | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return lambda: serving(
        *command.split(), *where.split(),
        answers=f"{address}/health", log=folder / "log", environment=environment, folder=folder,
    )  # fmt: skip


def files(client: MlflowClient, run: Any, folder: str = "") -> set[str]:
    return {entry.path for entry in client.list_artifacts(run.info.run_id, folder)}


def test_two_experiments_over_http(team: Project, serve: Serve, tmp_path: Path) -> None:
    with serve():
        team.run("dvc", "exp", "run", "--name", "first")
        team.run("dvc", "exp", "run", "--name", "slow", "-S", "lr=0.00001")
        first, slow = team.parents()
        assert [run.info.status for run in team.runs()] == ["FINISHED"] * 9
        assert team.children(first) == STAGES
        assert team.children(slow) == ["train", "evaluate"]
        assert (first.info.run_name, slow.info.run_name) == ("first", "slow")
        # What DVC took from its cache is shown all the same, with the runs that made it.
        makers = {run.data.tags["stage"]: run.info.run_id for run in team.children_of(first)}
        assert {stage: slow.data.tags[f"skipped.{stage}"] for stage in STAGES[:3]} == {
            stage: makers[stage] for stage in STAGES[:3]
        }
        assert first.data.metrics.keys() == slow.data.metrics.keys() >= {"kid_lite0_raw", "kept_share", "img_per_s"}
        # The artifacts went through the server, and come back so.
        client = MlflowClient(team.store)
        train, evaluate = team.children_of(slow)
        assert train.info.artifact_uri.startswith("mlflow-artifacts:/")
        assert {"plots/losses.csv", "plots/training.gif"} <= files(client, train, "plots")
        assert "evaluate.html" in files(client, evaluate)
        assert any("train samples" in name.replace("+", " ") for name in files(client, slow, "images"))
        losses = client.download_artifacts(train.info.run_id, "plots/losses.csv", str(tmp_path))
        assert Path(losses).read_bytes() == (team.folder / "plots/losses.csv").read_bytes()

        newest, oldest = team.run("dcgan", "runs").splitlines()[-2:]
        assert newest.startswith("*  slow ")
        assert oldest.startswith("   first ")
        assert "crawl-import filter resize train evaluate" in oldest
    assert not (team.folder / "mlflow.db").exists()


def test_a_queue_fills_the_server_and_the_best_gets_its_name_there(team: Project, serve: Serve) -> None:
    with serve():
        team.run("dvc", "repro")  # so that the queue finds the faces
        before = {run.info.run_id for run in team.parents()}
        team.run("dvc", "exp", "run", "--queue", "--set-param=lr=0.0003,0.0004")
        told = work_off(team)
        new = {run.info.run_name: run for run in team.parents() if run.info.run_id not in before}
        assert sorted(told["Success"]) == sorted(new)
        assert {run.data.params["lr"] for run in new.values()} == {"0.0003", "0.0004"}
        assert {run.info.status for run in new.values()} == {"FINISHED"}
        assert [team.children(run) for run in new.values()] == [["train", "evaluate"]] * 2

        name = next(iter(new))
        assert "is version 1 of anime-dcgan and its champion" in team.run("dcgan", "promote", name)
        team.run("dcgan", "generate", "--weights", "models:/anime-dcgan@champion", "--count", "1", "champion.png")
        assert (team.folder / "champion.png").exists()

        if CHROMIUM.exists():
            page = team.run("python", "-m", "pipeline.ui").splitlines()[-2].split()[-1]
            with opened(page) as seen:
                wait_for(seen, *new, "kid_lite0_raw", "lr", "0.0003", "0.0004")


def train_until_the_first_tick(team: Project, seed: int) -> subprocess.Popen[str]:
    """Start another training, and return it when it has told of its first step."""
    process = team.popen(
        "dvc", "exp", "run", "--name", f"seed-{seed}", "-S", f"seed={seed}", "-S", "num_epochs=6", "train"
    )
    read_until(process, "lossD")
    return process


def read_until(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if word in line:
            return
    raise AssertionError(f"{word} did not come:\n{''.join(printed)}")


def test_a_server_that_is_back_before_the_end_gets_what_it_missed(team: Project, serve: Serve) -> None:
    with serve():
        training = train_until_the_first_tick(team, 1)
    read_until(training, "warning: MLflow did not take ")
    os.killpg(training.pid, signal.SIGSTOP)
    with serve():
        os.killpg(training.pid, signal.SIGCONT)
        printed = training.communicate()[0]
        assert training.returncode == 0, printed
        (parent,) = (run for run in team.parents() if run.info.run_name == "seed-1")
        (train,) = (run for run in team.children_of(parent) if run.data.tags["stage"] == "train")
        assert (parent.info.status, train.info.status) == ("FINISHED", "FINISHED")
        client = MlflowClient(team.store)
        assert {point.step for point in client.get_metric_history(train.info.run_id, "lossG")} == steps(team)
        assert {"plots/losses.csv", "plots/training.gif"} <= files(client, train, "plots")


def test_a_server_that_does_not_come_back_costs_its_own_curves_alone(team: Project, serve: Serve) -> None:
    with serve():
        training = train_until_the_first_tick(team, 2)
    printed = training.communicate()[0]
    assert training.returncode == 0, printed
    (lacking,) = (line for line in printed.splitlines() if line.startswith("warning: MLflow lacks "))
    for what in ("curves", "plots/losses.csv", "the end of the run"):
        assert what in lacking
    assert printed.count("warning: MLflow did not take ") <= 3, "each try costs seconds, and there are twelve pictures"
    assert len(steps(team)) > 1
    assert (team.folder / "models/generator.safetensors").exists()


def steps(team: Project) -> set[int]:
    """Return the steps in losses.csv, up to the last."""
    return {int(line.split(",")[0]) for line in (team.folder / "plots/losses.csv").read_text().splitlines()[1:]}
