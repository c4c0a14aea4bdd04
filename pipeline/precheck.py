"""Before `dvc repro`: refuse a dataroot that DVC can't hash, which it does before the import may tell good from bad.

DVC opens every file of a folder, links' targets too: it waits for a pipe for ever, never comes to the end of a device,
and ends at a socket, a link to nowhere, a name that is no UTF-8 and a file that it may not read. Of a dataroot that is
missing it says so, and not what to do.
"""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import StageError
from pipeline.faults import faults
from pipeline.messages import shown
from pipeline.params import load_params

KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def require_hashable(dataroot: Path) -> None:
    """Raise StageError where DVC can't hash a dataroot, or there is none that it could fetch."""
    try:
        dataroot.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # which DVC may have
    except OSError as fault:
        raise StageError(f"dataroot {dataroot} can't be looked at: {fault.strerror}") from None
    if not dataroot.exists() and not any(Path(f"{path}.dvc").exists() for path in (dataroot, *dataroot.parents)):
        raise StageError(f"dataroot {dataroot} does not exist; write its whole path into params.yaml, without ~")
    if found := list(_unhashable(dataroot)):
        path, why = found[0]
        more = f", nor {len(found) - 1} more" if len(found) > 1 else ""
        raise StageError(
            f"dataroot {dataroot}: DVC can't hash {str(path)!r} ({why}){more}; remove what is no plain file, or make "
            "an archive of the folder and name that"
        )


def _unhashable(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the path of all that DVC can't hash, and why, in sorted order; as DVC, enter no folder by a link."""
    names = sorted(Path(folder, name) for folder, _, files in os.walk(root) for name in files)
    for path in names if root.is_dir() else [root] if root.exists() else []:
        if why := _fault(path):
            yield path, why


def _fault(path: Path) -> str | None:
    """Return why DVC can't hash a file, None where it can."""
    try:
        str(path).encode()
        mode = path.stat().st_mode
    except UnicodeEncodeError:
        return "a name that is no UTF-8"
    except OSError as fault:
        return (fault.strerror or "unreadable").lower()
    if not stat.S_ISREG(mode):
        return KINDS[stat.S_IFMT(mode)]
    return None if os.access(path, os.R_OK, effective_ids=True) else "permission denied"


def main() -> None:
    """Check the dataroot of params.yaml, or another: exit code 0, 1 where DVC can't hash it, 2 for bad params."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("dataroot", nargs="?", type=Path, help="another than that of params.yaml")
    named = parser.parse_args().dataroot
    with faults("make"):
        dataroot = named or Path(load_params().dataroot)
        require_hashable(dataroot)
        print(f"dataroot {shown(dataroot)}: DVC can read it")


if __name__ == "__main__":
    main()
