import hashlib
import os
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ParamsError, StageError
from pipeline.packing import array_sources
from pipeline.params import Params
from pipeline.records import RAW_SCHEMA, read_rows
from pipeline.sources.importing import import_source, split_of
from pipeline.sources.takedown import Takedown
from pipeline.workers import Workers, open_workers

HERE = Workers()


def rows(folder: Path) -> list[dict]:
    return [row for shard in sorted(folder.glob("*.parquet")) for row in read_rows(shard, RAW_SCHEMA.names)]


@pytest.fixture
def crawl(tmp_path: Path, picture: np.ndarray, save) -> Path:
    folder = tmp_path / "crawl"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(save(picture, "JPEG"))
    (folder / "b.png").write_bytes(save(picture, "PNG"))
    (folder / "c.jpg").write_bytes(b"<html>")
    (folder / "d.jpg").write_bytes(b"x" * 2000)
    return folder


def test_every_file_is_a_row(crawl: Path, params: Params, tmp_path: Path) -> None:
    small = params.crawl.model_copy(update={"max_bytes": 1999})
    (summary,) = import_source(crawl, small, tmp_path / "raw", HERE)
    a, b, c, d = rows(tmp_path / "raw")
    assert [row["row"] for row in (a, b, c, d)] == [0, 1, 2, 3]
    assert (a["path"], a["format"], a["width"], a["height"], a["error"]) == ("a.jpg", "JPEG", 56, 40, None)
    assert a["image"]["bytes"] == (crawl / "a.jpg").read_bytes()
    assert b["id"] == hashlib.sha256((crawl / "b.png").read_bytes()).hexdigest()
    assert (c["error"], c["image"]["bytes"], c["id"]) == ("not an image", None, hashlib.sha256(b"<html>").hexdigest())
    assert (d["error"], d["id"]) == ("too large", None)
    assert summary.errors == {"not an image": 1, "too large": 1}
    assert summary.splits.total() == 2
    assert all(row["truth"] is None for row in (a, b, c, d))


def test_workers_change_nothing(params: Params, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("kind: builtin\nseed: 1\ncount: 30\nsize: 48\ndirt:\n  blur: 0.2\n  exact_duplicate: 0.2\n")
    import_source(recipe, params.crawl, tmp_path / "one", HERE)
    with open_workers(2) as two:
        import_source(recipe, params.crawl, tmp_path / "two", two)
    names = [path.name for path in sorted((tmp_path / "one").iterdir())]
    assert names == [path.name for path in sorted((tmp_path / "two").iterdir())]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)


def test_an_earlier_import_leaves_nothing_behind(crawl: Path, params: Params, tmp_path: Path) -> None:
    target = tmp_path / "raw"
    target.mkdir()
    (target / "00099.parquet").touch()
    import_source(crawl, params.crawl, target, HERE)
    assert [path.name for path in target.iterdir()] == ["00000.parquet"]


@pytest.mark.parametrize(
    ("name", "text", "fault", "message"),
    [
        pytest.param("urls.xls", "http://a/1.jpg", ParamsError, "a folder, an archive", id="spreadsheet"),
        pytest.param("urls.csv", "address\nhttp://a/1.jpg\n", ParamsError, "nothing in a column `url`", id="no URLs"),
        pytest.param("urls.jsonl", "{", ParamsError, "not readable as a list", id="broken list"),
        pytest.param("urls.parquet", "no", ParamsError, "not readable as a list", id="broken table"),
        pytest.param("site.yaml", "kind: site\n", ParamsError, "start: missing", id="site"),
        pytest.param("other.yaml", "kind: sight\n", ParamsError, "kind 'sight' is not supported", id="no kind"),
        pytest.param("bad.yaml", "kind: [", ParamsError, "not readable YAML", id="broken recipe"),
        pytest.param("faces.zip", "no zip", StageError, "damaged or no archive", id="broken archive"),
    ],
)
def test_unusable_dataroot(tmp_path: Path, params: Params, name, text, fault, message) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(fault, match=message):
        import_source(tmp_path / name, params.crawl, tmp_path / "raw", HERE)


def test_missing_and_empty_dataroot(tmp_path: Path, params: Params) -> None:
    with pytest.raises(StageError, match="does not exist"):
        import_source(tmp_path / "nowhere", params.crawl, tmp_path / "raw", HERE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StageError, match="holds no files"):
        import_source(tmp_path / "empty", params.crawl, tmp_path / "raw", HERE)


@pytest.mark.parametrize("name", ["faces.zip", "faces.tar.gz", "urls.txt", "site.yaml", "faces"])
def test_a_pipe_as_dataroot_is_refused_and_not_waited_for(tmp_path: Path, params: Params, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ParamsError, match="neither a file nor a folder"):
        import_source(tmp_path / name, params.crawl, tmp_path / "raw", HERE)


def test_a_link_to_itself_as_dataroot_does_not_exist(tmp_path: Path, params: Params) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StageError, match="does not exist"):
        import_source(tmp_path / "loop", params.crawl, tmp_path / "raw", HERE)


def test_split_is_by_content_and_of_the_asked_size() -> None:
    contents = [str(number).encode() for number in range(4000)]
    splits = [split_of(content, 0.1) for content in contents]
    assert splits == [split_of(content, 0.1) for content in contents]
    assert 320 <= splits.count("holdout") <= 480  # 400 expected; 4.2 standard deviations either way
    held_back = {content for content in contents if split_of(content, 0.05) == "holdout"}
    assert held_back < {content for content, split in zip(contents, splits, strict=True) if split == "holdout"}


def test_of_what_is_taken_down_only_the_row_is_left(crawl: Path, params: Params, tmp_path: Path) -> None:
    known = hashlib.sha256((crawl / "a.jpg").read_bytes()).hexdigest()
    import_source(crawl, params.crawl, tmp_path / "raw", HERE, Takedown(ids=frozenset({known})))
    a, b, *_ = rows(tmp_path / "raw")
    assert (a["id"], a["error"], a["image"]["bytes"], a["width"]) == (known, "taken down", None, None)
    assert b["error"] is None


def test_a_drawn_face_that_is_taken_down_is_in_no_ruler(params: Params, tmp_path: Path, root: Path) -> None:
    """The pristine one too, which would look for its undamaged original."""
    recipe = (root / "data/builtin.yaml").read_text()
    (tmp_path / "few.yaml").write_text(re.sub(r"^count: .*", "count: 60", recipe, flags=re.MULTILINE))
    crawl = params.crawl.model_copy(update={"holdout_fraction": 0.5})
    import_source(tmp_path / "few.yaml", crawl, tmp_path / "raw", HERE)
    pristine = next(source for source in array_sources(tmp_path / "raw", tmp_path) if source.name.endswith("pristine"))
    before = [row for row in rows(tmp_path / "raw") if pristine.wants(row)]
    gone = next(row["id"] for row in before if row["truth"] == "clean")
    import_source(tmp_path / "few.yaml", crawl, tmp_path / "raw", HERE, Takedown(ids=frozenset({gone})))
    after = [row for row in rows(tmp_path / "raw") if pristine.wants(row)]
    assert [row["id"] for row in after] == [row["id"] for row in before if row["id"] != gone]
    assert all(pristine.data(row) for row in after)


def test_a_folder_has_no_columns_of_a_crawl(crawl: Path, params: Params, tmp_path: Path) -> None:
    import_source(crawl, params.crawl, tmp_path / "raw", HERE)
    assert pq.read_schema(tmp_path / "raw/00000.parquet").names == RAW_SCHEMA.names
