from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.project import Project, make_project


@pytest.fixture(scope="session")
def new_project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    """Return a function that makes a small project, committed and not yet run."""
    return lambda: make_project(root, tmp_path_factory.mktemp("e2e") / "project")
