import gzip
import io
import os
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.sources.archive import archive_units
from pipeline.sources.items import Item
from tests.memory import measured


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .tar.gz is unpacked in the project's state folder, which is sought from the working folder."""
    monkeypatch.chdir(tmp_path)


def read(path: Path, max_bytes: int = 10_000) -> dict[str, Item]:
    with archive_units(path, max_bytes) as units:
        items = [item for unit in units for item in unit.read()]
    assert [item.path for item in items] == sorted(item.path for item in items)
    return {item.path: item for item in items}


def add(archive: tarfile.TarFile, name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, "/etc/passwd"
    archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tgz"])
def test_members(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"faces.{suffix}"
    contents = {"b/2.jpg": b"two", "a/1.jpg": b"one", "empty.jpg": b""}
    if suffix == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.mkdir("b")
            for name, data in contents.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz" if suffix.endswith("gz") else "w") as archive:
            for name, data in contents.items():
                add(archive, name, data)
    assert {name: item.data for name, item in read(path).items()} == contents


def test_zip_that_means_harm(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../up.jpg", b"x")
        archive.writestr("/absolute.jpg", b"x")
        archive.writestr("large.jpg", bytes(range(256)) * 40)
        archive.writestr("bomb.jpg", bytes(10**6))
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert {name: item.error for name, item in read(path).items()} == {
        "../../up.jpg": "unsafe path",
        "/absolute.jpg": "unsafe path",
        "large.jpg": "too large",
        "bomb.jpg": "compression bomb",
        "link.jpg": "not a file",
    }


def test_zip_whose_header_lies_about_the_size(tmp_path: Path) -> None:
    """The reading is bounded, whatever the directory says: 20,000 bytes declared as 100 are no 20,000 bytes read."""
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(range(250)) * 80)
    whole = path.read_bytes()
    path.write_bytes(whole.replace((20_000).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    item = read(path)["a.jpg"]
    assert item.data is None or len(item.data) <= 100


def test_zip_with_a_damaged_member(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"good content")
        archive.writestr("b.jpg", b"fine")
    path.write_bytes(path.read_bytes().replace(b"good content", b"evil content", 1))
    items = read(path)
    assert items["a.jpg"].error == "damaged in the archive"
    assert items["b.jpg"].data == b"fine"


def test_tar_that_means_harm(tmp_path: Path) -> None:
    path = tmp_path / "faces.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "../up.jpg", b"x")
        add(archive, "link.jpg", b"", tarfile.SYMTYPE)
        add(archive, "hard.jpg", b"", tarfile.LNKTYPE)
        add(archive, "device", b"", tarfile.CHRTYPE)
        add(archive, "large.jpg", b"x" * 10_001)
    assert {name: item.error for name, item in read(path).items()} == {
        "../up.jpg": "unsafe path",
        "link.jpg": "not a file",
        "hard.jpg": "not a file",
        "device": "not a file",
        "large.jpg": "too large",
    }


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_that_is_packed_as_no_picture_is(packing: int, tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"fine")
        archive.writestr("b.jpg", bytes(10**8), packing)
    items = read(path)
    assert items["a.jpg"].data == b"fine"
    assert items["b.jpg"].error == "rare packing"


def test_zip_of_a_version_that_nobody_knows(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"x")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 99
    path.write_bytes(bytes(data))
    with pytest.raises(StageError, match="damaged or no archive"):
        read(path)


def test_gzip_bomb_ends_the_stage_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "faces.tar.gz"
    path.write_bytes(gzip.compress(bytes(10**7)))
    with pytest.raises(StageError, match="bomb"):
        read(path)
    assert not list((tmp_path / ".pipeline").glob("import-*"))


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_no_archive(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"faces.{suffix}"
    path.write_bytes(b"no archive at all" * 100)
    with pytest.raises(StageError, match="damaged or no archive"):
        read(path)


def peak_of(path: Path) -> tuple[dict[str, int], int]:
    """Return how many items a process of its own has of each error (or "read"), and the bytes that this takes it."""
    imports = "import collections\nfrom pathlib import Path\nfrom pipeline.sources.archive import archive_units"
    code = """
with archive_units(Path(sys.argv[1]), 10_000) as units:
    print(json.dumps(collections.Counter(item.error or "read" for unit in units for item in unit.read())))
"""
    (came,), peak = measured(imports, code, path)
    return came, peak


def test_zip_bomb_whose_header_lies(tmp_path: Path) -> None:
    """200 MB that call themselves 5,000 bytes pass for a picture until they are read."""
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(200_000_000))
    path.write_bytes(path.read_bytes().replace((200_000_000).to_bytes(4, "little"), (5000).to_bytes(4, "little")))
    assert path.stat().st_size < 250_000
    came, peak = peak_of(path)
    assert came == {"damaged in the archive": 1}
    assert peak < 100_000_000


def test_zip_whose_members_share_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", os.urandom(5000))
        archive.filelist = archive.filelist * 50
    with pytest.raises(StageError, match="zip bomb: its members overlap"):
        read(path)


def test_an_archive_in_an_archive_is_no_picture_and_is_not_opened(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.jpg", bytes(10**6))
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner.zip", inner.getvalue())
    assert {name: item.data for name, item in read(path).items()} == {"inner.zip": inner.getvalue()}


def test_zip_of_very_many_members(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(50_000):
            archive.writestr(zipfile.ZipInfo(f"{number}.jpg"), b"")
    came, peak = peak_of(path)
    assert came == {"read": 50_000}
    assert peak < 100_000_000


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda whole, at: whole[: at + 100], id="cut within a header"),
        pytest.param(lambda whole, at: whole[:at], id="cut behind a member"),
        pytest.param(lambda whole, at: whole[:at] + bytes(512) + whole[at + 512 :], id="a header of zeros"),
        pytest.param(lambda whole, at: whole[:at] + b"?" + whole[at + 1 :], id="a damaged header"),
        pytest.param(lambda whole, _: whole + whole, id="two archives in one file"),
    ],
)
def test_what_lies_behind_a_tars_damage_is_a_row(spoil: Callable[[bytes, int], bytes], tmp_path: Path) -> None:
    """There tarfile ends as if the archive did."""
    path = tmp_path / "faces.tar"
    with tarfile.open(path, "w") as archive:
        for name in "abcd":
            add(archive, f"{name}.jpg", b"face")
    whole = path.read_bytes()
    path.write_bytes(spoil(whole, whole.index(b"c.jpg")))
    found = read(path)
    assert found.pop("(the rest of the archive)").error == "damaged in the archive"
    assert set(found) in ({"a.jpg", "b.jpg"}, {"a.jpg", "b.jpg", "c.jpg", "d.jpg"})


@pytest.mark.parametrize(
    ("count", "says"), [(300, "over 100 keys for all members"), (900, "a header for all members of over 4096 bytes")]
)
def test_tar_whose_notes_are_for_all_members(count: int, says: str, tmp_path: Path) -> None:
    """tarfile copies them for each: of 31 KB, packed, came 460 MB."""
    path, keys = tmp_path / "faces.tar", {f"{number}": "" for number in range(count)}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "by git"}) as archive:
        add(archive, "a.jpg", b"face")
    assert list(read(path)) == ["a.jpg"]
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers=keys) as archive:
        add(archive, "a.jpg", b"face")
    with pytest.raises(StageError, match=says):
        read(path)


def test_tar_whose_members_have_long_headers_takes_no_memory_for_them(tmp_path: Path) -> None:
    path = tmp_path / "faces.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(200):
            info = tarfile.TarInfo(f"{number}.jpg")
            info.pax_headers = {f"{key}": "" for key in range(5000)}
            archive.addfile(info)
    tracemalloc.start()
    try:
        assert len(read(path)) == 200
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_times_before_1970_are_kept_and_those_beyond_all_years_are_none(tmp_path: Path) -> None:
    path = tmp_path / "faces.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, time in (("a.jpg", -86400), ("b.jpg", 1e15)):
            info = tarfile.TarInfo(name)
            info.mtime = time
            archive.addfile(info)
    assert [item.fetched_at for item in read(path).values()] == [datetime(1969, 12, 31, tzinfo=UTC), None]


@pytest.mark.parametrize("size", [b"-0000000120", b"-0000001000", b"-0000002000"])
def test_tar_with_a_negative_size(size: bytes, tmp_path: Path) -> None:
    """To read -80 bytes would be to read all; -512 lead to the same header again, -1024 to the one before."""
    path = tmp_path / "faces.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "a.jpg", b"fine")
        add(archive, "b.jpg", b"face")
    whole = bytearray(path.read_bytes())
    at = whole.index(b"b.jpg")
    whole[at + 124 : at + 136] = size + b"\0"
    whole[at + 148 : at + 156] = b" " * 8
    whole[at + 148 : at + 156] = b"%06o\0 " % sum(whole[at : at + 512])
    path.write_bytes(whole)
    with pytest.raises(StageError, match="damaged or no archive of its kind: a member of a negative size"):
        read(path)


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_with_a_name_of_a_megabyte(kind: int, tmp_path: Path) -> None:
    path = tmp_path / "faces.tar"
    with tarfile.open(path, "w", format=kind) as archive:
        add(archive, "a" * 10_000, b"face")
    assert list(read(path)) == ["a" * 10_000]
    with tarfile.open(path, "w", format=kind) as archive:
        add(archive, "a" * 10**6, b"face")
    with pytest.raises(StageError, match="a member's name or header of over 65536 bytes"):
        read(path)


def test_tar_with_a_negative_size_behind_a_sparse_files_own(tmp_path: Path) -> None:
    """An old GNU header of -512 stored bytes that stand for 64: the next header is this one again, for ever."""
    header = bytearray(tarfile.TarInfo("sparse.jpg").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" + (256**11 - 512).to_bytes(11, "big")
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = b"00000000100\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "faces.tar"
    path.write_bytes(tarfile.TarInfo("a.jpg").tobuf() + header + bytes(1024))
    with pytest.raises(StageError, match="damaged or no archive of its kind: a member of a negative size"):
        read(path)


def test_what_a_killed_import_unpacked_goes_with_the_next_and_what_one_at_work_has_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with tarfile.open("faces.tar.gz", "w:gz") as archive:
        add(archive, "a.jpg", b"fine")
    left = Path(".pipeline/import-of-one-that-was-killed")
    left.mkdir(parents=True)
    (left / "archive.tar").write_bytes(b"x")
    with archive_units(Path("faces.tar.gz"), 1000) as first:
        assert not left.exists()
        with archive_units(Path("faces.tar.gz"), 1000) as second:
            assert [item.data for units in (first, second) for unit in units for item in unit.read()] == [b"fine"] * 2
    assert not list(Path(".pipeline").glob("import-*"))


def test_special_files_of_a_tar_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "faces.tar"
    kinds = {"block": tarfile.BLKTYPE, "pipe": tarfile.FIFOTYPE, "contiguous": tarfile.CONTTYPE, "odd": b"Z"}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"mtime": "nan"}) as archive:
        for name, kind in kinds.items():
            add(archive, name, b"", kind)
        add(archive, "/etc/passwd", b"x")
        add(archive, "..\\up.jpg", b"x")
    assert {name: item.error for name, item in read(path).items()} == {
        "block": "not a file",
        "pipe": "not a file",
        "odd": "not a file",
        "contiguous": None,
        "/etc/passwd": "unsafe path",
        "..\\up.jpg": "unsafe path",
    }
