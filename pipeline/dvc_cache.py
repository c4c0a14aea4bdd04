"""What DVC's cache has, and the digests by which it has it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def cached_file(md5: str) -> Path | None:
    """Return the file in DVC's cache by its digest, None where it is not there, or here is no project of DVC's."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import NotDvcRepoError

    try:
        cache = DVCFileSystem().repo.cache.local
    except NotDvcRepoError:
        return None
    held = Path(cache.oid_to_path(md5)) if cache else None
    return held if held and held.exists() else None


def folder_md5(folder: Path) -> str:
    """Return DVC's digest of a folder of code, with its `.dir`: of a list of the files' own; compiled ones are none."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    listed = [
        {"md5": hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest(), "relpath": name}
        for name, file in sorted(files.items())
        if "__pycache__" not in file.parts
    ]
    return hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest() + ".dir"
