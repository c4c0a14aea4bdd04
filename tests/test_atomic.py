import json
from pathlib import Path

import pytest

from pipeline.atomic import remove_unfinished, whole_file, write_json


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="cut off"), whole_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("cut off")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_write_left_is_removed(tmp_path: Path) -> None:
    with whole_file(tmp_path / "00001.parquet") as temporary:
        temporary.touch()
        (tmp_path / "00000.parquet").touch()
        remove_unfinished(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["00000.parquet"]
        temporary.touch()


def test_folder_is_made_and_suffix_kept(tmp_path: Path) -> None:
    with whole_file(tmp_path / "new" / "a.png") as temporary:
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"x")
    assert (tmp_path / "new" / "a.png").read_bytes() == b"x"


def test_json(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"b": 1, "a": 2.5})
    assert list(json.loads((tmp_path / "m.json").read_text()).items()) == [("b", 1), ("a", 2.5)]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "m.json", {"a": float("nan")})
