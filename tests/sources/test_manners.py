"""What a crawl is to a server: how many requests at once, how soon, how often again, and when none at all."""

from __future__ import annotations

import time

import pytest

from pipeline.params import CrawlParams
from tests.sources.crawling import fetch, fetch_site
from tests.sources.server import Server, serving


@pytest.mark.parametrize(
    ("kind", "retries", "reason"),
    [
        pytest.param("enough", 3, "4xx", id="429"),
        pytest.param("never", 3, "5xx", id="503"),
        pytest.param("enough", 0, "4xx", id="429 without retries"),
    ],
)
def test_a_host_that_wants_to_be_left_alone_for_long_is(
    server: Server, crawl: CrawlParams, kind: str, retries: int, reason: str
) -> None:
    few = crawl.model_copy(update={"per_host": 3, "retries": retries, "obey_robots": False})
    with serving() as other:
        urls = [f"{server.address}/{kind}/{number}.png" for number in range(60)]
        others = [f"{other.address}/image/{number}.png" for number in range(20)]
        started = time.monotonic()
        rows = fetch([*urls, *others], few)
        assert time.monotonic() - started < 60, "it asks for an hour and more"
    assert {rows[url]["error"] for url in urls} == {reason}
    assert 1 <= server.asked.total() <= few.per_host
    assert {rows[url]["error"] for url in others} == {None}, "another host has nothing to do with it"


def test_the_next_crawl_asks_a_host_again_that_was_left_alone(
    server: Server, crawl: CrawlParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"{server.address}/tagged/{number}.png" for number in range(12)]
    few = crawl.model_copy(update={"per_host": 1, "obey_robots": False})
    first = fetch(urls, few)
    handler, at_peace = server.RequestHandlerClass, server.RequestHandlerClass.on_tagged
    monkeypatch.setattr(handler, "on_tagged", handler.on_enough)
    new = [f"{server.address}/tagged/{number}.png" for number in range(12, 20)]
    refused = fetch([*urls, *new], few)
    assert server.asked.total() == 12 + 1
    assert {(refused[url]["error"], refused[url]["refresh_error"]) for url in urls} == {(None, "4xx")}
    assert {refused[url]["error"] for url in new} == {"4xx"}
    assert [refused[url]["id"] for url in urls] == [first[url]["id"] for url in urls]
    monkeypatch.setattr(handler, "on_tagged", at_peace)
    rows = fetch([*urls, *new], few)
    assert {(row["error"], row["refresh_error"]) for row in rows.values()} == {(None, None)}
    assert server.asked.total() == 12 + 1 + 20


def test_where_redirects_lead_is_left_alone_and_not_who_redirects(server: Server, crawl: CrawlParams) -> None:
    with serving() as tired:
        server.aside = f"{tired.address}/enough"
        aside = [f"{server.address}/aside/{number}" for number in range(10)]
        straight = [f"{server.address}/image/{number}.png" for number in range(10)]
        rows = fetch([*aside, *straight], crawl.model_copy(update={"per_host": 1, "obey_robots": False}))
        assert tired.asked.total() == 1
    assert {rows[url]["error"] for url in aside} == {"4xx"}
    assert {rows[url]["error"] for url in straight} == {None}
    assert {rows[url]["final_url"] for url in aside} == {f"{server.aside}/{number}" for number in range(10)}


def test_a_site_that_wants_to_be_left_alone_for_long_is(server: Server, crawl: CrawlParams) -> None:
    pages = [f"{server.address}/enough/{number}.html" for number in range(30)]
    few = crawl.model_copy(update={"per_host": 2, "obey_robots": False})
    rows = fetch_site({"start": pages, "images": {"css": "img"}}, few)
    assert {url: row["error"] for url, row in rows.items()} == dict.fromkeys(pages, "page 4xx")
    assert 1 <= server.asked.total() <= few.per_host


def test_a_wait_that_is_asked_for_last_is_kept_by_the_next(server: Server, crawl: CrawlParams) -> None:
    urls = [f"{server.address}/later/{number}.png" for number in range(2)]
    rows = fetch(urls, crawl.model_copy(update={"per_host": 1, "retries": 0, "obey_robots": False}))
    assert [rows[url]["error"] for url in urls] == ["4xx", "4xx"]
    (first,), (second,) = (server.times[f"/later/{number}.png"] for number in range(2))
    assert second - first >= 1.0
