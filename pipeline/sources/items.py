"""What a source hands to the import: one item a file, and the shards that they go into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import pyarrow as pa

from pipeline.records import RAW_SCHEMA

Entry = TypeVar("Entry")

# A shard is closed at either: small enough to be one worker's unit, large enough that DVC handles few files.
SHARD_IMAGES = 500
SHARD_BYTES = 256_000_000


def moment(seconds: float) -> datetime | None:
    """Return a file's time, None where it is beyond the years 1 to 9999: a header or a disk may say anything."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


@dataclass(frozen=True)
class Item:
    """One input file: its bytes, or why there are none, and what is known of it.

    split_by is what the train/holdout split hashes instead of the bytes: for a damaged picture, the undamaged one.
    provenance is what its unit's schema has beyond RAW_SCHEMA, by column. sidecar_unread: it has a side-car that can't
    be read, so that nobody knows its tags or where it is from.
    """

    path: str
    source: str
    data: bytes | None = None
    error: str | None = None
    fetched_at: datetime | None = None
    licence: str | None = None
    split_by: bytes | None = None
    truth: str | None = None
    truth_copy_of: int | None = None
    pristine: bytes | None = None
    provenance: Mapping[str, Any] | None = None
    sidecar_unread: bool = False


@dataclass(frozen=True)
class Unit:
    """One shard's worth of work: the row number of its first item, how many there are, and how to read them.

    read must be picklable, and pure but for reading the source.
    """

    first_row: int
    images: int
    read: Callable[[], Iterator[Item]]
    schema: pa.Schema = RAW_SCHEMA


def cut(entries: Sequence[Entry], size_of: Callable[[Entry], int]) -> Iterator[tuple[int, Sequence[Entry]]]:
    """Yield (first row, entries) for each shard: at most SHARD_IMAGES of them, and SHARD_BYTES unless it is one."""
    start, held = 0, 0
    for index, entry in enumerate(entries):
        size = size_of(entry)
        if index > start and (index - start == SHARD_IMAGES or held + size > SHARD_BYTES):
            yield start, entries[start:index]
            start, held = index, 0
        held += size
    if start < len(entries):
        yield start, entries[start:]
