"""The crawler's own process: Scrapy fetches what a store's crawl has yet to ask for, and notes each outcome at once.

A process, because Twisted's reactor can't be started twice. It ends itself when its standard input closes: that is how
it learns that whoever started it is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.http import Response
from tqdm import tqdm

from pipeline.codec import DecodeError, decode_with_format, opened
from pipeline.messages import shown
from pipeline.params import CrawlParams
from pipeline.sources.asking import Asker, Host, header, scrapy_settings
from pipeline.sources.connections import bound_headers, guard_connections
from pipeline.sources.faults import DECIDED, PRIVATE
from pipeline.sources.store import Fetched, Pending, Store
from pipeline.sources.surveying import Surveyor
from pipeline.sources.takedown import TAKEN_DOWN, Takedown

# So many hosts are dealt with at once; of these most wait for their turn.
MAX_RUNNERS = 500


def unfit(data: bytes, max_pixels: int) -> str | None:
    """Return why bytes are not kept, by what they are and not by what the server calls them; None where they may be."""
    try:
        with opened(data, max_pixels):
            return None
    except DecodeError as fault:
        return str(fault) if str(fault) == "too many pixels" else "not an image"


@dataclass
class Queue:
    """A host, and its URLs that are still to be asked for."""

    host: Host = field(default_factory=Host)
    waiting: deque[Pending] = field(default_factory=deque)


class Fetcher(Asker):
    """Fetches a crawl's images into the store, host by host in turn."""

    name = "fetcher"

    def __init__(self, store: Store, key: str, policy: str, params: CrawlParams, takedown: Takedown) -> None:
        super().__init__(params, takedown, params.max_bytes)
        self._store, self._key, self._policy = store, key, policy
        queues: dict[str, Queue] = {}
        pending = store.pending(key, policy)
        for one in pending:
            queues.setdefault(_host(one.url), Queue()).waiting.append(one)
        self._turns = deque(queue for _ in range(params.per_host) for queue in queues.values())
        self._failures = self._bytes = 0
        self._started = time.monotonic()
        self._bar = tqdm(total=len(pending), desc="crawl", unit="img", dynamic_ncols=True)

    def is_cut(self, body: bytes) -> bool:
        """Whether a picture ends too early, which the decoders of some formats call otherwise."""
        try:
            decode_with_format(body, self.params.max_pixels)
        except DecodeError as fault:
            begins = body.startswith((b"RIFF", b"II*\0", b"MM\0*")) or body[4:8] == b"ftyp"
            return str(fault) in ("truncated", "damaged") or (begins and str(fault) == "not an image")
        return False

    async def work(self) -> None:
        """Fetch everything."""
        await asyncio.gather(*(self._run() for _ in range(min(MAX_RUNNERS, len(self._turns)))))
        self._bar.close()

    async def _run(self) -> None:
        """Fetch one URL of the host whose turn it is, until no host has any left."""
        while self._turns:
            queue = self._turns.popleft()
            if queue.waiting:
                await self._settle(queue.host, queue.waiting.popleft())
                self._turns.append(queue)

    async def _settle(self, host: Host, asked: Pending) -> None:
        """Ask for an image, and note what came of it."""
        answer = await self.insist(host, asked)
        if answer.unchanged:
            self._store.record_unchanged(self._key, asked.url)
            self._show(answer.fetched)
            return
        fetched = self._keep(answer.fetched, answer.response) if answer.response else answer.fetched
        may_pass = fetched.reason is not None and (answer.is_deferred or fetched.reason not in DECIDED)
        by_policy = fetched.reason == PRIVATE
        self._store.record(self._key, asked.url, self._policy, fetched, passing=may_pass, by_policy=by_policy)
        self._show(fetched)

    def _keep(self, fetched: Fetched, response: Response) -> Fetched:
        """Store an image; return what is known of it, or why it is none."""
        if reason := unfit(response.body, self.params.max_pixels):
            return replace(fetched, reason=reason)
        sha256 = hashlib.sha256(response.body).hexdigest()
        if sha256 in self.takedown.ids:  # by another URL than the one taken down
            return replace(fetched, reason=TAKEN_DOWN)
        self._store.keep(response.body, sha256)
        return replace(
            fetched,
            sha256=sha256,
            size=len(response.body),
            etag=header(response.headers, "ETag"),
            last_modified=header(response.headers, "Last-Modified"),
        )

    def _show(self, fetched: Fetched) -> None:
        self._failures += fetched.reason is not None
        self._bytes += fetched.size
        seconds = max(time.monotonic() - self._started, 1e-3)
        self._bar.set_postfix_str(
            f"{self._bytes / 1e6 / seconds:.2f} MB/s, {self._failures} failed ({self._failures / seconds:.1f}/s)",
            refresh=False,
        )
        self._bar.update()


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Read the job, a line of JSON, from standard input; do it; leave with 0 where all has an outcome."""
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    params, folder = CrawlParams.model_validate(job["params"]), Path(job["store"])
    takedown = Takedown(frozenset(job["taken_down_urls"]), frozenset(job["taken_down_ids"]))
    with FileLock(folder / "fetching.lock"):
        store = Store(folder)
        store.sweep()
        process = AsyncCrawlerProcess(scrapy_settings(params))
        bound_headers()
        if not params.allow_private:
            guard_connections()
        site = job.get("site")
        what = {"site": site} if site else {"policy": job["policy"]}
        crawler = process.create_crawler(Surveyor if site else Fetcher)
        task: Any = process.crawl(crawler, store=store, key=job["key"], params=params, takedown=takedown, **what)
        process.start()
        left = len(
            store.next_level(job["key"], site["max_pages"]) if site else store.pending(job["key"], job["policy"])
        )
        spider = crawler.spider
        fault = task.exception() or (spider.fault if isinstance(spider, Asker) else None)
        store.close()
        if fault is not None or left:
            print(shown(f"the crawler stopped with {left} URLs to go: {fault}"), file=sys.stderr)
            sys.stderr.flush()
            os._exit(1)
    sys.stdout.flush()
    os._exit(0)  # at once: the thread that waits on standard input would hold up the interpreter's end


if __name__ == "__main__":
    main()
