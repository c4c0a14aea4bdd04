from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.errors import StageError
from pipeline.records import RAW_SCHEMA, ROWS_PER_GROUP, read_rows, require_shards, shard_sizes, write_shard


def rows(count: int):
    for row in range(count):
        yield {
            "row": row,
            "id": f"{row:064x}",
            "path": f"{row}.png",
            "image": {"bytes": bytes([row % 256]), "path": ""},
        }


@pytest.mark.parametrize("count", [0, 1, ROWS_PER_GROUP, 2 * ROWS_PER_GROUP + 1])
def test_round_trip(tmp_path: Path, count: int) -> None:
    assert write_shard(tmp_path / "a.parquet", rows(count), RAW_SCHEMA) == count
    assert shard_sizes([tmp_path / "a.parquet"]) == [count]
    read = list(read_rows(tmp_path / "a.parquet", ("row", "image", "error")))
    assert [entry["row"] for entry in read] == list(range(count))
    assert [entry["image"]["bytes"] for entry in read] == [bytes([row % 256]) for row in range(count)]
    assert {entry["error"] for entry in read} <= {None}


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_shard(tmp_path / f"{name}.parquet", rows(100), RAW_SCHEMA)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_reader_of_images_knows_the_column(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", rows(1), RAW_SCHEMA)
    assert b'"_type": "Image"' in pq.read_schema(tmp_path / "a.parquet").metadata[b"huggingface"]


def test_shards_are_found_from_any_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_shard(Path("raw/0.parquet"), rows(1), RAW_SCHEMA)
    assert require_shards(Path("raw"), "crawl-import") == [tmp_path / "raw/0.parquet"]


def test_a_footer_that_says_less_than_there_is_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages have checksums; what tells of them has none."""
    write_shard(tmp_path / "a.parquet", rows(3), RAW_SCHEMA)
    with pytest.raises(StageError, match=r"a\.parquet is damaged \(it has no column errol\)"):
        list(read_rows(tmp_path / "a.parquet", ("row", "errol")))
    monkeypatch.setattr(
        pq.ParquetFile, "iter_batches", lambda *_, **__: iter([pq.read_table(tmp_path / "a.parquet")[1:]])
    )
    with pytest.raises(StageError, match=r"is damaged \(2 rows of 3\)"):
        list(read_rows(tmp_path / "a.parquet", ("row",)))


def test_a_shard_that_the_system_does_not_give_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"a\.parquet can't be read: No such file or directory$"):
        shard_sizes([tmp_path / "a.parquet"])


def test_missing_shards_name_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="dvc repro crawl-import"):
        require_shards(tmp_path, "crawl-import")
