from pathlib import Path

import pytest

from pipeline.errors import ParamsError
from pipeline.sources.takedown import Takedown, add_to_takedown, read_takedown

ID = "ab" * 32


def test_the_list_ships_empty(root: Path) -> None:
    assert read_takedown(root / "data/takedown.txt") == Takedown()


def test_what_is_added_is_read_back_once(tmp_path: Path) -> None:
    path = tmp_path / "takedown.txt"
    assert read_takedown(path) == Takedown()
    path.write_text("# by letter\nhttp://a.example/1.png")
    assert add_to_takedown(path, [ID, "http://a.example/1.png", ID]) == [ID]
    assert add_to_takedown(path, [ID]) == []
    assert path.read_text() == f"# by letter\nhttp://a.example/1.png\n{ID}\n"
    assert read_takedown(path) == Takedown(frozenset({"http://a.example/1.png"}), frozenset({ID}))


def test_a_line_that_is_neither_is_refused(tmp_path: Path) -> None:
    (tmp_path / "takedown.txt").write_text(f"{ID}\nface.png\n")
    with pytest.raises(ParamsError, match="line 2: neither a URL nor an id"):
        read_takedown(tmp_path / "takedown.txt")
