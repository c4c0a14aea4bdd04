"""A bit that flips on the disk, where neither size nor time tells: through real dvc, with the cure that is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.records import read_rows
from tests.e2e.project import Project

pytestmark = pytest.mark.long


def flip(path: Path) -> bytes:
    """Flip a bit of a file and leave its times; return what it was."""
    content, times = path.read_bytes(), path.stat()
    at = place(path, content)
    with path.open("r+b") as file:  # in place: another inode would tell DVC
        file.seek(at)
        file.write(bytes([content[at] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return content


def place(path: Path, content: bytes) -> int:
    """Return where to flip: in a shard within an image that Parquet does not have a second time, as a bound."""
    if path.suffix != ".parquet":
        return len(content) // 2
    images = [row["image"]["bytes"] for row in read_rows(path, ["image"])]
    image = next(image for image in images if image and content.count(image) == 1)
    return content.index(image) + len(image) // 2


@pytest.mark.parametrize(
    ("damaged", "reader"),
    [("data/raw/00000.parquet", "filter"), ("data/clean/00000.parquet", "resize"), ("data/faces/train.npy", "train")],
)
def test_a_flipped_bit_stops_the_stage_that_reads_it_until_dvc_brings_the_file_back(
    copy: Project, damaged: str, reader: str
) -> None:
    path = copy.folder / damaged
    was = flip(path)
    printed = copy.run("dvc", "repro", "--force", "--single-item", reader, fails=True)
    assert f"{reader}: " in printed
    assert f"{path.name} is damaged" in printed
    assert "remove it, and 'dvc repro' brings it back" in printed
    path.unlink()
    copy.run("dvc", "repro", reader)
    assert path.read_bytes() == was


def test_a_flipped_bit_in_a_model_stops_evaluate_and_generate(copy: Project) -> None:
    path = copy.folder / "models/generator.safetensors"
    was = flip(path)
    told = "models/generator.safetensors is damaged: its weights are not those that were written"
    assert told in copy.run("dvc", "exp", "run", "-S", "evaluate.n_generated=67", fails=True)
    assert told in copy.run("python", "-c", "from pipeline.cli import main; main()", "generate", "out.png", fails=True)
    path.unlink()
    copy.run("dvc", "checkout", "models/generator.safetensors")
    assert path.read_bytes() == was
