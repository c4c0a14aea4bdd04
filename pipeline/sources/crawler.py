"""From a list of URLs to shards: have the crawler's process fetch it into the store, then read the store."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline import paths
from pipeline.errors import StageError
from pipeline.params import CrawlParams
from pipeline.sources.courtesy import as_moment
from pipeline.sources.items import Item, Unit, cut
from pipeline.sources.provenance import CRAWLED_SCHEMA
from pipeline.sources.site import Site, first_pages
from pipeline.sources.store import Fetched, Result, Store
from pipeline.sources.takedown import TAKEN_DOWN, Takedown
from pipeline.sources.urls import Wanted

# What decides which images a crawl may take, as opposed to how fast; bytes fetched under another policy are asked for
# anew.
_POLICY = ("user_agent", "obey_robots", "ignore_opt_out", "allow_private")


class TooFewImagesError(StageError):
    """A crawl gave so little that it is no use to go on with it; the next one begins anew."""


def store_folder() -> Path:
    """Return where fetched bytes are kept: outside DVC's outs, in the main checkout."""
    return paths.state_dir() / "crawl"


@contextmanager
def open_store(folder: Path) -> Iterator[Store]:
    """Yield the store, held against every other crawl, for which this one waits."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "crawl.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"another crawl is at work on {folder}; waiting for it", file=sys.stderr)
        lock.acquire()
    with lock:
        store = Store(folder)
        try:
            yield store
        finally:
            store.close()


@contextmanager
def listed_units(
    origin: Path, wanted: Sequence[Wanted], crawl: CrawlParams, takedown: Takedown
) -> Iterator[list[Unit]]:
    """Yield the shards of a list of URLs, as _crawled_units() does."""
    with open_store(store_folder()) as store, _crawled_units(store, origin, wanted, crawl, takedown) as units:
        yield units


@contextmanager
def site_units(origin: Path, site: Site, crawl: CrawlParams, takedown: Takedown) -> Iterator[list[Unit]]:
    """Yield the shards of a site's images, as _crawled_units() does; its pages are looked at first, always anew."""
    key = _digest([_policy(crawl), site.model_dump()])
    with open_store(store_folder()) as store:
        store.begin_survey(key, first_pages(site), site.max_pages)
        if store.next_level(key, site.max_pages):
            _crawl(store, crawl, takedown, key=key, site=site.model_dump())
        unread = [
            Result(Wanted(url), Fetched(fetched_at=None, reason=f"page {reason}"), None)
            for url, reason in store.unread_pages(key)
        ]
        found = store.surveyed(key)
        try:
            if not found and not unread:
                raise TooFewImagesError(f"no page of {origin} names an image; look at what its recipe selects")
            with _crawled_units(store, origin, found, crawl, takedown, unread) as units:
                yield units
        except TooFewImagesError:  # the next call is to look at the site as it is then
            store.finish_survey(key)
            raise
        store.finish_survey(key)


def _policy(crawl: CrawlParams) -> str:
    return _digest([getattr(crawl, name) for name in _POLICY])


@contextmanager
def _crawled_units(
    store: Store,
    origin: Path,
    wanted: Sequence[Wanted],
    crawl: CrawlParams,
    takedown: Takedown,
    unread: Sequence[Result] = (),
) -> Iterator[list[Unit]]:
    """Yield the shards of a list of URLs, fetched by then, in the order of the URLs.

    unread: pages that gave none, which go along as rows: images that nobody could list are missing too.
    The crawl counts as finished when the block ends without a fault: until then, the next call goes on with it.
    TooFewImagesError where fewer than crawl.min_success of the URLs gave an image; that ends the crawl too, so that the
    next call tries the failed ones again.
    """
    policy = _policy(crawl)
    key = _digest([policy, crawl.max_bytes, crawl.max_pixels, *(astuple(one) for one in wanted)])
    store.begin(key, wanted, policy, leave_out=takedown.urls)
    if store.pending(key, policy):
        _crawl(store, crawl, takedown, key=key, policy=policy)
    results = sorted([*store.results(key), *unread], key=lambda result: result.wanted.url)
    summary, share = _summary(results, takedown)
    if share < crawl.min_success:
        store.finish(key)
        raise TooFewImagesError(
            f"{share:.1%} of the URLs gave an image; crawl.min_success asks {crawl.min_success:.1%}\n{summary}"
        )
    print(summary)
    yield _units(origin, results, store, crawl.max_bytes, takedown)
    store.finish(key)


def _digest(parts: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _crawl(store: Store, crawl: CrawlParams, takedown: Takedown, **what: Any) -> None:
    """Have the crawler's process do a job: the images of a key, or the pages of a site."""
    off_limits = {"taken_down_urls": sorted(takedown.urls), "taken_down_ids": sorted(takedown.ids)}
    job = {"store": str(store.folder), "params": crawl.model_dump(), **off_limits, **what}
    code = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-m", "pipeline.sources.fetching"]
    # Its standard input stays open as long as this process lives, and the crawler no longer.
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        if process.stdin is not None:
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
        process.wait()
    if process.returncode:
        raise StageError(f"the crawler ended with {process.returncode}; what it has fetched is kept: run this again")


def _outcome(result: Result, takedown: Takedown) -> str | None:
    """Return why a URL gives no image, None where it gives one."""
    fetched = result.fetched
    known = (fetched.sha256, fetched.final_url) if fetched else (None, None)
    if takedown.covers(*known, result.wanted.url):
        return TAKEN_DOWN
    return fetched.reason if fetched else "not fetched"


def _summary(results: Sequence[Result], takedown: Takedown) -> tuple[str, float]:
    """Return a table of what became of the URLs, and the share, of those that are not taken down, that gave images."""
    outcomes = Counter(_outcome(result, takedown) for result in results)
    stale = sum(result.refresh_error is not None for result in results)
    lines = [f"crawl: {outcomes[None]} of {len(results)} URLs gave an image"]
    lines += [
        f"  {count:7}  {reason}"
        for reason, count in sorted(outcomes.items(), key=lambda each: (-each[1], str(each[0])))
        if reason is not None
    ]
    if stale:
        lines.append(f"  {stale:7}  not to be had now; the older bytes are used")
    asked = len(results) - outcomes[TAKEN_DOWN]
    return "\n".join(lines), outcomes[None] / asked if asked else 1.0


def _units(origin: Path, results: Sequence[Result], store: Store, max_bytes: int, takedown: Takedown) -> list[Unit]:
    jobs = [(result, _outcome(result, takedown)) for result in results]
    shards = cut(jobs, size_of=lambda job: job[0].fetched.size if job[0].fetched else 0)
    folder = store.folder.absolute()
    return [
        Unit(first, len(part), partial(_read, str(origin), folder, part, max_bytes), CRAWLED_SCHEMA)
        for first, part in shards
    ]


def _read(origin: str, folder: Path, jobs: Sequence[tuple[Result, str | None]], max_bytes: int) -> Iterator[Item]:
    for result, error in jobs:
        wanted, fetched = result.wanted, result.fetched
        data = None
        if error is None and fetched and fetched.sha256:
            data, error = _stored(folder / "objects" / fetched.sha256[:2] / fetched.sha256, fetched.sha256, max_bytes)
        yield Item(
            wanted.url,
            origin,
            data,
            error,
            as_moment(fetched.fetched_at) if fetched and fetched.fetched_at else None,
            wanted.licence,
            provenance={
                "url": wanted.url,
                "page_url": wanted.page_url,
                "final_url": fetched.final_url if fetched else None,
                "http_status": fetched.status if fetched else None,
                "content_type": fetched.content_type if fetched else None,
                "refresh_error": result.refresh_error,
                "extra": wanted.extra,
            },
        )


def _stored(path: Path, sha256: str, max_bytes: int) -> tuple[bytes | None, str | None]:
    try:
        data = path.read_bytes()
    except OSError:
        return None, "lost from the store"
    if hashlib.sha256(data).hexdigest() != sha256:
        path.unlink(missing_ok=True)  # so that the next crawl fetches it anew
        return None, "damaged in the store"
    return (None, "too large") if len(data) > max_bytes else (data, None)
