"""A folder with whatever a folder may hold, from the import to the filter page: rows with reasons, and no wait."""

from __future__ import annotations

import html
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.codec import encode_png
from pipeline.records import read_rows, shard_paths
from pipeline.reports.names import shortened
from pipeline.sources.builtin import draw
from tests.e2e.project import Project

# Each name, and how it is written where text must be UTF-8.
NAMES = {
    b"new\nline": "new\nline",
    "emoji 🙂".encode(): "emoji 🙂",
    b"n" * 245: "n" * 245,  # 250 bytes with what is put before and after it
    b"\xff\xfe": "\\xff\\xfe",
    b"<img src=x onerror=alert(1)>": "<img src=x onerror=alert(1)>",
    b"\x1b[31m'; $(reboot) & \"": "\x1b[31m'; $(reboot) & \"",
}
SPECIAL = {"pipe.png": "not a file", "socket.png": "not a file", "loop": "link", "out.png": "link", "nowhere": "link"}

pytestmark = pytest.mark.long


def make_folder(root: Path) -> None:
    """Fill a folder with faces, and for each odd name with a face (`g`) and a flat picture (`f`), which is dropped."""
    root.mkdir()
    for number in range(60):
        (root / f"{number:03}.png").write_bytes(encode_png(draw(0, number, 48)))
    for number, name in enumerate(NAMES):
        for kind, pixels in ((b"g", draw(1, number, 48)), (b"f", np.full((48, 48, 3), 30 * number, np.uint8))):
            Path(os.fsdecode(os.path.join(os.fsencode(root), kind + name + b".png"))).write_bytes(encode_png(pixels))
    os.mkfifo(root / "pipe.png")
    (root / "loop").symlink_to(root)
    (root / "out.png").symlink_to("/etc/passwd")
    (root / "nowhere").symlink_to("nowhere")
    here = Path.cwd()
    os.chdir(root)  # the name of a socket may have 107 bytes
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.png")
    os.chdir(here)


def faults(project: Project) -> dict[str, str]:
    """Return what was wrong with each file that could not be read."""
    rows = (row for shard in shard_paths(project.folder / "data/raw") for row in read_rows(shard, ["path", "error"]))
    return {row["path"]: row["error"] for row in rows if row["error"] is not None}


def test_odd_names_and_special_files_go_through_the_pipeline(
    new_project: Callable[[], Project], tmp_path: Path
) -> None:
    make_folder(tmp_path / "odd")
    project = new_project()
    project.edit("params.yaml", {"dataroot": str(tmp_path / "odd")})
    for stage in ("crawl_import", "filter", "resize"):
        project.run(sys.executable, "-m", f"stages.{stage}")
    assert faults(project) == SPECIAL

    verdicts = {row["path"]: row for row in pq.read_table(project.folder / "data/verdicts.parquet").to_pylist()}
    page = (project.folder / "reports/filter.html").read_text(encoding="utf-8")
    packed = set(pq.read_table(project.folder / "data/faces/index.parquet")["row"].to_pylist())
    for shown in NAMES.values():
        assert verdicts[f"f{shown}.png"]["reason"] == "uniform"
        assert html.escape(shortened(f"f{shown}.png")).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
        assert verdicts[f"g{shown}.png"]["row"] in packed
        assert "uniform" in project.run("dcgan", "explain", f"f{shown}.png")
    assert "<img src=x onerror" not in page
    assert all(shortened(path) in page for path in SPECIAL)

    # DVC reads a folder's files itself, and would wait for the pipe; of an archive it sees one file.
    project.run("tar", "-czf", str(tmp_path / "odd.tar.gz"), "-C", str(tmp_path), "--exclude=socket.png", "odd")
    project.edit("params.yaml", {"dataroot": str(tmp_path / "odd.tar.gz")})
    project.run("dvc", "repro", "--quiet", "crawl-import")
    told = faults(project)
    assert {Path(path).name for path in told} == SPECIAL.keys() - {"socket.png"}
    paths = {row["path"] for shard in shard_paths(project.folder / "data/raw") for row in read_rows(shard, ["path"])}
    assert {f"odd/g{shown}.png" for shown in NAMES.values()} <= paths
