"""The packed face arrays: (N, image_size, image_size, nc) uint8 in .npy files, memory-mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import paths
from pipeline.digest import file_digest
from pipeline.errors import StageError

Faces = NDArray[np.uint8]

# KID's error is the spread over halves, and a half of fewer than 2 faces has no pairs to average over.
FEWEST = 4

# What `sha256sum --check` reads: a .npy file has no checksum of its own.
SUMS = "SHA256SUMS"


def load_faces(name: str, folder: Path = paths.FACES) -> Faces:
    """Return one packed array (N, H, W, C) uint8, read-only, memory-mapped; StageError where missing or damaged.

    name: train, holdout_clean, holdout_raw, or holdout_pristine, which only a recipe has.
    """
    path = folder / f"{name}.npy"
    if not path.exists():
        raise StageError(f"{path} is missing; run 'dvc repro resize' first")
    sums = folder / SUMS
    if sums.exists() and sum_line(path) not in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        raise StageError(f"{path} is damaged, by {sums}; remove it, and 'dvc repro' brings it back")
    try:
        faces: Faces = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as fault:  # cut off, in a folder without sums
        raise StageError(
            f"{path} is damaged, by its size ({fault}); remove it, and 'dvc repro' brings it back"
        ) from None
    return faces


def sum_line(path: Path) -> str:
    """Return the line of a file in SHA256SUMS."""
    return f"{file_digest(path)}  {path.name}"
