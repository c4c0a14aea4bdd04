"""A second clone gets the faces and the models from a DVC remote, and computes nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.project import Project
from tests.e2e.servers import free_port, serving

pytestmark = pytest.mark.long

SHARED = ("data/faces/train.npy", "models/generator.safetensors", "reports/evaluate.html")


def digests(project: Project) -> dict[str, str]:
    return {name: hashlib.sha256((project.folder / name).read_bytes()).hexdigest() for name in SHARED}


class Remote(NamedTuple):
    """Where files are shared: what `dvc remote` is told of it, and the credentials that it asks for."""

    commands: list[str]
    credentials: dict[str, str]


@pytest.fixture(params=["a folder", "S3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    if request.param == "a folder":
        yield Remote([f"add --default store {tmp_path}/remote"], {})
        return
    port = free_port()
    server = f"http://127.0.0.1:{port}"
    program = ("moto_server", "--port", str(port))
    with serving(
        *program, answers=f"{server}/moto-api/", log=tmp_path / "log", environment=os.environ, folder=tmp_path
    ):
        urllib.request.urlopen(urllib.request.Request(f"{server}/bucket", method="PUT")).close()  # noqa: S310
        commands = ["add --default store s3://bucket/anime-dcgan", f"modify store endpointurl {server}"]
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        yield Remote(commands, {"AWS_DEFAULT_REGION": "us-east-1", **dict.fromkeys(names, "made-up")})


def test_a_clone_pulls_what_was_pushed(project: Project, remote: Remote, tmp_path: Path) -> None:
    first, second = (Project(tmp_path / name / "project") for name in ("first", "second"))
    for clone in (first, second):
        clone.environment |= remote.credentials
    shutil.copytree(project.folder, first.folder, symlinks=True)
    for command in remote.commands:
        first.run("dvc", "remote", *command.split())
    first.run("git", "commit", "--quiet", "--all", "--message", "a remote")
    first.run("dvc", "push")

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
