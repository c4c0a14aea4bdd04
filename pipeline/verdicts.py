"""data/verdicts.parquet: the filter's table, with the thresholds that it was made with in the file's metadata."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.atomic import whole_file
from pipeline.errors import StageError
from pipeline.params import FilterParams
from pipeline.records import open_shard

_KEY = b"filter_params"
_CHANGES_NOTHING = "cache_days"  # what decides no verdict shall change no byte


def write_verdicts(verdicts: pa.Table, params: FilterParams, path: Path) -> None:
    """Write the table and its params: params.yaml may be another one by the time somebody asks why."""
    metadata = {**(verdicts.schema.metadata or {}), _KEY: params.model_dump_json(exclude={_CHANGES_NOTHING}).encode()}
    with whole_file(path) as temporary:
        pq.write_table(verdicts.replace_schema_metadata(metadata), temporary, write_page_checksum=True)


def read_verdicts(path: Path, now: FilterParams) -> tuple[pa.Table, FilterParams | None]:
    """Return the table and the params that made it, None where an older or newer version of this code wrote it.

    A param that changes no verdict is as in now. StageError where there is no such file, or it is damaged.
    """
    if not path.exists():
        raise StageError(f"{path} is missing; run 'dvc repro filter' first")
    with open_shard(path) as file:
        verdicts = file.read()
    try:
        noted = json.loads((verdicts.schema.metadata or {}).get(_KEY, b""))
        return verdicts, FilterParams.model_validate({**noted, _CHANGES_NOTHING: getattr(now, _CHANGES_NOTHING)})
    except (ValueError, TypeError):  # pydantic's ValidationError is a ValueError
        return verdicts, None
