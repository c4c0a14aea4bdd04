"""What `make` does beyond calling a program: its recipes as they are, on a miniature project."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline.digest import file_digest
from tests.e2e.project import Project

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"),
]


@pytest.fixture
def make(root: Path, new_project: Callable[[], Project]) -> tuple[Project, Callable[..., str]]:
    """A project with the Makefile, and a function that makes a target there with the libraries that are here."""
    project = new_project()
    shutil.copy(root / "Makefile", project.folder)
    (project.folder / ".git/info/exclude").write_text(".venv\nMakefile\n")
    (project.folder / ".venv").symlink_to(sys.prefix)
    return project, lambda *words: project.run("make", "--old-file", ".venv/.installed", *words)


def test_a_first_look_leaves_a_grid_and_no_other_trace(make: tuple[Project, Callable[..., str]]) -> None:
    project, run = make
    digests = []
    for epochs in (1, 2):  # the second takes the place of the first
        assert "Done. Look at plots/quick.png" in run(
            "quick", f"QUICK=num_epochs={epochs} ngf=4 evaluate.n_generated=64"
        )
        with Image.open(project.folder / "plots/quick.png") as grid:
            assert grid.format == "PNG"
        digests.append(file_digest(project.folder / "plots/quick.png"))
        assert project.run("git", "status", "--short") == ""
        assert project.run("dvc", "exp", "list", "--names-only").split() == ["quick"]
    assert digests[0] != digests[1]
    assert not (project.folder / "models").exists()


def test_all_is_made_by_one_word(make: tuple[Project, Callable[..., str]]) -> None:
    project, run = make
    printed = run("repro")
    assert "Done. Look at plots/samples.png, reports/filter.html and reports/evaluate.html" in printed
    for path in ("plots/samples.png", "reports/filter.html", "reports/evaluate.html", "metrics/evaluate.json"):
        assert (project.folder / path).stat().st_size > 0
