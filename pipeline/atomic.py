"""Write a file whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` at the end, or remove it if the body raised.

    The temporary name keeps the suffix, because many libraries choose a format by it. It is random, because on a
    cluster two machines may come to write the same file, from processes of the same number.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files of whole_file that killed processes left in a folder."""
    for path in folder.glob(".*.*-????????.*"):
        path.unlink(missing_ok=True)


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """Write figures as JSON, indented, keys in the given order; NaN and infinity are refused with ValueError."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")
