"""A misbehaving server next door, and the settings to crawl it with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.params import CrawlParams, Params
from tests.sources.server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def crawl(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrawlParams:
    """Settings for a server next door; the store is in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    haste = {"allow_private": True, "delay": 0.0, "per_host": 8, "backoff": 0.01, "timeout": 1.0, "min_success": 0.0}
    return params.crawl.model_copy(update={**haste, "max_bytes": 1_000_000, "max_pixels": 1_000_000})
