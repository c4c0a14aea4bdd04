"""Walking through a site's pages, level by level, to list its images; the pages' turn comes before the images'."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from pebble import ProcessPool
from tqdm import tqdm

from pipeline.params import CrawlParams
from pipeline.sources.asking import Answer, Asker, Host, product
from pipeline.sources.faults import DECIDED
from pipeline.sources.site import Gives, Site, allowed, next_pages, page_gives
from pipeline.sources.store import Page, Pending, Store
from pipeline.sources.takedown import Takedown
from pipeline.workers import start_worker

MAX_PAGE = 5_000_000  # bytes: a page is read whole, and each of its links is looked at


class Surveyor(Asker):
    """Looks at a site's pages; what each gives is in the store's journal at once.

    A level is looked at whole before the next one, and pages are ranked by where their links stood: so the same pages
    are within max_pages whatever answered first, and wherever an earlier process was cut off.
    """

    name = "surveyor"
    accept = "text/html,application/json;q=0.9,*/*;q=0.5"

    def __init__(
        self, store: Store, key: str, site: Mapping[str, Any], params: CrawlParams, takedown: Takedown
    ) -> None:
        super().__init__(params, takedown, min(MAX_PAGE, params.max_bytes))
        self._store, self._key, self._site = store, key, Site.model_validate(site)
        self._hosts: dict[str, Host] = {}
        self._turns: dict[str, asyncio.Semaphore] = {}
        # Another process reads them: a selector may take hours on a page made for that, and no thread can be stopped.
        spawn = multiprocessing.get_context("spawn")
        self._reader = ProcessPool(1, initializer=start_worker, initargs=(os.getpid(),), context=spawn)
        self._bar = tqdm(desc="pages", unit="page", dynamic_ncols=True)

    async def work(self) -> None:
        """Look at every page within the limits."""
        try:
            while level := self._store.next_level(self._key, self._site.max_pages):
                await asyncio.gather(*(self._look(page) for page in level))
        finally:
            self._reader.stop()  # type: ignore[no-untyped-call]
            self._reader.join()
        self._bar.close()

    async def _look(self, page: Page) -> None:
        name = urlsplit(page.url).netloc
        host = self._hosts.setdefault(name, Host())
        # No more wait for it than may ask it: whoever waits further in would not learn that it wants to be left alone.
        # Nor is it asked for another one while so many of its pages wait to be read: they are in memory.
        async with self._turns.setdefault(name, asyncio.Semaphore(self.params.per_host)):
            answer = await self.insist(host, Pending(page.url))
            gives = await self._read_page(page, answer)
        # Of a page that is not there the next one may be.
        refused = answer.fetched.reason in DECIDED - {"4xx"} and not answer.is_deferred
        if gives.reason and not refused and self._site.api and not self._in_a_hole(page, self._site.api.max_failures):
            gives = replace(gives, links=next_pages(self._site, page.url, page.depth))
        self._store.record_page(self._key, page, gives)
        self._bar.update()

    async def _read_page(self, page: Page, answer: Answer) -> Gives:
        if not answer.response:
            return Gives(reason=answer.fetched.reason)
        where = answer.fetched.final_url or page.url
        if not allowed(self._site, where):
            return Gives(reason="redirect to another host")
        name = None if self.params.ignore_opt_out else product(self.params)
        asked = (self._site, page.url, where, page.depth, answer.response.body, name, answer.fetched.content_type)
        reading = self._reader.schedule(page_gives, asked, timeout=self.params.timeout)  # a fault where it was killed
        try:
            return await asyncio.wrap_future(reading)
        except TimeoutError:
            return Gives(reason="too slow to read")
        except BrokenProcessPool:
            raise
        except Exception:  # whatever is in one page must not end the crawl
            return Gives(reason="unreadable")

    def _in_a_hole(self, page: Page, max_failures: int) -> bool:
        """Whether so many pages of an API in a row failed, this one the last."""
        before = [next_pages(self._site, page.url, page.depth, step=-back) for back in range(1, max_failures)]
        failed = {url for url, _ in self._store.unread_pages(self._key)}
        return all(urls and urls[0] in failed for urls in before)
