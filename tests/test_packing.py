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
from tests.memory import measured


def flat(value: int) -> bytes:
    return encode_png(np.full((8, 8, 3), value, np.uint8))


def raw_row(row: int, split: str, truth: str | None = None, **other) -> dict:
    image = {"bytes": flat(row), "path": ""}
    return {"row": row, "id": f"id{row}", "path": f"{row}", "image": image, "split": split, "truth": truth} | other


# Rows 0–7 are train, of which 1, 4 and 5 are rejected; 8–15 holdout, of which 9, 12 and 13 are rejected, 10 is
# repaired and 15 unreadable.
TRAIN, HOLDOUT_CLEAN, HOLDOUT_RAW = [0, 2, 3, 6, 7], [8, 10, 11, 14], [8, 9, 10, 11, 12, 13, 14]


def write_shards(folder: Path, *, recipe: bool, kept: list[int] = TRAIN + HOLDOUT_CLEAN) -> tuple[Path, Path]:
    raw = [raw_row(row, "train" if row < 8 else "holdout", "clean" if recipe else None) for row in range(16)]
    if recipe:
        raw[8] |= {"truth": "dark", "pristine": flat(108)}
        raw[9] |= {"truth": "exact_duplicate", "truth_copy_of": 10}
        raw[15] |= {"truth": "unreadable", "pristine": flat(115)}
    raw[15] |= {"error": "truncated", "image": {"bytes": None, "path": ""}}
    clean = [{name: raw[row].get(name) for name in CLEAN_SCHEMA.names} for row in kept]
    for row in clean:
        if row["row"] == 10:
            row |= {"image": {"bytes": flat(210), "path": ""}, "repair": "median"}
    for number in range(2):
        write_shard(folder / f"raw/{number}.parquet", iter(raw[8 * number : 8 * number + 8]), RAW_SCHEMA)
        part = [row for row in clean if row["row"] // 8 == number]
        write_shard(folder / f"clean/{number}.parquet", iter(part), CLEAN_SCHEMA)
    return folder / "raw", folder / "clean"


def values(folder: Path, name: str) -> list[int]:
    return [int(face[0, 0, 0]) for face in load_faces(name, folder)]


@pytest.mark.parametrize("processes", [0, 2])
def test_what_goes_into_each_array(tmp_path: Path, processes: int) -> None:
    raw, clean = write_shards(tmp_path, recipe=True)
    with open_workers(processes) as workers:
        counts = pack_faces(raw, clean, tmp_path / "faces", 32, 3, workers)
    assert counts == {"train": 5, "holdout_clean": 4, "holdout_raw": 7, "holdout_pristine": 7}
    assert values(tmp_path / "faces", "train") == TRAIN
    assert values(tmp_path / "faces", "holdout_clean") == [8, 210, 11, 14]
    assert values(tmp_path / "faces", "holdout_raw") == HOLDOUT_RAW
    assert values(tmp_path / "faces", "holdout_pristine") == [108, 10, 11, 12, 13, 14, 115]
    assert load_faces("train", tmp_path / "faces").shape == (5, 32, 32, 3)


def test_an_original_that_the_import_refused_is_in_no_ruler(tmp_path: Path) -> None:
    raw, clean = write_shards(tmp_path, recipe=True)
    rows = pq.read_table(raw / "1.parquet").to_pylist()
    rows[3] |= {"error": "too many pixels", "image": {"bytes": None, "path": ""}}
    write_shard(raw / "1.parquet", iter(rows), RAW_SCHEMA)
    pack_faces(raw, clean, tmp_path / "faces", 32, 3, Workers())
    assert values(tmp_path / "faces", "holdout_pristine") == [108, 10, 12, 13, 14, 115]


def test_index_leads_back_to_the_rows(tmp_path: Path) -> None:
    raw, clean = write_shards(tmp_path, recipe=False)
    pack_faces(raw, clean, tmp_path / "faces", 32, 3, Workers())
    index = pq.read_table(tmp_path / "faces/index.parquet").to_pylist()
    assert [(entry["array"], entry["index"], entry["row"], entry["id"]) for entry in index] == [
        (array, place, row, f"id{row}")
        for array, rows in (("train", TRAIN), ("holdout_clean", HOLDOUT_CLEAN), ("holdout_raw", HOLDOUT_RAW))
        for place, row in enumerate(rows)
    ]


def test_a_crawl_has_no_pristine_ruler(tmp_path: Path) -> None:
    raw, clean = write_shards(tmp_path, recipe=False)
    counts = pack_faces(raw, clean, tmp_path / "faces", 32, 3, Workers())
    assert "holdout_pristine" not in counts
    with pytest.raises(StageError, match="dvc repro resize"):
        load_faces("holdout_pristine", tmp_path / "faces")


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        pytest.param(HOLDOUT_CLEAN, "no face is left", id="nothing to train on"),
        pytest.param(TRAIN + HOLDOUT_CLEAN[:3], "holdout_clean would have 3 faces", id="too little to measure with"),
    ],
)
def test_too_little_is_said_before_hours_of_training(tmp_path: Path, kept: list[int], message: str) -> None:
    raw, clean = write_shards(tmp_path, recipe=False, kept=kept)
    with pytest.raises(StageError, match=message):
        pack_faces(raw, clean, tmp_path / "faces", 32, 3, Workers())


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


@pytest.mark.parametrize("shape", [(1, 20_000), (20_000, 1)])
def test_a_line_of_pixels_does_not_fill_the_memory(shape: tuple[int, int]) -> None:
    """Resized whole to a shortest side of 32, this one would be 32 × 640,000 pixels."""
    imports = """
import numpy as np
from pipeline.packing import resize_face
resize_face(np.zeros((64, 64, 3), np.uint8), 32, 3)  # what is loaded with the first picture does not count
"""
    code = """
face = resize_face(np.full((int(sys.argv[1]), int(sys.argv[2]), 3), 9, np.uint8), 32, 3)
print(json.dumps([face.shape, bool((face == 9).all())]))
"""
    told, grown = measured(imports, code, *shape)
    assert told == [[[32, 32, 3], True]]
    assert grown < 30_000_000, "the whole picture resized takes 61 MB as bytes and 245 MB as floats"


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
