import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.filter_quality import read_labels, run_on_labelled_set, score
from pipeline import soil as module
from pipeline.codec import DecodeError, decode, encode_png
from pipeline.errors import StageError
from pipeline.params import Params
from pipeline.soil import EXPECTED, Label, plan, soil
from pipeline.sources.builtin import COPIES, EXACT_COPY, KINDS, draw

FACES = 50


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces at two depths, among files that are no pictures."""
    folder = tmp_path_factory.mktemp("faces")
    (folder / "more").mkdir()
    for number in range(FACES):
        place = folder / "more" if number % 2 else folder
        (place / f"{number}.png").write_bytes(encode_png(draw(1, number, 96)))
    (folder / "empty.jpg").touch()
    (folder / "link.png").symlink_to(folder / "0.png")
    (folder / "note.txt").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:-200])
    return folder


@pytest.fixture(scope="module")
def soiled(faces: Path, params: Params, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Label]]:
    """The faces with four in ten damaged: two of each kind."""
    out = tmp_path_factory.mktemp("soiled") / "set"
    return out, soil(faces, out, 0.4, 0, params.crawl)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_kind_of_damage_has_its_verdict() -> None:
    assert set(EXPECTED) == set(KINDS)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_kinds_come_in_equal_parts(share: float) -> None:
    kinds = plan(100, share, 3)
    counts = Counter(kinds.values())
    assert counts.total() == 100 * share
    assert set(kinds) <= set(range(100))
    assert not counts or max(counts.values()) - min(counts.values()) <= 1


def test_counts_are_known(soiled: tuple[Path, list[Label]]) -> None:
    counts = Counter(label.kind for label in soiled[1] if label.file)
    # Originals of the four copies stay clean.
    assert counts == {**dict.fromkeys(EXPECTED, 2), "clean": FACES - 20 + 2 * len(COPIES)}


def test_labels_name_what_is_there(soiled: tuple[Path, list[Label]]) -> None:
    out, labels = soiled
    assert {path.name for path in out.iterdir()} == {"images", "labels.csv", "pristine"}
    with (out / "labels.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["file", "origin", "kind", "expect", "strength", "pair"], *map(list, labels)]
    files = [label.file for label in labels if label.file]
    assert sorted(files) == sorted(path.name for path in (out / "images").iterdir())
    repaired = sorted(f"{Path(label.file).stem}.png" for label in labels if label.expect == "repair")
    assert repaired == sorted(path.name for path in (out / "pristine").iterdir())


def test_what_cannot_be_read_is_listed(soiled: tuple[Path, list[Label]]) -> None:
    skipped = {label.origin: label.kind for label in soiled[1] if not label.file}
    assert skipped == {
        "cut.png": "skipped/truncated",
        "empty.jpg": "skipped/empty file",
        "link.png": "skipped/link",
        "note.txt": "skipped/not an image",
    }
    assert len(read_labels(soiled[0])) == len(soiled[1]) - len(skipped)


def test_files_are_what_their_labels_say(faces: Path, soiled: tuple[Path, list[Label]]) -> None:
    out, labels = soiled
    for label in labels:
        if not label.file:
            continue
        original, file = (faces / label.origin).read_bytes(), (out / "images" / label.file).read_bytes()
        assert (file == original) == (label.kind in ("clean", EXACT_COPY)), label
        if label.expect == "repair":
            pristine = (out / "pristine" / f"{Path(label.file).stem}.png").read_bytes()
            np.testing.assert_array_equal(decode(pristine, 10**6), decode(original, 10**6))
        if label.kind == "unreadable":
            with pytest.raises(DecodeError):
                decode(file, 10**6)


def test_a_copy_stands_beside_its_original(soiled: tuple[Path, list[Label]]) -> None:
    by_file = {label.file: label for label in soiled[1]}
    for label in soiled[1]:
        assert bool(label.pair) == (label.kind in COPIES)
        if label.pair:
            original = by_file[label.pair]
            assert (original.kind, original.origin) == ("clean", label.origin)


def test_a_seed_is_a_set_whatever_the_order_of_the_files(
    faces: Path, soiled: tuple[Path, list[Label]], params: Params, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    for path in sorted(faces.rglob("*"), reverse=True):
        target = moved / path.relative_to(faces)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            target.symlink_to("elsewhere")
        elif path.is_file():
            target.write_bytes(path.read_bytes())
    soil(moved, tmp_path / "again", 0.4, 0, params.crawl)
    soil(moved, tmp_path / "other", 0.4, 1, params.crawl)
    assert contents(tmp_path / "again") == contents(soiled[0])
    assert contents(tmp_path / "other") != contents(soiled[0])


def test_undamaged_files_keep_their_bytes_whatever_they_are(
    picture: np.ndarray, save: Callable[..., bytes], params: Params, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    files = {"=1,\n顔.jpg": save(picture, "JPEG"), "wrong.gif": save(picture, "WEBP")}
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    labels = soil(tmp_path / "in", tmp_path / "out", 0.0, 0, params.crawl)
    assert {label.origin: (tmp_path / "out/images" / label.file).read_bytes() for label in labels} == files
    assert [label["origin"] for label in read_labels(tmp_path / "out")] == sorted(files)
    assert [label.file for label in labels] == ["000000.jpeg", "000001.webp"]


@pytest.mark.parametrize(
    ("folder", "out", "told"),
    [
        pytest.param("nowhere", "out", "is no folder", id="no input"),
        pytest.param("in", "taken", "is there already", id="taken"),
        pytest.param("in", "in/out", "is inside", id="inside the input"),
        pytest.param("in", "out", "of 1 files in", id="no picture"),
    ],
)
def test_what_is_refused_leaves_nothing(folder: str, out: str, told: str, params: Params, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/note.txt").write_text("no picture")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StageError, match=told):
        soil(tmp_path / folder, tmp_path / out, 0.4, 0, params.crawl)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_fault_on_the_way_leaves_nothing(
    faces: Path, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(pixels: np.ndarray, rng: np.random.Generator) -> bytes:
        raise OSError("no space left on device")

    monkeypatch.setitem(module.DAMAGES, "tiny", full)
    with pytest.raises(OSError, match="no space"):
        soil(faces, tmp_path / "out", 0.4, 0, params.crawl)
    assert list(tmp_path.iterdir()) == []


def test_the_filter_is_scored_on_a_soiled_set(
    root: Path, soiled: tuple[Path, list[Label]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    figures = score(soiled[0], tmp_path, 0)
    assert figures["recall.unreadable"] == figures["recall.tiny"] == figures["recall.exact_duplicate"] == 1
    assert figures["precision"] > 0.8
    assert {key for key in figures if key.startswith("gain_db.")} == {
        f"gain_db.{kind}" for kind, expect in EXPECTED.items() if expect == "repair"
    }


def test_nothing_damaged_is_scored_too(
    root: Path, picture: np.ndarray, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/face.png").write_bytes(encode_png(draw(1, 0, 96)))
    soil(tmp_path / "in", tmp_path / "out", 0.0, 0, params.crawl)
    assert score(tmp_path / "out", tmp_path / "work", 0)["clean_dropped"] == 0


def test_a_folder_without_labels_is_no_set_to_measure_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["filter_quality", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        run_on_labelled_set("", score)
    assert "holds no labels.csv; 'dcgan soil' makes such a set" in capsys.readouterr().err


def test_what_no_jpeg_can_hold_is_skipped(tmp_path: Path, params: Params) -> None:
    """A tenth of the damages saves a picture as JPEG, whose sides are limited."""
    (tmp_path / "faces").mkdir()
    for name, height in (("a.png", 66_000), ("b.png", 64)):
        (tmp_path / "faces" / name).write_bytes(encode_png(np.zeros((height, 8, 3), np.uint8)))
    labels = soil(tmp_path / "faces", tmp_path / "out", 0.0, 0, params.crawl)
    assert [(label.origin, label.kind) for label in labels] == [
        ("b.png", "clean"),
        ("a.png", "skipped/too long to be damaged"),
    ]
