"""What keeps a crawl from harm: a second crawler on the same store, and redirects from outside to within."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.params import CrawlParams
from pipeline.records import read_rows, shard_paths
from pipeline.sources.store import Fetched, Store
from pipeline.sources.urls import Wanted
from tests.sources.crawling import fetch
from tests.sources.server import Server, picture, serving

IMPORT = """
import sys
from pathlib import Path
from pipeline.params import CrawlParams
from pipeline.sources.importing import import_source
from pipeline.workers import Workers
import_source(Path(sys.argv[1]), CrawlParams.model_validate_json(sys.argv[2]), Path(sys.argv[3]), Workers())
"""

# In each process that starts with this on its path, one address of loopback passes for one of the public Internet.
OUTSIDE = "127.0.0.2"
SITECUSTOMIZE = f"""
try:
    from pipeline.sources import addresses
except ImportError:
    pass
else:
    within = addresses.is_public
    addresses.is_public = lambda address: address == {OUTSIDE!r} or within(address)
"""


def test_a_second_crawler_waits_and_nothing_is_fetched_twice(
    server: Server, crawl: CrawlParams, root: Path, tmp_path: Path
) -> None:
    urls = [f"{server.address}/slowish/{number}.png" for number in range(60)]
    (tmp_path / "first.txt").write_text("\n".join(urls[:50]))
    (tmp_path / "second.txt").write_text("\n".join(urls))
    slow = crawl.model_copy(update={"per_host": 1, "obey_robots": False}).model_dump_json()

    def start(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", IMPORT, f"{name}.txt", slow, name],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    with start("first") as first:
        while not server.asked and first.poll() is None:
            server.closing.wait(0.01)
        with start("second") as second:
            printed = second.communicate()[0]
        assert (first.wait(), second.returncode) == (0, 0), printed
    assert f"another crawl is at work on {tmp_path / '.pipeline/crawl'}; waiting for it" in printed
    assert server.asked == {f"/slowish/{number}.png": 1 for number in range(60)}
    moments = {int(Path(path).stem): moment for path, (moment,) in server.times.items()}
    assert max(moments[number] for number in range(50)) < min(moments[number] for number in range(50, 60))
    for name, count in (("first", 50), ("second", 60)):
        rows = [row for shard in shard_paths(Path(name)) for row in read_rows(shard, ["url", "image", "error"])]
        assert {row["url"]: row["image"]["bytes"] for row in rows} == {
            url: picture(number) for number, url in enumerate(urls[:count])
        }


def test_a_redirect_from_outside_to_within_is_refused_and_never_asked(
    server: Server, crawl: CrawlParams, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/sitecustomize.py").write_text(SITECUSTOMIZE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'outside'}{os.pathsep}{root}")
    public = crawl.model_copy(update={"allow_private": False, "retries": 0})
    with ExitStack() as stack:
        try:
            other = stack.enter_context(serving(OUTSIDE))
        except OSError as fault:
            pytest.skip(f"this system has no {OUTSIDE}: {fault}")
        other.aside = f"{server.address}/image"
        lured = [f"{other.address}/aside/{number}.png" for number in range(3)]
        honest = f"{other.address}/image/4.png"
        rows = fetch([*lured, honest], public)
        assert (rows[honest]["error"], rows[honest]["image"]["bytes"]) == (None, picture(4)), "it counts as public"
        assert [rows[url]["error"] for url in lured] == ["private address"] * 3
        assert [rows[url]["final_url"] for url in lured] == [f"{other.aside}/{number}" for number in range(3)]
        assert not server.asked, "not even for its robots.txt"
        assert {row["error"] for row in fetch(lured, crawl).values()} == {None}, "allow_private follows them"


def test_older_bytes_stay_behind_a_private_address_until_it_is_the_policy_that_has_changed(tmp_path: Path) -> None:
    store, refused = Store(tmp_path), Fetched(2.0, reason="private address")
    sha256 = hashlib.sha256(b"1").hexdigest()
    for policy, key, kept in (("old", "one", sha256), ("new", "two", None)):
        store.begin(key, [Wanted("http://a.example/1.png")], policy)
        if key == "one":
            store.keep(b"1", sha256)
            store.record(key, "http://a.example/1.png", policy, Fetched(1.0, sha256=sha256, size=1), passing=False)
        store.record(key, "http://a.example/1.png", policy, refused, passing=True, by_policy=True)
        (result,) = store.results(key)
        assert result.fetched is not None
        assert result.fetched.sha256 == kept
        assert store.object_path(sha256).exists() == (kept is not None)
    store.close()


def test_what_ends_the_crawler_is_told(server: Server, crawl: CrawlParams, capfd: pytest.CaptureFixture[str]) -> None:
    """Scrapy would tell its own log alone. Here the store's folder can't be made, as on a full disk."""
    Path(".pipeline/crawl").mkdir(parents=True)
    Path(".pipeline/crawl/objects").write_text("in the way")
    with pytest.raises(StageError, match="the crawler ended with 1; what it has fetched is kept"):
        fetch([f"{server.address}/image/1.png"], crawl)
    assert re.search(r"the crawler stopped with 1 URLs to go: .*objects", capfd.readouterr().err)


def test_the_progress_line_tells_images_bytes_failures_and_what_is_left(
    server: Server, crawl: CrawlParams, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TQDM_MININTERVAL", "1")
    urls = [f"{server.address}/slow/{number}.png" for number in range(4)]
    urls += [f"{server.address}/gone/{number}" for number in range(3)]
    fetch(urls, crawl.model_copy(update={"per_host": 1, "timeout": 10.0}))
    number = r"\d+(?:\.\d+)?"
    line = rf"crawl: +\d+%\|.*?\| (\d)/7 \[([\d:]+)<([\d:]+), +{number}(?:img/s|s/img), "
    line += rf"({number}) MB/s, (\d) failed \({number}/s\)\]"
    told = re.findall(line, capfd.readouterr().err)
    done, spent, left, rate, failed = told[-1]
    assert (done, left, failed) == ("7", "00:00", "3")
    assert spent >= "00:03"
    assert float(rate) >= 0.0
    assert any(0 < int(done) < 7 and left > "00:00" for done, _, left, *_ in told), "in between, of what is left"
