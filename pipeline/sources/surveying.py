"""Walking through a site's pages, level by level, to list its images; the pages' turn comes before the images'."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

from pipeline.params import CrawlParams
from pipeline.sources.asking import Asker, Host, product
from pipeline.sources.site import Gives, Site, allowed, page_gives
from pipeline.sources.store import Page, Pending, Store


class Surveyor(Asker):
    """Looks at a site's pages; what each gives is in the store's journal at once.

    A level is looked at whole before the next one, and pages are ranked by where their links stood: so the same pages
    are within max_pages whatever answered first, and wherever an earlier process was cut off.
    """

    name = "surveyor"
    accept = "text/html,application/json;q=0.9,*/*;q=0.5"

    def __init__(self, store: Store, key: str, site: Mapping[str, Any], params: CrawlParams) -> None:
        super().__init__(params)
        self._store, self._key, self._site = store, key, Site.model_validate(site)
        self._hosts: dict[str, Host] = {}
        self._bar = tqdm(desc="pages", unit="page", mininterval=1.0, dynamic_ncols=True)

    async def work(self) -> None:
        """Look at every page within the limits."""
        while level := self._store.next_level(self._key, self._site.max_pages):
            await asyncio.gather(*(self._look(page) for page in level))
        self._bar.close()

    async def _look(self, page: Page) -> None:
        host = self._hosts.setdefault(urlsplit(page.url).netloc, Host())
        answer = await self.insist(host, Pending(page.url, None, None))
        gives, reason = Gives([], []), answer.fetched.reason
        if answer.response:
            where = answer.fetched.final_url or page.url
            if allowed(self._site, where):
                name = None if self.params.ignore_opt_out else product(self.params)
                gives = page_gives(self._site, where, page.depth, answer.response.body, name)
            else:
                reason = "redirect to another host"
        self._store.record_page(self._key, page, reason, gives.images, gives.links)
        self._bar.update()
