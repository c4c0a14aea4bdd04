"""Where a training is taken up again: checkpoints outside DVC's outs, a folder for each fingerprint."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from pipeline.atomic import whole_file
from pipeline.dcgan.state import TrainState
from pipeline.errors import StageError


class Checkpoint:
    """One training's newest state, and by which digest its outs are known where they were written from it."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state.pt"
        self._longer = folder / "longer.pt"
        self._finished = folder / "finished"

    def save(self, state: TrainState) -> None:
        """Write the state, whole or not at all."""
        with whole_file(self._state) as temporary:
            torch.save(state.state_dict(), temporary)

    def resume(self, state: TrainState, total_steps: int, stored: str | None) -> None:
        """Take a training up again where there is one to take up: cut off, or shorter than is wanted now.

        One whose outs DVC has stored, as its digest of them tells, is forgotten: its user wants it afresh. One whose
        outs got lost on the way, or that another process has finished just now, is taken up with nothing left to train.
        One that was cut off beyond total_steps is kept aside until as many steps are wanted again. Raises StageError
        where the file is damaged.
        """
        if self._longer.exists() and self._load(self._longer)["step"] <= total_steps:
            self._longer.replace(self._state)
            self._finished.unlink(missing_ok=True)
        if not self._state.exists():
            return
        saved, is_finished = self._load(self._state), self._finished.exists()
        is_stored = is_finished and self._finished.read_text(encoding="utf-8") == stored
        if saved["step"] > total_steps and not is_finished:
            self._state.replace(self._longer)
            print(
                f"train: a longer training with these settings was cut off at step {saved['step']}; it stays in "
                f"{self._longer}, and goes on when num_epochs is as large again",
                file=sys.stderr,
            )
        elif saved["step"] > total_steps or (saved["step"] == total_steps and is_stored):
            self._state.unlink()
        else:
            state.load_state_dict(saved)
        self._finished.unlink(missing_ok=True)

    def finish(self, outs: str | None) -> None:
        """Note that the outs are written, and the digest that they are known by."""
        with whole_file(self._finished) as temporary:
            temporary.write_text(outs or "", encoding="utf-8")

    @staticmethod
    def _load(path: Path) -> dict[str, Any]:
        try:
            # torch writes checksums and does not look at them.
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(f"bad CRC-32 of {damaged}")
            saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as fault:  # a damaged file makes the unpickler raise anything
            raise StageError(f"{path} is damaged; remove it to train afresh ({fault})") from None
        return saved


@contextmanager
def open_checkpoint(root: Path, key: str, keep: int) -> Iterator[Checkpoint]:
    """Yield the checkpoint of a fingerprint, held against other processes; wait while another one holds it.

    Of the folders in root, the `keep` that were used last stay, and those that a process holds.
    """
    folder = root / key
    lock = FileLock(folder / "lock")
    root.mkdir(parents=True, exist_ok=True)
    with _root_lock(root):  # within it, so that nobody prunes the folder before it is held
        folder.mkdir(exist_ok=True)
        folder.touch()
        with suppress(Timeout):
            lock.acquire(timeout=0)
    if not lock.is_locked:
        print(f"train: another process is at this very training; waiting for it ({lock.lock_file})", file=sys.stderr)
        lock.acquire()
    try:
        for unfinished in folder.glob(".state.*"):  # of a writer that was killed
            unfinished.unlink()
        _prune(root, keep)
        yield Checkpoint(folder)
    finally:
        lock.release()


def _root_lock(root: Path) -> FileLock:
    """Of two trainings that start together, one would meet what the other is removing."""
    return FileLock(root / "lock")


def _prune(root: Path, keep: int) -> None:
    with _root_lock(root):
        folders = sorted(
            (folder for folder in root.iterdir() if folder.is_dir()), key=lambda folder: folder.stat().st_mtime
        )
        for folder in folders[:-keep]:
            try:
                with FileLock(folder / "lock", timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
            except Timeout:
                continue
