"""How the filter's time and memory grow with the pictures: python -m benchmarks.filter_scale PATH.

PATH is a folder of faces (8,000 of 96×96, say). Pictures are made of each by cutting out 90 to 100 % of the side at a
random place, mirroring one half, changing each channel's gain, and encoding as JPEG; one in twenty is the picture
before it, encoded again. The same number is made of each face at both sizes (of 8,000 faces, 64,000 take eight each,
and 8,000 are those of the first 1,000), so the share of copies, a third to a half, is the same, while strangers with a
close hash grow with the square, as they do in truth: 8,000 real faces have 0.23 pairs of close hashes a picture. The
last line of the table gives those here. The shards are made beforehand and not timed.

Each run is a fresh process with its own workers, which have loaded their libraries. Time is split by the label of the
workers' task; the rest, in the main process, is the search for close hashes, the layouts and the verdicts. Memory is
the PSS (pages shared with other processes count in parts) of the process and all its workers together, sampled five
times a second.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pyarrow as pa

from benchmarks.filter_quality import warm_up
from benchmarks.memory import peak_memory
from pipeline.cleaning.hashing import close_pairs
from pipeline.cleaning.run import filter_shards
from pipeline.codec import Pixels, decode
from pipeline.params import load_params
from pipeline.records import RAW_SCHEMA, write_shard
from pipeline.sources.importing import to_row
from pipeline.sources.items import SHARD_IMAGES, Item
from pipeline.workers import Workers, open_workers

SIDE, COPIES = 96, 20


def variant(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Return another picture made of one: RGB uint8 (96, 96, 3), cut, perhaps mirrored, and tinted."""
    height, width = pixels.shape[:2]
    side = int(min(height, width) * rng.uniform(0.9, 1.0))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    part = cv2.resize(pixels[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    part = part[:, ::-1] if rng.random() < 0.5 else part
    return np.clip(part * rng.uniform(0.8, 1.1, 3), 0, 255).astype(np.uint8)


def as_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Return a picture as the bytes of a JPEG."""
    return cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def make_shard(number: int, faces: Sequence[Path], each: int, target: Path) -> int:
    """Write one raw shard of SHARD_IMAGES pictures, so many made of each face, and return its number of images."""
    crawl = load_params().crawl
    rng = np.random.default_rng(number)

    def rows() -> Iterator[dict[str, Any]]:
        pixels: Pixels | None = None
        for row in range(number * SHARD_IMAGES, (number + 1) * SHARD_IMAGES):
            if pixels is None or row % COPIES:
                face = decode(faces[row // each % len(faces)].read_bytes(), crawl.max_pixels)
                pixels = variant(face, rng)
            data = as_jpeg(pixels, int(rng.integers(70, 96)))
            yield to_row(row, Item(path=f"{row}.jpg", data=data, source="filter_scale"), crawl)

    return write_shard(target / f"{number:05d}.parquet", rows(), RAW_SCHEMA)


class TimedWorkers(Workers):
    """Workers that add up, by label, the seconds from a task's start to its last result."""

    def __init__(self, workers: Workers) -> None:
        super().__init__(workers._submit, workers._threads)
        self.seconds = Counter[str]()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], *, label: str, sizes: Sequence[int]) -> Any:
        """Yield what Workers.map does."""
        started = time.monotonic()
        yield from super().map(function, items, label=label, sizes=sizes)
        self.seconds[label] += time.monotonic() - started


def filtered(raw: Path, clean: Path, processes: int) -> dict[str, Any]:
    """Filter a folder of shards, in a process of its own, and return its figures."""
    params = load_params()
    with peak_memory(psutil.Process()) as peak, open_workers(processes) as workers:
        warm_up(workers, processes)
        timed = TimedWorkers(workers)
        started = time.monotonic()
        verdicts: pa.Table = filter_shards(
            raw, clean, clean / "cache", params.image_size, params.nc, params.filter, timed
        )
        total = time.monotonic() - started
    hashes = np.array([int(bits, 16) for bits in verdicts["phash"].to_pylist()], np.uint64)
    return {
        "seconds": dict(timed.seconds) | {"main process": total - timed.seconds.total(), "in all": total},
        "peak_mb": peak[0] / 1e6,
        "kept": int(np.sum(verdicts["kept"].to_numpy())),
        "pairs": len(close_pairs(hashes, params.filter.hash_distance)) / len(hashes),
    }


def compare(faces: Sequence[Path], work: Path, counts: Sequence[int], processes: int) -> dict[str, Any]:
    """Make, filter, print the table, and return the headline figures."""
    results = []
    each = -(-counts[-1] // len(faces))
    for count in counts:
        raw, clean = work / "raw", work / "clean"
        shards = range(len(list(raw.glob("*"))), count // SHARD_IMAGES)
        make = partial(make_shard, faces=faces, each=each, target=raw)
        with open_workers(processes) as workers:
            list(workers.map(make, shards, label=f"make {count}", sizes=[SHARD_IMAGES] * len(shards)))
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            results.append(process.submit(filtered, raw, clean, processes).result())
    few, many = results
    growth = counts[1] / counts[0]
    print(f"{'seconds':22} {counts[0]:>9,} {counts[1]:>9,} {f'ratio / {growth:g}':>12}")
    for label, seconds in many["seconds"].items():
        before = few["seconds"].get(label, 0.0)
        print(f"{label:22} {before:9.2f} {seconds:9.2f} {seconds / max(before, 1e-9) / growth:12.2f}")
    for label in ("peak_mb", "kept", "pairs"):
        print(f"{label:22} {few[label]:9.2f} {many[label]:9.2f}")
    ratio = many["seconds"]["in all"] / few["seconds"]["in all"]
    return {
        "images": counts[1],
        "ratio": round(ratio, 2),
        "ratio_over_linear": round(ratio / growth, 3),
        "peak_mb": round(many["peak_mb"]),
        "img_per_s": round(counts[1] / many["seconds"]["in all"], 1),
    }


def main() -> None:
    """Compare both sizes and print one line of JSON last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--few", type=int, default=8000)
    parser.add_argument("--many", type=int, default=64000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    counts = arguments.few, arguments.many
    if not 0 < counts[0] < counts[1] or any(count % SHARD_IMAGES for count in counts):
        parser.error(f"--few and --many are multiples of {SHARD_IMAGES}, the second the larger one")
    faces = sorted(path for path in arguments.path.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as folder:
        figures = compare(faces, Path(folder), counts, arguments.workers)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
