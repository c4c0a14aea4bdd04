"""Image shards: the Parquet schema, and reading and writing them a few images at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic import whole_file
from pipeline.errors import StageError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

# `truth`, `truth_copy_of` and `pristine` are what a recipe knows of the images that it made; they are null for crawled
# ones, and no stage may use them for a decision. `pristine` is the undamaged original (PNG), null where `image` is it.
RAW_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("id", pa.string()),
        ("path", pa.string()),
        ("image", IMAGE),
        ("source", pa.string()),
        ("fetched_at", pa.timestamp("us", tz="UTC")),
        ("licence", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("split", pa.string()),
        ("error", pa.string()),
        ("truth", pa.string()),
        ("truth_copy_of", pa.int64()),
        ("pristine", pa.binary()),
    ],
    # What Hugging Face `datasets` reads to show the column as pictures.
    metadata={"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})},
)

CLEAN_SCHEMA = pa.schema(
    [RAW_SCHEMA.field(name) for name in ("row", "id", "path", "image", "split")] + [pa.field("repair", pa.string())],
    metadata=RAW_SCHEMA.metadata,
)

# Few enough that a group of photographs of 10 MB fits into memory, many enough that Parquet's overhead is nothing.
ROWS_PER_GROUP = 64


def shard_paths(folder: Path) -> list[Path]:
    """Return a folder's shards in order, as absolute paths; the temporary file of a write that was killed is none."""
    return sorted(path for path in folder.absolute().glob("*.parquet") if not path.name.startswith("."))


def require_shards(folder: Path, stage: str) -> list[Path]:
    """Return a folder's shards in order; StageError that names the stage to run where there are none."""
    shards = shard_paths(folder)
    if not shards:
        raise StageError(f"{folder} holds no shards; run 'dvc repro {stage}' first")
    return shards


def shard_sizes(shards: Sequence[Path]) -> list[int]:
    """Return the number of rows in each shard, from its footer."""
    sizes = []
    for shard in shards:
        with open_shard(shard) as file:
            sizes.append(file.metadata.num_rows)
    return sizes


def write_shard(path: Path, rows: Iterator[dict[str, Any]], schema: pa.Schema) -> int:
    """Write rows as a Parquet file, whole or not at all, and return their number; memory holds one row group.

    The images are compressed already, so the file is not. Its pages have checksums, which open_shard looks at.
    """
    written = 0
    options = {"compression": "none", "write_page_checksum": True}
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema, **options) as writer:
        group: list[dict[str, Any]] = []
        for row in rows:
            group.append(row)
            if len(group) == ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                written += len(group)
                group = []
        writer.write_table(pa.Table.from_pylist(group, schema=schema))
        written += len(group)
    return written


@contextmanager
def open_shard(shard: Path) -> Iterator[pq.ParquetFile]:
    """Yield a shard to read from, and nothing else; StageError where its bytes are not those that were written."""
    try:
        with pq.ParquetFile(shard, page_checksum_verification=True) as file:
            yield file
    except MemoryError:
        raise
    except (OSError, pa.ArrowException, UnicodeDecodeError) as fault:
        if isinstance(fault, OSError) and fault.errno:  # of the system: the bytes may be as good as ever
            raise StageError(f"{shard} can't be read: {os.strerror(fault.errno)}") from None
        raise _damaged(shard, fault) from None


def _damaged(shard: Path, fault: object) -> StageError:
    return StageError(f"{shard} is damaged ({fault}); remove it, and 'dvc repro' brings it back")


def read_groups(shard: Path, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Yield a shard's rows as dicts, a row group at a time, and only the named columns."""
    with open_shard(shard) as file:
        if lacking := set(columns) - set(file.schema_arrow.names):  # the footer has no checksum
            raise _damaged(shard, f"it has no column {min(lacking)}")
        rows = 0
        for batch in file.iter_batches(ROWS_PER_GROUP, columns=list(columns)):
            rows += len(batch)
            yield batch.to_pylist()
        if rows != file.metadata.num_rows:
            raise _damaged(shard, f"{rows} rows of {file.metadata.num_rows}")


def read_rows(shard: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield a shard's rows as dicts, reading one row group at a time and only the named columns."""
    for group in read_groups(shard, columns):
        yield from group
