"""A miniature study through real dvc and real MLflow: two arms, two seeds, two side by side, a few dozen faces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.project import Project

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"),
]

# Not the console script, which has the installed pipeline before the project's own.
DCGAN = ("python", "-c", "from pipeline.cli import main; main()")
STUDY = (*DCGAN, "study", "cleaning", "--seeds", "2", "--kimg", "0.5", "--out", "out")
ARMS = ("--arm", "raw", "--arm", "pristine")
SMALL = {"data/builtin.yaml:count": "200", "batch_size": "16", "ngf": "8", "ndf": "8", "evaluate.n_generated": "64"}
SETTINGS = [word for key, value in SMALL.items() for word in ("--set-param", f"{key}={value}")]


def test_a_study_is_tracked_leaves_the_files_alone_and_runs_nothing_twice(new_project: Callable[[], Project]) -> None:
    project = new_project()
    printed = project.run(*STUDY, *ARMS, *SETTINGS)
    assert "| pristine |" in printed
    assert project.run("git", "status", "--short") == "", "a study changes no file of the user's"

    study = json.loads((project.folder / "out/study.json").read_text())
    arms = study["levels"][0]["arms"]
    assert {arm: sorted(found["outcomes"]) for arm, found in arms.items()} == {
        "raw": ["0", "1"],
        "pristine": ["0", "1"],
    }
    assert all(
        outcome["kimg"] == pytest.approx(0.5, rel=0.3) for arm in arms.values() for outcome in arm["outcomes"].values()
    )
    assert arms["raw"]["outcomes"]["0"] != arms["raw"]["outcomes"]["1"]
    assert "raw" in arms["raw"]["outcomes"]["0"]
    assert "raw" not in arms["pristine"]["outcomes"]["0"], "its raw holdout is another"
    assert arms["pristine"]["to_raw_by_pristine"]["pairs"] == 2
    assert (project.folder / "out/study.png").stat().st_size > 0
    assert (project.folder / "out/study.md").read_text(encoding="utf-8") in printed

    parents = {parent.info.run_name: project.children(parent) for parent in project.parents()}
    assert all(run.data.tags["study"] == "cleaning" and run.info.status == "FINISHED" for run in project.runs())
    assert sorted(name.rsplit("-", 1)[0] for name in parents) == sorted(
        f"cleaning-2x-{arm}-{what}" for arm in arms for what in ("data", "seed0", "seed1")
    )
    for name, stages in parents.items():
        assert stages == (["crawl-import", "filter", "resize"] if "-data-" in name else ["train", "evaluate"]), name

    before = len(project.runs())
    # A commit of something else in between loses nothing.
    (project.folder / "notes.txt").write_text("going well")
    project.run("git", "add", "notes.txt")
    project.run("git", "commit", "--quiet", "--message", "notes")
    again = project.run(*STUDY, *ARMS, *SETTINGS)
    assert again.split("# Does", 1)[1] == printed.split("# Does", 1)[1]
    assert len(project.runs()) == before

    refused = project.run(*STUDY, *SETTINGS, "--arm", "raw", "--set-param", "lr=fast", fails=True)
    assert "params.yaml: lr: input should be a valid number" in refused

    failed = project.run(*STUDY, *SETTINGS, "--arm", "raw", "--set-param", "batch_size=5000", fails=True)
    assert "2 failed; the same command tries them again" in failed
    log = Path(failed.rsplit("; see ", 1)[1].splitlines()[0])
    assert "do not fill one batch" in log.read_text(encoding="utf-8")
    assert json.loads((project.folder / "out/study.json").read_text()) == study, "nothing came of it"
