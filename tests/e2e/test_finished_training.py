"""A training that has finished, through real dvc: made afresh on request, and never again only because it got lost."""

from __future__ import annotations

import shutil

import pytest

from tests.e2e.project import Project

pytestmark = pytest.mark.long


def test_forced_after_an_experiment_it_is_trained_afresh(copy: Project) -> None:
    copy.run("dvc", "exp", "run", "-S", "lr=0.00012", "train")
    copy.run("git", "checkout", "--quiet", "params.yaml")  # and dvc.lock still has the experiment
    assert "from step 0 to" in copy.run("dvc", "repro", "--force", "--single-item", "train")


def test_where_dvc_could_not_store_it_nothing_is_trained_again(copy: Project) -> None:
    outs = sorted((copy.folder / "models").iterdir())
    before = [out.read_bytes() for out in outs]
    for lost in ("models", ".dvc/cache"):
        shutil.rmtree(copy.folder / lost)
    printed = copy.run("dvc", "repro", "--single-item", "train")
    assert "from step 18 to 18" in printed
    assert [out.read_bytes() for out in outs] == before
