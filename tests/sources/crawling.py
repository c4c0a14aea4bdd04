"""Importing a list of URLs, or a site, from the server of the tests, and reading the rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.params import CrawlParams
from pipeline.records import read_rows, shard_paths
from pipeline.sources.importing import import_source
from pipeline.sources.provenance import CRAWLED_SCHEMA
from pipeline.sources.takedown import Takedown
from pipeline.workers import Workers


def fetch(urls: list[str], crawl: CrawlParams, takedown: Takedown = Takedown()) -> dict[str, dict]:  # noqa: B008
    """Import a list of URLs and return its rows by URL."""
    Path("urls.txt").write_text("\n".join(urls))
    rows = imported(Path("urls.txt"), crawl, takedown)
    assert [row["path"] for row in rows] == sorted(urls)
    return {row["url"]: row for row in rows}


def fetch_site(recipe: dict[str, Any], crawl: CrawlParams) -> dict[str, dict]:
    """Import a site and return its rows by URL."""
    Path("site.yaml").write_text(json.dumps({"kind": "site", "allowed_hosts": ["127.0.0.1"], **recipe}))
    return {row["url"]: row for row in imported(Path("site.yaml"), crawl)}


def imported(source: Path, crawl: CrawlParams, takedown: Takedown = Takedown()) -> list[dict]:  # noqa: B008
    """Import a source and return its rows."""
    import_source(source, crawl, Path("raw"), Workers(), takedown)
    rows = [row for shard in shard_paths(Path("raw")) for row in read_rows(shard, CRAWLED_SCHEMA.names)]
    assert [row["row"] for row in rows] == list(range(len(rows)))
    return rows
