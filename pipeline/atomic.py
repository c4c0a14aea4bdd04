"""Write a file whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import StageError

# No space on the disk, none by the user's quota, and a file over the process's limit (ulimit -f).
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# numpy's and torch's own writers don't say why they wrote too little.
_UNSAID = re.compile(r"\d+ requested and \d+ written|inline_container")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` at the end, or remove it if the body raised.

    The temporary name keeps the suffix, because many libraries choose a format by it. It is random, because on a
    cluster two machines may come to write the same file, from processes of the same number. StageError where there is
    no room for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except (OSError, RuntimeError) as fault:
        if message := _no_room(fault, path, temporary):
            raise StageError(message) from fault
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _no_room(fault: Exception, path: Path, temporary: Path) -> str | None:
    """Return what to say where a fault is that there is no room for a file, None where it is another fault."""
    number = fault.errno if isinstance(fault, OSError) else None
    if number not in _NO_ROOM and not _UNSAID.search(str(fault)):
        return None
    room = temporary.stat().st_size if temporary.exists() else 0
    if number in (errno.ENOSPC, None):
        room += shutil.disk_usage(path.parent).free
    why = os.strerror(number or errno.ENOSPC).lower()
    return f"{path} can't be written ({why}): it needs more than {room:,} bytes; make room, and run it again"


def empty_folder(folder: Path) -> None:
    """Make a folder, without what is in it where there is one; OSError that names it where that can't be removed."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as fault:
        fault.filename = str(folder)  # rmtree's is a bare name within it
        raise
    folder.mkdir(parents=True)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files of whole_file that killed processes left in a folder."""
    for path in folder.glob(".*.*-????????.*"):
        path.unlink(missing_ok=True)


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """Write figures as JSON, indented, keys in the given order; NaN and infinity are refused with ValueError."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")
