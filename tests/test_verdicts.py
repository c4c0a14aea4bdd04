from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import StageError
from pipeline.verdicts import read_verdicts, write_verdicts

TABLE = pa.table({"row": [0, 1], "kept": [True, False]})


def test_the_table_comes_back_with_the_params_that_made_it(tmp_path, params):
    used = params.filter.model_copy(update={"max_blur": 0.123})
    write_verdicts(TABLE, used, tmp_path / "verdicts.parquet")
    table, known = read_verdicts(tmp_path / "verdicts.parquet", params.filter)
    assert table.to_pydict() == TABLE.to_pydict()
    assert known == used


def test_the_same_verdicts_give_the_same_bytes_however_long_the_cache_is_kept(tmp_path, params):
    longer = params.filter.model_copy(update={"cache_days": 99.0})
    for name, used in (("one", params.filter), ("two", longer)):
        write_verdicts(TABLE, used, tmp_path / f"{name}.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert read_verdicts(tmp_path / "one.parquet", longer)[1] == longer


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param(None, id="none"),
        pytest.param({b"filter_params": b"{}"}, id="keys missing"),
        pytest.param({b"filter_params": b'{"enabled": '}, id="cut off"),
        pytest.param({b"filter_params": b"7"}, id="no mapping"),
    ],
)
def test_another_version_wrote_the_table(tmp_path, params, metadata):
    pq.write_table(TABLE.replace_schema_metadata(metadata), tmp_path / "verdicts.parquet")
    table, known = read_verdicts(tmp_path / "verdicts.parquet", params.filter)
    assert (len(table), known) == (2, None)


def test_no_table(tmp_path, params):
    with pytest.raises(StageError, match=r"verdicts\.parquet is missing; run 'dvc repro filter' first"):
        read_verdicts(tmp_path / "verdicts.parquet", params.filter)


def test_a_flipped_bit(tmp_path, params):
    path = tmp_path / "verdicts.parquet"
    write_verdicts(pa.table({"row": range(1000)}), params.filter, path)
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1
    path.write_bytes(data)
    with pytest.raises(StageError, match=r"verdicts\.parquet is damaged"):
        read_verdicts(path, params.filter)


def test_no_parquet(tmp_path, params):
    path = tmp_path / "verdicts.parquet"
    path.write_text("<html>")
    with pytest.raises(StageError, match=r"verdicts\.parquet is damaged .*; remove it, and 'dvc repro' brings it back"):
        read_verdicts(path, params.filter)
