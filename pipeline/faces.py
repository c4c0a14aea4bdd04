"""The packed face arrays: (N, image_size, image_size, nc) uint8 in .npy files, memory-mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import paths
from pipeline.errors import StageError

Faces = NDArray[np.uint8]

# KID's error is the spread over halves, and a half of fewer than 2 faces has no pairs to average over.
FEWEST = 4


def load_faces(name: str, folder: Path = paths.FACES) -> Faces:
    """Return one packed array (N, H, W, C) uint8, read-only and memory-mapped; StageError where it is missing.

    name: train, holdout_clean, holdout_raw, or holdout_pristine, which only a recipe has.
    """
    path = folder / f"{name}.npy"
    try:
        faces: Faces = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise StageError(f"{path} is missing; run 'dvc repro resize' first") from None
    return faces
