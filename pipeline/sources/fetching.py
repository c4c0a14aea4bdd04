"""The crawler's own process: Scrapy fetches what a store's crawl has yet to ask for, and notes each outcome at once.

A process, because Twisted's reactor can't be started twice. It ends itself when its standard input closes: that is how
it learns that whoever started it is gone.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from filelock import FileLock
from PIL import Image
from scrapy import Request, Spider, exceptions, signals
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.http import Headers, Response
from tqdm import tqdm

from pipeline.codec import FORMATS
from pipeline.params import CrawlParams
from pipeline.sources.addresses import is_public
from pipeline.sources.courtesy import opts_out, retry_after
from pipeline.sources.store import Fetched, Pending, Store

# What may be otherwise in a moment, and is worth asking again.
PASSING = frozenset({"dns", "refused", "timeout", "connection lost", "unreachable", "truncated", "5xx"})

MAX_REDIRECTS = 10
# So many hosts are dealt with at once; of these most wait for their turn.
MAX_RUNNERS = 500

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


class Robots(RobotsTxtMiddleware):
    """Scrapy's robots.txt, but by status as RFC 9309 has it: without one all is allowed, from a broken one nothing."""

    async def _parse_robots(self, response: Response, netloc: str, request: Request) -> None:
        if response.status >= 500:
            response = response.replace(body=b"User-agent: *\nDisallow: /\n")
        elif response.status >= 400:
            response = response.replace(body=b"")
        await super()._parse_robots(response, netloc, request)


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
        "LOG_ENABLED": False,
    }


def product(crawl: CrawlParams) -> str:
    """Return the name by which robots.txt and X-Robots-Tag know this crawler."""
    return crawl.user_agent.split("/")[0].split()[0]


def unfit(data: bytes, max_pixels: int) -> str | None:
    """Return why bytes are not kept, by what they are and not by what the server calls them; None where they may be."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return "too many pixels" if image.width * image.height > max_pixels else None
    except Exception:  # hostile bytes make the decoders raise anything
        return "not an image"


@dataclass
class Host:
    """A host's URLs that are still to be asked for, and the moment before which it wants to be left alone."""

    waiting: deque[Pending] = field(default_factory=deque)
    not_before: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What one attempt gave; unchanged where the server has nothing newer, wait in seconds where it asks for that."""

    fetched: Fetched
    unchanged: bool = False
    wait: float = 0.0

    @property
    def passing(self) -> bool:
        """Whether the fault, if there is one, may be gone in a moment; 429 is Too Many Requests."""
        return self.fetched.reason in PASSING or self.fetched.status == 429


class Fetcher(Spider):
    """Fetches a crawl's URLs, host by host in turn."""

    name = "fetcher"

    def __init__(self, store: Store, key: str, policy: str, params: CrawlParams) -> None:
        super().__init__()
        self._store, self._key, self._policy, self._params = store, key, policy, params
        self._hosts: dict[str, Host] = {}
        pending = store.pending(key)
        for one in pending:
            self._hosts.setdefault(_host(one.url), Host()).waiting.append(one)
        self._turns = deque(host for _ in range(params.per_host) for host in self._hosts.values())
        self._slots = asyncio.Semaphore(params.concurrency)
        self._failures = self._bytes = 0
        self._started = time.monotonic()
        self._bar = tqdm(total=len(pending), desc="crawl", unit="img", mininterval=1.0, dynamic_ncols=True)

    async def start(self) -> AsyncIterator[Any]:
        """Fetch everything; nothing is handed to Scrapy's scheduler, whose queue would be lost with the process."""
        self.crawler.signals.connect(self._headers, signals.headers_received)
        await asyncio.gather(*(self._run() for _ in range(min(MAX_RUNNERS, len(self._turns)))))
        self._bar.close()
        requests: list[Any] = []
        for request in requests:
            yield request

    async def _run(self) -> None:
        """Fetch one URL of the host whose turn it is, until no host has any left."""
        while self._turns:
            host = self._turns.popleft()
            if host.waiting:
                await self._settle(host, host.waiting.popleft())
                self._turns.append(host)

    async def _settle(self, host: Host, asked: Pending) -> None:
        """Ask until there is an answer that stands, and note it."""
        for attempt in range(self._params.retries + 1):
            await asyncio.sleep(max(0.0, host.not_before - time.monotonic()))
            async with self._slots:
                answer = await self._ask(asked)
            if not answer.passing or attempt == self._params.retries or answer.wait > self._params.max_wait:
                break
            if answer.wait:
                host.not_before = time.monotonic() + answer.wait
            pause = self._params.backoff * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311
            await asyncio.sleep(max(answer.wait, min(pause, self._params.max_wait)))
        if answer.unchanged:
            self._store.record_unchanged(self._key, asked.url)
        else:
            self._store.record(self._key, asked.url, self._policy, answer.fetched, passing=answer.passing)
        self._show(answer.fetched)

    def _show(self, fetched: Fetched) -> None:
        self._failures += fetched.reason is not None
        self._bytes += fetched.size
        seconds = max(time.monotonic() - self._started, 1e-3)
        self._bar.set_postfix_str(
            f"{self._bytes / 1e6 / seconds:.2f} MB/s, {self._failures} failed ({self._failures / seconds:.1f}/s)",
            refresh=False,
        )
        self._bar.update()

    async def _ask(self, asked: Pending) -> Answer:
        """Ask once, through redirects."""
        url, seen = asked.url, set[str]()
        while True:
            seen.add(url)
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
        headers = {"Accept": "image/*,*/*;q=0.5"}
        if asked.etag:
            headers["If-None-Match"] = asked.etag
        if asked.last_modified:
            headers["If-Modified-Since"] = asked.last_modified
        try:
            request = Request(url, headers=headers, meta={"dont_redirect": True})
        except ValueError:
            return _failed("bad url", url)
        try:
            response = await self.crawler.engine.download_async(request)
        except Exception as fault:  # whatever one server brings about is that URL's affair
            return _failed(_reason(fault, begun="begun" in request.meta), url)
        return self._read(response, url)

    def _read(self, response: Response, url: str) -> Answer | str:
        """Return what a whole response comes to."""
        location = _header(response.headers, "Location")
        if response.status in (301, 302, 303, 307, 308) and location:
            return urljoin(url, location)
        fetched = Fetched(
            fetched_at=time.time(),
            status=response.status,
            content_type=_header(response.headers, "Content-Type"),
            final_url=url,
        )
        if response.status == 304:
            return Answer(fetched, unchanged=True)
        if response.status != 200:
            wait = retry_after(_header(response.headers, "Retry-After"), time.time())
            return Answer(replace(fetched, reason=f"{response.status // 100}xx"), wait=wait)
        if reason := unfit(response.body, self._params.max_pixels):
            return Answer(replace(fetched, reason=reason))
        return Answer(
            replace(
                fetched,
                sha256=self._store.keep(response.body),
                size=len(response.body),
                etag=_header(response.headers, "ETag"),
                last_modified=_header(response.headers, "Last-Modified"),
            )
        )

    def _headers(self, headers: Headers, request: Request) -> None:
        """Stop before the body where the server opts out."""
        request.meta["begun"] = True
        if self._params.ignore_opt_out or request.meta.get("dont_obey_robotstxt"):
            return
        if opts_out([_text(value) for value in headers.getlist("X-Robots-Tag")], product(self._params)):
            raise exceptions.StopDownload


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _header(headers: Headers, name: str) -> str | None:
    value = headers.get(name)
    return _text(value)[:4096] if value else None


def _failed(reason: str, url: str) -> Answer:
    return Answer(Fetched(fetched_at=time.time(), reason=reason, final_url=url))


def _reason(fault: Exception, begun: bool) -> str:
    """Return in a word or two why a request failed; begun: whether an answer had."""
    if isinstance(fault, PrivateAddressError):
        return "private address"
    if isinstance(fault, exceptions.DownloadTimeoutError):
        return "too slow" if begun else "timeout"
    if isinstance(fault, exceptions.IgnoreRequest):
        return "robots" if "robots.txt" in str(fault) else "too large"
    return next((reason for kind, reason in _REASONS if isinstance(fault, kind)), "unreachable")


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Read the job, a line of JSON, from standard input; fetch; leave with 0 where all has an outcome."""
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    params, folder = CrawlParams.model_validate(job["params"]), Path(job["store"])
    with FileLock(folder / "fetching.lock"):
        store = Store(folder)
        process = AsyncCrawlerProcess(scrapy_settings(params))
        if not params.allow_private:
            guard_connections()
        crawled = process.crawl(Fetcher, store=store, key=job["key"], policy=job["policy"], params=params)
        process.start()
        left = store.pending(job["key"])
        store.close()
        if crawled.exception() is not None or left:
            print(f"the crawler stopped with {len(left)} URLs to go: {crawled.exception()}", file=sys.stderr)
            sys.stderr.flush()
            os._exit(1)
    sys.stdout.flush()
    os._exit(0)  # at once: the thread that waits on standard input would hold up the interpreter's end


if __name__ == "__main__":
    main()
