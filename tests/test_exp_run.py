"""With real git and real dvc, whose stash holds an experiment that another process is just beginning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DVC_YAML = "stages:\n  train:\n    cmd: cp params.yaml trained\n    params: [lr]\n    outs: [trained]\n"
# What `dvc exp run --temp` does before it looks at what is stashed.
STASH = """
from dvc.repo import Repo
experiments = Repo().experiments
experiments.queue_one(experiments.tempdir_queue, name="{name}", params={{"params.yaml": ["lr=0.3"]}})
"""
OWN = (sys.executable, "-m", "pipeline.exp_run")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@localhost")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("lr: 0.1\n")
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    for command in ("git init --quiet", "dvc init --quiet", "git add --all", "git commit --quiet --message start"):
        subprocess.run(command.split(), check=True)
    stash("foreign")
    return tmp_path


def stash(name: str) -> None:
    subprocess.run([sys.executable, "-c", STASH.format(name=name)], check=True)


def stashed() -> str:
    reflog = ["git", "reflog", "show", "--format=%gs", "refs/exps/stash"]
    return subprocess.run(reflog, check=True, capture_output=True, text=True).stdout


def experiments_after(*dvc: str) -> set[str]:
    command = [*dvc, "exp", "run", "--temp", "--name", "own", "--set-param", "lr=0.2"]
    subprocess.run(command, check=True, capture_output=True)
    refs = ["git", "for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps"]
    found = subprocess.run(refs, check=True, capture_output=True, text=True).stdout.split()
    return {name for name in found if name in ("own", "foreign")}


@pytest.mark.usefixtures("project")
def test_an_experiment_of_another_is_left_to_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(root))
    assert experiments_after(*OWN) == {"own"}
    assert ":foreign" in stashed()


@pytest.mark.usefixtures("project")
def test_what_was_stashed_and_not_run_is_taken_away(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an interrupt in between; the next `dvc exp run` would run it, and leave its settings in params.yaml."""
    monkeypatch.setenv("PYTHONPATH", str(root))
    stash("own")
    assert ":own" in stashed()
    command = [*OWN, "exp", "run", "--temp", "--name", "own", "--set-param", "lr=[0.2"]
    assert subprocess.run(command, check=False, capture_output=True).returncode != 0
    assert ":own" not in stashed()
    assert ":foreign" in stashed()


@pytest.mark.usefixtures("project")
def test_dvc_itself_runs_it_too() -> None:
    """Where it no longer does, pipeline/exp_run.py is not needed any more."""
    assert experiments_after("dvc") == {"own", "foreign"}
