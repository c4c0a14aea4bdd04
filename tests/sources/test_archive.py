import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.sources.archive import archive_units
from pipeline.sources.items import Item


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


def test_zip_whose_members_make_the_decompressor_raise_anything(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.jpg", bytes(range(256)) * 8)
        archive.writestr("b.jpg", b"fine")
    data = bytearray(path.read_bytes())
    start = data.index(b"a.jpg") + 5
    data[start + 12 : start + 40] = bytes(28)
    path.write_bytes(bytes(data))
    items = read(path)
    assert items["a.jpg"].error == "damaged in the archive"
    assert items["b.jpg"].data == b"fine"


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
    assert list((tmp_path / ".pipeline").iterdir()) == []


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_no_archive(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"faces.{suffix}"
    path.write_bytes(b"no archive at all" * 100)
    with pytest.raises(StageError, match="damaged or no archive"):
        read(path)
