"""The commands of README.md and docs/, in their order, on a miniature project that has run; each only once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.codec import encode_png
from pipeline.sources.builtin import draw
from tests.documents import NOT_RUN, RUN_IN_THEIR_ORDER, blocks
from tests.e2e.project import Project

# What make does is done here already, and there is no .venv in a copy.
SKIPPED = {"make", "source"}

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def copy(project: Project, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project again with a remote, so that the other tests meet no traces of this one."""
    folder = tmp_path_factory.mktemp("documents") / "project"
    shutil.copytree(project.folder, folder, symlinks=True)
    copied = Project(folder)
    copied.environment["PYTHONPATH"] = str(root)  # for benchmarks/
    copied.run("git", "init", "--quiet", "--bare", "../hub.git")
    copied.run("git", "remote", "add", "origin", "../hub.git")
    copied.run("git", "push", "--quiet", "--set-upstream", "origin", "HEAD")
    return copied


@pytest.fixture(scope="module")
def stand_ins(copy: Project) -> Callable[[str], str]:
    """Return a function that puts what is here in the place of what a document names."""
    faces = copy.folder.parent / "faces"
    faces.mkdir()
    for number in range(120):
        (faces / f"{number:07}").write_bytes(encode_png(draw(0, number, 48)))
    known = {
        "/data/my-crawl": str(faces),
        "/data/my-clean-faces": str(faces),
        "/srv/dvc/anime-dcgan": str(copy.folder.parent / "remote"),
        "004711.jpg": "0000017",
        "0004711": "0000017",
        "RUN": copy.parents()[0].info.run_name,
        "NAME": "slower",
    }

    def replaced(word: str) -> str:
        for name, real in known.items():
            word = word.replace(name, real)
        return word

    return replaced


def test_every_command_runs(
    root: Path, copy: Project, stand_ins: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copy.folder)
    done = set()
    for document in RUN_IN_THEIR_ORDER:
        for block in blocks((root / document).read_text(encoding="utf-8")):
            for words in [] if block.marks & NOT_RUN else block.commands:
                command = tuple(map(stand_ins, words))
                if command[0] not in SKIPPED and command not in done:
                    done.add(command)
                    run(copy, command, document)
    assert len(done) > 30


def run(project: Project, command: tuple[str, ...], document: str) -> None:
    """Run a command; dcgan in this process, because it would import torch again each time."""
    if command[0] != "dcgan":
        project.run(*command)
        return
    result = CliRunner().invoke(app, command[1:])
    assert result.exit_code == 0, f"{document}: {' '.join(command)}\n{result.output}{result.exception}"
