from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.precheck import require_hashable


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nothing wrong in it; the current folder, because a socket's name may have 107 bytes only."""
    made = tmp_path / "faces"
    (made / "below").mkdir(parents=True)
    (made / "below/1.png").write_bytes(b"1")
    (made / "link.png").symlink_to("below/1.png")
    (made / "loop").symlink_to(made)
    (made / "🙂\n.png").write_bytes(b"2")
    monkeypatch.chdir(made)
    return made


def bind() -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("below/odd")


def test_a_folder_of_files_and_links_to_files_passes(folder: Path) -> None:
    require_hashable(folder)
    require_hashable(folder / "below/1.png")


def test_another_folder_may_be_named(folder: Path, root: Path) -> None:
    def checked(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline.precheck", name]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    found = checked("below")
    assert (found.returncode, found.stdout) == (0, "dataroot below: DVC can read it\n")
    assert checked("gone").returncode == 1


@pytest.mark.parametrize("name", ["gone", "~/faces", "gone/further"])
def test_a_missing_dataroot_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(StageError, match="does not exist; write its whole path"):
        require_hashable(folder / name)


def test_one_that_cannot_be_looked_at_is_refused(folder: Path) -> None:
    (folder / "round").symlink_to("round")
    for name in ("x" * 300, "round"):
        with pytest.raises(StageError, match="can't be looked at: "):
            require_hashable(folder / name)


@pytest.mark.parametrize("name", ["gone", "gone/further"])
def test_one_that_dvc_can_fetch_passes(folder: Path, name: str) -> None:
    (folder / "gone.dvc").write_text("outs: []")
    require_hashable(folder / name)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        pytest.param(lambda: os.mkfifo("below/odd"), "a pipe", id="pipe"),
        pytest.param(bind, "a socket", id="socket"),
        pytest.param(lambda: Path("below/odd").symlink_to("/dev/zero"), "a device", id="link to a device"),
        pytest.param(
            lambda: Path("below/odd").symlink_to("nowhere"), "no such file or directory", id="link to nowhere"
        ),
        pytest.param(
            lambda: Path("below/odd").symlink_to("odd"), "too many levels of symbolic links", id="link to itself"
        ),
        pytest.param(lambda: Path("below/odd\udcff").write_bytes(b""), "a name that is no UTF-8", id="no UTF-8"),
    ],
)
def test_what_dvc_would_hang_or_die_of_is_refused(folder: Path, make: Callable[[], object], why: str) -> None:
    make()
    with pytest.raises(StageError, match=rf"faces: DVC can't hash '\S*below/odd\S*' \({why}\); remove"):
        require_hashable(folder)


def test_a_file_that_may_not_be_read_is_refused(of_nobody: Path) -> None:
    (of_nobody / "odd").write_bytes(b"1")
    (of_nobody / "odd").chmod(0)
    if os.getuid() == 0:
        os.seteuid(65534)
    with pytest.raises(StageError, match=r"odd' \(permission denied\)"):
        require_hashable(of_nobody)


def test_a_pipe_by_an_archives_name_is_refused(folder: Path) -> None:
    os.mkfifo("faces.zip")
    with pytest.raises(StageError, match="a pipe"):
        require_hashable(folder / "faces.zip")


def test_the_command_ends_with_one_line_that_counts(folder: Path, root: Path, tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        os.mkfifo(name)
    text = (root / "params.yaml").read_text().replace("dataroot: data/builtin.yaml", f"dataroot: {folder}")
    (tmp_path / "params.yaml").write_text(text)
    command = [sys.executable, "-m", "pipeline.precheck"]
    told = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=60
    )
    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (1, "", 1)
    assert f"{folder}/a' (a pipe), nor 2 more; remove" in told.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize("target", ["repro", "quick"])
def test_make_looks_before_dvc_does(root: Path, target: str) -> None:
    printed = subprocess.run(["make", "--dry-run", target], cwd=root, capture_output=True, text=True, check=True).stdout
    assert re.search(r"python -m pipeline\.precheck\n(.*\n)*?dvc (repro|exp run)", printed)
