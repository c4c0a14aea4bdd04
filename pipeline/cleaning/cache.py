"""What was measured and mended before: kept outside DVC's outs, so that trying a threshold decodes nothing twice.

DVC empties a stage's outs before it runs, so the cache is in the main checkout's .pipeline folder. A file holds what
was made of one shard and is named by all that it depends on: the shard's bytes, the code, the libraries that decode and
filter, and the settings that are no mere threshold. Whatever is missing or cannot be read is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

import pipeline.codec
from pipeline.atomic import whole_file
from pipeline.cleaning.measures import MEASURED_BY
from pipeline.cleaning.verdict import COPY_RULES, DROP_RULES, REPAIR_RULES
from pipeline.digest import file_digest
from pipeline.errors import StageError
from pipeline.params import FilterParams

_LIBRARIES = ("opencv-python-headless", "pillow", "numpy", "scipy", "scikit-image", "PyWavelets")

# What decides on measures that are taken, or comes after the mending: all other settings can change a mended picture.
_DECIDING = {rule.param for rules in (DROP_RULES, REPAIR_RULES, COPY_RULES) for some in rules.values() for rule in some}
_SWITCHES = {"enabled", "dedup", "blur", "repair", "mirrored", "hash_distance", "min_layout", "max_tint"}
_OTHER = {"denoise_all", "tone_all", "cache_days"}


class Cached(NamedTuple):
    """Where what was made before is: the measures, by the shards' names, and the comparisons."""

    measures: Mapping[str, Path]
    compared: Path


def measures_file(folder: Path, digest: str, image_size: int, nc: int, params: FilterParams) -> Path:
    """Return where the measures of the shard with that digest belong."""
    settings = params.model_dump(include=set(MEASURED_BY))
    return _file(folder, "measures", digest, {"image_size": image_size, "nc": nc, **settings})


def mended_file(folder: Path, digest: str, image_size: int, params: FilterParams) -> Path:
    """Return where the mended pictures of the shard with that digest belong."""
    settings = params.model_dump(exclude=_DECIDING | _SWITCHES | _OTHER)
    return _file(folder, "mended", digest, {"image_size": image_size, **settings})


def compared_file(folder: Path, digests: Sequence[str], nc: int, params: FilterParams) -> Path:
    """Return where the comparisons between pictures of the shards with those digests belong."""
    settings = params.model_dump(include={*MEASURED_BY, "max_difference"})
    return _file(folder, "compared", "".join(digests), {"nc": nc, **settings})


def read_cached(path: Path, schema: pa.Schema) -> pa.Table | None:
    """Return a cached table, or None where there is none of that schema; it counts as used today.

    A file's pages have checksums; its footer, by which they are read, has none.
    """
    try:
        os.utime(path)
        found = pq.read_table(path, partitioning=None, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return None
    return found if found.schema.equals(schema) else None


def write_cached(table: pa.Table, path: Path) -> None:
    """Write a table, whole or not at all."""
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def forget_unused(folder: Path, days: float) -> None:
    """Delete what no run has used for so many days, and what killed ones left; another may be at work in the folder."""
    oldest = time.time() - days * 86400
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def _file(folder: Path, kind: str, digest: str, settings: Mapping[str, Any]) -> Path:
    key = json.dumps([digest, CODE, settings], sort_keys=True)
    return folder / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.parquet"


def _code() -> str:
    """Return what tells one version of what decodes, measures and mends, and of its libraries, from another."""
    folder = Path(__file__).parent
    files = [Path(pipeline.codec.__file__), *(path for path in sorted(folder.iterdir()) if path.is_file())]
    told = [file_digest(path) for path in files] + [version(name) for name in _LIBRARIES]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


# Taken when the code is loaded, which may be long before it is used.
CODE = _code()


def require_code(code: str) -> None:
    """Raise StageError unless code is CODE here: a worker that was started before a change would do the old work."""
    if code != CODE:
        raise StageError("a worker runs another version of the code, or of its libraries; start the workers anew")
