from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.codec import encode_png
from pipeline.errors import StageError
from pipeline.faces import load_faces
from pipeline.packing import pack_faces, resize_face
from pipeline.records import CLEAN_SCHEMA, RAW_SCHEMA, write_shard
from pipeline.workers import Workers, open_workers


def flat(value: int) -> bytes:
    return encode_png(np.full((8, 8, 3), value, np.uint8))


def raw_row(row: int, split: str, truth: str | None = None, **other) -> dict:
    image = {"bytes": flat(row), "path": ""}
    return {"row": row, "id": f"id{row}", "path": f"{row}", "image": image, "split": split, "truth": truth} | other


# Rows 0–3 train, 4–7 holdout; 1 and 5 are rejected by the filter, 6 is repaired, 7 is unreadable.
def write_shards(folder: Path, *, recipe: bool) -> tuple[Path, Path]:
    raw = [raw_row(row, "train" if row < 4 else "holdout", "clean" if recipe else None) for row in range(8)]
    if recipe:
        raw[4] |= {"truth": "dark", "pristine": flat(104)}
        raw[5] |= {"truth": "exact_duplicate", "truth_copy_of": 6}
        raw[7] |= {"truth": "unreadable", "pristine": flat(107)}
    raw[7] |= {"error": "truncated", "image": {"bytes": None, "path": ""}}
    clean = [{name: raw[row].get(name) for name in CLEAN_SCHEMA.names} for row in (0, 2, 3, 4, 6)]
    clean[4] |= {"image": {"bytes": flat(206), "path": ""}, "repair": "median"}
    for number in range(2):
        write_shard(folder / f"raw/{number}.parquet", iter(raw[4 * number : 4 * number + 4]), RAW_SCHEMA)
        part = [row for row in clean if row["row"] // 4 == number]
        write_shard(folder / f"clean/{number}.parquet", iter(part), CLEAN_SCHEMA)
    return folder / "raw", folder / "clean"


def values(folder: Path, name: str) -> list[int]:
    return [int(face[0, 0, 0]) for face in load_faces(name, folder)]


@pytest.mark.parametrize("processes", [0, 2])
def test_what_goes_into_each_array(tmp_path: Path, processes: int) -> None:
    raw, clean = write_shards(tmp_path, recipe=True)
    with open_workers(processes) as workers:
        counts = pack_faces(raw, clean, tmp_path / "faces", 32, 3, workers)
    assert counts == {"train": 3, "holdout_clean": 2, "holdout_raw": 3, "holdout_pristine": 3}
    assert values(tmp_path / "faces", "train") == [0, 2, 3]
    assert values(tmp_path / "faces", "holdout_clean") == [4, 206]
    assert values(tmp_path / "faces", "holdout_raw") == [4, 5, 6]
    assert values(tmp_path / "faces", "holdout_pristine") == [104, 6, 107]
    assert load_faces("train", tmp_path / "faces").shape == (3, 32, 32, 3)


def test_index_leads_back_to_the_rows(tmp_path: Path) -> None:
    raw, clean = write_shards(tmp_path, recipe=False)
    pack_faces(raw, clean, tmp_path / "faces", 32, 3, Workers(None, 0))
    index = pq.read_table(tmp_path / "faces/index.parquet").to_pylist()
    assert [(entry["array"], entry["index"], entry["row"], entry["id"]) for entry in index] == [
        *(("train", place, row, f"id{row}") for place, row in enumerate([0, 2, 3])),
        *(("holdout_clean", place, row, f"id{row}") for place, row in enumerate([4, 6])),
        *(("holdout_raw", place, row, f"id{row}") for place, row in enumerate([4, 5, 6])),
    ]


def test_a_crawl_has_no_pristine_ruler(tmp_path: Path) -> None:
    raw, clean = write_shards(tmp_path, recipe=False)
    counts = pack_faces(raw, clean, tmp_path / "faces", 32, 3, Workers(None, 0))
    assert "holdout_pristine" not in counts
    with pytest.raises(StageError, match="dvc repro resize"):
        load_faces("holdout_pristine", tmp_path / "faces")


def test_nothing_left_to_train_on(tmp_path: Path) -> None:
    raw, clean = write_shards(tmp_path, recipe=False)
    for shard in clean.iterdir():
        write_shard(shard, iter([]), CLEAN_SCHEMA)
    with pytest.raises(StageError, match="no face is left"):
        pack_faces(raw, clean, tmp_path / "faces", 32, 3, Workers(None, 0))


@pytest.mark.parametrize(
    ("shape", "kept"),
    [
        pytest.param((32, 96), (slice(None), slice(32, 64)), id="wide"),
        pytest.param((96, 32), (slice(32, 64),), id="tall"),
    ],
)
def test_centre_is_kept(shape: tuple[int, int], kept: tuple[slice, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_face(pixels, 32, 3), pixels[kept])


def test_shrinking_is_antialiased() -> None:
    """A checkerboard of single pixels has no detail that survives at a quarter of its size: all is grey."""
    checkers = np.indices((128, 128)).sum(axis=0)[:, :, None] % 2 * np.full(3, 255)
    assert np.abs(resize_face(checkers.astype(np.uint8), 32, 3).astype(int) - 127.5).max() < 8


def test_one_channel_is_luma() -> None:
    green = np.zeros((32, 32, 3), np.uint8)
    green[:, :, 1] = 255
    face = resize_face(green, 32, 1)
    assert face.shape == (32, 32, 1)
    assert (face == 150).all()  # 0.587 × 255 = 149.7
