"""Asking web servers for things, one URL at a time, through Scrapy's downloader: politely, and trusting nothing."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

from scrapy import Request, Spider, exceptions, signals
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.http import Headers, Response
from scrapy.robotstxt import RobotParser

from pipeline.messages import without_credentials
from pipeline.params import CrawlParams
from pipeline.sources.addresses import is_public
from pipeline.sources.courtesy import opts_out, retry_after
from pipeline.sources.store import Fetched, Pending
from pipeline.sources.takedown import TAKEN_DOWN, Takedown

# A server that was not there at all; what may be otherwise in a moment, and is worth asking again; and what may be
# otherwise tomorrow, so that older bytes stay.
NO_SERVER = frozenset({"dns", "refused", "timeout", "connection lost", "unreachable"})
WORTH_RETRYING = NO_SERVER | {"truncated", "5xx"}
PASSING = WORTH_RETRYING | {"too slow"}

PRIVATE = "private address"

# So many URLs in a row that found no server, over crawl.max_wait seconds, and the rest of a host is not asked for.
DEAD_AFTER = 10

MAX_REDIRECTS = 10
# Bytes of headers; browsers stop at about as many.
MAX_HEAD = 262_144
# Bytes of a robots.txt that are read; RFC 9309 asks for 500 KiB at the least.
MAX_ROBOTS = 512_000
_REASONS = (
    (exceptions.CannotResolveHostError, "dns"),
    (exceptions.DownloadConnectionRefusedError, "refused"),
    (exceptions.DownloadCancelledError, "too large"),
    (exceptions.ResponseDataLossError, "truncated"),
    (exceptions.DownloadFailedError, "connection lost"),
    (exceptions.StopDownload, "opted out"),
    ((exceptions.UnsupportedURLSchemeError, exceptions.NotSupported, ValueError), "bad url"),
)


class PrivateAddressError(Exception):
    """A connection to an address that is not on the public Internet was asked for."""


def guard_connections() -> None:
    """Refuse connections to other than public addresses, at the last moment: the address is what DNS gave by then.

    Whatever leads there passes here: the list's own URL, a redirect, robots.txt.
    """
    from twisted.internet import reactor

    connect: Callable[..., Any] = reactor.connectTCP

    def guarded(host: str, *rest: Any, **options: Any) -> Any:
        if not is_public(host):
            raise PrivateAddressError(host)
        return connect(host, *rest, **options)

    reactor.connectTCP = guarded  # type: ignore[method-assign, assignment]


class EndlessHeadersError(Exception):
    """A response's headers go on and on."""


def bound_headers() -> None:
    """Give up on a response that begins with more than MAX_HEAD bytes of headers, which Twisted would all keep."""
    from twisted.web._newclient import HTTPClientParser

    receive: Callable[..., None] = HTTPClientParser.dataReceived

    def bounded(parser: Any, data: bytes) -> None:
        if parser.state in ("STATUS", "HEADER"):
            parser.head_bytes = getattr(parser, "head_bytes", 0) + len(data)
            if parser.head_bytes > MAX_HEAD:
                raise EndlessHeadersError
        receive(parser, data)

    HTTPClientParser.dataReceived = bounded  # type: ignore[method-assign]


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
            as_for_image = _reason(exc, begun=False) in NO_SERVER | {PRIVATE}
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


def scrapy_settings(crawl: CrawlParams) -> dict[str, Any]:
    """Return Scrapy's settings: it fetches and is polite; redirects and retries are decided here, one by one."""
    robots = "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware"
    return {
        "USER_AGENT": crawl.user_agent,
        "ROBOTSTXT_OBEY": crawl.obey_robots,
        "ROBOTSTXT_USER_AGENT": product(crawl),
        "DOWNLOADER_MIDDLEWARES": {robots: None, Robots: 100},
        "CONCURRENT_REQUESTS": crawl.concurrency,
        "CONCURRENT_REQUESTS_PER_DOMAIN": crawl.per_host,
        "DOWNLOAD_DELAY": crawl.delay,
        # The random delay is there to look like a person; this is none, and the delay is the least.
        "RANDOMIZE_DOWNLOAD_DELAY": False,
        "AUTOTHROTTLE_ENABLED": crawl.delay > 0,
        "AUTOTHROTTLE_START_DELAY": crawl.delay,
        "AUTOTHROTTLE_TARGET_CONCURRENCY": float(crawl.per_host),
        "DOWNLOAD_TIMEOUT": crawl.timeout,
        "DOWNLOAD_MAXSIZE": crawl.max_bytes,
        "DOWNLOAD_WARNSIZE": 0,
        "RETRY_ENABLED": False,
        "COOKIES_ENABLED": False,
        # Through a proxy it can't be seen which address is connected to.
        "HTTPPROXY_ENABLED": False,
        "DOWNLOAD_HANDLERS": dict.fromkeys(("data", "file", "ftp", "s3")),
        "TELNETCONSOLE_ENABLED": False,
        # A server on loopback that runs whatever code it is sent, from whoever can read its token.
        "REMOTE_CONTROL_ENABLED": False,
        "LOG_ENABLED": False,
    }


def product(crawl: CrawlParams) -> str:
    """Return the name by which robots.txt and X-Robots-Tag know this crawler."""
    return crawl.user_agent.split("/")[0].split()[0]


@dataclass
class Host:
    """How it stands with a host; moments are on the monotonic clock.

    not_before: until then it wants to be left alone. misses: the URLs, in a row, that found no server; since when; and
    by which reason the last.
    """

    not_before: float = 0.0
    misses: int = 0
    missing_since: float = 0.0
    reason: str = ""

    def note(self, reason: str | None) -> None:
        """Take into account what came of a URL."""
        if reason not in NO_SERVER:
            self.misses = 0
            return
        if not self.misses:
            self.missing_since = time.monotonic()
        self.misses, self.reason = self.misses + 1, reason

    def is_dead(self, patience: float) -> bool:
        """Whether nothing was there for that many seconds, however often it was tried."""
        return self.misses >= DEAD_AFTER and time.monotonic() - self.missing_since >= patience


@dataclass(frozen=True)
class Answer:
    """What a server gave: a whole response, nothing newer than what is stored (unchanged), or a fault by its reason.

    wait: the seconds that it asks to be left alone. broken_robots: only that keeps the answer from being known.
    """

    fetched: Fetched
    response: Response | None = None
    unchanged: bool = False
    wait: float = 0.0
    broken_robots: bool = False

    @property
    def worth_retrying(self) -> bool:
        """Whether the fault, if there is one, may be gone in a moment; 429 is Too Many Requests."""
        return self.fetched.reason in WORTH_RETRYING or self.fetched.status == 429

    @property
    def passing(self) -> bool:
        """Whether the fault, if there is one, may be gone tomorrow."""
        return self.worth_retrying or self.fetched.reason in PASSING or self.broken_robots


class Asker(Spider):
    """A spider that hands nothing to Scrapy's scheduler, whose queue would be lost with the process.

    A subclass does its work in work() and asks with insist(). What is taken down is not asked for, nor followed to.
    """

    name = "asker"
    accept = "image/*,*/*;q=0.5"

    def __init__(self, params: CrawlParams, takedown: Takedown) -> None:
        super().__init__()
        self.params, self.takedown = params, takedown
        self._slots = asyncio.Semaphore(params.concurrency)

    async def work(self) -> None:
        """Do all that there is to do."""
        raise NotImplementedError

    async def start(self) -> AsyncIterator[Any]:
        """Do the work, and yield no request."""
        self.crawler.signals.connect(self._headers, signals.headers_received)
        await self.work()
        requests: list[Any] = []
        for request in requests:
            yield request

    async def insist(self, host: Host, asked: Pending) -> Answer:
        """Ask until there is an answer that stands, or often enough."""
        if host.is_dead(self.params.max_wait):
            return _failed(host.reason, asked.url)
        answer = await self._ask_again(host, asked)
        # Whoever redirects is there, whatever becomes of the place that it names.
        host.note(answer.fetched.reason if answer.fetched.final_url == asked.url else None)
        return answer

    async def _ask_again(self, host: Host, asked: Pending) -> Answer:
        for attempt in range(self.params.retries + 1):
            await asyncio.sleep(max(0.0, host.not_before - time.monotonic()))
            async with self._slots:
                answer = await self._ask(asked)
            if not answer.worth_retrying or attempt == self.params.retries or answer.wait > self.params.max_wait:
                break
            if answer.wait:
                host.not_before = time.monotonic() + answer.wait
            pause = self.params.backoff * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311
            await asyncio.sleep(max(answer.wait, min(pause, self.params.max_wait)))
        return answer

    async def _ask(self, asked: Pending) -> Answer:
        """Ask once, through redirects."""
        url, seen = asked.url, set[str]()
        while True:
            seen.add(url)
            if url in self.takedown.urls:
                return _failed(TAKEN_DOWN, url)
            if not _is_web(url):
                return _failed("bad url" if url == asked.url else "unsafe redirect", url)
            answer = await self._get(url, asked)
            if isinstance(answer, Answer):
                return answer
            url = answer
            if url in seen or len(seen) > MAX_REDIRECTS:
                return _failed("redirect loop", url)

    async def _get(self, url: str, asked: Pending) -> Answer | str:
        """Return what a request gave, or the URL that it redirects to."""
        headers = {"Accept": self.accept}
        if asked.etag:
            headers["If-None-Match"] = asked.etag
        if asked.last_modified:
            headers["If-Modified-Since"] = asked.last_modified
        try:
            request = Request(url, headers=headers, meta={"dont_redirect": True})
        except ValueError:
            return _failed("bad url", url)
        try:
            return self._read(await self.crawler.engine.download_async(request), url)
        except BrokenRobotsError:
            return replace(_failed("robots", url), broken_robots=True)
        except Exception as fault:  # whatever one server brings about is that URL's affair
            return _failed(_reason(fault, begun="begun" in request.meta), url)

    def _read(self, response: Response, url: str) -> Answer | str:
        """Return what a whole response comes to."""
        location = header(response.headers, "Location")
        if response.status in (301, 302, 303, 307, 308) and location:
            try:
                return without_credentials(urljoin(url, location))
            except ValueError:
                return _failed("unsafe redirect", url)
        fetched = Fetched(
            fetched_at=time.time(),
            status=response.status,
            content_type=header(response.headers, "Content-Type"),
            final_url=url,
        )
        if response.status == 304:
            return Answer(fetched, unchanged=True)
        if response.status == 200:
            return Answer(fetched, response=response)
        wait = retry_after(header(response.headers, "Retry-After"), time.time())
        return Answer(replace(fetched, reason=f"{response.status // 100}xx"), wait=wait)

    def _headers(self, headers: Headers, request: Request) -> None:
        """Stop before the body where the server opts out."""
        request.meta["begun"] = True
        if self.params.ignore_opt_out or request.meta.get("dont_obey_robotstxt"):
            return
        if opts_out([_text(value) for value in headers.getlist("X-Robots-Tag")], product(self.params)):
            raise exceptions.StopDownload


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def header(headers: Headers, name: str) -> str | None:
    """Return a header as text, None without it."""
    value = headers.get(name)
    return _text(value)[:4096] if value else None


def _failed(reason: str, url: str) -> Answer:
    return Answer(Fetched(fetched_at=time.time(), reason=reason, final_url=url))


def _reason(fault: Exception, begun: bool) -> str:
    """Return in a word or two why a request failed; begun: whether an answer had."""
    if isinstance(fault, PrivateAddressError):
        return PRIVATE
    causes = [failure.value for failure in getattr(fault.__cause__, "reasons", [])]
    if any(isinstance(cause, EndlessHeadersError) for cause in causes):
        return "too large"
    if isinstance(fault, exceptions.DownloadTimeoutError):
        return "too slow" if begun else "timeout"
    if isinstance(fault, exceptions.IgnoreRequest):
        return "robots" if "robots.txt" in str(fault) else "too large"
    return next((reason for kind, reason in _REASONS if isinstance(fault, kind)), "unreachable")
