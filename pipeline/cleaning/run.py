"""The filter from end to end: measure every image, decide, write the kept ones."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pyarrow as pa

from pipeline.atomic import remove_unfinished
from pipeline.cleaning.decide import decide
from pipeline.cleaning.inspect import CleanJob, clean_shard, measure_shard
from pipeline.params import FilterParams
from pipeline.records import require_shards, shard_sizes
from pipeline.workers import Workers


def filter_shards(raw: Path, clean: Path, image_size: int, params: FilterParams, workers: Workers) -> pa.Table:
    """Filter the raw shards of one folder into shards of the same names in another, and return the verdicts.

    The table is VERDICT_SCHEMA in row order, `repair` being what was done. The folder clean is emptied first.
    StageError where there are no raw shards.
    """
    shards = require_shards(raw, "crawl-import")
    sizes = shard_sizes(shards)
    measuring = partial(measure_shard, image_size=image_size, work_side=params.work_side)
    measured = pa.concat_tables(workers.map(measuring, shards, label="filter: measure", sizes=sizes))
    verdicts = decide(measured, raw.absolute(), params, workers)

    shutil.rmtree(clean, ignore_errors=True)
    clean.mkdir(parents=True)
    jobs = _clean_jobs(measured, verdicts, shards, clean.absolute())
    cleaning = partial(clean_shard, image_size=image_size, params=params)
    repaired: dict[int, str] = {}
    for done in workers.map(cleaning, jobs, label="filter: clean", sizes=[len(job.kept) for job in jobs]):
        repaired |= done
    remove_unfinished(clean)
    repairs = pa.array([repaired.get(row) for row in verdicts["row"].to_pylist()], pa.string())
    return verdicts.set_column(verdicts.schema.get_field_index("repair"), verdicts.schema.field("repair"), repairs)


def _clean_jobs(measured: pa.Table, verdicts: pa.Table, shards: list[Path], clean: Path) -> list[CleanJob]:
    kept = verdicts.filter(verdicts["kept"])
    wanted = dict(
        zip(
            kept["row"].to_pylist(),
            zip(kept["repair"].to_pylist(), kept["gamma"].to_pylist(), strict=True),
            strict=True,
        )
    )
    rows, names = measured["row"].to_numpy(), measured["shard"].to_numpy()
    return [
        CleanJob(shard, clean, {row: wanted[row] for row in rows[names == shard.name].tolist() if row in wanted})
        for shard in shards
    ]
