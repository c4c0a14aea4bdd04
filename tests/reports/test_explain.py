from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.errors import StageError
from pipeline.packing import INDEX_SCHEMA
from pipeline.records import RAW_SCHEMA, read_rows, shard_paths, write_shard
from pipeline.reports.explain import changes, explain, find_images, row_of_face
from pipeline.sources.crop import with_faces
from pipeline.sources.provenance import CRAWLED_SCHEMA, PROVENANCE


@pytest.fixture(scope="module")
def told(heap, params):
    """Return a function that explains the first image of a fate, as single-spaced lines."""

    def tell(fate: str, **settings: object) -> list[str]:
        reason_or_repair = {"good": None, "not cured": None}.get(fate, fate)
        rows = heap.verdicts.to_pylist()
        verdict = next(
            row
            for row in rows
            if (row["reason"] or row["repair"]) == reason_or_repair and row["path"].startswith(f"<{fate}>")
        )
        text = explain(verdict, heap.verdicts, heap.raw, params.filter.model_copy(update=settings))
        return [" ".join(line.split()) for line in text.splitlines()]

    return tell


def test_kept_as_it_is(told, heap):
    lines = told("good")
    assert lines[:3] == [
        "<good>/0.png",
        f"row 0, train, id {heap.verdicts['id'][0].as_py()}",
        "kept as it is",
    ]
    assert not [line for line in lines if line.endswith(" yes")]
    assert len([line for line in lines if line.endswith(" no")]) == 14


@pytest.mark.parametrize(
    ("fate", "crossed"),
    [
        pytest.param("aspect", ["aspect aspect 3.1 over max_aspect 3 yes"], id="aspect"),
        pytest.param("too small", ["too small side 31 under min_side 32 yes"], id="too small"),
        pytest.param("uniform", ["information 1 under min_information 1.05 yes"], id="uniform"),
        pytest.param(
            "blurry",
            ["blurry, all of blur 0.49 over max_blur 0.48 yes", "sharpness 0.2 under min_sharpness 0.205 yes"],
            id="blurry",
        ),
    ],
)
def test_dropped(told, fate, crossed):
    lines = told(fate)
    assert lines[2] == f"dropped: {fate}"
    assert [line for line in lines if line.endswith(" yes")] == crossed


@pytest.mark.parametrize(
    ("damage", "crossed"),
    [
        pytest.param("dark", ["dark gamma 2.6 over max_gamma 2.5 yes"], id="dark"),
        pytest.param("bright", ["bright gamma 0.34 under min_gamma 0.35 yes"], id="bright"),
        pytest.param(
            "faded",
            ["faded, all of contrast 105 under faded_contrast 110 yes", "white 240 under faded_max_white 243 yes"],
            id="faded",
        ),
    ],
)
def test_repaired(told, damage, crossed):
    lines = told(damage)
    assert lines[2] == f"kept, repaired: {damage}"
    assert [line for line in lines if line.endswith(" yes")] == crossed


def test_a_repair_that_did_not_hold(told):
    assert told("not cured")[2:4] == [
        "kept as it is",
        "it measures as gaussian noise, but the repair did not hold: no cure, or a reason to drop the result",
    ]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        pytest.param("near duplicate", ["<good>/0.png", "row 0, train", "difference 0.19, within"], id="near"),
        pytest.param("holdout twin", ["<good>/1.png", "row 1, holdout", "difference 0.19, within"], id="twin"),
    ],
)
def test_a_copy_names_the_one_that_it_lost_to(told, reason, expected):
    lines = told(reason)
    assert lines[2] == f"dropped: {reason}"
    assert lines[3] == f"copy of {expected[0]}, which is kept as it is"
    assert lines[4].startswith(f"{expected[1]}, id ")
    assert lines[5] == f"{expected[2]} max_difference 0.2"


def altered(heap, row, **values):
    """Return the verdicts with other values in one row."""
    rows = heap.verdicts.to_pylist()
    rows[row] |= values
    return pa.Table.from_pylist(rows, schema=heap.verdicts.schema)


def test_a_copy_of_a_copy_and_the_same_bytes(heap, params):
    row = heap.verdicts["reason"].to_pylist().index("near duplicate")
    verdicts = altered(heap, row, difference=0.27)
    text = explain(verdicts.slice(row, 1).to_pylist()[0], verdicts, heap.raw, params.filter)
    assert "difference 0.27, over max_difference 0.2, but both are like a further copy" in text
    verdicts = altered(heap, row, id=heap.verdicts["id"][0].as_py())
    text = explain(verdicts.slice(row, 1).to_pylist()[0], verdicts, heap.raw, params.filter)
    assert "the same bytes" in text


def test_unreadable(told, heap, params, tmp_path):
    lines = told("unreadable")
    assert lines[1].endswith("train, id none: it has no bytes")
    assert lines[2:] == ["dropped: unreadable", "<empty> file"]
    verdict = heap.verdicts.filter(pc.equal(heap.verdicts["reason"], "unreadable")).to_pylist()[0]
    assert "its error is not known" in explain(verdict, heap.verdicts, tmp_path, params.filter)


def test_what_is_switched_off(told):
    lines = told("not cured", enabled=False, repair=False)
    assert lines[3] == "switched off: filter.enabled, filter.repair"


def test_changes(params):
    assert changes(params.filter, params.filter) == []
    now = params.filter.model_copy(update={"max_blur": 0.5, "dedup": False})
    assert changes(params.filter, now) == ["filter.dedup is False, was True", "filter.max_blur is 0.5, was 0.48"]


@pytest.fixture(scope="module")
def named() -> pa.Table:
    rows = [
        ("a/face.png", "abcdef01"),
        ("b/face.png", "abcdef02"),
        ("face 3", "abcdef01"),
        ("4", None),
        ("\\xff.png", "77"),
    ]
    return pa.table(
        {
            "row": pa.array(range(5), pa.int64()),
            "path": [path for path, _ in rows],
            "id": pa.array([key for _, key in rows], pa.string()),
        }
    )


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        pytest.param("a/face.png", [0], id="path"),
        pytest.param("/crawl/a/face.png", [0], id="path with folders before it"),
        pytest.param("face.png", [0, 1], id="file name"),
        pytest.param("abcdef02", [1], id="id"),
        pytest.param("ABCDEF02", [1], id="id in capitals"),
        pytest.param("abcdef01", [0, 2], id="id of two copies"),
        pytest.param("77", [4], id="a whole id may be short"),
        pytest.param("4", [3], id="a path before a row"),
        pytest.param("2", [2], id="row"),
        pytest.param("\udcff.png", [4], id="no UTF-8, as a shell gives it"),
    ],
)
def test_find_images(named, name, rows):
    assert [verdict["row"] for verdict in find_images(named, name)] == rows


def test_the_start_of_an_id(named):
    assert [verdict["row"] for verdict in find_images(named.slice(1), "abcdef02"[:8])] == [1]
    assert [verdict["row"] for verdict in find_images(named.slice(0, 1), "abcdef")] == [0]
    with pytest.raises(StageError, match="abcdef is the start of 2 ids; give more of it: abcdef01, abcdef02"):
        find_images(named, "abcdef")


@pytest.mark.parametrize("name", ["ace.png", "abcde", "", "99", "9" * 40, "\x1b[2J", "%", "face.*"])
def test_no_such_image(named, name):
    with pytest.raises(StageError, match="no image is called") as fault:
        find_images(named, name)
    assert "\x1b" not in str(fault.value)


def test_an_image_is_found_by_its_url_and_by_what_is_shown_of_it():
    urls = ["https://a.example/1.png?token=one", "https://a.example/2.png?token=two"]
    verdicts = pa.table({"row": [0, 1], "path": urls, "id": ["a" * 64, "b" * 64]})
    for name in (urls[1], "https://a.example/2.png?token=***"):
        assert [verdict["row"] for verdict in find_images(verdicts, name)] == [1]


def test_what_was_asked_of_every_image_is_no_repair(heap, repairs_of, params):
    rows = heap.verdicts.to_pylist()
    verdicts = repairs_of(heap.verdicts, ["toned" if row["path"].startswith("<not cured>") else None for row in rows])
    toned = next(row for row in verdicts.to_pylist() if row["repair"] == "toned")
    lines = explain(toned, verdicts, heap.raw, params.filter).splitlines()
    assert lines[2] == "  kept, toned: filter.denoise_all or filter.tone_all asked it of every image"
    assert "it measures as gaussian noise, but the repair did not hold" in lines[3]


def test_where_a_crawled_image_came_from(heap, params, tmp_path):
    nothing = dict.fromkeys(PROVENANCE)
    rows = [
        {**row, **nothing} for shard in shard_paths(heap.raw) for row in read_rows(shard, ["row", "image", "error"])
    ]
    rows[0] |= {
        "url": "https://a.example/1.png",
        "page_url": "https://a.example/\x1b?token=hunter2",
        "http_status": 200,
    }
    write_shard(tmp_path / "00000.parquet", iter(rows), CRAWLED_SCHEMA)
    verdict = heap.verdicts.slice(0, 1).to_pylist()[0]
    lines = explain(verdict, heap.verdicts, tmp_path, params.filter).splitlines()
    assert lines[2:5] == [
        "  kept as it is",
        "  url: https://a.example/1.png",
        "  page url: https://a.example/\\x1b?token=***",
    ]
    assert lines[5] == "  http status: 200"


def test_the_picture_that_a_face_was_cut_from(heap, params, tmp_path):
    rows = [row for shard in shard_paths(heap.raw) for row in read_rows(shard, ["row", "image", "error"])]
    rows[0] |= {"parent": "ab" * 32, "box": {"x": 172, "y": 65, "w": 102, "h": 102}}
    write_shard(tmp_path / "00000.parquet", iter(rows), with_faces(RAW_SCHEMA))
    verdict = heap.verdicts.slice(0, 1).to_pylist()[0]
    lines = explain(verdict, heap.verdicts, tmp_path, params.filter).splitlines()
    assert lines[3:5] == [f"  parent: {'ab' * 32}", "  box: x 172, y 65, w 102, h 102"]


def test_a_training_face_by_its_place(tmp_path):
    index = {"array": ["train", "train", "holdout_raw"], "index": [0, 1, 0], "row": [3, 7, 5], "id": ["a", "b", "c"]}
    pq.write_table(pa.table(index, schema=INDEX_SCHEMA), tmp_path / "index.parquet")
    assert [row_of_face(tmp_path, name) for name in ("train:1", "holdout_raw:0", "face:1")] == [7, 5, "face:1"]
    with pytest.raises(StageError, match="has no face train:2"):
        row_of_face(tmp_path, "train:2")
    with pytest.raises(StageError, match="run 'dvc repro resize' first"):
        row_of_face(tmp_path / "nowhere", "train:0")


def test_a_row_number_means_no_picture_of_that_name(heap):
    paths = pa.array([f"p/{len(heap.verdicts) - 1 - row}" for row in range(len(heap.verdicts))])
    verdicts = heap.verdicts.set_column(heap.verdicts.column_names.index("path"), "path", paths)
    assert [verdict["row"] for verdict in find_images(verdicts, 1)] == [1]
    assert [verdict["path"] for verdict in find_images(verdicts, "1")] == ["p/1"]
    with pytest.raises(StageError, match="have no row 99999"):
        find_images(verdicts, 99999)
