"""A site's recipe, and sites crawled from a server on loopback."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pipeline.errors import ParamsError, StageError
from pipeline.params import CrawlParams, Params
from pipeline.records import read_rows
from pipeline.sources.importing import import_source
from pipeline.sources.provenance import CRAWLED_SCHEMA
from pipeline.sources.site import Gives, Site, page_gives
from pipeline.sources.store import Page, Store
from pipeline.sources.surveying import MAX_PAGE
from pipeline.sources.urls import Wanted
from pipeline.workers import Workers
from tests.sources.server import Server

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
def crawl(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrawlParams:
    monkeypatch.chdir(tmp_path)
    haste = {"allow_private": True, "delay": 0.0, "per_host": 8, "backoff": 0.01, "retries": 0}
    return params.crawl.model_copy(update=haste)


def fetch(recipe: dict, crawl: CrawlParams, unread: dict[str, str] | None = None) -> dict[str, dict]:
    """Import a site and return its images' rows by their path on the server; unread: its pages' rows, by their path."""
    Path("site.yaml").write_text(json.dumps(recipe))
    import_source(Path("site.yaml"), crawl, Path("raw"), Workers())
    rows = list(read_rows(Path("raw/00000.parquet"), CRAWLED_SCHEMA.names))
    faults = {row["url"].partition("/")[2].partition("/")[2].partition("/")[2]: row["error"] for row in rows}
    assert {path: error for path, error in faults.items() if error is not None} == (unread or {})
    assert [row["url"] for row in rows] == sorted(row["url"] for row in rows)
    return {row["url"].partition("/image/")[2]: row for row in rows if row["error"] is None}


def pages_asked(server: Server) -> list[int]:
    return sorted(int(path.split("/")[2].split(".")[0]) for path in server.asked if path.startswith("/gallery/"))


def test_pages_are_followed_as_deep_as_the_recipe_says(server: Server, crawl: CrawlParams) -> None:
    refused = {"gallery/5.html": "page opted out"}
    rows = fetch(PAGES | {"start": [f"{server.address}/gallery/1.html"]}, crawl, refused)
    assert pages_asked(server) == [1, 2, 3, 4, 5]
    assert list(rows) == [f"{number}.png" for number in (1, 2, 3, 4, 5)], "page 5 opts out, or there would be 6.png"
    assert {row["licence"] for row in rows.values()} == {"CC0"}
    assert rows["2.png"]["page_url"] == f"{server.address}/gallery/1.html", "the first of two pages that have it"
    before = server.asked["/image/1.png"]
    fetch(PAGES | {"start": [f"{server.address}/gallery/1.html"]}, crawl, refused)
    assert (server.asked["/gallery/1.html"], server.asked["/image/1.png"]) == (2, before)


def test_the_first_pages_are_those_nearest_to_the_start(server: Server, crawl: CrawlParams) -> None:
    fetch(PAGES | {"start": [f"{server.address}/gallery/1.html"], "max_pages": 4, "max_depth": 9}, crawl)
    assert pages_asked(server) == [1, 2, 3, 4]


def test_patterns_alone_choose(server: Server, crawl: CrawlParams) -> None:
    by_pattern = {"follow": {"pattern": "/gallery/2[.]"}, "images": {"pattern": "/image/[1-3][.]png$"}}
    rows = fetch(PAGES | {"start": [f"{server.address}/gallery/1.html"]} | by_pattern, crawl)
    assert pages_asked(server) == [1, 2]
    assert list(rows) == ["1.png", "2.png", "3.png"], "and not 99.png, which each page has"


def test_without_a_choice_all_links_and_images_count(server: Server) -> None:
    body = b'<a href="/1"><a name="top"><link href="/2"><img src="/3.png"><img><video src="/4.mp4">'
    assert gives(PAGES | {"follow": {}, "images": {}}, body).links == ["http://127.0.0.1/1"]
    assert [image.url for image in gives(PAGES | {"images": {}}, body).images] == ["http://127.0.0.1/3.png"]


def test_an_api_is_paged_through_to_its_end(server: Server, crawl: CrawlParams) -> None:
    rows = fetch(BOARD | {"start": [f"{server.address}/posts.json?page={{page}}"]}, crawl)
    assert list(rows) == [f"{number}.png" for number in range(2, 7)]
    assert rows["3.png"]["page_url"] == "https://board.example/posts/3"
    assert json.loads(rows["4.png"]["extra"]) == {"artist": "a2", "rating": "g"}
    assert server.asked["/posts.json?page=4"] == 1
    assert server.asked["/posts.json?page=5"] == 0


def test_a_site_that_is_not_there(server: Server, crawl: CrawlParams, capfd) -> None:
    for asked in (1, 2):
        with pytest.raises(StageError, match=r"0\.0% of the URLs(.|\n)*1  page 4xx"):
            fetch(PAGES | {"start": [f"{server.address}/gone"]}, crawl)
        assert server.asked["/gone"] == asked, "what failed once is asked for again"


def test_a_site_without_an_image_is_looked_at_again(server: Server, crawl: CrawlParams) -> None:
    recipe = PAGES | {"start": [f"{server.address}/gallery/1.html"], "images": {"css": "img.nothing"}, "max_depth": 0}
    for asked in (1, 2):
        with pytest.raises(StageError, match=r"no page of site\.yaml names an image"):
            fetch(recipe, crawl)
        assert server.asked["/gallery/1.html"] == asked


def test_pages_of_an_api_that_fail_are_passed_over(server: Server, crawl: CrawlParams) -> None:
    board = BOARD | {"start": [f"{server.address}/posts.json?page={{page}}"]}
    server.failing = {"/posts.json?page=2"}
    assert list(fetch(board, crawl, {"posts.json?page=2": "page 5xx"})) == ["2.png", "3.png", "6.png"]
    server.pages = {"/posts.json?page=2"}
    assert list(fetch(board, crawl, {"posts.json?page=2": "page without a list"})) == ["2.png", "3.png", "6.png"]
    server.gone = {"/posts.json?page=2"}
    assert list(fetch(board, crawl, {"posts.json?page=2": "page 4xx"})) == ["2.png", "3.png", "6.png"]
    server.pages = server.gone = set()
    server.failing = {f"/posts.json?page={page}" for page in range(2, 9)}
    lenient = crawl.model_copy(update={"min_success": 0.0})
    fetch(board, lenient, {f"posts.json?page={page}": "page 5xx" for page in (2, 3, 4)})
    assert server.asked["/posts.json?page=5"] == 0, "three in a row, and that is its end"


def test_a_page_of_more_bytes_than_are_looked_at_is_a_row(server: Server, crawl: CrawlParams) -> None:
    server.files["/vast.html"] = b'<img class="full" src="/image/1.png">' + b" " * MAX_PAGE
    server.files["/fits.html"] = b'<img class="full" src="/image/2.png">'
    start = [f"{server.address}/{name}.html" for name in ("vast", "fits")]
    rows = fetch(PAGES | {"start": start}, crawl, unread={"vast.html": "page too large"})
    assert list(rows) == ["2.png"]


def test_a_page_that_is_nested_too_deep_is_a_row_and_gives_what_was_read(server: Server, crawl: CrawlParams) -> None:
    nested = '<b><a class="post" href="/gallery/{0}.html"><img class="full" src="/image/{0}.png"></a>'
    faults = "<p></i>" * 500  # of the kind that every page has: libxml2 notes so many and no more
    body = (faults + "".join(nested.format(1 + at // 2048) for at in range(2400))).encode()
    server.files["/deep.html"] = body
    site = {"start": [f"{server.address}/deep.html"], "max_depth": 0}
    rows = fetch(PAGES | site, crawl, unread={"deep.html": "page nested too deep"})
    assert list(rows) == ["1.png"], "2.png is deeper"
    assert gives(PAGES, body).links == ["http://127.0.0.1/gallery/1.html"]
    assert gives(PAGES, faults.encode()).reason is None


def test_a_page_on_which_a_selector_takes_for_ever_is_a_row_and_holds_up_no_other(
    server: Server, crawl: CrawlParams
) -> None:
    # libxml2 notes each image once for each of the blocks around it, and compares all notes with each other.
    server.files["/trap.html"] = b'<div class="post">' * 200 + b'<p><img src="/image/2.png">' * 60_000
    server.files["/fair.html"] = b'<div class="post"><p><img src="/image/1.png"></p></div>'
    start = [f"{server.address}/{name}.html" for name in ("trap", "fair")]
    chosen = {"images": {"css": "div.post img"}, "start": start}
    began = time.monotonic()
    rows = fetch(
        PAGES | chosen, crawl.model_copy(update={"timeout": 3.0}), unread={"trap.html": "page too slow to read"}
    )
    assert list(rows) == ["1.png"]
    assert time.monotonic() - began < 30


def test_an_api_that_moved_is_paged_through(server: Server, crawl: CrawlParams) -> None:
    rows = fetch(BOARD | {"start": [f"{server.address}/old-posts.json?page={{page}}"]}, crawl)
    assert list(rows) == [f"{number}.png" for number in range(2, 7)]


def test_a_survey_that_was_cut_off_tries_failed_pages_again_and_one_that_is_complete_does_not(tmp_path: Path) -> None:
    """When all was looked at, the list of the images stays: another one would be another crawl."""
    store = Store(tmp_path)
    store.begin_survey("key", ["a", "b", "c"], 3)
    first, second, third = store.next_level("key", 3)
    store.record_page("key", first, Gives([Wanted("of a")], links=["beyond"]))
    store.record_page("key", second, Gives(reason="5xx"))
    assert store.unread_pages("key") == [("b", "5xx")]
    store.begin_survey("key", ["a", "b", "c"], 3)
    assert store.next_level("key", 3) == [second, third]
    for page in (second, third):
        store.record_page("key", page, Gives(reason="5xx"))
    store.begin_survey("key", ["a", "b", "c"], 3)
    assert store.next_level("key", 3) == []
    assert store.unread_pages("key") == [("b", "5xx"), ("c", "5xx")]
    store.close()


def test_a_survey_as_long_as_its_pages_are_many(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin_survey("key", ["0"], 9)
    for depth in range(200):
        (page,) = store.next_level("key", 1000)
        store.record_page("key", page, Gives([Wanted(f"{depth}/{at}") for at in range(10)], [str(depth + 1)]))
    assert store.surveyed("key") == [Wanted(f"{depth}/{at}") for depth in range(200) for at in range(10)]
    store.close()
    assert (tmp_path / "journal.db").stat().st_size < 1_000_000


@pytest.mark.parametrize("body", [b"", b"\xff\x00<", b"[" * 100_000, b'{"posts": {}}', b"<a class=post>"])
def test_what_is_no_page_of_its_kind(body: bytes) -> None:
    assert gives(PAGES, body) == (Gives([], []) if body else Gives(reason="unreadable"))
    assert gives(BOARD, body) == Gives(reason="without a list")


def test_a_page_says_what_its_links_begin_with_and_in_which_letters_it_is_written() -> None:
    page = '<base href="/imgs/"><a class="post" href="1.html"></a><img class="full" src="絵.png">'
    found = page_gives(
        Site.model_validate(PAGES | {"follow": {"css": "a.post"}, "start": ["http://127.0.0.1/"]}),
        "http://127.0.0.1/d/0.html",
        "http://127.0.0.1/d/0.html",
        0,
        page.encode("shift_jis"),
        None,
        "text/html; charset=Shift_JIS",
    )
    assert [image.url for image in found.images] == ["http://127.0.0.1/imgs/絵.png"]
    assert found.links == ["http://127.0.0.1/imgs/1.html"]


@pytest.mark.parametrize("posts", [[1, None, {"file_url": 3}], [{"file_url": "http://[x"}], [{}]])
def test_items_without_an_image(posts: list) -> None:
    assert gives(BOARD, json.dumps({"posts": posts}).encode()).images == []


def test_lone_surrogates_are_written_as_their_escapes() -> None:
    body = b'{"posts": [{"file_url": "/\\ud800.png", "rating": "\\udfff"}]}'
    (image,) = gives(BOARD, body).images
    assert image.url == "http://127.0.0.1/\\ud800.png"
    assert json.loads(image.extra or "") == {"rating": "\udfff"}


def gives(recipe: dict, body: bytes) -> Gives:
    site = Site.model_validate(recipe | {"start": ["http://127.0.0.1/{page}"]})
    return page_gives(site, "http://127.0.0.1/x", "http://127.0.0.1/x", 0, body, "me")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"images": {"css": "a["}}, "images.css: is no CSS selector", id="selector"),
        pytest.param({"images": {"css": "a", "pattern": "("}}, "images.pattern: is no regular", id="pattern"),
        pytest.param({"images": None}, "give either images", id="neither"),
        pytest.param({"api": {"url": "u"}}, "give either images", id="both"),
        pytest.param({"images": None, "api": {"url": "u"}}, "start must have {page}", id="no number"),
        pytest.param({"start": ["http://[x/"]}, "start has http://[x/, which is no http or https URL", id="no address"),
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
        store.begin_survey("key", ["a", "b"], 9)
        level = {page.url: page for page in store.next_level("key", 4)}
        for url in order:
            images = [Wanted("shared", url), Wanted(f"of {url}")]
            store.record_page("key", level[url], Gives(images, ["both", f"after {url}"]))
        found.append((store.surveyed("key"), store.next_level("key", 4)))
        store.finish_survey("key")
        assert store.next_level("key", 4) == store.surveyed("key") == []
        store.close()
    assert found[0] == found[1]
    assert found[0][0] == [Wanted("shared", "a"), Wanted("of a"), Wanted("of b")]
    assert found[0][1] == [Page("both", 1, 0), Page("after a", 1, 1)]
