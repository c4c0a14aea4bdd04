from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.params import Params
from pipeline.records import read_rows
from pipeline.sources.importing import import_source
from pipeline.sources.provenance import CRAWLED_SCHEMA, PROVENANCE
from pipeline.sources.sidecars import MAX_BYTES, provenance_of, tag_fault
from pipeline.sources.takedown import Takedown
from pipeline.workers import Workers

TOLD = {
    "file_url": "https://a.example/1.png",
    "source": "https://artist.example/9",
    "tag_string": "smile 1girl",
    "rating": "g",
    "tags_artist": ["someone"],
    "md5": "0" * 32,
}


def test_what_a_side_car_tells() -> None:
    told = provenance_of(json.dumps(TOLD).encode())
    assert (told["url"], told["page_url"]) == ("https://a.example/1.png", "https://artist.example/9")
    assert json.loads(told["extra"]) == {"tags": ["smile", "1girl"], "artist": ["someone"], "rating": "g"}
    assert told["http_status"] is None
    assert told["licence"] is None


@pytest.mark.parametrize(
    ("told", "licence"),
    [({"license": "CC BY 4.0"}, "CC BY 4.0"), ({"licence": " ", "license": "CC0"}, "CC0"), ({"license": 4}, None)],
)
def test_the_licence(told: dict, licence: str | None) -> None:
    assert provenance_of(json.dumps(told).encode())["licence"] == licence


@pytest.mark.parametrize("data", [b"{}", b'{"url": 3, "tags": {}}'])
def test_one_that_tells_nothing(data: bytes) -> None:
    assert provenance_of(data) == dict.fromkeys([*PROVENANCE, "licence"])


@pytest.mark.parametrize("data", [b"", b"\xff", b"[1]", b"[" * 100_000, b'{"tags": "nsf'])
def test_one_that_cannot_be_read(data: bytes) -> None:
    assert provenance_of(data) is None


@pytest.mark.parametrize(
    ("require", "refuse", "fault"),
    [
        pytest.param([], [], None, id="no filter"),
        pytest.param(["smile", "rating:g"], ["rating:e"], None, id="passes"),
        pytest.param(["SMILE"], [], None, id="case"),
        pytest.param(["smile", "hat"], [], "required tag missing", id="missing"),
        pytest.param(["hat"], ["1girl"], "refused tag", id="refused first"),
        pytest.param([], ["rating:G"], "refused tag", id="rating"),
        pytest.param([], ["smil"], None, id="whole words"),
    ],
)
def test_tags(require: list[str], refuse: list[str], fault: str | None) -> None:
    assert tag_fault(provenance_of(json.dumps(TOLD).encode()), require, refuse) == fault


def test_what_has_no_rating_has_no_tag_of_it() -> None:
    assert tag_fault(provenance_of(b'{"tags": ["smile"]}'), [], ["rating:none"]) is None


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param({"tags": {"general": ["smile"], "rating": ["nsfw"]}}, id="by kind"),
        pytest.param(
            {"tags": [{"name": "nsfw", "translated": None, "count": 1}, {"name": "笑", "translated": "smile"}]},
            id="by objects",
        ),
        pytest.param({"tags": "smile, nsfw, long hair"}, id="with commas"),
        pytest.param({"tag_string": "1girl nsfw hello,_good-bye smile"}, id="a comma within a tag"),
        pytest.param({"tags": ["smile"], "tag_string_general": "smile nsfw"}, id="in the second place"),
        pytest.param({"tags": "smile NSFW"}, id="in capitals"),
        pytest.param({"tags": [{"tag": {"name": "smile"}}, {"tag": {"name": "nsfw"}}]}, id="by objects in objects"),
        pytest.param({"tags": {"general": {"mood": ["smile", ["nsfw"]]}}}, id="by kinds of kinds"),
        pytest.param({"tags": ["smile", "nsfw,x"]}, id="text in a list"),
    ],
)
def test_a_refused_tag_is_found_however_a_board_writes_it(tags: dict) -> None:
    told = provenance_of(json.dumps(tags).encode())
    assert tag_fault(told, ["smile"], ["nsfw"]) == "refused tag"
    assert tag_fault(told, ["smile"], ["hat"]) is None


def test_tags_within_tags_end_nothing() -> None:
    told = provenance_of(b'{"tags": ' + b'{"a": ' * 800 + b'"nsfw"' + b"}" * 801)
    assert tag_fault(told, [], ["nsfw"]) is None


@pytest.mark.parametrize(
    "text",
    [
        "long hair",
        "smile;long hair",
        "smile | long hair",
        '["smile", "long hair"]',
        "['smile', 'long hair']",
        "x, long hair",
    ],
)
def test_a_tag_of_two_words_in_the_text_of_a_list(text: str) -> None:
    told = {"extra": json.dumps({"tags": text})}
    assert tag_fault(told, [], ["Long hair"]) == "refused tag"
    assert tag_fault(told, ["long hair"], ["hair long"]) is None


@pytest.mark.parametrize(
    ("tags", "other"),
    [
        (["magical girl"], "girl"),
        (["dark blue", "eyes closed"], "blue eyes"),
        (["long", "hair ribbon"], "long hair"),
        ("long, hair ribbon", "long hair"),
        ("smile ;d", "d"),
        (["smile", None], "none"),
    ],
)
def test_what_only_looks_like_a_tag_is_none(tags: object, other: str) -> None:
    assert tag_fault({"extra": json.dumps({"tags": tags})}, [], [other]) is None


def test_a_row_too_deep_to_be_read_again_is_not_passed() -> None:
    assert tag_fault({"extra": "[" * 100_000 + "]" * 100_000}, [], ["nsfw"]) == "side-car unreadable"


def test_a_number_that_is_none_is_null() -> None:
    told = provenance_of(b'{"tags": "smile", "id": NaN}')
    assert told is not None
    assert told["extra"] == '{"tags": ["smile"]}'


def test_the_column_of_a_list_may_have_capitals() -> None:
    assert tag_fault({"extra": '{"Tags": "cat, nsfw", "Rating": "e"}'}, [], ["nsfw"]) == "refused tag"
    assert tag_fault({"extra": '{"Tags": "cat", "Rating": "e"}'}, [], ["rating:e"]) == "refused tag"


def test_an_image_of_which_nothing_is_known() -> None:
    assert tag_fault(None, ["smile"], []) == "required tag missing"
    assert tag_fault(None, [], ["smile"]) is None


@pytest.mark.parametrize("sidecar", [b'{"rating": "e", "tags": "nsf', b" " * MAX_BYTES + b"{}", b"[]"])
@pytest.mark.parametrize(
    ("asked", "takedown", "fault"),
    [
        pytest.param({}, Takedown(), None, id="nothing is asked of it"),
        pytest.param({"refuse_tags": ["nsfw"]}, Takedown(), "side-car unreadable", id="a tag is refused"),
        pytest.param({"require_tags": ["smile"]}, Takedown(), "side-car unreadable", id="a tag is required"),
        pytest.param({}, Takedown(frozenset({"http://a.example/1"})), "side-car unreadable", id="a URL is taken down"),
    ],
)
def test_a_picture_whose_side_car_cannot_be_read_is_in_only_where_that_changes_nothing(
    params: Params, tmp_path: Path, picture: np.ndarray, save, sidecar: bytes, asked: dict, takedown, fault
) -> None:
    folder = tmp_path / "gallery"
    folder.mkdir()
    (folder / "a.png").write_bytes(save(picture, "PNG"))
    (folder / "a.png.json").write_bytes(sidecar)
    import_source(folder, params.crawl.model_copy(update=asked), tmp_path / "raw", Workers(), takedown)
    (row,) = read_rows(tmp_path / "raw/00000.parquet", ["error", "image", "url"])
    assert (row["error"], row["image"]["bytes"] is None, row["url"]) == (fault, fault is not None, None)


def test_a_folder_of_gallery_dl(params: Params, tmp_path: Path, picture: np.ndarray, save) -> None:
    folder = tmp_path / "gallery"
    folder.mkdir()
    for name, rating in (("a.png", "g"), ("b.png", "e")):
        (folder / name).write_bytes(save(picture, "PNG"))
        (folder / f"{name}.json").write_text(json.dumps(TOLD | {"rating": rating}))
    (folder / "c.png").write_bytes(save(picture, "PNG"))
    (folder / "info.json").write_text("{}")
    crawl = params.crawl.model_copy(update={"refuse_tags": ["rating:e"]})
    import_source(folder, crawl, tmp_path / "raw", Workers())
    rows = list(read_rows(tmp_path / "raw/00000.parquet", CRAWLED_SCHEMA.names))
    assert [(row["path"], row["error"]) for row in rows] == [
        ("a.png", None),
        ("b.png", "refused tag"),
        ("c.png", None),
        ("info.json", "not an image"),
    ]
    assert [row["url"] for row in rows] == ["https://a.example/1.png"] * 2 + [None] * 2
    assert rows[1]["image"]["bytes"] is None
