"""A .zip, .tar or .tar.gz of crawled files; members are read in memory, so none can be written anywhere."""

from __future__ import annotations

import gzip
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Self

from filelock import FileLock, Timeout

from pipeline import paths
from pipeline.atomic import whole_file
from pipeline.errors import StageError
from pipeline.sources.items import Item, Unit, cut, moment

ZIP_SUFFIXES = (".zip",)
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")

# Pictures are compressed already: an archive that grows a hundredfold is a bomb.
MAX_EXPANSION = 100

# The row of what lies behind the place where a .tar is damaged or cut off.
REST = "(the rest of the archive)"

# What zipfile unpacks no further than it is asked to; of bzip2 and LZMA it unpacks all at once, and 1 KB may be 1 GB.
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


# What a .tar says of a member before its own header, its long name above all: tarfile reads that whole.
TAR_NOTES = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
MAX_NOTE = 1 << 16
# One that is for all members is copied for each, and those of several add up; git writes one of 52 bytes.
MAX_GLOBAL, MOST_GLOBALS = 4096, 100


@dataclass(frozen=True)
class Member:
    """One file in an archive: where it lies (its entry in a .zip, its offset in a .tar), or why it is not read."""

    path: str
    position: Any
    size: int
    modified: datetime | None
    error: str | None


class KnownZip(zipfile.ZipFile):
    """A .zip whose directory was read before: to read it again for each shard would take the square of its members."""

    def _RealGetContents(self) -> None:
        pass


class BoundedHeader(tarfile.TarInfo):
    """A header of a .tar; ValueError before the reading of a note on a member that is longer than any name."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return a header by its 512 bytes."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in TAR_NOTES and not 0 <= header.size <= MAX_NOTE:
            raise ValueError(f"a member's name or header of over {MAX_NOTE} bytes")
        if header.type == tarfile.XGLTYPE and header.size > MAX_GLOBAL:
            raise ValueError(f"a header for all members of over {MAX_GLOBAL} bytes")
        return header


@contextmanager
def archive_units(path: Path, max_bytes: int) -> Iterator[list[Unit]]:
    """Yield the shards of an archive, its members in sorted path order; valid inside the `with` only.

    A .tar.gz is unpacked to a temporary .tar first, because gzip can't be read from the middle. StageError where the
    file is no such archive or a bomb.
    """
    with ExitStack() as stack:
        try:
            units = _open(path, max_bytes, stack)
        except StageError:
            raise
        except Exception as fault:  # a hostile archive's headers make the libraries raise anything
            raise StageError(f"{path} is damaged or no archive of its kind: {fault}") from None
        yield units  # outside the `try`: a cluster that is lost meanwhile is no fault of the archive


def _open(path: Path, max_bytes: int, stack: ExitStack) -> list[Unit]:
    if path.name.endswith(ZIP_SUFFIXES):
        return _units(path, path, _zip_members(path), _read_zip, max_bytes)
    if path.name.endswith((".gz", ".tgz")):
        unpacked = _scratch(stack) / "archive.tar"
        _gunzip(path, unpacked)
        return _units(path, unpacked, _tar_members(unpacked), _read_tar, max_bytes)
    return _units(path, path, _tar_members(path), _read_tar, max_bytes)


Reader = Callable[[Path, Sequence[Member], int], Iterator[tuple[Member, bytes | None, str | None]]]


def _units(origin: Path, archive: Path, members: list[Member], reader: Reader, max_bytes: int) -> list[Unit]:
    members = sorted(members, key=lambda member: member.path)
    shards = cut(members, size_of=lambda member: min(member.size, max_bytes))
    return [
        Unit(first, len(part), partial(_read, str(origin), archive.absolute(), part, reader, max_bytes))
        for first, part in shards
    ]


def _read(origin: str, archive: Path, members: Sequence[Member], reader: Reader, max_bytes: int) -> Iterator[Item]:
    for member, data, error in reader(archive, members, max_bytes):
        yield Item(member.path, origin, data, error, member.modified)


def _unsafe(name: str) -> bool:
    """Whether a member's name would leave the folder that it is unpacked into."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts


def _zip_members(path: Path) -> list[Member]:
    members = []
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        # Entries that share bytes (Fifield's bomb of 2019) add up to more than the file holds.
        if sum(info.compress_size for info in infos) > path.stat().st_size:
            raise StageError(f"{path} is a zip bomb: its members overlap")
        for info in infos:
            if info.is_dir():
                continue
            mode = info.external_attr >> 16
            error = None
            if _unsafe(info.filename):
                error = "unsafe path"
            elif info.flag_bits & 1:
                error = "encrypted"
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                error = "not a file"
            elif info.compress_type not in PACKINGS:
                error = "rare packing"
            elif info.file_size > MAX_EXPANSION * max(info.compress_size, 1):
                error = "compression bomb"
            members.append(Member(_text(info.filename), info, info.file_size, _zip_time(info), error))
    return members


def _zip_time(info: zipfile.ZipInfo) -> datetime | None:
    """A .zip holds local time without a zone, and may hold none at all; it is taken for UTC."""
    try:
        return datetime(*info.date_time, tzinfo=UTC)
    except ValueError:
        return None


def _read_zip(
    path: Path, members: Sequence[Member], max_bytes: int
) -> Iterator[tuple[Member, bytes | None, str | None]]:
    with KnownZip(path) as archive:
        for member in members:
            if member.error is not None:
                yield member, None, member.error
                continue
            try:
                # The size in the header may lie, so the reading is bounded, not the header believed.
                with archive.open(member.position) as file:
                    data = file.read(max_bytes + 1)
            except Exception:  # a hostile member makes the decompressors raise anything
                yield member, None, "damaged in the archive"
                continue
            yield (member, None, "too large") if len(data) > max_bytes else (member, data, None)


def _tar_members(path: Path) -> list[Member]:
    members, end = list[Member](), 0
    with tarfile.open(path, "r:", tarinfo=BoundedHeader) as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # with all that their headers hold
            if len(archive.pax_headers) > MOST_GLOBALS:
                raise ValueError(f"over {MOST_GLOBALS} keys for all members")
            # A size below 0, which a sparse file's header may hide: the reader would go back, and round for ever.
            if info.size < 0 or archive.offset <= end:
                raise ValueError("a member of a negative size")
            end = archive.offset
            if info.isdir():
                continue
            error = None
            if _unsafe(info.name):
                error = "unsafe path"
            elif not info.isreg() or info.issparse():
                error = "not a file"
            members.append(Member(_text(info.name), info.offset_data, info.size, moment(info.mtime), error))
        # At a header that is none tarfile ends as if the archive did, which has two blocks of zeros then.
        if not _is_end(path, archive.offset):
            members.append(Member(REST, 0, 0, None, "damaged in the archive"))
    return members


def _is_end(path: Path, position: int) -> bool:
    """Whether there are zeros alone from a position of a file on, a block of a .tar at least."""
    with path.open("rb") as file:
        file.seek(position)
        length = 0
        while chunk := file.read(1 << 20):
            if chunk.strip(b"\0"):
                return False
            length += len(chunk)
    return length >= tarfile.BLOCKSIZE


def _read_tar(
    path: Path, members: Sequence[Member], max_bytes: int
) -> Iterator[tuple[Member, bytes | None, str | None]]:
    with path.open("rb") as file:
        for member in members:
            error = member.error or ("too large" if member.size > max_bytes else None)
            if error is not None:
                yield member, None, error
                continue
            file.seek(member.position)
            data = file.read(member.size)
            yield (member, data, None) if len(data) == member.size else (member, None, "damaged in the archive")


def _scratch(stack: ExitStack) -> Path:
    """Return a new folder on the project's disk, gone with the stack: the system's own may lie in memory.

    What a killed import left there goes first; that of one at work has a lock that is held.
    """
    root = paths.state_dir()
    root.mkdir(exist_ok=True)
    with FileLock(root / "import.lock"):
        for left in root.glob("import-*"):
            with suppress(Timeout), FileLock(left / "lock", timeout=0):
                shutil.rmtree(left, ignore_errors=True)
        held = tempfile.TemporaryDirectory(prefix="import-", dir=root, ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(held))
        stack.enter_context(FileLock(folder / "lock"))
    return folder


def _gunzip(path: Path, target: Path) -> None:
    limit = max(MAX_EXPANSION * path.stat().st_size, 1 << 20)  # a .tar of one small file is filled up with zeros
    with gzip.open(path) as packed, whole_file(target) as temporary, temporary.open("wb") as unpacked:
        while chunk := packed.read(1 << 20):
            if unpacked.tell() + len(chunk) > limit:
                raise StageError(f"{path} is a compression bomb: over {MAX_EXPANSION} times its size unpacked")
            unpacked.write(chunk)


def _text(name: str) -> str:
    """Return a member's name as valid UTF-8, which Parquet asks for; undecodable bytes are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
