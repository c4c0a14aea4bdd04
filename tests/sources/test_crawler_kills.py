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
from pathlib import Path

import pytest

from pipeline.params import Params
from pipeline.records import read_rows, shard_paths
from tests.sources.server import Server, picture, serving

pytestmark = pytest.mark.long

IMAGES, KILLS, AT_ONCE = 300, 10, 4

IMPORT = """
import json, sys
from pathlib import Path
from pipeline.params import CrawlParams
from pipeline.sources.importing import import_source
from pipeline.workers import Workers
import_source(Path("urls.txt"), CrawlParams.model_validate(json.loads(sys.argv[1])), Path("raw"), Workers())
"""


def recorded(folder: Path) -> set[str]:
    """Return the URLs that the store has noted, whatever was killed meanwhile."""
    path = folder / ".pipeline/crawl/journal.db"
    if not path.exists():
        return set()
    journal = sqlite3.connect(path)
    try:
        return {url for (url,) in journal.execute("SELECT url FROM fetched")}
    except sqlite3.OperationalError:  # it was killed before it made the table
        return set()
    finally:
        journal.close()


@pytest.mark.parametrize("victim", ["all", "parent"])
def test_kills(params: Params, root: Path, tmp_path: Path, victim: str) -> None:
    haste = {"allow_private": True, "delay": 0.0, "per_host": AT_ONCE, "concurrency": AT_ONCE, "obey_robots": False}
    crawl = params.crawl.model_copy(update=haste)
    with serving() as server:
        urls = [f"{server.address}/slowish/{number}.png" for number in range(IMAGES)]
        (tmp_path / "urls.txt").write_text("\n".join(urls))
        chance, killed, again = random.Random(victim), 0, 0  # noqa: S311
        for _ in range(60):
            before, asked = recorded(tmp_path) if killed else set(), dict(server.asked)
            process = subprocess.Popen(
                [sys.executable, "-c", IMPORT, json.dumps(crawl.model_dump())],
                cwd=tmp_path,
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
            for url in before:
                path = url.removeprefix(server.address)
                assert server.asked[path] == asked[path], f"{path} was fetched and is fetched again"
            if done:
                break
        assert killed == KILLS
        again = server.asked.total() - IMAGES
    rows = [row for shard in shard_paths(tmp_path / "raw") for row in read_rows(shard, ["path", "image", "error"])]
    assert {row["path"]: row["image"]["bytes"] for row in rows} == {
        url: picture(number) for number, url in enumerate(urls)
    }
    assert 0 <= again <= KILLS * AT_ONCE, "only what was under way when it was killed is asked for again"


def wait_for_more(server: Server, process: subprocess.Popen[bytes], images: int) -> None:
    """Return when the server has been asked for so many images, or the import has ended."""
    while len(server.asked) < images and process.poll() is None:
        time.sleep(0.005)
