"""Verdicts made up row by row, with the shards that belong to them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from pipeline.cleaning.decide import VERDICT_SCHEMA
from pipeline.cleaning.measures import Measures
from pipeline.codec import encode_jpeg
from pipeline.records import CLEAN_SCHEMA, RAW_SCHEMA, write_shard

GOOD = Measures(
    width=96, height=96, contrast=200, white=255, information=5, edges=0.6, blur=0.3, sharpness=0.7, noise=1,
    impulses=0, blockiness=1, gamma=1,
)._asdict()  # fmt: skip

# What each fate measures, by how severe it is, from 0 (just over the threshold) to 1.
FATES: dict[str, Callable[[float], dict[str, Any]]] = {
    "aspect": lambda s: {"reason": "aspect", "width": 96 * (3.1 + 3 * s)},
    "too small": lambda s: {"reason": "too small", "height": 31 - 20 * s, "width": 40},
    "uniform": lambda s: {"reason": "uniform", "information": 1.0 - s},
    "blurry": lambda s: {"reason": "blurry", "blur": 0.49 + s / 3, "sharpness": 0.2 - s / 8},
    "exact duplicate": lambda _: {"reason": "exact duplicate", "duplicate_of": 0, "difference": 0.0},
    "near duplicate": lambda s: {"reason": "near duplicate", "duplicate_of": 0, "difference": 0.19 - s / 6},
    "holdout twin": lambda s: {"reason": "holdout twin", "duplicate_of": 1, "difference": 0.19 - s / 6},
    "unreadable": lambda _: {"reason": "unreadable", "id": None, **dict.fromkeys(GOOD)},
    "impulse noise": lambda s: {"repair": "impulse noise", "impulses": 0.008 + s / 20},
    "gaussian noise": lambda s: {"repair": "gaussian noise", "noise": 7.5 + 20 * s},
    "faded": lambda s: {"repair": "faded", "contrast": 105 - 60 * s, "white": 240 - 60 * s},
    "bright": lambda s: {"repair": "bright", "gamma": 0.34 - s / 6},
    "dark": lambda s: {"repair": "dark", "gamma": 2.6 + 2 * s},
    "jpeg blocks": lambda s: {"repair": "jpeg blocks", "blockiness": 2.4 + 2 * s},
    "not cured": lambda s: {"noise": 7.5 + 20 * s},
    "good": lambda s: {"blur": 0.45 - s / 4, "sharpness": 0.22 + s / 4, "gamma": 1 + s},
}


class Heap(NamedTuple):
    """The verdicts (VERDICT_SCHEMA), and the folders of the shards that they are about."""

    verdicts: pa.Table
    raw: Path
    clean: Path


def make_verdicts(fates: Sequence[str]) -> pa.Table:
    """Return a verdict for each fate; of those of one kind the first is the most borderline."""
    places = {fate: iter(np.linspace(0, 1, max(fates.count(fate), 2))) for fate in set(fates)}
    records = []
    for row, fate in enumerate(fates):
        record = dict.fromkeys(VERDICT_SCHEMA.names) | GOOD | {"row": row, "path": f"<{fate}>/{row}.png"}
        record |= {"split": "holdout" if row == 1 else "train", "id": hashlib.sha256(str(row).encode()).hexdigest()}
        record |= FATES[fate](float(next(places[fate])))
        records.append({**record, "kept": record["reason"] is None})
    return pa.Table.from_pylist(records, schema=VERDICT_SCHEMA)


def with_repairs(verdicts: pa.Table, repairs: Sequence[str | None]) -> pa.Table:
    """Return the verdicts with other repairs."""
    at = verdicts.schema.get_field_index("repair")
    return verdicts.set_column(at, verdicts.schema.field("repair"), pa.array(repairs, pa.string()))


def write_shards(verdicts: pa.Table, folder: Path, picture: Callable[[int], bytes]) -> tuple[Path, Path]:
    """Write the raw and the clean shard of verdicts: picture(row) the encoded image of either."""
    rows = verdicts.select(["row", "path", "reason", "kept"]).to_pylist()
    images = {row["row"]: picture(row["row"]) if row["reason"] != "unreadable" else None for row in rows}
    raw = (
        {
            "row": row["row"],
            "path": row["path"],
            "image": {"bytes": images[row["row"]], "path": row["path"]},
            "error": "<empty> file" if images[row["row"]] is None else None,
        }
        for row in rows
    )
    clean = ({"row": row["row"], "image": {"bytes": images[row["row"]]}} for row in rows if row["kept"])
    write_shard(folder / "raw" / "0.parquet", raw, RAW_SCHEMA)
    write_shard(folder / "clean" / "0.parquet", clean, CLEAN_SCHEMA)
    return folder / "raw", folder / "clean"


def noise_picture(row: int) -> bytes:
    """Return a JPEG that compresses as badly as any of its size."""
    return encode_jpeg(np.random.default_rng(row).integers(0, 256, (96, 96, 3)).astype(np.uint8), 95)


@pytest.fixture(scope="session")
def fates() -> list[str]:
    return list(FATES)


@pytest.fixture(scope="session")
def verdicts_of() -> Callable[[Sequence[str]], pa.Table]:
    return make_verdicts


@pytest.fixture(scope="session")
def repairs_of() -> Callable[[pa.Table, Sequence[str | None]], pa.Table]:
    return with_repairs


@pytest.fixture(scope="session")
def shards_of() -> Callable[..., tuple[Path, Path]]:
    return lambda verdicts, folder: write_shards(verdicts, folder, noise_picture)


@pytest.fixture(scope="session")
def heap(tmp_path_factory: pytest.TempPathFactory) -> Heap:
    """60 blurry pictures, three of every other fate, and 40 good ones, the first two of which are copied."""
    fates = ["good", "good", *["blurry"] * 60, *[fate for fate in FATES if fate != "blurry"] * 3, *["good"] * 38]
    verdicts = make_verdicts(fates)
    return Heap(verdicts, *write_shards(verdicts, tmp_path_factory.mktemp("heap"), noise_picture))
