"""robots.txt, as RFC 9309 has it."""

from __future__ import annotations

from urllib.parse import urlsplit

from scrapy import Request, exceptions
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.http import Response
from scrapy.robotstxt import RobotParser

from pipeline.sources.faults import CERTIFICATE, NO_SERVER, PRIVATE, reason_of

# Bytes of a robots.txt that are read; RFC 9309 asks for 500 KiB at the least.
MAX_ROBOTS = 512_000


class BrokenRobotsError(Exception):
    """A host has a robots.txt, but not now: nothing is taken, and nothing is known of what it allows."""


class Robots(RobotsTxtMiddleware):
    """Scrapy's robots.txt, but as RFC 9309 has it: without one all is allowed, from one that can't be had nothing."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._faults: dict[str, Exception] = {}

    async def robot_parser(self, request: Request) -> RobotParser | None:
        """Return a host's rules; raise the fault that kept robots.txt from being had."""
        netloc = urlsplit(request.url).netloc
        parser = await super().robot_parser(request)
        if parser is None and netloc in self._faults:
            fault = self._faults[netloc]
            if not isinstance(fault, BrokenRobotsError) and self._parsers.get(netloc, parser) is None:
                self._parsers.pop(netloc, None)  # so that it is asked for again, as the image itself is
            raise fault.with_traceback(None)  # which would grow with each time that it is raised
        return parser

    def _robots_error(self, exc: Exception, netloc: str) -> None:
        if not isinstance(exc, exceptions.IgnoreRequest):  # that is one redirect too many: as good as none
            as_for_image = reason_of(exc, begun=False) in NO_SERVER | {PRIVATE, CERTIFICATE}
            self._faults[netloc] = exc if as_for_image else BrokenRobotsError(netloc)
        super()._robots_error(exc, netloc)

    async def _parse_robots(self, response: Response, netloc: str, request: Request) -> None:
        self._faults.pop(netloc, None)
        if response.status >= 500:
            self._faults[netloc] = BrokenRobotsError(netloc)
        elif response.status >= 400:
            response = response.replace(body=b"")
        elif len(response.body) > MAX_ROBOTS:
            response = response.replace(body=response.body[:MAX_ROBOTS])
        await super()._parse_robots(response, netloc, request)

    def process_request_2(self, rp: RobotParser | None, request: Request) -> None:
        """Refuse what the rules forbid, and everything where they were answered with 5xx."""
        if fault := self._faults.get(urlsplit(request.url).netloc):
            raise fault.with_traceback(None)
        super().process_request_2(rp, request)
