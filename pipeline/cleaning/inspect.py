"""The work on a shard: measure its pictures, sign the ones that may be copies, write the ones that are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.cleaning.cache import read_cached, require_code, write_cached
from pipeline.cleaning.denoise import replace_impulses
from pipeline.cleaning.hashing import phash, thumbnail
from pipeline.cleaning.likeness import LAYOUT, SIDE, Signatures, layout, signature
from pipeline.cleaning.measures import Measures, measure_seen
from pipeline.cleaning.repair import Damaged, asked_of_all, finish, holds, repair
from pipeline.cleaning.views import centre_square, luma, net_views, work_view
from pipeline.codec import Pixels, decode_trusted, encode_png
from pipeline.params import FilterParams
from pipeline.records import CLEAN_SCHEMA, read_groups, read_rows, write_shard

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
        ("phash_mirrored", pa.uint64()),
        ("layout", pa.binary(LAYOUT * LAYOUT * 3)),
    ]
)

# What is cached of a shard: not its name, which may change while its bytes don't, and the signatures, which are too
# large to be held for all images.
_CACHED_SCHEMA = pa.schema([*list(MEASURED_SCHEMA)[1:], ("signature", pa.binary()), ("cleared", pa.binary())])
_MENDED_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("damage", pa.string()),
        ("image", pa.binary()),
        ("was", pa.list_(pa.float64())),
        ("remains", pa.list_(pa.float64())),
    ]
)

# Measured together: enough that numpy's own cost for a call is small, and few enough for the processor's cache, where
# the pictures are small; where they are photographs, memory is what bounds them.
_BATCH, _BATCH_BYTES = 64, 1 << 24

# Of a row that is kept: the damage to repair, or null, and the measures.
KEPT_COLUMNS = ("row", "repair", *Measures._fields)
Kept = Mapping[int, tuple[str | None, Measures]]


class MeasureJob(NamedTuple):
    """A raw shard, the file that its measures are cached in, and the version of the code that does it."""

    shard: Path
    cached: Path
    code: str


def measure_shard(job: MeasureJob, image_size: int, nc: int, params: FilterParams) -> pa.Table:
    """Return the measures, hashes and layout of each image of a raw shard, MEASURED_SCHEMA; null if unreadable.

    They are read from job.cached, or written there, with the images' signatures.
    """
    require_code(job.code)
    # Signatures and all, so that a damaged file is found here.
    known = read_cached(job.cached, _CACHED_SCHEMA)
    if known is None:
        known = _measure(job.shard, image_size, nc, params)
        write_cached(known, job.cached)
    measured = known.select(MEASURED_SCHEMA.names[1:])
    return measured.add_column(0, "shard", pa.array([job.shard.name] * len(measured), pa.string()))


def _measure(shard: Path, image_size: int, nc: int, params: FilterParams) -> pa.Table:
    records: dict[int, dict[str, Any]] = {}

    def readable() -> Iterator[dict[str, Any]]:
        for row in read_rows(shard, ["row", "id", "path", "image", "split", "error"]):
            records[row["row"]] = {name: row[name] for name in ("row", "id", "path", "split")}
            records[row["row"]]["readable"] = row["error"] is None
            if row["error"] is None:
                yield row

    for rows, pictures in _decoded(readable()):
        for row, measured in zip(rows, _measured(pictures, image_size, nc, params), strict=True):
            records[row["row"]] |= {"bytes": len(row["image"]["bytes"]), **measured}
    return pa.Table.from_pylist(list(records.values()), schema=_CACHED_SCHEMA)


def _decoded(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[list[dict[str, Any]], list[Pixels]]]:
    """Yield rows and their pictures, RGB uint8 (H, W, 3), as many at a time as are worth it and memory allows."""
    some: list[dict[str, Any]] = []
    pictures: list[Pixels] = []
    for row in rows:
        some.append(row)
        pictures.append(decode_trusted(row["image"]["bytes"]))
        if len(some) == _BATCH or sum(pixels.nbytes for pixels in pictures) > _BATCH_BYTES:
            yield some, pictures
            some, pictures = [], []
    if some:
        yield some, pictures


def _measured(pictures: Sequence[Pixels], image_size: int, nc: int, params: FilterParams) -> Iterator[dict[str, Any]]:
    """Yield what is measured of each picture, columns of _CACHED_SCHEMA.

    Copies are told by what the net sees of them, the centre square, and of black and white ones the luma: cut or
    coloured otherwise outside of that, two pictures are one face in training. One with dots has a second signature, as
    their repair would leave it: flat art has dots of its own, which go where a dotted copy of it is repaired.
    """
    net = net_views(pictures, image_size)
    measures = measure_seen(pictures, net, params)
    squares = [centre_square(pixels) for pixels in pictures]
    upright, mirrored = phash(np.stack([thumbnail(square) for square in squares]))
    for pixels, square, view, numbers, *hashes in zip(
        pictures, squares, net, measures, upright.tolist(), mirrored.tolist(), strict=True
    ):
        # The net's view is what signature() reduces the square to first.
        signed = signature(view if len(square) >= len(view) == 2 * SIDE else square)
        laid_out = layout(square)
        cleared = None
        if numbers.impulses > 0:
            cleared = signature(replace_impulses(centre_square(work_view(pixels, params.work_side))))
        yield {
            **numbers._asdict(),
            "phash": hashes[0],
            "phash_mirrored": hashes[1],
            "layout": (laid_out if nc == 3 else _grey(laid_out)).tobytes(),
            "signature": (signed if nc == 3 else _grey(signed)).tobytes(),
            "cleared": None if cleared is None else (cleared if nc == 3 else _grey(cleared)).tobytes(),
        }


def _grey(pixels: Pixels) -> Pixels:
    """Return the luma of RGB uint8 (H, W, 3) in all three channels."""
    return np.repeat(luma(pixels)[:, :, None], 3, axis=2)


def read_signatures(wanted: tuple[Path, NDArray[np.int64]]) -> tuple[Signatures, Signatures, NDArray[np.bool_]]:
    """Return the signatures of those rows, int64 (N,), of a shard by its file of measures.

    Three arrays: uint8 (N, 32, 32, 3) as they are; (D, 32, 32, 3) without their dots, of those that have some; and
    which these are, bool (N,).
    """
    cached, rows = wanted
    table = pq.read_table(cached, columns=["row", "signature", "cleared"], partitioning=None)
    order = np.argsort(table["row"].to_numpy())
    table = table.take(order[np.searchsorted(table["row"].to_numpy(), rows, sorter=order)])
    dotted = table["cleared"].is_valid()
    return (*(_pictures(column) for column in (table["signature"], table["cleared"].filter(dotted))), dotted.to_numpy())


def _pictures(column: pa.ChunkedArray) -> Signatures:
    return np.frombuffer(b"".join(column.to_pylist()), np.uint8).reshape(-1, SIDE, SIDE, 3)


class CleanJob(NamedTuple):
    """What is to be written of a raw shard: the rows that are kept, as a table of KEPT_COLUMNS.

    cached: the file of pictures that were mended before; code: as in MeasureJob.
    """

    shard: Path
    target: Path
    cached: Path
    code: str
    kept: pa.Table


def clean_shard(job: CleanJob, image_size: int, params: FilterParams) -> dict[int, str]:
    """Write the kept images of a raw shard into the folder job.target, CLEAN_SCHEMA, and return the repairs made.

    The bytes stay as they are, except where a repair held or what the params ask of all changed something; then they
    are a PNG. Returns row → damage repaired, or a label of finish().
    """
    require_code(job.code)
    known = read_cached(job.cached, _MENDED_SCHEMA)
    mended = {(done["row"], done["damage"]): done for done in (known.to_pylist() if known is not None else [])}
    before = len(mended)
    repaired: dict[int, str] = {}
    rows_kept, damages, *columns = (job.kept[name].to_pylist() for name in KEPT_COLUMNS)
    kept: Kept = dict(zip(rows_kept, zip(damages, map(Measures, *columns), strict=True), strict=True))

    def rows() -> Iterator[dict[str, Any]]:
        for group in read_groups(job.shard, ["row", "id", "path", "image", "split"]):
            asked = [(row, *kept[row["row"]]) for row in group if row["row"] in kept]
            new = (row for row, damage, _ in asked if damage is not None and (row["row"], damage) not in mended)
            for some, pictures in _decoded(new):
                mended.update(_mend(some, pictures, kept, image_size, params))
            for row, damage, measured in asked:
                row["repair"] = None
                if damage is not None:
                    done = mended[row["row"], damage]
                    if holds(damage, Measures(*done["was"]), Measures(*done["remains"]), params):
                        row["image"] = {"bytes": done["image"], "path": row["image"]["path"]}
                        row["repair"] = repaired[row["row"]] = damage
                if asked_of_all(params):
                    finished = finish(decode_trusted(row["image"]["bytes"]), row["repair"], measured.gamma, params)
                    if finished is not None:
                        row["image"] = {"bytes": encode_png(finished[0]), "path": row["image"]["path"]}
                        row["repair"] = repaired[row["row"]] = finished[1]
                yield row

    write_shard(job.target / job.shard.name, rows(), CLEAN_SCHEMA)
    if len(mended) > before:
        write_cached(pa.Table.from_pylist(list(mended.values()), schema=_MENDED_SCHEMA), job.cached)
    return repaired


def _mend(
    rows: Sequence[Mapping[str, Any]], pictures: Sequence[Pixels], kept: Kept, image_size: int, params: FilterParams
) -> Iterator[tuple[tuple[int, str], dict[str, Any]]]:
    """Yield what was made of the damaged pictures of some rows: the row and the damage, and _MENDED_SCHEMA."""
    wanted = [kept[row["row"]] for row in rows]
    damaged = [Damaged(pixels, str(damage), was) for pixels, (damage, was) in zip(pictures, wanted, strict=True)]
    for row, one, (pixels, was, remains) in zip(rows, damaged, repair(damaged, image_size, params), strict=True):
        key = row["row"], one.damage
        yield key, dict(zip(_MENDED_SCHEMA.names, (*key, encode_png(pixels), was, remains), strict=True))
