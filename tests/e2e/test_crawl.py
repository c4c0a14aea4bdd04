"""URLs and a site through real dvc, from a server on loopback: fetched, refreshed, explained, and taken down again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.records import read_rows
from tests.documents import blocks
from tests.e2e.project import Project
from tests.sources.server import OUTCOMES, serving

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


@pytest.mark.long
def test_crawl(new_project: Callable[[], Project], root: Path, tmp_path: Path) -> None:
    project = new_project()
    with serving() as server:
        lines = [f"{server.address}/tagged/{number}.png,https://a.example/{number}" for number in range(30)]
        lines += [f"{server.address}/{path}," for path in ("gone", "page.png", "noai/1.png", "forbidden/1.png")]
        (tmp_path / "urls.csv").write_text("\n".join(["url,page_url", *lines]))
        project.edit("params.yaml", {"crawl": {"allow_private": True, "delay": 0.0, "backoff": 0.01}})

        # As docs/crawling.md has it, but for the stages behind the import.
        (command,) = (words for block in blocks((root / "docs/crawling.md").read_text()) for words in block.commands)
        command = [word.replace("/absolute/path", str(tmp_path)) for word in command]
        assert "crawl: 30 of 34 URLs gave an image" in project.run(*command, "crawl-import")
        shard = project.folder / "data/raw/00000.parquet"
        first = shard.read_bytes()
        asked = server.asked.total()
        assert "didn't change, skipping" in project.run("dvc", "repro", "crawl-import")
        assert server.asked.total() == asked, "an unchanged list fetches nothing"

        project.run("dvc", "repro", "--force", "crawl-import")
        assert shard.read_bytes() == first, "a refresh in which nothing changed writes the same"
        assert {server.asked[f"/tagged/{number}.png"] for number in range(30)} == {2}

        url = f"{server.address}/tagged/7.png"
        (row,) = (row for row in read_rows(shard, ["url", "page_url", "id"]) if row["url"] == url)
        assert row["page_url"] == "https://a.example/7"
        told = project.run("dcgan", "forget", url)
        assert row["id"] in told
        printed = project.run("dvc", "repro", "crawl-import")
        assert "1  taken down" in printed
        assert {row["url"]: row["error"] for row in read_rows(shard, ["url", "error"])}[url] == "taken down"
        assert server.asked["/tagged/7.png"] == 2

        project.edit("params.yaml", {"crawl": {"min_success": 0.95}})
        failed = project.run("dvc", "repro", "crawl-import", fails=True)
        assert "crawl-import: 87.9% of the URLs gave an image; crawl.min_success asks 95.0%" in failed
        assert "1  robots" in failed


def test_every_misbehaviour_of_a_server_is_a_row_of_the_pipeline(
    new_project: Callable[[], Project], tmp_path: Path
) -> None:
    project = new_project()
    bounds = {"timeout": 1.0, "max_bytes": 1_000_000, "max_pixels": 1_000_000, "min_success": 0.0}
    haste = {"allow_private": True, "delay": 0.0, "per_host": 8, "backoff": 0.01}
    with serving() as server:
        urls = {server.address + path: reason for path, reason in OUTCOMES.items()}
        (tmp_path / "urls.txt").write_text("\n".join(urls))
        project.edit("params.yaml", {"dataroot": str(tmp_path / "urls.txt"), "crawl": {**haste, **bounds}})
        printed = project.run("dvc", "repro", "crawl-import")
    rows = {row["url"]: row for row in read_rows(project.folder / "data/raw/00000.parquet", ["url", "error", "id"])}
    assert {url: row["error"] for url, row in rows.items()} == urls
    assert all((row["id"] is None) == (row["error"] is not None) for row in rows.values())
    for reason, count in Counter(urls.values()).items():
        assert reason is None or f"{count:7}  {reason}" in printed


@pytest.mark.long
def test_from_a_site_to_what_explain_tells(new_project: Callable[[], Project]) -> None:
    project = new_project()
    with serving() as server:
        recipe = {
            "kind": "site",
            "start": [f"{server.address}/gallery/1.html"],
            "allowed_hosts": ["127.0.0.1"],
            "follow": {"css": "a.post", "pattern": "/gallery/"},
            "images": {"css": "img.full"},
            "max_depth": 1,
        }
        (project.folder / "site.yaml").write_text(json.dumps(recipe))
        project.edit("params.yaml", {"dataroot": "site.yaml", "crawl": {"allow_private": True, "delay": 0.0}})
        assert "crawl: 4 of 4 URLs gave an image" in project.run("dvc", "repro", "filter")
        told = project.run("dcgan", "explain", f"{server.address}/image/3.png")
        assert f"page url: {server.address}/gallery/2.html" in told
        assert "dropped: too small" in told
