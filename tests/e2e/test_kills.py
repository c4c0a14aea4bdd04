"""kill -9, again and again, in the middle of training: through real dvc, against a run that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.digest import file_digest
from tests.e2e.project import Project

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"),
]

OUTS = (
    *(f"models/{name}.safetensors" for name in ("generator", "generator_best", "generator_live", "discriminator")),
    *("plots/losses.csv", "plots/quick_kid.csv", "plots/training.gif"),
)
TRAINING = {"log_steps": 10, "quick_kid_images": 8, "quick_kid_kimg": 4.0, "checkpoint_minutes": 0.005}
EPOCHS = 250


def training_project(new_project: Callable[[], Project], precision: str) -> Project:
    """Return a project whose faces are packed and whose training takes the better part of a minute."""
    project = new_project()
    project.environment["OMP_NUM_THREADS"] = "1"
    project.edit("params.yaml", {"num_epochs": EPOCHS, "train": {**TRAINING, "precision": precision}})
    project.run("dvc", "repro", "resize")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "faces")
    return project


def outs(project: Project) -> dict[str, str]:
    """Return what tells each out from another, short enough to read where two differ."""
    return {out: shown(project.folder / out) for out in OUTS}


def shown(path: Path) -> str:
    return path.read_text() if path.suffix == ".csv" else file_digest(path)


def kill_while_training(project: Project, command: tuple[str, ...], seconds: float) -> int:
    """Run dvc, kill it and its stage so many seconds after the first step, and return where the training began."""
    process = project.popen(*command)
    assert process.stdout is not None
    first_step = None
    for line in process.stdout:
        if "from step" in line:
            first_step = int(line.split("from step ")[1].split()[0])
            break
    assert first_step is not None, "the stage ended before it trained"
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return first_step


@pytest.mark.parametrize(
    ("precision", "kills"),
    [pytest.param("bf16", 20, id="20 kills in bf16"), pytest.param("fp32", 20, id="20 kills in fp32")],
)
def test_a_training_that_is_killed_again_and_again_ends_as_one_that_was_not(
    precision: str, kills: int, new_project: Callable[[], Project]
) -> None:
    undisturbed = training_project(new_project, precision)
    undisturbed.run("dvc", "repro", "train")

    project, moments = training_project(new_project, precision), random.Random(0)  # noqa: S311
    begun = []
    for attempt in range(kills):
        command = ("dvc", "exp", "run", "train") if attempt % 2 else ("dvc", "repro", "train")
        begun.append(kill_while_training(project, command, moments.uniform(0.0, 2.5)))
    assert "from step 0" not in project.run("dvc", "repro", "train")

    assert begun == sorted(begun)
    assert len(set(begun)) > kills / 2, "most attempts should have got further than the one before"
    assert outs(project) == outs(undisturbed)

    from mlflow import MlflowClient

    trained = [run for run in project.runs() if run.data.tags.get("stage") == "train"]
    assert [run.info.status for run in trained] == ["KILLED"] * kills + ["FINISHED"]
    client = MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")
    steps = [point.step for point in client.get_metric_history(trained[-1].info.run_id, "lossG")]
    last = int(trained[-1].data.metrics["kimg"] * 1000 / 16)
    assert sorted(steps) == [*range(10, last + 1, 10), *([last] if last % 10 else [])]
