from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ParamsError
from pipeline.sources.takedown import add_to_takedown, read_takedown
from pipeline.sources.urls import Wanted, read_list, wanted

URL = "https://a.example/1.png"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("a.csv", f"url,page_url,licence,tags\n{URL},https://a.example,CC0,cat\n", id="csv"),
        pytest.param("a.csv", f"\ufeffURL,Page_URL,License,tags\n{URL},https://a.example,CC0,cat\n", id="names"),
        pytest.param(
            "a.jsonl",
            f'{{"url": "{URL}", "page_url": "https://a.example", "licence": "CC0", "tags": "cat", "x": null}}\n\n',
            id="jsonl",
        ),
    ],
)
def test_columns(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_list(tmp_path / name) == [Wanted(URL, "https://a.example", "CC0", '{"tags": "cat"}')]


def test_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"# mine\n\n  {URL}  \nhttps://b.example/2.png\n{URL}\n")
    assert read_list(tmp_path / "a.txt") == [Wanted(URL), Wanted("https://b.example/2.png")]


def test_parquet(tmp_path: Path) -> None:
    columns = {"url": [URL], "score": [0.5], "bad": [float("nan")], "tags": [["a", "b"]]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert read_list(tmp_path / "a.parquet") == [Wanted(URL, extra='{"score": 0.5, "tags": ["a", "b"]}')]


@pytest.mark.parametrize("text", ["[1]", '{"address": "x"}', '{"url": " "}', '{"url": null}'])
def test_an_entry_without_a_url_is_refused_by_its_number(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"url": "{URL}"}}\n{text}\n')
    with pytest.raises(ParamsError, match="entry 2"):
        read_list(tmp_path / "a.jsonl")


@pytest.mark.parametrize("end", ["\n", "\x0b", "\x85", "\u2028"])
def test_no_url_breaks_a_list_of_one_a_line(tmp_path: Path, end: str) -> None:
    url = wanted(f"{URL}{end}b.jpg", None, None).url
    assert url.isascii()
    add_to_takedown(tmp_path / "takedown.txt", [url])
    assert read_takedown(tmp_path / "takedown.txt").urls == {url}
