import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from pipeline.errors import ParamsError
from pipeline.sources.takedown import Takedown, add_to_takedown, read_takedown

ID = "ab" * 32


def test_the_list_ships_empty(root: Path) -> None:
    assert read_takedown(root / "data/takedown.txt") == Takedown()


def test_what_is_added_is_read_back_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "takedown.txt"
    assert read_takedown(path) == Takedown()
    path.write_text("# by letter\nhttp://a.example/1.png")
    assert add_to_takedown(path, [ID, "http://a.example/1.png", ID]) == [ID]
    assert add_to_takedown(path, [ID]) == []
    assert path.read_text() == f"# by letter\nhttp://a.example/1.png\n{ID}\n"
    assert read_takedown(path) == Takedown(frozenset({"http://a.example/1.png"}), frozenset({ID}))


def test_two_that_add_at_once_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "takedown.txt"
    names = [[f"http://{who}.example/{number}" for number in range(20)] for who in "ab"]
    add = partial(_add_one_by_one, path)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(add, names))
    assert read_takedown(path).urls == {name for part in names for name in part}


def _add_one_by_one(path: Path, names: list[str]) -> None:
    for name in names:
        assert add_to_takedown(path, [name]) == [name]


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/1.png",
        "https://A.example:443/1.png#top",
        "https://a.example/1.png?",
        " https://a.example/1.png ",
    ],
)
def test_an_address_is_covered_however_a_side_car_or_an_old_store_writes_it(tmp_path: Path, url: str) -> None:
    (tmp_path / "takedown.txt").write_text("https://a.example/1.png\n")
    takedown = read_takedown(tmp_path / "takedown.txt")
    assert takedown.covers(None, None, url)
    assert not takedown.covers(None, "https://a.example/2.png", None)


def test_a_line_that_is_neither_is_refused(tmp_path: Path) -> None:
    (tmp_path / "takedown.txt").write_text(f"{ID}\nface.png\n")
    with pytest.raises(ParamsError, match="line 2: neither a URL nor an id"):
        read_takedown(tmp_path / "takedown.txt")


def test_a_line_may_have_a_note_and_the_file_an_editors_mark(tmp_path: Path) -> None:
    lines = f"https://a.example/1.png # by mail of 3 May\n{ID} # likewise\n"
    (tmp_path / "takedown.txt").write_text(lines, encoding="utf-8-sig")
    takedown = read_takedown(tmp_path / "takedown.txt")
    assert takedown == Takedown(frozenset({"https://a.example/1.png"}), frozenset({ID}))


def test_a_list_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "takedown.txt").write_text("# Künstlerin\n", encoding="latin-1")
    with pytest.raises(ParamsError, match="is no text in UTF-8"):
        read_takedown(tmp_path / "takedown.txt")
