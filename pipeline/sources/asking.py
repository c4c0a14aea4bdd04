"""Asking web servers for things, one URL at a time, through Scrapy's downloader: politely, and trusting nothing."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

from scrapy import Request, Spider, exceptions, signals
from scrapy.http import Headers, Response

from pipeline.params import CrawlParams
from pipeline.sources.courtesy import opts_out, retry_after
from pipeline.sources.faults import OF_NO_USE, OPTED_OUT, WORTH_RETRYING, reason_of
from pipeline.sources.robots import BrokenRobotsError, Robots
from pipeline.sources.store import Fetched, Pending
from pipeline.sources.takedown import TAKEN_DOWN, Takedown
from pipeline.sources.urls import is_web, plain_url

MAX_REDIRECTS = 10

# What Scrapy has each request pass, and has no work here. RobotsTxtMiddleware gives way to Robots.
IDLE_MIDDLEWARES = tuple(
    f"scrapy.downloadermiddlewares.{name}"
    for name in (
        "offsite.OffsiteMiddleware",
        "robotstxt.RobotsTxtMiddleware",
        "httpauth.HttpAuthMiddleware",
        "redirect.MetaRefreshMiddleware",
    )
)
IDLE_EXTENSIONS = tuple(
    f"scrapy.extensions.{name}"
    for name in ("corestats.CoreStats", "logcount.LogCount", "logstats.LogStats", "memusage.MemoryUsage")
)


def scrapy_settings(crawl: CrawlParams) -> dict[str, Any]:
    """Return Scrapy's settings: it fetches and is polite; redirects and retries are decided here, one by one."""
    return {
        "USER_AGENT": crawl.user_agent,
        "ROBOTSTXT_OBEY": crawl.obey_robots,
        "ROBOTSTXT_USER_AGENT": product(crawl),
        "DOWNLOADER_MIDDLEWARES": {**dict.fromkeys(IDLE_MIDDLEWARES), Robots: 100},
        "EXTENSIONS": dict.fromkeys(IDLE_EXTENSIONS),
        "DOWNLOADER_STATS": False,
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
        # Of robots.txt, see Robots.
        "RETRY_TIMES": crawl.retries,
        "RETRY_PAUSE": crawl.backoff,
        "COOKIES_ENABLED": False,
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
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
    """How it stands with a host: to how many URLs in a row it was of no use, since when, and the last reason."""

    misses: int = 0
    missing_since: float = 0.0
    reason: str = ""

    def note(self, reason: str | None) -> None:
        """Take into account what came of a URL."""
        if reason not in OF_NO_USE:
            self.misses = 0
            return
        if not self.misses:
            self.missing_since = time.monotonic()
        self.misses, self.reason = self.misses + 1, reason

    def is_dead(self, misses: int, seconds: float) -> bool:
        """Whether it was of no use to that many URLs in a row, and for that long."""
        return self.misses >= misses and time.monotonic() - self.missing_since >= seconds


@dataclass(frozen=True)
class Answer:
    """What a server gave: a whole response, nothing newer than what is stored (unchanged), or a fault by its reason.

    wait: the seconds that it asks to be left alone. broken_robots: only that keeps the answer from being known, and
    again: it will be asked for again.
    """

    fetched: Fetched
    response: Response | None = None
    unchanged: bool = False
    wait: float = 0.0
    broken_robots: bool = False
    again: bool = False

    @property
    def worth_retrying(self) -> bool:
        """Whether the fault, if there is one, may be gone in a moment; 429 is Too Many Requests."""
        return self.fetched.reason in WORTH_RETRYING or self.fetched.status == 429 or self.again

    @property
    def is_deferred(self) -> bool:
        """Whether a refusal, by its reason, is none: it stands until somebody may be asked again."""
        return self.worth_retrying or self.broken_robots or self.wait > 0


class Asker(Spider):
    """A spider that hands nothing to Scrapy's scheduler, whose queue would be lost with the process.

    A subclass does its work in work() and asks with insist(). What is taken down is not asked for, nor followed to.
    """

    name = "asker"
    accept = "image/*,*/*;q=0.5"

    def __init__(self, params: CrawlParams, takedown: Takedown, max_bytes: int) -> None:
        super().__init__()
        self.params, self.takedown, self._max_bytes = params, takedown, max_bytes
        self.fault: Exception | None = None  # that ended the work
        self._slots, self._looking = asyncio.Semaphore(params.concurrency), asyncio.Lock()
        # Hosts that want to be left alone: until when, on the monotonic clock, and the reason of who was told so.
        self._rests: dict[str, tuple[float, str]] = {}

    async def work(self) -> None:
        """Do all that there is to do."""
        raise NotImplementedError

    def is_cut(self, _body: bytes) -> bool:
        """Whether a body is not whole, where that can be told by what it holds."""
        return False

    async def start(self) -> AsyncIterator[Any]:
        """Do the work, and yield no request."""
        self.crawler.signals.connect(self._headers, signals.headers_received)
        try:
            await self.work()
        except Exception as fault:  # of which Scrapy would tell its log alone, and close the spider
            self.fault = fault
            raise
        requests: list[Any] = []
        for request in requests:
            yield request

    async def insist(self, host: Host, asked: Pending) -> Answer:
        """Ask until there is an answer that stands, or often enough."""
        if host.is_dead(self.params.dead_after, self.params.max_wait):
            return _failed(host.reason, asked.url)
        answer = await self._ask_again(asked)
        # Whoever redirects is there, whatever becomes of the place that it names.
        host.note(answer.fetched.reason if answer.fetched.final_url == asked.url else None)
        return answer

    async def _ask_again(self, asked: Pending) -> Answer:
        for attempt in range(self.params.retries + 1):
            answer = await self._ask(asked)
            if not answer.worth_retrying or attempt == self.params.retries or answer.wait > self.params.max_wait:
                break
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
            if not is_web(url):
                return _failed("bad url" if url == asked.url else "unsafe redirect", url)
            answer = await self._get_in_turn(url, asked)
            if isinstance(answer, Answer):
                return answer
            url = answer
            if url in seen or len(seen) > MAX_REDIRECTS:
                return _failed("redirect loop", url)

    async def _get_in_turn(self, url: str, asked: Pending) -> Answer | str:
        """Return what _get() does, once the host of the URL need not be left alone, and with one of the slots.

        Nobody holds a slot while a host rests. One that wants to rest for longer than max_wait is not asked.
        """
        while True:
            async with self._slots:
                until, reason = self._rests.get(_netloc(url), (0.0, ""))
                left = until - time.monotonic()
                if left <= 0:
                    return await self._get(url, asked)
            if left > self.params.max_wait:
                return replace(_failed(reason, url), wait=left)
            await asyncio.sleep(left)

    async def _get(self, url: str, asked: Pending) -> Answer | str:
        """Return what a request gave, or the URL that it redirects to."""
        try:
            meta = {"dont_redirect": True, "download_maxsize": self._max_bytes}
            request = Request(url, headers={"Accept": self.accept, **_validators(url, asked)}, meta=meta)
        except ValueError:
            return _failed("bad url", url)
        try:
            response = await self.crawler.engine.download_async(request)
            answer = self._read(response, request, url)
            # Of these two nobody has counted the bytes that were to come.
            if "packed" in request.meta or "partial" in response.flags:
                answer = await self._unless_cut(answer)
            return answer
        except BrokenRobotsError as fault:
            again = fault.wait is not None
            return replace(_failed("robots", url), wait=fault.wait or 0.0, broken_robots=True, again=again)
        except Exception as fault:  # whatever one server brings about is that URL's affair
            return _failed(reason_of(fault, begun="begun" in request.meta), url)

    def _read(self, response: Response, request: Request, url: str) -> Answer | str:
        """Return what a response comes to; url is the request's as it was written."""
        location = header(response.headers, "Location")
        if response.status < 400 and "download_stopped" in response.flags:
            return Answer(Fetched(fetched_at=time.time(), reason=OPTED_OUT, status=response.status, final_url=url))
        if response.status in (301, 302, 303, 307, 308) and location:
            try:
                return plain_url(urljoin(url, location))
            except ValueError:
                return _failed("unsafe redirect", url)
        fetched = Fetched(
            fetched_at=time.time(),
            status=response.status,
            content_type=header(response.headers, "Content-Type"),
            final_url=url,
        )
        if response.status == 304 and ("If-None-Match" in request.headers or "If-Modified-Since" in request.headers):
            return Answer(fetched, unchanged=True)
        if response.status == 200:
            return Answer(fetched, response=response)
        reason = f"{response.status // 100}xx"
        answer = Answer(replace(fetched, reason=reason))
        if not answer.worth_retrying:  # a refusal, which no wait undoes
            return answer
        wait, netloc = retry_after(header(response.headers, "Retry-After"), time.time()), _netloc(url)
        self._rests[netloc] = max(self._rests.get(netloc, (0.0, "")), (time.monotonic() + wait, reason))
        return replace(answer, wait=wait)

    async def _unless_cut(self, answer: Answer | str) -> Answer | str:
        """Return an answer, a fault where its body is cut: looked at one by one, while others are asked for."""
        if isinstance(answer, Answer) and answer.response:
            async with self._looking:
                if await asyncio.to_thread(self.is_cut, answer.response.body):
                    return Answer(replace(answer.fetched, reason="truncated"))
        return answer

    def _headers(self, headers: Headers, request: Request) -> None:
        """Stop before the body where the server opts out; whether it does so with an error is for _read to see."""
        request.meta["begun"] = True
        if "Content-Encoding" in headers:
            request.meta["packed"] = True
        if self.params.ignore_opt_out or request.meta.get("dont_obey_robotstxt"):
            return
        if opts_out([_text(value) for value in headers.getlist("X-Robots-Tag")], product(self.params)):
            raise exceptions.StopDownload(fail=False)


def _validators(url: str, asked: Pending) -> dict[str, str]:
    """Return the headers that ask for newer bytes alone: of the URL that gave the stored ones, wherever others lead."""
    if url != asked.final_url:
        return {}
    headers = {"If-None-Match": asked.etag, "If-Modified-Since": asked.last_modified}
    return {name: value for name, value in headers.items() if value}


def _netloc(url: str) -> str:
    return urlsplit(url).netloc.lower()


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
