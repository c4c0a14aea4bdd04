"""A folder of crawled files, read recursively; links and special files are recorded, never followed.

A JSON file beside the image that it is named after is gallery-dl's, and tells where that came from: it is no row.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.records import RAW_SCHEMA
from pipeline.sources.items import Item, Unit, cut, moment
from pipeline.sources.provenance import CRAWLED_SCHEMA
from pipeline.sources.sidecars import MAX_BYTES, SUFFIX, provenance_of


@dataclass(frozen=True)
class Found:
    """One name in the folder: its path below the root as bytes (a name may be no text), size, mtime, or a fault."""

    path: bytes
    size: int = 0
    modified: float = 0.0
    error: str | None = None


def folder_units(root: Path, max_bytes: int) -> list[Unit]:
    """Return the shards of a folder, its files in the order of their paths as they are shown."""
    found = sorted(_walk(os.fsencode(root)), key=lambda entry: (_shown(entry.path), entry.path))
    names = {entry.path for entry in found}
    sidecars = {path for path in names if path.endswith(SUFFIX) and path.removesuffix(SUFFIX) in names}
    found = [entry for entry in found if entry.path not in sidecars]
    shards = cut(found, size_of=lambda entry: min(entry.size, max_bytes))
    # The root goes along twice: as it was named, which is what is recorded, and so that any process finds it.
    read = partial(_read, str(root), root.absolute())
    schema = CRAWLED_SCHEMA if sidecars else RAW_SCHEMA
    return [
        Unit(first, len(entries), partial(read, entries, max_bytes, _beside(entries, sidecars)), schema)
        for first, entries in shards
    ]


def _shown(path: bytes) -> str:
    """Return a path as text, what is no UTF-8 in it with escapes: Parquet's strings are UTF-8."""
    return path.decode("utf-8", "backslashreplace")


def _beside(entries: Sequence[Found], sidecars: Set[bytes]) -> frozenset[bytes]:
    """Return the paths, of these, that have a side-car."""
    return frozenset(entry.path for entry in entries if entry.path + SUFFIX in sidecars)


def _walk(root: bytes) -> Iterator[Found]:
    """Yield every file below root; what can't be listed or is no regular file comes with its error."""
    pending = [b""]
    while pending:
        below = pending.pop()
        try:
            entries = list(os.scandir(os.path.join(root, below)))
        except OSError as fault:
            yield Found(below, error=_reason(fault))
            continue
        for entry in entries:
            path = os.path.join(below, entry.name)
            if entry.is_dir(follow_symlinks=False):
                pending.append(path)
            else:
                yield _look(entry, path)


def _look(entry: os.DirEntry[bytes], path: bytes) -> Found:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as fault:
        return Found(path, error=_reason(fault))
    if stat.S_ISLNK(status.st_mode):
        return Found(path, error="link")
    if not stat.S_ISREG(status.st_mode):
        return Found(path, error="not a file")
    return Found(path, status.st_size, status.st_mtime)


def _read(origin: str, root: Path, entries: Sequence[Found], max_bytes: int, told: Set[bytes]) -> Iterator[Item]:
    for entry in entries:
        data, error = None, entry.error
        if error is None:
            data, error = _read_file(os.path.join(os.fsencode(root), entry.path), max_bytes)
        modified = moment(entry.modified) if entry.error is None else None
        provenance = None
        if has_sidecar := entry.path in told:
            sidecar, _ = _read_file(os.path.join(os.fsencode(root), entry.path + SUFFIX), MAX_BYTES)
            provenance = None if sidecar is None else provenance_of(sidecar)
        unread = has_sidecar and provenance is None
        licence = provenance.pop("licence") if provenance else None
        yield Item(
            _shown(entry.path), origin, data, error, modified, licence, provenance=provenance, sidecar_unread=unread
        )


def _read_file(path: bytes, max_bytes: int) -> tuple[bytes | None, str | None]:
    """Return (bytes, None) or (None, reason); a file swapped for a link or a pipe since it was listed is refused."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return None, "not a file"
            # Space is made for as much as is asked for; of a file that has grown since, the rest is read as well.
            data = file.read(min(status.st_size, max_bytes) + 1)
            if len(data) > status.st_size:
                data += file.read(max_bytes + 1 - len(data))
    except OSError as fault:
        return None, _reason(fault)
    return (None, "too large") if len(data) > max_bytes else (data, None)


def _reason(fault: OSError) -> str:
    return (fault.strerror or "unreadable").lower()
