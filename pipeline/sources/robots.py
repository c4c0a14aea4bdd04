"""robots.txt, as RFC 9309 has it."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import NoReturn
from urllib.parse import urlsplit

from scrapy import Request, exceptions
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.http import Response
from scrapy.robotstxt import RobotParser
from twisted.internet.defer import Deferred

from pipeline.sources.courtesy import retry_after
from pipeline.sources.faults import CERTIFICATE, NO_SERVER, PRIVATE, reason_of

# Bytes of a robots.txt that are read; RFC 9309 asks for 500 KiB at the least.
MAX_ROBOTS = 512_000


class BrokenRobotsError(Exception):
    """A host has a robots.txt, but not now: nothing is taken, and nothing is known of what it allows.

    wait: after so many seconds, or a retry's pause, it will be asked for again; None: no more in this crawl.
    """

    def __init__(self, netloc: str, wait: float | None = None) -> None:
        super().__init__(netloc)
        self.wait = wait


class Robots(RobotsTxtMiddleware):
    """Scrapy's robots.txt, but as RFC 9309 has it: without one all is allowed, from one that can't be had nothing.

    429 (Too Many Requests) is no answer either. One that can't be had is asked for again RETRY_TIMES times, later and
    later: the first time RETRY_PAUSE seconds later.
    """

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._faults: dict[str, Exception] = {}
        self._tries: Counter[str] = Counter()
        self._again_at: dict[str, float] = {}  # on the monotonic clock
        self._retries, self._pause = crawler.settings.getint("RETRY_TIMES"), crawler.settings.getfloat("RETRY_PAUSE")

    async def robot_parser(self, request: Request) -> RobotParser | None:
        """Return a host's rules; raise the fault that kept robots.txt from being had."""
        netloc = urlsplit(request.url).netloc
        is_awaited = isinstance(self._parsers.get(netloc), Deferred)  # by others, who would wait for ever
        if time.monotonic() >= self._again_at.get(netloc, math.inf) and not is_awaited:
            del self._again_at[netloc]
            self._parsers.pop(netloc, None)
        # What is returned is not to be trusted: of all who wait for one Deferred, only the first is given the rules.
        await super().robot_parser(request)
        while isinstance(parser := self._parsers.get(netloc), Deferred):  # asked for again meanwhile
            await super().robot_parser(request)
        if parser is None and netloc in self._faults:
            if not isinstance(self._faults[netloc], BrokenRobotsError):
                self._parsers.pop(netloc, None)  # so that it is asked for again, as the image itself is
            self._raise_fault(netloc)
        return parser

    def _robots_error(self, exc: Exception, netloc: str) -> None:
        # One redirect too many is as good as none; Scrapy ignores what is too large once unpacked in the same way.
        if not (isinstance(exc, exceptions.IgnoreRequest) and str(exc) == "max redirections reached"):
            if reason_of(exc, begun=False) in NO_SERVER | {PRIVATE, CERTIFICATE}:
                self._faults[netloc] = exc
            else:
                self._note_broken(netloc)
        super()._robots_error(exc, netloc)

    async def _parse_robots(self, response: Response, netloc: str, request: Request) -> None:
        self._faults.pop(netloc, None)
        if response.status >= 500 or response.status == 429:
            asked_for = response.headers.get("Retry-After") or b""
            self._note_broken(netloc, retry_after(asked_for.decode("latin-1"), time.time()))
        elif response.status >= 400:
            response = response.replace(body=b"")
        elif len(response.body) > MAX_ROBOTS:
            response = response.replace(body=response.body[:MAX_ROBOTS])
        await super()._parse_robots(response, netloc, request)

    def process_request_2(self, rp: RobotParser | None, request: Request) -> None:
        """Refuse what the rules forbid, and everything where they could not be had."""
        netloc = urlsplit(request.url).netloc
        if netloc in self._faults:
            self._raise_fault(netloc)
        super().process_request_2(rp, request)

    def _note_broken(self, netloc: str, wait: float = 0.0) -> None:
        self._faults[netloc] = BrokenRobotsError(netloc)
        if self._tries[netloc] < self._retries:
            self._again_at[netloc] = time.monotonic() + max(wait, self._pause * 2 ** self._tries[netloc])
        self._tries[netloc] += 1

    def _raise_fault(self, netloc: str) -> NoReturn:
        fault = self._faults[netloc]
        if netloc in self._again_at:
            raise BrokenRobotsError(netloc, max(0.0, self._again_at[netloc] - time.monotonic()))
        raise fault.with_traceback(None)  # which would grow with each time that it is raised
