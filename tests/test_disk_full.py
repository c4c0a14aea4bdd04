"""A disk that is full: each writer says which file has no room, and the next run with room completes."""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from pipeline.atomic import empty_folder, whole_file
from pipeline.errors import StageError
from pipeline.sources.archive import archive_units
from stages import run_stage
from tests.e2e.project import Project, make_project

STAGES = ("crawl_import", "filter", "resize", "train", "evaluate")
NOISE = np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8)


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system in memory, of 64 MiB."""
    folder = tmp_path_factory.mktemp("disk")
    if shutil.which("mount") is None:
        pytest.skip("no command mount here")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"nothing may be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Fill a disk but for so many bytes, and return the file that takes the room."""
    gc.collect()  # a writer that failed before may still hold its deleted file open
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - leave)
    return filler


def to_npy(path: Path) -> None:
    with path.open("wb") as file:
        NOISE.tofile(file)


def to_png_by_matplotlib(path: Path) -> None:
    figure = Figure()
    figure.subplots().imshow(NOISE)
    figure.savefig(path, format="png", dpi=200)


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("x" * NOISE.size),
    "tofile": to_npy,
    "np.save": lambda path: np.save(path, NOISE),
    "torch.save": lambda path: torch.save({"weights": torch.from_numpy(NOISE)}, path),
    "parquet": lambda path: pq.write_table(pa.table({"a": NOISE.reshape(-1)}), path),
    "pillow": lambda path: Image.fromarray(NOISE).save(path, "PNG"),
    "matplotlib": to_png_by_matplotlib,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_every_writer_names_the_file_and_the_bytes_and_leaves_what_was_there(
    small_disk: Path, write: Callable[[Path], object]
) -> None:
    target = small_disk / "out" / "file.npy"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(b"old")
    filler = fill(small_disk, 65536)
    with pytest.raises(StageError) as raised, whole_file(target) as temporary:
        write(temporary)
    assert str(raised.value) == (
        f"{target} can't be written (no space left on device): it needs more than 65,536 bytes; make room, and run it "
        "again"
    )
    assert [path.name for path in target.parent.iterdir()] == ["file.npy"]
    assert target.read_bytes() == b"old"
    filler.unlink()
    with whole_file(target) as temporary:
        write(temporary)
    assert target.stat().st_size > 65536


def test_a_limit_on_the_size_of_files_is_told_likewise(tmp_path: Path) -> None:
    code = (
        "import resource, signal; from pathlib import Path; from pipeline.atomic import empty_folder, whole_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        f"with whole_file(Path({str(tmp_path / 'a.bin')!r})) as path: path.write_bytes(bytes(5000))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "a.bin can't be written (file too large): it needs more than 4,096 bytes" in ended.stderr
    assert not list(tmp_path.iterdir())


def test_another_fault_is_none_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a"):
        (tmp_path / "not there").read_bytes()


def test_an_archive_that_has_no_room_to_be_unpacked_is_not_called_damaged(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noise.bin").write_bytes(NOISE.tobytes())
    with tarfile.open(tmp_path / "faces.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "noise.bin")
    monkeypatch.chdir(small_disk)
    filler = fill(small_disk, 65536)
    with (
        pytest.raises(StageError, match=r"archive\.tar can't be written \(no space left on device\)"),
        archive_units(tmp_path / "faces.tar.gz", 10**6),
    ):
        pass
    filler.unlink()
    with archive_units(tmp_path / "faces.tar.gz", 10**6) as units:
        assert [len(item.data or b"") for unit in units for item in unit.read()] == [NOISE.size]


def test_a_read_only_disk_is_named(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (small_disk / "clean").mkdir()
    (small_disk / "clean" / "00000.parquet").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    try:
        with pytest.raises(SystemExit) as left:
            run_stage("filter", lambda: empty_folder(small_disk / "clean"))
    finally:
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert left.value.code == 1
    told = capsys.readouterr().err
    assert told == f"filter: {small_disk / 'clean'} can't be read or written: Read-only file system\n"


@pytest.mark.long
def test_a_stage_whose_output_folder_is_read_only_says_so_and_leaves_what_is_there(
    small_disk: Path, root: Path, tmp_path: Path
) -> None:
    """By a mount: root, as which tests may run, has every right that a mode could deny."""
    project = make_project(root, tmp_path / "project")
    command = (sys.executable, "-m", "stages.crawl_import")
    project.run(*command)
    raw = project.folder / "data" / "raw"
    before = digests(raw)
    subprocess.run(["mount", "--bind", raw, raw], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", raw], check=True)
    try:
        printed = project.run(*command, fails=True)
        assert digests(raw) == before
    finally:
        subprocess.run(["umount", "--lazy", raw], check=True)
    (told,) = (line for line in printed.splitlines() if line.startswith("crawl-import: "))
    assert told == "crawl-import: data/raw can't be read or written: Read-only file system"
    assert "Traceback" not in printed
    project.run(*command)
    assert digests(raw) == before


def digests(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def outputs(project: Project) -> dict[str, str]:
    """Return the digests of what the stages leave, but for the metrics, which hold times."""
    folders = ("data", "models", "plots", "reports")
    return {path: digest for name in folders for path, digest in digests(project.folder / name).items()}


@pytest.mark.long
def test_each_stage_ends_clearly_leaves_what_was_there_and_completes_with_room(
    small_disk: Path, root: Path, tmp_path: Path
) -> None:
    project = make_project(root, small_disk / "project")
    # The store of MLflow is on another disk: what becomes of training without it is another test.
    project.environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path / 'mlflow.db'}"
    for stage in STAGES:
        before = outputs(project)
        filler = fill(small_disk, 8192)
        printed = project.run(sys.executable, "-m", f"stages.{stage}", fails=True)
        assert "Traceback" not in printed, printed
        assert f"{stage.replace('_', '-')}: {small_disk}" in printed or f"{stage.replace('_', '-')}: data/" in printed
        assert "can't be written (no space left on device): it needs more than" in printed
        after = outputs(project)
        assert {path: after.get(path) for path in before} == before
        assert not [path for path in after if Path(path).name.startswith(".")], "half a file is left"
        filler.unlink()
        print(project.run(sys.executable, "-m", f"stages.{stage}"))


@pytest.mark.long
def test_training_outlives_a_disk_that_is_full_for_mlflow(small_disk: Path, root: Path, tmp_path: Path) -> None:
    project = make_project(root, tmp_path / "project")
    project.edit("params.yaml", {"num_epochs": 8})
    for stage in ("crawl_import", "filter", "resize"):
        project.run(sys.executable, "-m", f"stages.{stage}")
    for name in ("mlflow.db", "mlartifacts"):
        if (project.folder / name).exists():
            shutil.move(project.folder / name, small_disk / name)
        (project.folder / name).symlink_to(small_disk / name)
    process = project.popen(sys.executable, "-u", "-m", "stages.train")
    assert process.stdout is not None
    shown = ""
    for line in process.stdout:
        shown += line
        if "from step 0" in line:
            fill(small_disk, 0)
            break
    else:
        pytest.fail(shown)
    shown += process.communicate()[0]
    assert process.returncode == 0, shown
    assert "warning: MLflow did not take" in shown
    assert (project.folder / "models" / "generator.safetensors").exists()
    assert len((project.folder / "plots" / "losses.csv").read_text().splitlines()) > 8
