"""What crawls have fetched: the bytes by their SHA-256, and a SQLite journal that a kill -9 leaves whole.

A crawl is a list of tasks under a key, from begin() to finish(); one that was cut off goes on where it stopped. What
is known of a URL outlives the crawl, so that the next one asks only for what has changed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.atomic import whole_file
from pipeline.sources.site import Gives
from pipeline.sources.urls import Wanted

_TABLES = """
CREATE TABLE IF NOT EXISTS crawl (key TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS task (
    key TEXT, url TEXT, page_url TEXT, licence TEXT, extra TEXT, done INTEGER DEFAULT 0, refresh_error TEXT,
    PRIMARY KEY (key, url));
CREATE TABLE IF NOT EXISTS fetched (
    url TEXT PRIMARY KEY, policy TEXT, reason TEXT, status INTEGER, content_type TEXT, final_url TEXT, sha256 TEXT,
    size INTEGER, etag TEXT, last_modified TEXT, fetched_at REAL);
CREATE TABLE IF NOT EXISTS page (
    key TEXT, url TEXT, depth INTEGER, rank TEXT, done INTEGER DEFAULT 0, reason TEXT, PRIMARY KEY (key, url));
CREATE INDEX IF NOT EXISTS page_order ON page (key, depth, rank);
CREATE TABLE IF NOT EXISTS found (
    key TEXT, url TEXT, rank TEXT, page_url TEXT, licence TEXT, extra TEXT, PRIMARY KEY (key, url));
CREATE INDEX IF NOT EXISTS fetched_sha256 ON fetched (sha256);
"""


@dataclass(frozen=True)
class Pending:
    """A URL to ask for, and what the server called the bytes that the store has of it, by final_url and no other."""

    url: str
    etag: str | None = None
    last_modified: str | None = None
    final_url: str | None = None


@dataclass(frozen=True)
class Page:
    """A page of a site: how many steps it is from the start, and its place among the pages that are as far."""

    url: str
    depth: int
    place: int


@dataclass(frozen=True)
class Fetched:
    """What became of a URL: sha256 where there are bytes, else the reason.

    fetched_at is in seconds since 1970, None for the page of a site.
    """

    fetched_at: float | None
    reason: str | None = None
    status: int | None = None
    content_type: str | None = None
    final_url: str | None = None
    sha256: str | None = None
    size: int = 0
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True)
class Result:
    """A task that is done; refresh_error is why the bytes could not be asked for anew, where older ones are kept."""

    wanted: Wanted
    fetched: Fetched | None
    refresh_error: str | None


class Store:
    """The store in a folder, which is made. Not for two crawls at once: whoever opens it holds the folder's lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._journal = sqlite3.connect(folder / "journal.db", isolation_level=None)
        self._journal.execute("PRAGMA journal_mode = WAL")
        self._journal.execute("PRAGMA synchronous = NORMAL")
        self._journal.executescript(_TABLES)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def object_path(self, sha256: str) -> Path:
        """Return where the bytes of a digest lie, or would."""
        return self.folder / "objects" / sha256[:2] / sha256

    def sweep(self) -> None:
        """Remove half-written files that killed crawlers left; no other may be at work."""
        for path in self.folder.glob("objects/*/.*"):
            path.unlink(missing_ok=True)

    def begin(self, key: str, wanted: Sequence[Wanted], policy: str, leave_out: Collection[str] = ()) -> None:
        """Start the crawl of that key, or go on with it where an earlier process was cut off.

        policy: what was allowed; bytes that were fetched under another one are asked for anew. Bytes that the server
        gave no ETag or Last-Modified with can't be asked after, so they stay. leave_out: URLs not to ask for.
        """
        with self._journal:
            self._journal.execute("BEGIN IMMEDIATE")
            if not self._journal.execute("SELECT 1 FROM crawl WHERE key = ?", [key]).fetchone():
                self._journal.execute("INSERT INTO crawl VALUES (?)", [key])
                self._journal.executemany(
                    "INSERT OR IGNORE INTO task (key, url, page_url, licence, extra) VALUES (?, ?, ?, ?, ?)",
                    ((key, one.url, one.page_url, one.licence, one.extra) for one in wanted),
                )
                settled = self._journal.execute(
                    "SELECT url, sha256, size FROM task JOIN fetched USING (url) WHERE key = ? AND sha256 IS NOT NULL "
                    "AND etag IS NULL AND last_modified IS NULL AND policy = ?",
                    [key, policy],
                ).fetchall()
                self._mark_done(key, [url for url, sha256, size in settled if self._holds(sha256, size)])
            self._mark_done(key, leave_out)

    def _mark_done(self, key: str, urls: Collection[str]) -> None:
        self._journal.executemany("UPDATE task SET done = 1 WHERE key = ? AND url = ?", ((key, url) for url in urls))

    def _holds(self, sha256: str | None, size: int) -> bool:
        """Whether the bytes are there, all of them as far as their number tells."""
        try:
            return sha256 is not None and self.object_path(sha256).stat().st_size == size
        except OSError:
            return False

    def pending(self, key: str, policy: str) -> list[Pending]:
        """Return what a crawl has yet to ask for, in the list's order.

        policy: what is allowed. Of bytes that were fetched under another one nothing is told: a server that has none
        newer need not say again that it opts out.
        """
        found = self._journal.execute(
            "SELECT url, etag, last_modified, final_url, sha256, size, policy FROM task LEFT JOIN fetched USING (url) "
            "WHERE key = ? AND NOT done ORDER BY task.rowid",
            [key],
        ).fetchall()
        return [
            Pending(url, etag, modified, final_url) if known == policy and self._holds(sha256, size) else Pending(url)
            for url, etag, modified, final_url, sha256, size, known in found
        ]

    def keep(self, data: bytes, sha256: str) -> None:
        """Store bytes under their SHA-256, whole or not at all."""
        if not self._holds(sha256, len(data)):
            with whole_file(self.object_path(sha256)) as temporary:
                temporary.write_bytes(data)

    def record_unchanged(self, key: str, url: str) -> None:
        """Note that the server has nothing newer than the store."""
        self._mark_done(key, [url])

    def record(self, key: str, url: str, policy: str, new: Fetched, passing: bool, by_policy: bool = False) -> None:
        """Note what became of a URL, at once.

        passing: the fault may be gone tomorrow; then older bytes stay. by_policy: it is the policy's own; they stay if
        they were had under the same one. A result like the one before keeps its date, so that a crawl in which nothing
        changed writes the same shards.
        """
        old = self._fetched(url)
        with self._journal:
            self._journal.execute("BEGIN IMMEDIATE")
            may_stay = passing and not (by_policy and self._policy(url) != policy)
            if may_stay and old and self._holds(old.sha256, old.size):
                self._journal.execute(
                    "UPDATE task SET done = 1, refresh_error = ? WHERE key = ? AND url = ?", [new.reason, key, url]
                )
                return
            same = old and (old.reason, old.status, old.sha256) == (new.reason, new.status, new.sha256)
            fetched_at = old.fetched_at if old and same else new.fetched_at
            self._journal.execute(
                "INSERT OR REPLACE INTO fetched VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    *(url, policy, new.reason, new.status, new.content_type, new.final_url, new.sha256, new.size),
                    *(new.etag, new.last_modified, fetched_at),
                ],
            )
            self._mark_done(key, [url])
        if old and old.sha256 and old.sha256 != new.sha256:
            self._drop_unused(old.sha256)

    def _fetched(self, url: str) -> Fetched | None:
        row = self._journal.execute(f"SELECT {_FETCHED} FROM fetched WHERE url = ?", [url]).fetchone()  # noqa: S608
        return Fetched(*row) if row else None

    def _policy(self, url: str) -> str | None:
        row = self._journal.execute("SELECT policy FROM fetched WHERE url = ?", [url]).fetchone()
        return row[0] if row else None

    def _drop_unused(self, sha256: str) -> None:
        if not self._journal.execute("SELECT 1 FROM fetched WHERE sha256 = ?", [sha256]).fetchone():
            self.object_path(sha256).unlink(missing_ok=True)

    def results(self, key: str) -> Iterator[Result]:
        """Yield what became of each task of a crawl, in the order of the URLs."""
        query = (
            f"SELECT url, page_url, licence, extra, refresh_error, {_FETCHED} FROM task LEFT JOIN fetched "  # noqa: S608
            "USING (url) WHERE key = ? ORDER BY url"
        )
        for url, page_url, licence, extra, error, *rest in self._journal.execute(query, [key]):
            yield Result(Wanted(url, page_url, licence, extra), Fetched(*rest) if rest[0] else None, error)

    def finish(self, key: str) -> None:
        """End a crawl: the next begin() of its key asks for everything anew."""
        with self._journal:
            self._journal.execute("BEGIN IMMEDIATE")
            self._journal.execute("DELETE FROM task WHERE key = ?", [key])
            self._journal.execute("DELETE FROM crawl WHERE key = ?", [key])

    def begin_survey(self, key: str, start: Sequence[str], max_pages: int) -> None:
        """Start looking through a site, or go on where an earlier process was cut off.

        What failed is tried again, unless all was looked at: then the images' turn has come, whose list shall stay.
        """
        with self._journal:
            self._journal.execute("BEGIN IMMEDIATE")
            self._journal.executemany(
                "INSERT OR IGNORE INTO page (key, url, depth, rank) VALUES (?, ?, 0, ?)",
                ((key, url, _rank(0, number)) for number, url in enumerate(start)),
            )
            if self.next_level(key, max_pages):
                self._journal.execute(
                    "UPDATE page SET done = 0, reason = NULL WHERE key = ? AND reason IS NOT NULL", [key]
                )

    def next_level(self, key: str, max_pages: int) -> list[Page]:
        """Return the pages to look at next: those nearest to the start, of the first max_pages of the site."""
        found = self._journal.execute(
            "SELECT url, depth, done FROM page WHERE key = ? ORDER BY depth, rank LIMIT ?", [key, max_pages]
        ).fetchall()
        nearest = next((depth for _, depth, done in found if not done), 0)
        level = [(url, done) for url, depth, done in found if depth == nearest]
        return [Page(url, nearest, place) for place, (url, done) in enumerate(level) if not done]

    def record_page(self, key: str, page: Page, gives: Gives) -> None:
        """Note what a page gives, or why it can't be read; what several pages give counts for the first in rank."""
        with self._journal:
            self._journal.execute("BEGIN IMMEDIATE")
            self._journal.executemany(
                "INSERT INTO page (key, url, depth, rank) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET rank = min(rank, excluded.rank) WHERE depth = excluded.depth",
                ((key, url, page.depth + 1, _rank(page.place, number)) for number, url in enumerate(gives.links)),
            )
            self._journal.executemany(
                "INSERT INTO found VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET rank = excluded.rank, "
                "page_url = excluded.page_url, licence = excluded.licence, extra = excluded.extra "
                "WHERE excluded.rank < rank",
                (
                    (key, one.url, _rank(page.depth, page.place, number), one.page_url, one.licence, one.extra)
                    for number, one in enumerate(gives.images)
                ),
            )
            self._journal.execute(
                "UPDATE page SET done = 1, reason = ? WHERE key = ? AND url = ?", [gives.reason, key, page.url]
            )

    def surveyed(self, key: str) -> list[Wanted]:
        """Return the images that a site's pages gave, in the order of the pages."""
        query = "SELECT url, page_url, licence, extra FROM found WHERE key = ? ORDER BY rank"
        return [Wanted(*row) for row in self._journal.execute(query, [key])]

    def unread_pages(self, key: str) -> list[tuple[str, str]]:
        """Return (url, reason) of the pages that could not be read."""
        query = "SELECT url, reason FROM page WHERE key = ? AND reason IS NOT NULL"
        return self._journal.execute(query, [key]).fetchall()

    def finish_survey(self, key: str) -> None:
        """End looking through a site: the next begin_survey() of its key looks anew."""
        with self._journal:
            self._journal.execute("BEGIN IMMEDIATE")
            self._journal.execute("DELETE FROM page WHERE key = ?", [key])
            self._journal.execute("DELETE FROM found WHERE key = ?", [key])

    def known(self) -> list[tuple[str, str]]:
        """Return (url, sha256) of all that is stored, also under the URLs that were redirected to."""
        return self._journal.execute(
            "SELECT url, sha256 FROM fetched WHERE sha256 IS NOT NULL "
            "UNION SELECT final_url, sha256 FROM fetched WHERE sha256 IS NOT NULL AND final_url IS NOT NULL"
        ).fetchall()

    def forget(self, ids: Collection[str], urls: Collection[str]) -> int:
        """Remove bytes, and all that is known of the URLs that gave them; return how many files went."""
        removed = 0
        with self._journal:
            self._journal.execute("BEGIN IMMEDIATE")
            self._journal.executemany("DELETE FROM fetched WHERE sha256 = ?", ((one,) for one in ids))
            self._journal.executemany("DELETE FROM fetched WHERE url = ?", ((one,) for one in urls))
        for sha256 in ids:
            path = self.object_path(sha256)
            removed += path.exists()
            path.unlink(missing_ok=True)
        return removed


def _rank(*numbers: int) -> str:
    """Return numbers as text that sorts as they do."""
    return ".".join(f"{number:09d}" for number in numbers)


_FETCHED = ", ".join(Fetched.__dataclass_fields__)
