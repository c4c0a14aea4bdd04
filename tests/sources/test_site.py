"""A site's recipe, and sites crawled from a server on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import ParamsError, StageError
from pipeline.params import CrawlParams, Params
from pipeline.records import read_rows
from pipeline.sources.importing import import_source
from pipeline.sources.provenance import CRAWLED_SCHEMA
from pipeline.sources.site import Gives, Site, page_gives
from pipeline.sources.store import Page, Store
from pipeline.sources.urls import Wanted
from pipeline.workers import Workers
from tests.sources.server import Server, serving

PAGES = {
    "kind": "site",
    "allowed_hosts": ["127.0.0.1"],
    "follow": {"css": "a.post", "pattern": "/gallery/[0-9]+"},
    "images": {"css": "img.full::attr(src)"},
    "licence": "CC0",
    "max_depth": 2,
}
BOARD = {
    "kind": "site",
    "allowed_hosts": ["127.0.0.1"],
    "api": {
        "items": "posts",
        "url": "file_url",
        "page_url": "https://board.example/posts/{id}",
        "fields": {"artist": "tag.artist", "rating": "rating", "none": "nothing"},
    },
}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def crawl(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrawlParams:
    monkeypatch.chdir(tmp_path)
    haste = {"allow_private": True, "delay": 0.0, "per_host": 8, "backoff": 0.01, "retries": 0}
    return params.crawl.model_copy(update=haste)


def fetch(recipe: dict, crawl: CrawlParams) -> dict[str, dict]:
    """Import a site and return its rows by the image's path on the server."""
    Path("site.yaml").write_text(json.dumps(recipe))
    import_source(Path("site.yaml"), crawl, Path("raw"), Workers())
    rows = list(read_rows(Path("raw/00000.parquet"), CRAWLED_SCHEMA.names))
    assert {row["error"] for row in rows} == {None}
    return {row["url"].partition("/image/")[2]: row for row in rows}


def pages_asked(server: Server) -> list[int]:
    return sorted(int(path.split("/")[2].split(".")[0]) for path in server.asked if path.startswith("/gallery/"))


def test_pages_are_followed_as_deep_as_the_recipe_says(server: Server, crawl: CrawlParams) -> None:
    rows = fetch(PAGES | {"start": [f"{server.address}/gallery/1.html"]}, crawl)
    assert pages_asked(server) == [1, 2, 3, 4, 5]
    assert list(rows) == [f"{number}.png" for number in (1, 2, 3, 4, 5)], "page 5 opts out, or there would be 6.png"
    assert {row["licence"] for row in rows.values()} == {"CC0"}
    assert rows["2.png"]["page_url"] == f"{server.address}/gallery/1.html", "the first of two pages that have it"
    before = server.asked["/image/1.png"]
    fetch(PAGES | {"start": [f"{server.address}/gallery/1.html"]}, crawl)
    assert (server.asked["/gallery/1.html"], server.asked["/image/1.png"]) == (2, before)


def test_the_first_pages_are_those_nearest_to_the_start(server: Server, crawl: CrawlParams) -> None:
    fetch(PAGES | {"start": [f"{server.address}/gallery/1.html"], "max_pages": 4, "max_depth": 9}, crawl)
    assert pages_asked(server) == [1, 2, 3, 4]


def test_an_api_is_paged_through_to_its_end(server: Server, crawl: CrawlParams) -> None:
    rows = fetch(BOARD | {"start": [f"{server.address}/posts.json?page={{page}}"]}, crawl)
    assert list(rows) == [f"{number}.png" for number in range(2, 7)]
    assert rows["3.png"]["page_url"] == "https://board.example/posts/3"
    assert json.loads(rows["4.png"]["extra"]) == {"artist": "a2", "rating": "g"}
    assert server.asked["/posts.json?page=4"] == 1
    assert server.asked["/posts.json?page=5"] == 0


def test_a_site_that_is_not_there(server: Server, crawl: CrawlParams, capfd) -> None:
    with pytest.raises(StageError, match="holds no files"):
        fetch(PAGES | {"start": [f"{server.address}/gone"]}, crawl)
    assert "1 pages of site.yaml not read: 4xx" in capfd.readouterr().out


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\x00<",
        b"[" * 100_000,
        b'{"posts": {}}',
        b'{"posts": [1, null, {"file_url": 3}]}',
        b'{"posts": [{"file_url": "http://[x"}]}',
        b"<a class=post>",
    ],
)
def test_what_is_no_page_of_its_kind_gives_nothing(body: bytes) -> None:
    start = ["http://127.0.0.1/{page}"]
    for recipe in (PAGES, BOARD):
        assert page_gives(Site.model_validate(recipe | {"start": start}), "http://127.0.0.1/x", 0, body, "me") == Gives(
            [], []
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"images": {"css": "a["}}, "images.css: is no CSS selector", id="selector"),
        pytest.param({"images": {"css": "a", "pattern": "("}}, "images.pattern: is no regular", id="pattern"),
        pytest.param({"images": None}, "give either images", id="neither"),
        pytest.param({"api": {"url": "u"}}, "give either images", id="both"),
        pytest.param({"images": None, "api": {"url": "u"}}, "start must have {page}", id="no number"),
        pytest.param({"depth": 3}, "depth: unknown key", id="unknown key"),
        pytest.param({"allowed_hosts": []}, "allowed_hosts: ", id="nowhere"),
    ],
)
def test_a_wrong_recipe_is_refused_by_its_keys(crawl: CrawlParams, change: dict, message: str) -> None:
    with pytest.raises(ParamsError) as fault:
        fetch(PAGES | {"start": ["http://127.0.0.1/1"]} | change, crawl)
    assert message in str(fault.value)


def test_the_survey_is_the_same_in_whatever_order_pages_answer(tmp_path: Path) -> None:
    found = []
    for order in ("ab", "ba"):
        store = Store(tmp_path / order)
        store.begin_survey("key", ["a", "b"])
        level = {page.url: page for page in store.next_level("key", 4)}
        for url in order:
            store.record_page(
                "key", level[url], None, [Wanted("shared", url), Wanted(f"of {url}")], ["both", f"after {url}"]
            )
        found.append((store.surveyed("key"), store.next_level("key", 4)))
        store.finish_survey("key")
        assert store.next_level("key", 4) == store.surveyed("key") == []
        store.close()
    assert found[0] == found[1]
    assert found[0][0] == [Wanted("shared", "a"), Wanted("of a"), Wanted("of b")]
    assert found[0][1] == [Page("both", 1, "000000.000000"), Page("after a", 1, "000000.000001")]
