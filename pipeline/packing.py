"""From shards to the packed face arrays: resized, cropped, and written without ever holding them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic import empty_folder, whole_file
from pipeline.codec import Pixels, decode_trusted
from pipeline.errors import StageError
from pipeline.faces import FEWEST, SUMS, Faces, sum_line
from pipeline.records import read_rows, require_shards
from pipeline.workers import Workers

INDEX_SCHEMA = pa.schema([("array", pa.string()), ("index", pa.int64()), ("row", pa.int64()), ("id", pa.string())])


def resize_face(pixels: Pixels, image_size: int, nc: int) -> Faces:
    """Return pixels, RGB uint8 (H, W, 3), as uint8 (image_size, image_size, nc): the centre square, resized.

    Antialiased bilinear, by torchvision; nc 1 is the luma of ITU-R BT.601. The square is cut first: resized whole, a
    picture of one row of pixels would fill the memory.
    """
    import torch
    from torchvision.transforms.v2 import functional

    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)  # (3, H, W), channels last in memory
    image = functional.center_crop(image, [min(pixels.shape[:2])])
    image = functional.resize(image, [image_size, image_size], antialias=True)
    face: Faces = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    return face if nc == 3 else cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.uint8, copy=False)


@dataclass(frozen=True)
class ArraySource:
    """Where an array's faces come from: the shards' folder, the columns to choose by, and which rows and bytes."""

    name: str
    folder: Path
    columns: tuple[str, ...]
    wants: Callable[[dict[str, Any]], bool]
    data: Callable[[dict[str, Any]], bytes]


def _own_bytes(row: dict[str, Any]) -> bytes:
    data: bytes = row["image"]["bytes"]
    return data


def _pristine_bytes(row: dict[str, Any]) -> bytes:
    return row["pristine"] or _own_bytes(row)


def _is_train(row: dict[str, Any]) -> bool:
    return bool(row["split"] == "train")


def _is_holdout(row: dict[str, Any]) -> bool:
    return bool(row["split"] == "holdout")


def _is_readable_holdout(row: dict[str, Any]) -> bool:
    return _is_holdout(row) and row["error"] is None


def _is_holdout_original(row: dict[str, Any]) -> bool:
    """Whether a recipe made the image for the holdout and it copies no other; a folder's images have no truth.

    A clean one that the import refused has no undamaged original beside it.
    """
    is_there = row["error"] is None or row["truth"] != "clean"
    return _is_holdout(row) and row["truth"] is not None and row["truth_copy_of"] is None and is_there


def array_sources(raw: Path, clean: Path) -> list[ArraySource]:
    """Return the four arrays and what goes into each.

    holdout_raw and holdout_pristine are independent of every filter setting: rulers that no setting moves.
    """
    return [
        ArraySource("train", clean, ("split",), _is_train, _own_bytes),
        ArraySource("holdout_clean", clean, ("split",), _is_holdout, _own_bytes),
        ArraySource("holdout_raw", raw, ("split", "error"), _is_readable_holdout, _own_bytes),
        ArraySource(
            "holdout_pristine",
            raw,
            ("split", "error", "truth", "truth_copy_of", "pristine"),
            _is_holdout_original,
            _pristine_bytes,
        ),
    ]


@dataclass(frozen=True)
class _Job:
    source: ArraySource
    shard: Path
    rows: int


def _resize_shard(job: _Job, image_size: int, nc: int) -> tuple[list[int], list[str], Faces]:
    faces = np.empty((job.rows, image_size, image_size, nc), np.uint8)
    numbers: list[int] = []
    ids: list[str] = []
    for row in read_rows(job.shard, ("row", "id", "image", *job.source.columns)):
        if job.source.wants(row):
            faces[len(numbers)] = resize_face(decode_trusted(job.source.data(row)), image_size, nc)
            numbers.append(row["row"])
            ids.append(row["id"])
    return numbers, ids, faces


def _count(source: ArraySource, shard: Path) -> int:
    columns = [name for name in source.columns if name != "pristine"]
    return sum(1 for row in read_rows(shard, columns) if source.wants(row))


def pack_faces(raw: Path, clean: Path, target: Path, image_size: int, nc: int, workers: Workers) -> dict[str, int]:
    """Write the arrays and index.parquet into the folder target; return the number of faces in each array.

    holdout_pristine is written where there is one (a recipe's images). Memory holds a few shards' faces, whatever the
    number of images. StageError where nothing is left to train on, or too
    little to measure with.
    """
    jobs: dict[str, list[_Job]] = {}
    for source in array_sources(raw, clean):
        shards = require_shards(source.folder, "crawl-import" if source.folder == raw else "filter")
        jobs[source.name] = [_Job(source, shard, _count(source, shard)) for shard in shards]
    counts = {name: sum(job.rows for job in part) for name, part in jobs.items()}
    if not counts["train"]:
        raise StageError("no face is left to train on; reports/filter.html says why, filter in params.yaml loosens it")
    if not counts["holdout_pristine"]:
        del jobs["holdout_pristine"], counts["holdout_pristine"]
    if small := [name for name, count in counts.items() if count < FEWEST]:
        raise StageError(
            f"{small[0]} would have {counts[small[0]]} faces, and measuring needs at least {FEWEST}; give more images, "
            "or change crawl.holdout_fraction"
        )

    empty_folder(target)
    flat = [job for part in jobs.values() for job in part]
    resized = workers.map(
        partial(_resize_shard, image_size=image_size, nc=nc), flat, label="resize", sizes=[job.rows for job in flat]
    )
    with ExitStack() as stack:
        index = pq.ParquetWriter(stack.enter_context(whole_file(target / "index.parquet")), INDEX_SCHEMA)
        stack.enter_context(index)
        for name, part in jobs.items():
            with whole_file(target / f"{name}.npy") as path:
                for table in _write_array(path, name, (counts[name], image_size, image_size, nc), len(part), resized):
                    index.write_table(table)
    lines = [sum_line(path) for path in sorted(target.iterdir())]
    with whole_file(target / SUMS) as path:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return counts


def _write_array(
    path: Path,
    name: str,
    shape: tuple[int, int, int, int],
    shards: int,
    resized: Iterator[tuple[list[int], list[str], Faces]],
) -> Iterator[pa.Table]:
    """Write the next so many shards of faces as one .npy file; yield the index of each."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        start = 0
        for _ in range(shards):
            numbers, ids, faces = next(resized)
            faces.tofile(file)
            span = range(start, start + len(numbers))
            start = span.stop
            columns = {"array": [name] * len(span), "index": list(span), "row": numbers, "id": ids}
            yield pa.table(columns, schema=INDEX_SCHEMA)
