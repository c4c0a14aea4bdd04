"""What DVC's cache has."""

from __future__ import annotations

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
