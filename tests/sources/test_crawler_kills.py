"""kill -9 at random moments of a crawl: nothing is fetched twice, nothing is lost, the set is the same."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline.params import CrawlParams, Params
from pipeline.records import read_rows, shard_paths
from tests.sources.server import Server, picture, serving

pytestmark = pytest.mark.long

IMAGES, PAGES, KILLS, AT_ONCE = 300, 241, 10, 4

IMPORT = """
import json, sys
from pathlib import Path
from pipeline.params import CrawlParams
from pipeline.sources.importing import import_source
from pipeline.workers import Workers
import_source(Path(sys.argv[2]), CrawlParams.model_validate(json.loads(sys.argv[1])), Path("raw"), Workers())
"""

IMAGES_DONE, PAGES_DONE = "SELECT url FROM fetched", "SELECT url FROM page WHERE done"


def recorded(folder: Path, query: str) -> set[str]:
    """Return the URLs that the store has noted, whatever was killed meanwhile."""
    path = folder / ".pipeline/crawl/journal.db"
    if not path.exists():
        return set()
    journal = sqlite3.connect(path)
    try:
        return {url for (url,) in journal.execute(query)}
    except sqlite3.OperationalError:  # it was killed before it made the table
        return set()
    finally:
        journal.close()


@pytest.mark.parametrize("victim", ["all", "parent"])
def test_kills(params: Params, root: Path, tmp_path: Path, victim: str) -> None:
    with serving() as server:
        urls = [f"{server.address}/slowish/{number}.png" for number in range(IMAGES)]
        (tmp_path / "urls.txt").write_text("\n".join(urls))
        source = tmp_path / "urls.txt"
        for before, asked in crawled_with_kills(params.crawl, root, source, server, victim, IMAGES_DONE):
            assert_not_again(server, before, asked)
        again = server.asked.total() - IMAGES
    assert pictures(tmp_path) == {url: picture(number) for number, url in enumerate(urls)}
    assert 0 <= again <= KILLS * AT_ONCE, "only what was under way when it was killed is asked for again"


@pytest.mark.parametrize("victim", ["all", "parent"])
def test_kills_within_the_survey_of_a_site(params: Params, root: Path, tmp_path: Path, victim: str) -> None:
    with serving() as server:
        recipe = {
            "kind": "site",
            "start": [f"{server.address}/tree/0"],
            "allowed_hosts": ["127.0.0.1"],
            "follow": {"css": "a"},
            "images": {"css": "img"},
            "max_depth": 9,
            "max_pages": PAGES,
        }
        (tmp_path / "site.yaml").write_text(json.dumps(recipe))
        runs = crawled_with_kills(params.crawl, root, tmp_path / "site.yaml", server, victim, PAGES_DONE)
        for killed, (before, asked) in enumerate(runs, start=1):
            assert_not_again(server, before, asked)
            surveying = not any(path.startswith("/slowish/") for path in server.asked)
            assert surveying or killed > KILLS, "the kill was to come within the survey"
        assert len(server.asked) == 2 * PAGES, "the pages nearest to the start, and an image of each"
        again = server.asked.total() - 2 * PAGES
    assert pictures(tmp_path) == {f"{server.address}/slowish/{page}.png": picture(page) for page in range(PAGES)}
    assert 0 <= again <= KILLS * AT_ONCE, "only what was under way when it was killed is asked for again"


def crawled_with_kills(
    crawl: CrawlParams, root: Path, source: Path, server: Server, victim: str, query: str
) -> Iterator[tuple[set[str], dict[str, int]]]:
    """Import a source, which is killed KILLS times, and yield after each run what there was before it.

    That is the URLs that the store had noted, by a query, and how often each path had been asked for.
    """
    haste = {"allow_private": True, "delay": 0.0, "per_host": AT_ONCE, "concurrency": AT_ONCE, "obey_robots": False}
    given = json.dumps(crawl.model_copy(update=haste).model_dump())
    chance, killed = random.Random(victim), 0  # noqa: S311
    for _ in range(60):
        before, asked = recorded(source.parent, query) if killed else set(), dict(server.asked)
        process = subprocess.Popen(
            [sys.executable, "-c", IMPORT, given, source.name],
            cwd=source.parent,
            env={**os.environ, "PYTHONPATH": str(root)},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if killed < KILLS:
            wait_for_more(server, process, len(before) + chance.randint(0, 20))
            time.sleep(chance.uniform(0, 0.05))
            if victim == "all":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                os.kill(process.pid, signal.SIGKILL)
            killed += 1
        done = process.wait() == 0
        yield before, asked
        if done:
            break
    assert done
    assert killed == KILLS
    assert [each.cmdline() for each in psutil.process_iter() if within(each, source.parent)] == [], "orphans"


def within(process: psutil.Process, folder: Path) -> bool:
    """Whether a process works in a folder."""
    with suppress(psutil.Error):
        return Path(process.cwd()) == folder
    return False


def assert_not_again(server: Server, before: set[str], asked: dict[str, int]) -> None:
    """What the store had noted before a run was not asked for in it."""
    for url in before:
        path = url.removeprefix(server.address)
        assert server.asked[path] == asked[path], f"{path} was fetched and is fetched again"


def pictures(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each image that was imported, by its URL."""
    rows = [row for shard in shard_paths(folder / "raw") for row in read_rows(shard, ["path", "image", "error"])]
    return {row["path"]: row["image"]["bytes"] for row in rows}


def wait_for_more(server: Server, process: subprocess.Popen[bytes], images: int) -> None:
    """Return when the server has been asked for so many images, or the import has ended."""
    while len(server.asked) < images and process.poll() is None:
        time.sleep(0.005)
