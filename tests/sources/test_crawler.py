"""A crawl through the real crawler process, against a server on loopback that misbehaves."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.params import CrawlParams
from pipeline.records import read_rows, shard_paths
from pipeline.sources.importing import import_source
from pipeline.sources.provenance import CRAWLED_SCHEMA
from pipeline.sources.takedown import Takedown
from pipeline.workers import Workers
from tests.sources.crawling import fetch
from tests.sources.server import OUTCOMES, Handler, Server, noise_picture, picture, serving, write_certificate


def test_https_takes_a_certificate_that_can_be_checked_and_the_same_addresses(
    server: Server, crawl: CrawlParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_certificate(tmp_path / "host.pem", "localhost")
    server.encrypt(tmp_path / "host.pem")
    url = f"https://localhost:{server.server_port}/image/1.png"
    assert fetch([url], crawl)[url]["error"] == "certificate"
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "host.pem"))
    row = fetch([url], crawl)[url]
    assert (row["error"], row["image"]["bytes"]) == (None, picture(1))
    private = crawl.model_copy(update={"allow_private": False})
    assert fetch([f"{url}?again"], private)[f"{url}?again"]["error"] == "private address"


def test_every_way_to_misbehave_is_a_row_with_its_reason(server: Server, crawl: CrawlParams, capfd) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/a.png"
    reasons = {server.address + path: reason for path, reason in OUTCOMES.items()}
    reasons |= {
        closed: "refused",
        "http://nowhere.invalid/a.png": "dns",
        "ftp://127.0.0.1/a": "bad url",
        "word": "bad url",
    }
    rows = fetch(list(reasons), crawl)
    assert {url: row["error"] for url, row in rows.items()} == reasons
    assert all((row["image"]["bytes"] is None) == (row["error"] is not None) for row in rows.values())
    assert rows[f"{server.address}/image/1.png"]["image"]["bytes"] == picture(1)
    assert server.asked["/broken"] == 1 + crawl.retries
    assert server.asked["/gone"] == server.asked["/page.png"] == server.asked["/drip"] == 1
    first, second = server.times["/later/5.png"]
    assert second - first >= 1.0
    assert server.asked["/forbidden/1.png"] == 0
    assert server.asked["/robots.txt"] == 1
    assert server.agents == {crawl.user_agent}
    printed = capfd.readouterr().out
    assert "crawl: 5 of 30 URLs gave an image" in printed
    assert "2  truncated" in printed


def test_provenance(server: Server, crawl: CrawlParams) -> None:
    Path("urls.csv").write_text(
        f"URL,page_url,license,tags\n{server.address}/moved,https://a.example/p,CC0,cat dog\n{server.address}/gone,,,\n"
    )
    import_source(Path("urls.csv"), crawl, Path("raw"), Workers())
    gone, moved = read_rows(Path("raw/00000.parquet"), CRAWLED_SCHEMA.names)
    assert (moved["page_url"], moved["licence"], moved["extra"]) == (
        "https://a.example/p",
        "CC0",
        '{"tags": "cat dog"}',
    )
    assert (moved["final_url"], moved["http_status"]) == (f"{server.address}/image/8.png", 200)
    assert (moved["content_type"], moved["source"]) == ("image/png", "urls.csv")
    assert (gone["http_status"], gone["extra"], gone["id"]) == (410, None, None)
    assert moved["fetched_at"] is not None


def test_a_refresh_asks_only_for_what_is_new_or_changed(server: Server, crawl: CrawlParams) -> None:
    urls = [f"{server.address}/{kind}/1.png" for kind in ("image", "tagged", "dated")]
    half_written = Path(".pipeline/crawl/objects/ab/.abcd.1-00000000")
    half_written.parent.mkdir(parents=True)
    half_written.touch()
    first = fetch(urls, crawl)
    assert not half_written.exists()
    shards = Path("raw/00000.parquet").read_bytes()
    assert fetch(urls, crawl) == first
    assert Path("raw/00000.parquet").read_bytes() == shards
    assert [server.asked[url.removeprefix(server.address)] for url in urls] == [1, 2, 2]
    server.edition = 1
    changed = fetch([*urls, f"{server.address}/image/2.png"], crawl)
    assert changed[urls[1]]["image"]["bytes"] == picture(1001)
    assert changed[urls[0]] == {**first[urls[0]], "row": 1}
    assert server.asked["/image/1.png"] == 1
    objects = [path for path in Path(".pipeline/crawl/objects").rglob("*") if path.is_file()]
    assert len(objects) == 3, "the changed image's old bytes are gone, and /dated/1 is /image/1's"


def test_only_the_server_that_gave_the_bytes_is_asked_for_newer_ones(server: Server, crawl: CrawlParams) -> None:
    url = f"{server.address}/aside/1"
    with serving() as before, serving() as after:
        after.edition = 1
        server.aside = f"{before.address}/dated"
        first = fetch([url], crawl)
        assert fetch([url], crawl) == first
        assert (+server.asked_for_newer, +before.asked_for_newer) == ({}, {"/dated/1": 1})
        server.aside = f"{after.address}/dated"
        row = fetch([url], crawl)[url]
        assert (row["image"]["bytes"], row["final_url"]) == (picture(1001), f"{after.address}/dated/1")
        assert not +after.asked_for_newer


@pytest.mark.parametrize(("refusal", "reason"), [("on_noai", "opted out"), ("on_spent", "4xx")])
def test_older_bytes_outlive_a_passing_fault_but_not_a_refusal(
    server: Server, crawl: CrawlParams, monkeypatch, refusal: str, reason: str
) -> None:
    url = f"{server.address}/tagged/1.png"
    first = fetch([url], crawl)[url]
    handler = server.RequestHandlerClass
    monkeypatch.setattr(handler, "on_tagged", handler.on_broken)
    row = fetch([url], crawl)[url]
    assert (row["id"], row["error"], row["refresh_error"]) == (first["id"], None, "5xx")
    monkeypatch.setattr(handler, "on_tagged", getattr(handler, refusal))
    row = fetch([url], crawl)[url]
    assert (row["id"], row["error"], row["refresh_error"]) == (None, reason, None)
    assert not [path for path in Path(".pipeline/crawl/objects").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("on_page", "not an image"),
        ("on_to_file", "unsafe redirect"),
        ("on_loop", "redirect loop"),
        ("on_huge", "too many pixels"),
    ],
)
def test_older_bytes_outlive_a_network_that_puts_something_else_in_every_place(
    server: Server, crawl: CrawlParams, monkeypatch, fault: str, reason: str
) -> None:
    url = f"{server.address}/tagged/1.png"
    first = fetch([url], crawl)[url]
    handler = server.RequestHandlerClass
    monkeypatch.setattr(handler, "on_tagged", getattr(handler, fault))
    row = fetch([url], crawl)[url]
    assert (row["id"], row["error"], row["refresh_error"]) == (first["id"], None, reason)


def test_a_body_whose_bytes_nobody_counted_is_asked_for_again_where_it_is_cut(
    server: Server, crawl: CrawlParams
) -> None:
    kinds = {"uncounted": "JPEG", "packed-half": "JPEG", "uncounted-webp": "WEBP", "uncounted-avif": "AVIF"}
    rows = fetch([f"{server.address}/{path}/1" for path in kinds], crawl)
    for path, kind in kinds.items():
        assert rows[f"{server.address}/{path}/1"]["image"]["bytes"] == noise_picture(kind)
        assert server.asked[f"/{path}/1"] == 2
    once = crawl.model_copy(update={"retries": 0})
    other = f"{server.address}/uncounted/2.jpg"
    assert fetch([other], once)[other]["error"] == "truncated"


def test_an_error_is_no_opting_out_whatever_its_page_says(server: Server, crawl: CrawlParams) -> None:
    url = f"{server.address}/unwanted/1.png"
    assert fetch([url], crawl)[url]["error"] is None
    assert server.asked["/unwanted/1.png"] == 2


def test_unchanged_is_no_answer_to_who_has_nothing(server: Server, crawl: CrawlParams) -> None:
    url = f"{server.address}/unasked/1.png"
    row = fetch([url], crawl)[url]
    assert (row["error"], row["http_status"]) == ("3xx", 304)


def test_a_robots_txt_that_is_too_busy_is_asked_for_again(server: Server, crawl: CrawlParams) -> None:
    urls = [f"{server.address}/{path}/1.png" for path in ("image", "forbidden")]
    server.robots_failures = crawl.retries
    rows = fetch(urls, crawl)
    assert [rows[url]["error"] for url in urls] == [None, "robots"]
    assert server.asked["/robots.txt"] == 1 + crawl.retries
    server.robots_failures = 99
    asked = server.asked["/image/2.png"]
    others = [f"{server.address}/image/{number}.png" for number in range(2, 9)]
    assert {row["error"] for row in fetch(others, crawl).values()} == {"robots"}
    assert asked == server.asked["/image/2.png"] == 0
    assert server.asked["/robots.txt"] == 2 * (1 + crawl.retries), "no more often for a longer list"


def test_robots_txt_binds_all_who_wait_for_it(server: Server, crawl: CrawlParams, monkeypatch) -> None:
    handler, at_once = server.RequestHandlerClass, server.RequestHandlerClass.on_robots

    def slowly(one: Handler) -> None:
        one.linger(0.5)
        at_once(one)

    monkeypatch.setattr(handler, "on_robots", slowly)
    rows = fetch([f"{server.address}/forbidden/{number}.png" for number in range(6)], crawl)
    assert {row["error"] for row in rows.values()} == {"robots"}
    assert server.asked == {"/robots.txt": 1}


def test_older_bytes_outlive_a_robots_txt_that_is_broken_for_once(server: Server, crawl: CrawlParams) -> None:
    url = f"{server.address}/tagged/1.png"
    first = fetch([url], crawl)[url]
    server.robots_status = 503
    row = fetch([url], crawl)[url]
    assert (row["id"], row["error"], row["refresh_error"]) == (first["id"], None, "robots")
    server.robots, server.robots_status = b"User-agent: *\nDisallow: /\n", 200
    row = fetch([url], crawl)[url]
    assert (row["id"], row["error"], row["refresh_error"]) == (None, "robots", None)


def test_a_robots_txt_that_can_not_be_had_allows_nothing(server: Server, crawl: CrawlParams, monkeypatch) -> None:
    url = f"{server.address}/image/1.png"
    handler = server.RequestHandlerClass
    monkeypatch.setattr(handler, "on_robots", handler.on_reset)
    assert fetch([url], crawl)[url]["error"] == "connection lost"
    assert (server.asked["/robots.txt"], server.asked["/image/1.png"]) == (1 + crawl.retries, 0)
    monkeypatch.setattr(handler, "on_robots", lambda one: one.on_image() if one.server.asked["/x"] else one.on_broken())
    assert fetch([url], crawl)[url]["error"] == "robots"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param("on_bomb", "robots", id="too large once unpacked"),
        pytest.param("on_endless", "robots", id="too large"),
        pytest.param("on_loop", None, id="redirects without end, which are as good as none"),
    ],
)
def test_a_robots_txt_without_an_end(
    server: Server, crawl: CrawlParams, monkeypatch, answer: str, reason: str | None
) -> None:
    url = f"{server.address}/image/1.png"
    handler = server.RequestHandlerClass
    monkeypatch.setattr(handler, "on_robots", getattr(handler, answer))
    assert fetch([url], crawl)[url]["error"] == reason
    assert server.asked["/image/1.png"] == (reason is None)


def test_a_host_that_is_dead_is_left_alone(crawl: CrawlParams) -> None:
    with socket.socket() as deaf:  # it takes connections, and says nothing
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1000)
        urls = [f"http://127.0.0.1:{deaf.getsockname()[1]}/{number:03}.png" for number in range(100)]
        rows = fetch(urls, crawl.model_copy(update={"retries": 0, "timeout": 0.5, "max_wait": 0.0}))
        assert {row["error"] for row in rows.values()} == {"timeout"}
        assert waiting(deaf) < 10 + 8 + 8, "as many as are under way meanwhile"


def waiting(deaf: socket.socket) -> int:
    """Return how many connections to a socket that accepts none there have been."""
    deaf.setblocking(False)
    count = 0
    while True:
        try:
            deaf.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_a_host_that_drips_is_left_alone(server: Server, crawl: CrawlParams) -> None:
    urls = [f"{server.address}/drip/{number:03}.png" for number in range(100)]
    rows = fetch(urls, crawl.model_copy(update={"timeout": 0.5, "max_wait": 0.0}))
    assert {row["error"] for row in rows.values()} == {"too slow"}
    assert sum(path.startswith("/drip/") for path in server.asked) < 10 + 8 + 8, "as many as are under way meanwhile"


def test_bytes_that_are_damaged_in_the_store_are_fetched_anew(server: Server, crawl: CrawlParams) -> None:
    url = f"{server.address}/tagged/1.png"
    first = fetch([url], crawl)[url]
    (path,) = (path for path in Path(".pipeline/crawl/objects").rglob("*") if path.is_file())
    path.write_bytes(bytes(path.stat().st_size))
    assert fetch([url], crawl)[url]["error"] == "damaged in the store"
    assert fetch([url], crawl)[url]["id"] == first["id"]


def test_private_addresses_are_refused_also_behind_a_name(server: Server, crawl: CrawlParams) -> None:
    public = crawl.model_copy(update={"allow_private": False})
    urls = [f"http://{host}:{server.server_port}/image/1.png" for host in ("127.0.0.1", "localhost", "2130706433")]
    urls += [f"http://[::ffff:127.0.0.1]:{server.server_port}/image/1.png"]
    assert {row["error"] for row in fetch(urls, public).values()} == {"private address"}
    assert not server.asked


def test_overrides(server: Server, crawl: CrawlParams) -> None:
    bold = crawl.model_copy(update={"obey_robots": False, "ignore_opt_out": True})
    urls = [f"{server.address}/noai/1.png", f"{server.address}/forbidden/1.png"]
    assert [row["error"] for row in fetch(urls, crawl).values()] == ["robots", "opted out"]
    assert [row["error"] for row in fetch(urls, bold).values()] == [None, None]
    assert [row["error"] for row in fetch(urls, crawl).values()] == ["robots", "opted out"]


def test_bytes_of_another_policy_are_asked_for_anew_and_not_only_for_newer_ones(
    server: Server, crawl: CrawlParams
) -> None:
    url = f"{server.address}/noai-once/1.png"
    bold = crawl.model_copy(update={"ignore_opt_out": True})
    assert [fetch([url], bold)[url]["error"] for _ in range(2)] == [None, None]
    assert server.asked_for_newer["/noai-once/1.png"] == 1, "under the same policy, for newer ones alone"
    row = fetch([url], crawl)[url]
    assert (row["error"], row["image"]["bytes"]) == ("opted out", None)


def test_too_few_images_fail_with_the_table(server: Server, crawl: CrawlParams) -> None:
    urls = [f"{server.address}/{path}" for path in ("image/1.png", "gone", "broken")]
    with pytest.raises(StageError, match=r"33\.3% of the URLs(.|\n)*1  4xx(.|\n)*1  5xx"):
        fetch(urls, crawl.model_copy(update={"min_success": 0.5}))
    assert server.asked["/gone"] == 1
    fetch(urls, crawl)
    assert server.asked["/gone"] == 2, "a crawl that failed tries again what had failed"


def test_what_is_taken_down_is_not_asked_for(server: Server, crawl: CrawlParams) -> None:
    urls = [f"{server.address}/image/{number}.png" for number in range(3)]
    first = fetch(urls, crawl)
    takedown = Takedown(frozenset({urls[0]}), frozenset({first[urls[1]]["id"]}))
    rows = fetch(urls, crawl, takedown)
    assert [rows[url]["error"] for url in urls] == ["taken down", "taken down", None]
    assert rows[urls[0]]["image"]["bytes"] is rows[urls[1]]["image"]["bytes"] is None


def test_what_is_taken_down_does_not_come_back_by_another_url(server: Server, crawl: CrawlParams) -> None:
    sha256 = hashlib.sha256(picture(1)).hexdigest()
    takedown = Takedown(frozenset({f"{server.address}/image/8.png"}), frozenset({sha256}))
    rows = fetch([f"{server.address}/image/1.png", f"{server.address}/moved"], crawl, takedown)
    assert {row["error"] for row in rows.values()} == {"taken down"}
    assert server.asked["/image/8.png"] == 0
    assert not [path for path in Path(".pipeline/crawl").rglob("objects/*/*") if path.is_file()]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        pytest.param(200, b"User-agent: *\nDisallow: /\n\nUser-agent: anime-dcgan\nAllow: /\n", None, id="by name"),
        pytest.param(200, b"User-agent: Anime-DCGAN\nDisallow: /image/\n", "robots", id="refused by name"),
        pytest.param(200, b"\xff\x00<html>", None, id="garbage"),
        pytest.param(200, b"#" * 900_000, None, id="large"),
        pytest.param(404, b"User-agent: *\nDisallow: /\n", None, id="none"),
        pytest.param(503, b"", "robots", id="broken"),
    ],
)
def test_robots(server: Server, crawl: CrawlParams, status: int, body: bytes, reason: str | None) -> None:
    server.robots, server.robots_status = body, status
    url = f"{server.address}/image/1.png"
    assert fetch([url], crawl)[url]["error"] == reason


def test_requests_to_a_host_keep_their_distance(server: Server, crawl: CrawlParams) -> None:
    fetch([f"{server.address}/image/{number}.png" for number in range(5)], crawl.model_copy(update={"delay": 0.2}))
    moments = sorted(moment for asked in server.times.values() for moment in asked)
    assert moments[-1] - moments[0] > 0.9 * 0.2 * (len(moments) - 1)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert min(gaps) > 0.05, "0.2 s, but for how punctual a busy machine is"


def test_sigterm_ends_the_crawler_too(server: Server, crawl: CrawlParams, root: Path) -> None:
    Path("urls.txt").write_text("\n".join(f"{server.address}/silent/{number}.png" for number in range(8)))
    code = (
        "import sys, signal; from pathlib import Path; from pipeline.params import CrawlParams;"
        "from pipeline.sources.importing import import_source; from pipeline.workers import Workers;"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143));"
        "import_source(Path('urls.txt'), CrawlParams.model_validate_json(sys.argv[1]), Path('raw'), Workers())"
    )
    slow = crawl.model_copy(update={"timeout": 60.0}).model_dump_json()
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, "-c", code, slow], env=environment, stderr=subprocess.PIPE)
    while not any(path.startswith("/silent") for path in server.asked):
        assert process.poll() is None
        time.sleep(0.05)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate()  # the crawler has the same standard error: this returns when both are gone
    assert process.returncode == 143
    assert time.monotonic() - started < 5


def test_credentials_are_neither_sent_nor_stored(server: Server, crawl: CrawlParams, tmp_path: Path, capfd) -> None:
    address = f"{server.address}/image/1.png"
    Path("urls.txt").write_text(address.replace("://", "://me:hunter2@"))
    import_source(Path("urls.txt"), crawl, Path("raw"), Workers())
    (row,) = read_rows(shard_paths(Path("raw"))[0], CRAWLED_SCHEMA.names)
    assert (row["path"], row["url"], row["final_url"], row["error"]) == (address, address, address, None)
    said = "".join(capfd.readouterr())
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "urls.txt")
    assert "hunter2" not in said
    assert b"hunter2" not in kept
