"""Where a training is taken up again: checkpoints outside DVC's outs, a folder for each fingerprint."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from pipeline.atomic import whole_file
from pipeline.dcgan.state import TrainState
from pipeline.errors import StageError


class Checkpoint:
    """One training's newest state, and DVC's digests of the training's outs where they were written from it.

    is_anothers: another process was at this training, and was waited for; what it left is as good as our own.
    """

    def __init__(self, folder: Path, is_anothers: bool = False) -> None:
        self._is_anothers = is_anothers
        self._state = folder / "state.pt"
        self._longer = folder / "longer.pt"
        self._finished = folder / "finished"

    def save(self, state: TrainState) -> None:
        """Write the state, whole or not at all, and to the disk: a power cut shall not cost the one before."""
        with whole_file(self._state) as temporary:
            torch.save(state.state_dict(), temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())

    def resume(self, state: TrainState, total_steps: int, are_stored: Callable[[list[str]], bool]) -> None:
        """Take a training up again where there is one to take up: cut off, or shorter than is wanted now.

        One that is finished, with outs that are_stored by DVC, is forgotten: DVC runs the stage again only where its
        user wants it afresh. With nothing left to train are taken up one whose outs DVC does not have, for want of disk
        perhaps, and one that another process finished just now. Of those that were cut off beyond total_steps the
        longest is kept aside until as many steps are wanted again. Raises StageError where the file is damaged.
        """
        longest = self._load(self._longer)["step"] if self._longer.exists() else 0
        if 0 < longest <= total_steps:
            self._finished.unlink(missing_ok=True)  # first: it is another's, and would have this one forgotten
            self._longer.replace(self._state)
        is_finished = self._finished.exists()
        outs = self._finished.read_text(encoding="utf-8").split() if is_finished else []
        self._finished.unlink(missing_ok=True)
        if not self._state.exists():
            return
        saved = self._load(self._state)
        # A power cut may leave the file without what was in it.
        is_ours = bool(outs) and not self._is_anothers
        if longest >= saved["step"] > total_steps:
            self._state.unlink()
        elif saved["step"] > total_steps and not is_finished:
            self._state.replace(self._longer)
            print(
                f"train: a longer training with these settings was cut off at step {saved['step']}; it stays in "
                f"{self._longer}, and goes on when num_epochs is as large again",
                file=sys.stderr,
            )
        elif saved["step"] > total_steps or (saved["step"] == total_steps and is_ours and are_stored(outs)):
            self._state.unlink()
        else:
            state.load_state_dict(saved)

    def finish(self, outs: Iterable[str]) -> None:
        """Note that the outs are written, and DVC's digests of them."""
        with whole_file(self._finished) as temporary:
            temporary.write_text("\n".join(outs), encoding="utf-8")

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
    folder, is_anothers = root / key, False
    lock = FileLock(folder / "lock")
    root.mkdir(parents=True, exist_ok=True)
    with _root_lock(root):  # within it, so that nobody prunes the folder before it is held
        folder.mkdir(exist_ok=True)
        folder.touch()
        try:
            lock.acquire(timeout=0)
        except Timeout:
            is_anothers = True
    if is_anothers:
        print(f"train: another process is at this very training; waiting for it ({lock.lock_file})", file=sys.stderr)
        lock.acquire()
    try:
        for unfinished in folder.glob(".*"):  # of a writer that was killed
            unfinished.unlink()
        _prune(root, keep)
        yield Checkpoint(folder, is_anothers)
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
