"""A small project in a folder of its own, which real dvc runs against a real MLflow store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from ruamel.yaml import YAML

TINY = {
    "workers": 1,
    "batch_size": 16,
    "image_size": 32,
    "ngf": 8,
    "ndf": 8,
    "num_epochs": 2,
    "ngpu": 0,
    "crawl": {"holdout_fraction": 0.4},
    "train": {"precision": "fp32", "log_steps": 1, "quick_kid_images": 8, "quick_kid_kimg": 0.1},
    "evaluate": {"n_generated": 64},
}
TINY_RECIPE = {
    "count": 260,
    "size": 48,
    "dirt": dict.fromkeys(("exact_duplicate", "blur", "salt_pepper", "dark", "unreadable", "tiny"), 0.02),
}


class Project:
    """A git and DVC project in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "GIT_"))},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder.parent),
            **{
                f"GIT_{who}_{what}": "tester@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
            },
        }

    def popen(self, *command: str, stdout: int | IO[str] = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start a command, in a session of its own, so that it can be killed with all that it started."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command in the project and return what it printed; it must succeed, or fail where it is to."""
        process = self.popen(*command)
        printed = process.communicate()[0]
        assert (process.returncode != 0) == fails, f"{command} left with {process.returncode}:\n{printed}"
        return printed

    def edit(self, path: str, changes: dict[str, Any]) -> None:
        """Set keys of a YAML file; a nested mapping changes the keys that it names."""
        yaml = YAML()
        content = yaml.load(self.folder / path)
        for key, value in changes.items():
            content[key] = {**content[key], **value} if isinstance(value, dict) and key != "dirt" else value
        yaml.dump(content, self.folder / path)

    @property
    def store(self) -> str:
        """The address of the MLflow store: the project's own, or a server's."""
        return self.environment.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.folder / 'mlflow.db'}"

    def runs(self) -> list[Any]:
        """Return every MLflow run of the project's store, the oldest first."""
        from mlflow import MlflowClient

        client = MlflowClient(self.store)
        (experiment,) = client.search_experiments(filter_string="name = 'anime-dcgan'")
        return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))

    def parents(self) -> list[Any]:
        """Return the invocations' runs."""
        return [run for run in self.runs() if run.data.tags.get("kind") == "invocation"]

    def children_of(self, parent: Any) -> list[Any]:
        """Return the runs of the stages that ran below an invocation's run, in order."""
        return [run for run in self.runs() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]

    def children(self, parent: Any) -> list[str]:
        """Return the stages that ran below an invocation's run, in order."""
        return [run.data.tags["stage"] for run in self.children_of(parent)]

    def artifacts(self, run: Any) -> Path:
        """Return the folder of a run's artifacts."""
        return Path(run.info.artifact_uri.removeprefix("file://"))


def make_project(root: Path, folder: Path) -> Project:
    """Copy the working tree's files at root into a new project in folder, with miniature params, and commit it."""
    project = Project(folder)
    project.folder.mkdir()
    project.run("git", "init", "--quiet")
    project.run("dvc", "init", "--quiet")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    for name in os.fsdecode(listed.stdout).split("\0"):
        keep = (
            name.startswith(("pipeline/", "stages/", "data/", "takedown", ".dvc/plots/"))
            or "/" not in name
            or name == ".dvc/config"
        )
        # dvc.lock and the metrics are of the real params; the copy makes its own.
        if name and keep and name != "dvc.lock" and (root / name).is_file():
            target = project.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((root / name).read_bytes())
    project.edit("params.yaml", TINY)
    project.edit("data/builtin.yaml", TINY_RECIPE)
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "start")
    return project
