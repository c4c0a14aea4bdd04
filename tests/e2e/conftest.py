import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.project import Project, make_project


@pytest.fixture(scope="session")
def new_project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    """Return a function that makes a small project, committed and not yet run."""
    return lambda: make_project(root, tmp_path_factory.mktemp("e2e") / "project")


@pytest.fixture(scope="session")
def project(new_project: Callable[[], Project]) -> Project:
    """A project after its first `dvc repro`, committed."""
    project = new_project()
    project.run("dvc", "repro")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "first run")
    return project


@pytest.fixture(scope="session")
def slow(project: Project) -> str:
    """The name of an experiment of that project with another lr; the workspace is as before."""
    project.run("dvc", "exp", "run", "-S", "lr=0.00001", "--name", "slow")
    project.run("git", "checkout", "--quiet", ".")
    project.run("dvc", "checkout", "--quiet")
    return "slow"


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Project:
    """A copy of that project to spoil, of whose files DVC knows the times."""
    copied = Project(tmp_path / "project")
    shutil.copytree(project.folder, copied.folder, symlinks=True)
    copied.run("dvc", "status")
    return copied
