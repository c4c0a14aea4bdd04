"""A list of image URLs (.txt .csv .jsonl .parquet); its further columns go along as provenance."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow.parquet as pq

from pipeline.errors import ParamsError
from pipeline.messages import without_credentials

# Of what a list says beside its URLs, in characters: of an entry, and of all.
MOST_TOLD, MOST_TOLD_IN_ALL = 1 << 16, 1 << 30

# Control characters and what some take for the end of a line, which would break a list of URLs, one a line.
_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")

ROWS = 1000  # of Parquet at once

# The columns that decide something, here or by crawl.require_tags and refuse_tags.
READ = ("url", "page_url", "licence", "license", "tags", "rating")

_PORTS = {"http": ":80", "https": ":443"}

LIST_SUFFIXES = (".txt", ".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Wanted:
    """An image to fetch, and what its list says of it; extra is a JSON object of the columns without a name here."""

    url: str
    page_url: str | None = None
    licence: str | None = None
    extra: str | None = None


def plain(text: str) -> str:
    """Return text as it is stored: without credentials, and a lone surrogate, which JSON can bring, as its escape."""
    return without_credentials(text).encode("utf-8", "backslashreplace").decode()


def is_web(url: str) -> bool:
    """Whether text is an http or https URL with a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in _PORTS and bool(parts.hostname)
    except ValueError:  # no address, such as http://[x
        return False


def plain_url(url: str) -> str:
    """Return a URL as it is stored and compared: plain(), in one line, and without what is not sent or says nothing.

    That is a fragment, blanks around, credentials, capitals in the host, and the scheme's own port: two URLs that
    differ in these alone ask for the same.
    """
    url = _BREAKS.sub(lambda found: quote(found[0]), plain(url).strip(" "))
    try:
        parts = urlsplit(url)
    except ValueError:  # no address, such as http://[x
        return url
    if parts.scheme not in _PORTS:
        return url
    host = parts.netloc.rpartition("@")[2].lower().removesuffix(_PORTS[parts.scheme])
    return parts._replace(netloc=host, fragment="").geturl().rstrip(" ")  # before a note behind a #


def wanted(url: str, page_url: str | None, licence: str | None, columns: Mapping[str, Any] | None = None) -> Wanted:
    """Return an image to fetch, its texts plain; columns are what else is known of it."""
    extra = json.dumps(columns, ensure_ascii=False, sort_keys=True, default=str) if columns else None
    return Wanted(plain_url(url), *(None if text is None else plain(text) for text in (page_url, licence, extra)))


def read_list(path: Path) -> list[Wanted]:
    """Return the images of a list, in its order, a repeated URL once. ParamsError where it can't be read as one."""
    found: dict[str, Wanted] = {}
    told = 0
    try:
        for number, row in enumerate(_READERS[path.suffix](path), start=1):
            one = _wanted(row, path, number)
            length = len(one.extra or "")
            told += length
            if length > MOST_TOLD or told > MOST_TOLD_IN_ALL:
                raise ParamsError(f"{path}: entry {number} says too much beside its URL; leave out the long columns")
            found.setdefault(one.url, one)
    except ParamsError:
        raise
    except Exception as fault:  # a hostile list makes the libraries raise anything
        raise ParamsError(f"{path} is not readable as a list of URLs: {fault}") from None
    return list(found.values())


def _wanted(row: object, path: Path, number: int) -> Wanted:
    if not isinstance(row, Mapping):
        raise ParamsError(f"{path}: entry {number} is not a mapping of columns to values")
    filled = {str(key): value for key, value in row.items() if value not in (None, "") and value == value}
    if repeated := _repeated(filled):
        raise ParamsError(
            f"{path}: entry {number} has two columns {repeated!r}, whose names differ in capitals or blanks"
        )
    values = {key.strip(): value for key, value in filled.items()}
    names = {key.lower(): key for key in values}
    url, page_url, licence = (
        str(values.pop(names[name])).strip() if name in names else None for name in ("url", "page_url", "licence")
    )
    if licence is None and "license" in names:
        licence = str(values.pop(names["license"])).strip()
    if not url:
        raise ParamsError(f"{path}: entry {number} has nothing in a column `url`; it has {', '.join(names) or 'none'}")
    return wanted(url, page_url, licence, values)


def _text(path: Path) -> Iterator[Mapping[str, Any]]:
    for line in path.read_text(encoding="utf-8-sig").split("\n"):
        if line.strip() and not line.lstrip().startswith("#"):
            yield {"url": line}


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, restkey="more", strict=True)  # an open quote would take in all that follows
        _require_distinct(rows.fieldnames or ())
        yield from rows


def _json_lines(path: Path) -> Iterator[Any]:
    for line in path.read_text(encoding="utf-8-sig").split("\n"):  # a caption may hold what else ends a line
        if line.strip():
            yield json.loads(line, parse_constant=lambda _: None)  # NaN, which is no JSON, and which a row has to hold


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    with pq.ParquetFile(path) as file:
        _require_distinct(file.schema_arrow.names)
        for batch in file.iter_batches(ROWS):
            yield from batch.to_pylist()


def _repeated(columns: Iterable[str]) -> str | None:
    """Return the name, of those that are read, that two columns have: of two values the last would count."""
    counts = Counter(column.strip().lower() for column in columns)
    return next((name for name in READ if counts[name] > 1), None)


def _require_distinct(columns: Iterable[str]) -> None:
    if repeated := _repeated(columns):
        raise ValueError(f"there are two columns {repeated!r}")


_READERS = {".txt": _text, ".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
