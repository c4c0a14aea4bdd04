import json
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ParamsError
from pipeline.sources.takedown import add_to_takedown, read_takedown
from pipeline.sources.urls import Wanted, plain_url, read_list, wanted

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


def test_a_caption_may_hold_what_else_ends_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"url": "{URL}", "title": "one\u2028two\x85"}}\r\n')
    (one,) = read_list(tmp_path / "a.jsonl")
    assert json.loads(one.extra or "") == {"title": "one\u2028two\x85"}


@pytest.mark.parametrize(
    "url",
    [
        "https://me:secret@a.example/1.png",
        "https://me:it's\"<p>@a.example/1.png",
        "https://a.example/1.png#top",
        "HTTPS://A.Example:443/1.png",
    ],
)
def test_urls_that_ask_for_the_same_are_the_same(tmp_path: Path, url: str) -> None:
    assert wanted(url, None, None).url == URL
    (tmp_path / "takedown.txt").write_text(f"{url}\n")
    assert read_takedown(tmp_path / "takedown.txt").urls == {URL}


def test_what_differs_in_a_url_stays() -> None:
    for url in (
        "https://a.example:80/A.png?x=%41;b=#",
        "http://[x",
        "ftp://A.example:21/#1",
        "no url",
        "http://[::1]:8/",
    ):
        assert plain_url(url) == url.removesuffix("#")


@pytest.mark.parametrize("end", ["\n", "\x0b", "\x85", "\u2028"])
def test_no_url_breaks_a_list_of_one_a_line(tmp_path: Path, end: str) -> None:
    url = wanted(f"{URL}{end}b.jpg", None, None).url
    assert url.isascii()
    add_to_takedown(tmp_path / "takedown.txt", [url])
    assert read_takedown(tmp_path / "takedown.txt").urls == {url}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        pytest.param("a.csv", f"url,x\n{URL},{'x' * 10**7}\n".encode(), "field larger than", id="a field of 10 MB"),
        pytest.param("a.csv", f'url\n{URL}\n"{"x" * 10**6}'.encode(), "field larger than", id="a quote left open"),
        pytest.param("a.csv", URL.encode("utf-16"), "can't decode", id="UTF-16 with its mark"),
        pytest.param("a.txt", b"\xfe\xff" + URL.encode("utf-16-be"), "can't decode", id="UTF-16, the other way"),
        pytest.param("a.jsonl", b'{"url": ' + b"[" * 10**5, "recursion", id="nested deep"),
        pytest.param("a.jsonl", b'{"url": ' + b"9" * 10**6 + b"}", "digits", id="a number of a million digits"),
        pytest.param("a.jsonl", b"[" * 10**5 + b"]" * 10**5, "recursion", id="nothing but nested"),
        pytest.param("a.parquet", b"", "0 bytes", id="no bytes"),
        pytest.param("a.parquet", b"PAR1" + b"\xff\xff\xff\x7fPAR1", "smaller than", id="a footer of 2 GB"),
        pytest.param("a.parquet", b"PAR1" + b"\x19" * 99 + b"\x63\0\0\0PAR1", "deserialize", id="a footer of nonsense"),
    ],
)
def test_a_list_that_is_none_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ParamsError, match=f"{name} is not readable as a list of URLs: .*{says}"):
        read_list(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        pytest.param(
            "a.csv", b"url,title\nhttp://h/a,\"5'11 tall\nhttp://h/b,x\n", "unexpected end", id="an open quote"
        ),
        pytest.param("a.csv", b"url,url\nhttp://h/a,http://h/b\n", "two columns 'url'", id="a column twice"),
        pytest.param("a.csv", b"url,URL\nhttp://h/a,http://h/b\n", "two columns 'url'", id="in capitals"),
        pytest.param("a.csv", b"url, url\nhttp://h/a,http://h/b\n", "two columns 'url'", id="behind a blank"),
        pytest.param("a.jsonl", b'{"url": "http://h/a", "tags": "x", "Tags": "y"}', "two columns", id="two of tags"),
        pytest.param("a.jsonl", b'{"url": "http://h/a", "x": "' + b"x" * 70_000 + b'"}', "says too much", id="long"),
    ],
)
def test_a_list_that_can_be_read_wrongly_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ParamsError, match=says):
        read_list(tmp_path / name)


@pytest.mark.parametrize("head", ["url,title,,", "url,ID,id"])
def test_columns_that_decide_nothing_may_be_there_twice(tmp_path: Path, head: str) -> None:
    (tmp_path / "a.csv").write_text(f"{head}\n{URL},x,y\n")
    assert [one.url for one in read_list(tmp_path / "a.csv")] == [URL]


def test_a_list_that_says_one_long_thing_very_often_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sources.urls.MOST_TOLD_IN_ALL", 10_000)
    lines = [f'{{"url": "http://h/{number}", "caption": "{"x" * 1000}"}}' for number in range(20)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(ParamsError, match=r"entry 10 says too much beside its URL"):
        read_list(tmp_path / "a.jsonl")


def test_parquet_whose_values_python_can_not_hold(tmp_path: Path) -> None:
    columns = {"url": [URL], "lasted": pa.array([2**62], pa.duration("s"))}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(ParamsError, match="too large"):
        read_list(tmp_path / "a.parquet")


def test_parquet_whose_pages_are_damaged(tmp_path: Path) -> None:
    """The footer stays good, and the numbers in the pages are anything."""
    pq.write_table(pa.table({"url": [f"{URL}{number}" for number in range(50)]}), tmp_path / "good.parquet")
    good = (tmp_path / "good.parquet").read_bytes()
    end = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    for at in range(4, end):
        (tmp_path / "a.parquet").write_bytes(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
        with suppress(ParamsError):
            read_list(tmp_path / "a.parquet")


def test_a_list_with_zeros_in_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(f"{URL}\0\n\0\n".encode())
    assert [one.url for one in read_list(tmp_path / "a.txt")] == [f"{URL}%00", "%00"]


def test_a_list_that_says_one_thing_very_often_takes_no_more_memory(tmp_path: Path) -> None:
    """1 KB of Parquet may be millions of rows."""
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 30_000, pa.int32()), pa.array([URL]))
    pq.write_table(pa.table({"url": repeated}), tmp_path / "a.parquet", compression="zstd")
    tracemalloc.start()
    try:
        assert read_list(tmp_path / "a.parquet") == [Wanted(URL)]
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_credentials_are_not_stored(tmp_path: Path) -> None:
    row = {
        "url": "https://me:pass@a.example/1.png?key=2@3",
        "page_url": "https://me:p@ss@a.example",
        "from": "ftp://me@b/c",
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert read_list(tmp_path / "a.jsonl") == [
        Wanted("https://a.example/1.png?key=2@3", "https://a.example", None, '{"from": "ftp://b/c"}')
    ]


def test_the_takedown_list_knows_a_url_with_its_credentials(tmp_path: Path) -> None:
    (tmp_path / "takedown.txt").write_text("https://me:pass@a.example/1.png\n")
    assert read_takedown(tmp_path / "takedown.txt").covers(None, URL)
