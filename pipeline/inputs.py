"""Whether what a stage is made from changed while it ran: DVC looks at that only when the stage is through."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import ParamsError, StageError
from pipeline.invocation import dvc_stages
from pipeline.messages import shown
from pipeline.params import flatten, read_yaml

DATAROOT = "${dataroot}"  # as dvc.yaml has it
MAX_TEXT = 10_000_000  # bytes of a dataroot that is read whole
LOOKS, LOOK_SECONDS = 5, 2.0


class Inputs:
    """What a stage is made from that no other stage writes, as it was when this was made: params, code, the dataroot.

    A dataroot is told by its files' names and sizes, unless it is a list or a recipe.
    """

    def __init__(self, stage: str) -> None:
        stages = dvc_stages()
        entry = stages.get(stage, {})
        made = {path for each in stages.values() for path in _outs(each)}
        deps = [dep for dep in entry.get("deps", []) if not any(Path(dep).is_relative_to(out) for out in made)]
        self._params: list[str] = entry.get("params", [])
        self._code = [dep for dep in deps if dep != DATAROOT]
        self._has_dataroot = DATAROOT in deps
        self.before = self._now()

    def require_unchanged(self) -> None:
        """Raise StageError where something is not as it was: DVC would take the result for what is there now.

        It looks again for some seconds: an editor may be saving, or DVC making ready an experiment.
        """
        changed = [str(paths.PARAMS)]
        for look in range(LOOKS):
            time.sleep(LOOK_SECONDS if look else 0)
            with suppress(ParamsError):  # half of params.yaml
                now = self._now()
                changed = [name for name, state in self.before.items() if now.get(name) != state]
                if not changed:
                    return
        raise StageError(
            f"{', '.join(changed)} changed while this ran, so its result is not that of what is there now: run it "
            "again, or put back what was there before (a training that was through is not lost then)"
        )

    def _now(self) -> dict[str, str]:
        """Return the values of params by dotted key, and digests of files and folders by path."""
        listed = paths.PARAMS.exists() and (self._params or self._has_dataroot)
        params = flatten(read_yaml(paths.PARAMS)) if listed else {}
        state = {key: str(params.get(key)) for key in self._params}
        state |= {path: _digest(Path(path), _content) for path in self._code}
        if self._has_dataroot:
            named = str(params.get("dataroot"))  # which load_params() has yet to check
            try:
                root = Path(os.path.realpath(named))  # Path.resolve() fails on a link to itself
            except ValueError as fault:  # a zero byte
                raise ParamsError(f"dataroot is no path: {shown(str(fault))}") from None
            is_text = root.is_file() and root.stat().st_size <= MAX_TEXT
            state[named] = _digest(root, _content if is_text else _size)
        return state


def _outs(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths that a stage of dvc.yaml writes; one with options is a mapping of one key."""
    for kind in ("outs", "metrics", "plots"):
        yield from (str(next(iter(out))) if isinstance(out, Mapping) else out for out in entry.get(kind, []))


def _digest(path: Path, look: Callable[[str], bytes]) -> str:
    """Return a digest of what look() gives of a file, or of each file in a folder; links in it are not followed.

    What editors and Python leave beside a file is none.
    """
    digest = hashlib.sha256()
    inside = sorted(f"{folder}/{name}" for folder, _, names in os.walk(path) for name in names if name[0] != ".")
    for file in inside or [str(path)]:
        if "__pycache__" not in file and not file.endswith("~"):
            with suppress(OSError):
                digest.update(os.fsencode(file) + look(file))
    return digest.hexdigest()


def _content(file: str) -> bytes:
    return Path(file).read_bytes()


def _size(file: str) -> bytes:
    return str(os.lstat(file).st_size).encode()
