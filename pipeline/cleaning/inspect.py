"""The work on a shard: measure its pictures, sign the ones that may be copies, write the ones that are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.cleaning.hashing import phash, thumbnail
from pipeline.cleaning.likeness import Signatures, layout, signature
from pipeline.cleaning.measures import Measures, measure
from pipeline.cleaning.repair import asked_of_all, finish, repair
from pipeline.codec import decode_trusted, encode_png
from pipeline.params import FilterParams
from pipeline.records import CLEAN_SCHEMA, read_rows, write_shard

MEASURED_SCHEMA = pa.schema(
    [
        ("shard", pa.string()),
        ("row", pa.int64()),
        ("id", pa.string()),
        ("path", pa.string()),
        ("split", pa.string()),
        ("readable", pa.bool_()),
        ("bytes", pa.int64()),
        *((name, pa.float64()) for name in Measures._fields),
        ("phash", pa.uint64()),
        ("layout", pa.binary()),
    ]
)


def measure_shard(shard: Path, image_size: int, work_side: int) -> pa.Table:
    """Return the measures, hash and layout of each image of a raw shard, MEASURED_SCHEMA; null if unreadable."""
    records, thumbnails = [], []
    for row in read_rows(shard, ["row", "id", "path", "image", "split", "error"]):
        record: dict[str, Any] = {name: row[name] for name in ("row", "id", "path", "split")}
        record |= {"shard": shard.name, "readable": row["error"] is None}
        if record["readable"]:
            data = row["image"]["bytes"]
            pixels = decode_trusted(data)
            record["bytes"] = len(data)
            record |= measure(pixels, image_size, work_side)._asdict()
            record["layout"] = layout(pixels).tobytes()
            thumbnails.append(thumbnail(pixels))
        records.append(record)
    readable = [record for record in records if record["readable"]]
    if readable:
        for record, bits in zip(readable, phash(np.stack(thumbnails)).tolist(), strict=True):
            record["phash"] = bits
    return pa.Table.from_pylist(records, schema=MEASURED_SCHEMA)


def sign_shard(wanted: tuple[Path, frozenset[int]]) -> tuple[NDArray[np.int64], Signatures]:
    """Return the wanted rows of a raw shard and their signatures: int64 (N,), uint8 (N, 32, 32, 3), in file order."""
    shard, rows = wanted
    found, signatures = [], []
    for row in read_rows(shard, ["row", "image"]):
        if row["row"] in rows:
            found.append(row["row"])
            signatures.append(signature(decode_trusted(row["image"]["bytes"])))
    return np.array(found, np.int64), np.stack(signatures)


class CleanJob(NamedTuple):
    """What is to be written of a raw shard: the kept rows, each with the damage to repair or None, and its gamma."""

    shard: Path
    target: Path
    kept: Mapping[int, tuple[str | None, float]]


def clean_shard(job: CleanJob, image_size: int, params: FilterParams) -> dict[int, str]:
    """Write the kept images of a raw shard into the folder job.target, CLEAN_SCHEMA, and return the repairs made.

    The bytes stay as they are, except where a repair held or what the params ask of all changed something; then they
    are a PNG. Returns row → damage repaired, or a label of finish().
    """
    repaired: dict[int, str] = {}

    def rows() -> Iterator[dict[str, Any]]:
        for row in read_rows(job.shard, ["row", "id", "path", "image", "split"]):
            if row["row"] not in job.kept:
                continue
            damage, gamma = job.kept[row["row"]]
            row["repair"] = None
            if damage is not None:
                mended = repair(decode_trusted(row["image"]["bytes"]), damage, gamma, image_size, params)
                if mended is not None:
                    row["image"] = {"bytes": encode_png(mended), "path": row["image"]["path"]}
                    row["repair"] = repaired[row["row"]] = damage
            if asked_of_all(params):
                finished = finish(decode_trusted(row["image"]["bytes"]), row["repair"], gamma, params)
                if finished is not None:
                    row["image"] = {"bytes": encode_png(finished[0]), "path": row["image"]["path"]}
                    row["repair"] = repaired[row["row"]] = finished[1]
            yield row

    write_shard(job.target / job.shard.name, rows(), CLEAN_SCHEMA)
    return repaired
