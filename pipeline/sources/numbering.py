"""Number the rows of shards through, where how many a shard holds is known only once it is written."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic import whole_file
from pipeline.records import shard_paths, shard_sizes
from pipeline.workers import Workers


def number_rows(folder: Path, workers: Workers) -> None:
    """Set the column `row` of a folder's shards to 0, 1, 2, …, in the order of the shards."""
    shards = shard_paths(folder)
    sizes = shard_sizes(shards)
    first_rows: Sequence[int] = list(accumulate(sizes, initial=0))[:-1]
    for _ in workers.map(_number_shard, list(zip(shards, first_rows, strict=True)), label="number", sizes=sizes):
        pass


def _number_shard(job: tuple[Path, int]) -> None:
    """Write a shard anew with its rows numbered from a first one; memory holds one row group.

    The numbers are set and not added to, because a cluster that loses a worker may do this twice.
    """
    shard, first = job
    with (
        pq.ParquetFile(shard) as file,
        whole_file(shard) as temporary,
        pq.ParquetWriter(temporary, file.schema_arrow, compression="none", write_page_checksum=True) as writer,
    ):
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            numbers = pa.array(range(first, first + table.num_rows), pa.int64())
            writer.write_table(table.set_column(table.schema.get_field_index("row"), "row", numbers))
            first += table.num_rows
