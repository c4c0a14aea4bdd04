import os
import socket
import stat
from pathlib import Path

import pytest

from pipeline.sources.folder import folder_units
from pipeline.sources.items import Item


def read(root: Path, max_bytes: int = 1000) -> list[Item]:
    return [item for unit in folder_units(root, max_bytes) for item in unit.read()]


def test_files_come_in_path_order_from_all_depths(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/z.jpg", "a/b/c.jpg", "a.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    items = read(tmp_path)
    assert [item.path for item in items] == sorted(["a.jpg", "a/b/c.jpg", "a/z.jpg", "b.jpg"])
    assert [item.data for item in items] == [item.path.encode() for item in items]


def test_time_of_a_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    os.utime(tmp_path / "a.jpg", (0, 86400))
    (item,) = read(tmp_path)
    assert item.fetched_at is not None
    assert item.fetched_at.isoformat() == "1970-01-02T00:00:00+00:00"


def test_what_is_no_plain_file_is_a_row(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("not yours")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.jpg").symlink_to(secret)
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.jpg")
    (root / "large.jpg").write_bytes(b"x" * 1001)
    (root / "fits.jpg").write_bytes(b"x" * 1000)
    found = {item.path: item.error for item in read(root)}
    assert found == {
        "link.jpg": "link",
        "loop": "link",
        "pipe.jpg": "not a file",
        "large.jpg": "too large",
        "fits.jpg": None,
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param(b"\xff\xfe.jpg", "\\xff\\xfe.jpg", id="no UTF-8"),
        pytest.param("顔 🙂\n.jpg".encode(), "顔 🙂\n.jpg", id="newline and emoji"),
        pytest.param(b"n" * 250, "n" * 250, id="long"),
    ],
)
def test_odd_names(tmp_path: Path, name: bytes, shown: str) -> None:
    Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"x")
    (item,) = read(tmp_path)
    assert (item.path, item.data) == (shown, b"x")


def test_names_that_are_no_text_are_in_the_order_of_what_is_shown(tmp_path: Path) -> None:
    for name in (b"\xff.jpg", b"Z.jpg", b"a.jpg", "顔.jpg".encode()):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"x")
    assert [item.path for item in read(tmp_path)] == ["Z.jpg", "\\xff.jpg", "a.jpg", "顔.jpg"]


def test_file_that_vanishes_after_listing_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (unit,) = folder_units(tmp_path, 1000)
    (tmp_path / "a.jpg").unlink()
    (item,) = unit.read()
    assert item.error == "no such file or directory"


def test_a_socket_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket may have 107 bytes
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.png")
        assert [(item.path, item.error) for item in read(tmp_path)] == [("socket.png", "not a file")]


def test_a_device_is_a_row(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "endless.png", stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("only root makes devices")
    assert [(item.path, item.error) for item in read(tmp_path)] == [("endless.png", "not a file")]


@pytest.mark.parametrize("held", [pytest.param(False, id="nobody writes"), pytest.param(True, id="somebody is silent")])
def test_a_file_swapped_for_a_pipe_after_listing_is_a_row_and_no_wait(tmp_path: Path, held: bool) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")
    (unit,) = folder_units(tmp_path, 1000)
    path.unlink()
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR) if held else None
    (item,) = unit.read()
    assert (item.data, item.error) == (None, "not a file")
    if writer is not None:
        os.close(writer)


def test_what_may_not_be_read_is_a_row(of_nobody: Path) -> None:
    (of_nobody / "locked").mkdir()
    for name in ("locked/in.jpg", "mine.jpg", "free.jpg"):
        (of_nobody / name).write_bytes(b"x")
    (of_nobody / "mine.jpg").chmod(0)
    (of_nobody / "locked").chmod(0)
    if os.getuid() == 0:
        os.seteuid(65534)
    found = {item.path: item.error for item in read(of_nobody)}
    os.seteuid(os.getuid())
    (of_nobody / "locked").chmod(0o700)
    assert found == {"free.jpg": None, "locked": "permission denied", "mine.jpg": "permission denied"}
