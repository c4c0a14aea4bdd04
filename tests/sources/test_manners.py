"""What a crawl is to a server: how many requests at once, how soon, how often again, and when none at all."""

from __future__ import annotations

import time
from itertools import pairwise
from statistics import mean, median

import pytest

from pipeline.params import CrawlParams
from tests.sources.crawling import fetch, fetch_site
from tests.sources.server import Server, serving

pytestmark = pytest.mark.long  # half a minute of waiting, which manners are


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
    told = [url for url in urls if rows[url]["http_status"] is not None]
    assert len(told) == server.asked.total(), "of what was not asked for, nothing is known but why"
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


def test_a_wait_behind_a_redirect_is_kept_where_it_leads_and_holds_up_nobody_else(
    server: Server, crawl: CrawlParams
) -> None:
    few = {"per_host": 1, "concurrency": 1, "retries": 0, "obey_robots": False, "timeout": 10.0}
    with serving() as tired, serving() as other:
        server.aside = f"{tired.address}/tired"
        aside = [f"{server.address}/aside/{number}" for number in range(2)]
        fetch([*aside, *(f"{other.address}/image/{number}" for number in range(9))], crawl.model_copy(update=few))
        (told,), (again,) = tired.times["/tired/0"], tired.times["/tired/1"]
    assert server.times["/aside/1"][0] - told < 4.0 <= again - told
    assert max(moment for times in other.times.values() for moment in times) - told < 4.0


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


@pytest.mark.parametrize("per_host", [1, 3])
def test_no_more_requests_at_once_than_a_host_may_get(server: Server, crawl: CrawlParams, per_host: int) -> None:
    few = crawl.model_copy(update={"per_host": per_host, "concurrency": 16, "obey_robots": False})
    fetch([f"{server.address}/slowish/{number}.png" for number in range(30)], few)
    assert server.most_at_once == per_host


def test_no_more_pages_and_images_of_a_site_at_once_than_a_host_may_get(server: Server, crawl: CrawlParams) -> None:
    few = crawl.model_copy(update={"per_host": 3, "obey_robots": False})
    recipe = {"start": [f"{server.address}/tree/0"], "follow": {"css": "a"}, "images": {"css": "img"}, "max_depth": 1}
    assert len(fetch_site(recipe, few)) == 16
    assert server.most_at_once == 3


def test_requests_in_all_are_bounded_too(server: Server, crawl: CrawlParams) -> None:
    few = crawl.model_copy(update={"per_host": 8, "concurrency": 2, "obey_robots": False})
    fetch([f"{server.address}/slowish/{number}.png" for number in range(20)], few)
    assert server.most_at_once == 2


def test_a_slow_server_is_asked_less_often_than_a_fast_one(server: Server, crawl: CrawlParams) -> None:
    """AutoThrottle: by the delay alone, most requests would be as close to each other as to the fast one."""
    paced = crawl.model_copy(update={"delay": 0.05, "per_host": 4, "timeout": 10.0, "obey_robots": False})
    with serving() as slow:
        fetch([f"{server.address}/image/{number}.png" for number in range(24)], paced)
        fetch([f"{slow.address}/slow/{number}.png" for number in range(16)], paced)
        # Until its first answer is there, nothing is known of how slow it is.
        assert median(gaps(slow)[4:]) > max(0.12, median(gaps(server))), "0.8 s for 4 at once are 0.2 s"


def test_retries_come_later_and_later_and_not_all_together(server: Server, crawl: CrawlParams) -> None:
    backoff = 0.4
    patient = crawl.model_copy(
        update={"backoff": backoff, "retries": 2, "per_host": 24, "concurrency": 24, "obey_robots": False}
    )
    fetch([f"{server.address}/broken/{number}" for number in range(24)], patient)
    assert {len(times) for times in server.times.values()} == {3}
    first, second = zip(*([b - a for a, b in pairwise(times)] for times in server.times.values()), strict=True)
    late = 0.1  # a request may be noticed as much too late, and the next one not
    assert min(first) > 0.5 * backoff - late
    assert min(second) > 1.0 * backoff - late
    assert mean(second) > 1.4 * mean(first)
    assert min(first) < 0.85 * backoff, "of as many, some are sooner than the backoff, if it is jittered"
    assert max(first) - min(first) > 0.25 * backoff


def test_a_retry_waits_no_longer_than_max_wait(server: Server, crawl: CrawlParams) -> None:
    hasty = crawl.model_copy(update={"backoff": 60.0, "max_wait": 0.2, "retries": 2, "obey_robots": False})
    started = time.monotonic()
    fetch([f"{server.address}/broken/1"], hasty)
    assert server.asked.total() == 3
    assert time.monotonic() - started < 25


def gaps(server: Server) -> list[float]:
    """Return the seconds between one request to a server and the next."""
    return [b - a for a, b in pairwise(sorted(moment for times in server.times.values() for moment in times))]
