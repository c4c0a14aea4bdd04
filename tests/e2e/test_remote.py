"""A second clone gets the faces and the models from a DVC remote, and computes nothing."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.e2e.project import Project

pytestmark = pytest.mark.long

SHARED = ("data/faces/train.npy", "models/generator.safetensors", "reports/evaluate.html")


def digests(project: Project) -> dict[str, str]:
    return {name: hashlib.sha256((project.folder / name).read_bytes()).hexdigest() for name in SHARED}


def test_a_clone_pulls_what_was_pushed(project: Project, tmp_path: Path) -> None:
    first = Project(tmp_path / "first" / "project")
    shutil.copytree(project.folder, first.folder, symlinks=True)
    first.run("dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
    first.run("git", "commit", "--quiet", "--all", "--message", "a remote")
    first.run("dvc", "push")

    second = Project(tmp_path / "second" / "project")
    second.folder.parent.mkdir()
    first.run("git", "clone", "--quiet", ".", str(second.folder))
    assert not any((second.folder / name).exists() for name in SHARED)
    second.run("dvc", "pull")
    assert digests(second) == digests(first)
    assert "up to date" in second.run("dvc", "status")
    assert "up to date" in second.run("dvc", "repro")
    second.run("dcgan", "generate", "-n", "4", "faces.png")
    assert (second.folder / "faces.png").exists()
    assert not (second.folder / "mlflow.db").exists(), "no stage ran, so there is no run"
