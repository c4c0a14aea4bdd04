"""Faces cut out of whole pictures: the astronaut's face is a known one at a known place (scikit-image, NASA)."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import skimage.data
from PIL import Image

from pipeline.codec import decode
from pipeline.errors import ParamsError, StageError
from pipeline.params import CrawlParams, CropParams, Params
from pipeline.records import RAW_SCHEMA, read_rows
from pipeline.sources import crop as under_test
from pipeline.sources import items
from pipeline.sources.crop import Box, find_faces, open_cascade, read_cascade, square_around, with_faces
from pipeline.sources.importing import import_source, split_of
from pipeline.sources.takedown import Takedown
from pipeline.workers import Workers, open_workers

HERE = Workers()
COLUMNS = with_faces(RAW_SCHEMA).names

# Between the astronaut's eyes and her mouth, by eye; and how large her face is at the least and at the most.
NOSE, SIDES = (223, 115), (75, 130)


def is_her_face(box: Box, left: int = 0) -> bool:
    """Whether a box holds the nose near its middle, and is as large as the face; left: where her picture begins."""
    off = (abs(box.x + box.w / 2 - left - NOSE[0]), abs(box.y + box.h / 2 - NOSE[1]))
    return max(off) < 15 and SIDES[0] < min(box.w, box.h) <= max(box.w, box.h) < SIDES[1]


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    return skimage.data.astronaut()


@pytest.fixture(scope="session")
def shipped() -> Path:
    """OpenCV's own LBP cascade of frontal faces, as scikit-image ships it: with a misspelt tag."""
    return Path(skimage.data.lbp_frontal_face_cascade_filename())


@pytest.fixture(scope="session")
def cascade(shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, spelt as OpenCV spells it."""
    path = tmp_path_factory.mktemp("cascade") / "lbpcascade_frontalface.xml"
    path.write_text(shipped.read_text().replace("featuhreParams", "featureParams"))
    return path


@pytest.fixture
def crawl(params: Params, cascade: Path) -> CrawlParams:
    crop = params.crawl.crop.model_copy(update={"kind": "anime_face", "cascade": str(cascade)})
    return params.crawl.model_copy(update={"crop": crop})


def settings(crawl: CrawlParams, **changed: object) -> CrawlParams:
    return crawl.model_copy(update={"crop": crawl.crop.model_copy(update=changed)})


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray, save) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    sideways = Image.fromarray(np.rot90(astronaut))
    exif = sideways.getexif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    files = {
        "broken.jpg": b"<html>",
        "flat.png": save(np.full((200, 300, 3), 128, np.uint8), "PNG"),
        "noise.png": save(np.random.default_rng(0).integers(0, 256, (300, 200, 3)).astype(np.uint8), "PNG"),
        "one.png": save(astronaut, "PNG"),
        "rgba.png": save(Image.fromarray(astronaut).convert("RGBA"), "PNG"),
        "small.png": save(cv2.resize(astronaut, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), "PNG"),
        "turned.jpg": save(sideways, "JPEG", quality=95, exif=exif),
        "two.png": save(np.hstack([astronaut, astronaut]), "PNG"),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def rows(folder: Path) -> list[dict]:
    return [row for shard in sorted(folder.glob("*.parquet")) for row in read_rows(shard, COLUMNS)]


def by_path(folder: Path) -> dict[str, dict]:
    return {row["path"]: row for row in rows(folder)}


def test_a_known_face_is_found_where_it_is(cascade: Path, astronaut: np.ndarray) -> None:
    """The self-test: a detector that has stopped to find anything, or looks at the wrong picture, fails here."""
    (face,) = find_faces(astronaut, open_cascade(cascade.read_text()), 5)
    assert is_her_face(face)


def test_the_order_of_faces_is_not_left_to_threads(cascade: Path, astronaut: np.ndarray) -> None:
    four = np.vstack([np.hstack([astronaut, astronaut])] * 2)
    threads, found = cv2.getNumThreads(), []
    try:
        for number in (1, 4):
            cv2.setNumThreads(number)
            found.append(find_faces(four, open_cascade(cascade.read_text()), 3))
    finally:
        cv2.setNumThreads(threads)
    assert found[0] == found[1] == sorted(found[0])
    assert len(found[0]) >= 4


def test_a_row_a_face(pictures: Path, crawl: CrawlParams, tmp_path: Path) -> None:
    (summary,) = import_source(pictures, settings(crawl, min_side=60), tmp_path / "raw", HERE)
    made = rows(tmp_path / "raw")
    assert [(row["row"], row["path"], row["error"]) for row in made] == [
        (0, "broken.jpg", "not an image"),
        (1, "flat.png", "no face"),
        (2, "noise.png", "no face"),
        (3, "one.png#0", None),
        (4, "rgba.png#0", None),
        (5, "small.png#0", "face too small"),
        (6, "turned.jpg#0", None),
        (7, "two.png#0", None),
        (8, "two.png#1", None),
    ]
    for row in made:
        data = (pictures / row["path"].partition("#")[0]).read_bytes()
        assert row["parent"] == hashlib.sha256(data).hexdigest()
        assert row["split"] == split_of(data, crawl.holdout_fraction)
    boxes = [None if row["box"] is None else Box(**row["box"]) for row in made]
    assert all(is_her_face(boxes[at]) for at in (3, 4, 6, 7))
    assert is_her_face(boxes[8], left=512)
    assert boxes[3] == boxes[4]
    assert boxes[5].w < 60
    assert boxes[:3] == [None] * 3
    assert summary.errors == {"not an image": 1, "no face": 2, "face too small": 1}
    assert summary.splits.total() == 5
    assert pq.read_schema(tmp_path / "raw/00000.parquet").equals(with_faces(RAW_SCHEMA), check_metadata=True)


def test_rows_of_many_faces_are_in_the_order_of_their_paths(
    crawl: CrawlParams, astronaut: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "many").mkdir()
    Image.fromarray(np.hstack([astronaut[:256, 100:356]] * 11)).save(tmp_path / "many/crowd.png")
    import_source(tmp_path / "many", settings(crawl, min_side=20), tmp_path / "raw", HERE)
    paths = [row["path"] for row in rows(tmp_path / "raw")]
    assert paths == sorted(paths)
    assert paths[0] == "crowd.png#00"
    assert len(paths) >= 11


def test_a_crop_is_the_padded_square_around_its_box(
    pictures: Path, crawl: CrawlParams, astronaut: np.ndarray, tmp_path: Path
) -> None:
    import_source(pictures, crawl, tmp_path / "raw", HERE)
    row = by_path(tmp_path / "raw")["one.png#0"]
    data = row["image"]["bytes"]
    cut = square_around(Box(**row["box"]), 512, 512, crawl.crop.pad)
    assert (row["format"], row["width"], row["height"], row["image"]["path"]) == ("PNG", cut.w, cut.h, "one.png#0")
    assert row["id"] == hashlib.sha256(data).hexdigest()
    np.testing.assert_array_equal(decode(data, 10**6), astronaut[cut.y : cut.y + cut.h, cut.x : cut.x + cut.w])


def test_rows_without_an_image_hold_nothing_of_one(pictures: Path, crawl: CrawlParams, tmp_path: Path) -> None:
    import_source(pictures, settings(crawl, min_side=60), tmp_path / "raw", HERE)
    made = by_path(tmp_path / "raw")
    small, flat = made["small.png#0"], made["flat.png"]
    assert flat["id"] == flat["parent"]
    assert small["id"] is None
    for row in (small, flat):
        assert (row["image"]["bytes"], row["width"], row["height"], row["format"]) == (None, None, None, None)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param(Box(40, 30, 20, 20), Box(35, 25, 30, 30), id="inside"),
        pytest.param(Box(2, 30, 20, 20), Box(0, 25, 30, 30), id="left edge"),
        pytest.param(Box(80, 60, 20, 20), Box(70, 50, 30, 30), id="corner"),
        pytest.param(Box(40, 30, 10, 20), Box(30, 25, 30, 30), id="not square"),
        pytest.param(Box(10, 5, 70, 70), Box(5, 0, 80, 80), id="as large as the picture"),
    ],
)
def test_square_in_a_picture_of_100_by_80(box: Box, expected: Box) -> None:
    assert square_around(box, width=100, height=80, pad=0.25) == expected


def test_workers_and_shards_change_nothing(
    pictures: Path, crawl: CrawlParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_source(pictures, crawl, tmp_path / "one", HERE)
    monkeypatch.setattr(items, "SHARD_IMAGES", 2)
    import_source(pictures, crawl, tmp_path / "here", HERE)
    with open_workers(2) as two:
        import_source(pictures, crawl, tmp_path / "there", two)
    shards = [path.name for path in sorted((tmp_path / "there").iterdir())]
    assert (
        shards
        == [path.name for path in sorted((tmp_path / "here").iterdir())]
        == [f"0000{n}.parquet" for n in range(4)]
    )
    assert all((tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes() for name in shards)
    assert rows(tmp_path / "there") == rows(tmp_path / "one")
    assert [row["row"] for row in rows(tmp_path / "there")] == list(range(9))


def test_taken_down_is_the_picture_or_a_face_of_it(pictures: Path, crawl: CrawlParams, tmp_path: Path) -> None:
    import_source(pictures, crawl, tmp_path / "before", HERE)
    before = by_path(tmp_path / "before")
    ids = frozenset({before["one.png#0"]["parent"], before["two.png#1"]["id"]})
    import_source(pictures, crawl, tmp_path / "raw", HERE, Takedown(ids=ids))
    made = by_path(tmp_path / "raw")
    assert "one.png#0" not in made
    for path in ("one.png", "two.png#1"):
        assert (made[path]["error"], made[path]["image"]["bytes"]) == ("taken down", None)
        assert made[path]["id"] in ids
    assert made["two.png#0"] == before["two.png#0"]


def test_tags_are_those_of_the_picture(pictures: Path, crawl: CrawlParams, tmp_path: Path, astronaut, save) -> None:
    folder = tmp_path / "board"
    folder.mkdir()
    for name, tag in (("a", "cat"), ("b", "girl")):
        (folder / f"{name}.png").write_bytes(save(astronaut, "PNG"))
        (folder / f"{name}.png.json").write_text(f'{{"file_url": "http://b.example/{name}", "tags": ["{tag}"]}}')
    import_source(folder, crawl.model_copy(update={"refuse_tags": ["cat"]}), tmp_path / "raw", HERE)
    cat, girl = read_rows(tmp_path / "raw/00000.parquet", [*COLUMNS, "url"])
    assert (cat["path"], cat["error"]) == ("a.png", "refused tag")
    assert (girl["path"], girl["error"], girl["url"]) == ("b.png#0", None, "http://b.example/b")


def test_what_a_recipe_knows_of_its_pictures_holds_for_no_crop(
    crawl: CrawlParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("kind: builtin\nseed: 1\ncount: 20\nsize: 64\ndirt:\n  blur: 0.2\n  unreadable: 0.2\n")
    monkeypatch.setattr(under_test, "find_faces", lambda *_: [Box(8, 8, 48, 48)])
    import_source(recipe, crawl, tmp_path / "raw", HERE)
    made = rows(tmp_path / "raw")
    assert Counter(row["error"] is None for row in made) == {True: 16, False: 4}
    assert {(row["truth"], row["truth_copy_of"], row["pristine"]) for row in made} == {(None, None, None)}


def test_a_detector_that_finds_nothing_ends_the_import(pictures: Path, crawl: CrawlParams, tmp_path: Path) -> None:
    """A cascade of other things loads, looks, and says nothing: a crawl without faces must not pass for a good one."""
    plates = Path(cv2.data.haarcascades) / "haarcascade_russian_plate_number.xml"
    with pytest.raises(
        StageError, match=r"plate_number\.xml found no face in any picture .7 pictures without"
    ) as fault:
        import_source(pictures, settings(crawl, cascade=str(plates)), tmp_path / "raw", HERE)
    assert "crawl.crop.min_neighbors" in str(fault.value)


def test_faces_that_are_all_too_small_end_it_too(pictures: Path, crawl: CrawlParams, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"6 faces smaller than crawl\.crop\.min_side 200"):
        import_source(pictures, settings(crawl, min_side=200), tmp_path / "raw", HERE)


def test_nothing_to_search_is_no_fault_of_the_cascade(crawl: CrawlParams, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/broken.jpg").write_bytes(b"<html>")
    import_source(tmp_path / "in", crawl, tmp_path / "raw", HERE)
    assert [row["error"] for row in rows(tmp_path / "raw")] == ["not an image"]


def refused(crop: CropParams, path: Path | str) -> str:
    with pytest.raises(ParamsError, match=r"crawl\.crop\.cascade") as fault:
        read_cascade(crop.model_copy(update={"cascade": str(path)}))
    return str(fault.value)


def test_a_cascade_that_opencv_loads_as_empty_is_refused(crawl: CrawlParams, shipped: Path) -> None:
    """One wrong letter in scikit-image's copy is enough, and OpenCV says nothing."""
    assert cv2.CascadeClassifier(str(shipped)).empty()
    assert "OpenCV finds no cascade in" in refused(crawl.crop, shipped)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="text"),
        pytest.param(b"\xff\xfe\x00", id="binary"),
        pytest.param(b"<?xml version='1.0'?><html/>", id="other XML"),
        pytest.param(b"<?xml version='1.0'?><opencv_storage><a>1</a></opencv_storage>", id="other storage"),
        pytest.param(b"{}", id="JSON"),
    ],
)
def test_a_file_that_is_no_cascade_is_refused(crawl: CrawlParams, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cascade.xml"
    path.write_bytes(content)
    assert "OpenCV finds no cascade in" in refused(crawl.crop, path)


def test_a_cascade_in_the_format_of_opencv_1_is_read(crawl: CrawlParams) -> None:
    path = f"{cv2.data.haarcascades}haarcascade_license_plate_rus_16stages.xml"
    text = read_cascade(crawl.crop.model_copy(update={"cascade": path}))
    assert open_cascade(text or "").getOriginalWindowSize() == (64, 16)


def test_a_truncated_cascade_is_refused(crawl: CrawlParams, cascade: Path, tmp_path: Path) -> None:
    path = tmp_path / "cascade.xml"
    path.write_bytes(cascade.read_bytes()[:20_000])
    assert "OpenCV finds no cascade in" in refused(crawl.crop, path)


def test_a_missing_cascade_is_refused_before_any_work(pictures: Path, crawl: CrawlParams, tmp_path: Path) -> None:
    assert "no such file" in refused(crawl.crop, tmp_path / "nowhere.xml").lower()
    assert "is a directory" in refused(crawl.crop, tmp_path).lower()
    kept = tmp_path / "raw/00000.parquet"
    kept.parent.mkdir()
    kept.touch()
    with pytest.raises(ParamsError):
        import_source(pictures, settings(crawl, cascade="nowhere.xml"), tmp_path / "raw", HERE)
    assert kept.exists()


def test_haar_cascades_of_opencv_do_too(crawl: CrawlParams, astronaut: np.ndarray) -> None:
    path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"
    text = read_cascade(crawl.crop.model_copy(update={"cascade": str(path)}))
    assert any(is_her_face(face) for face in find_faces(astronaut, open_cascade(text or ""), 5))


def test_none_reads_no_cascade(params: Params) -> None:
    assert read_cascade(params.crawl.crop) is None
