"""The filter from end to end: measure every image, decide, write the kept ones."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.atomic import empty_folder, remove_unfinished
from pipeline.cleaning.cache import CODE, Cached, compared_file, forget_unused, measures_file, mended_file
from pipeline.cleaning.decide import decide
from pipeline.cleaning.duplicates import Rows
from pipeline.cleaning.inspect import KEPT_COLUMNS, CleanJob, MeasureJob, clean_shard, measure_shard
from pipeline.digest import file_digest
from pipeline.params import FilterParams
from pipeline.records import require_shards, shard_sizes
from pipeline.workers import Workers


def filter_shards(
    raw: Path, clean: Path, cache: Path, image_size: int, nc: int, params: FilterParams, workers: Workers
) -> pa.Table:
    """Filter the raw shards of one folder into shards of the same names in another, and return the verdicts.

    The table is VERDICT_SCHEMA in row order, `repair` being what was done. The folder clean is emptied first; the
    folder cache keeps what was measured and mended for the next time. StageError where there are no raw shards.
    """
    shards = require_shards(raw, "crawl-import")
    sizes = shard_sizes(shards)
    digests = dict(zip(shards, workers.map(file_digest, shards, label="filter: look up", sizes=sizes), strict=True))
    cache = cache.absolute()
    measures = {shard: measures_file(cache, digests[shard], image_size, nc, params) for shard in shards}
    compared = compared_file(cache, list(digests.values()), nc, params)
    jobs = [MeasureJob(shard, measures[shard], CODE) for shard in shards]
    measuring = workers.map(
        partial(measure_shard, image_size=image_size, nc=nc, params=params), jobs, label="filter: measure", sizes=sizes
    )
    cached = Cached({shard.name: path for shard, path in measures.items()}, compared)
    verdicts, rows = _judged(pa.concat_tables(measuring), sizes, cached, params, workers)

    empty_folder(clean)
    mended = [mended_file(cache, digests[shard], image_size, params) for shard in shards]
    writing = [
        CleanJob(shard, clean.absolute(), cached, CODE, kept)
        for shard, cached, kept in zip(shards, mended, _kept(verdicts, rows), strict=True)
    ]
    cleaning = partial(clean_shard, image_size=image_size, params=params)
    repaired: dict[int, str] = {}
    for done in workers.map(cleaning, writing, label="filter: clean", sizes=[len(job.kept) for job in writing]):
        repaired |= done
    remove_unfinished(clean)
    forget_unused(cache, params.cache_days)
    repairs = pa.array([repaired.get(row) for row in verdicts["row"].to_pylist()], pa.string())
    return verdicts.set_column(verdicts.schema.get_field_index("repair"), verdicts.schema.field("repair"), repairs)


def _judged(
    measured: pa.Table, sizes: list[int], cached: Cached, params: FilterParams, workers: Workers
) -> tuple[pa.Table, list[Rows]]:
    """Return the verdicts on images measured shard by shard, and the rows of each shard, which has so many."""
    rows = np.split(measured["row"].to_numpy(), np.cumsum(sizes)[:-1])
    # By its own name, so that there is one such table at a time: they grow with the images.
    measured = measured.sort_by("row")
    return decide(measured, cached, params, workers), rows


def _kept(verdicts: pa.Table, shards: list[Rows]) -> Iterator[pa.Table]:
    """Yield what is kept of each shard, given by its rows: a table of KEPT_COLUMNS, of 110 bytes a picture."""
    decided = verdicts.select([*KEPT_COLUMNS, "kept"])
    order = np.argsort(decided["row"].to_numpy())
    ordered = decided["row"].to_numpy()[order]
    for held in shards:
        some = decided.take(order[np.searchsorted(ordered, held)])
        yield some.filter(some["kept"]).select(KEPT_COLUMNS)
