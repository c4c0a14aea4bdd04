"""The real faces that generated ones are measured against."""

from __future__ import annotations

from pathlib import Path

from pipeline import paths
from pipeline.errors import StageError
from pipeline.faces import FEWEST, Faces, load_faces


def load_rulers(folder: Path = paths.FACES) -> dict[str, Faces]:
    """Return the holdouts by the names that figures have them under: clean, raw, and pristine where resize wrote it.

    See load_enough.
    """
    names = ["clean", "raw"] + ["pristine"] * (folder / "holdout_pristine.npy").exists()
    return {name: load_enough(f"holdout_{name}", folder) for name in names}


def load_enough(name: str, folder: Path = paths.FACES) -> Faces:
    """Return a packed array uint8 (N, H, W, C); StageError where it is missing or has fewer than 4 faces."""
    faces = load_faces(name, folder)
    if len(faces) < FEWEST:
        raise StageError(
            f"{folder / name}.npy has {len(faces)} faces, and measuring needs at least {FEWEST}; "
            "give more images, or change crawl.holdout_fraction"
        )
    return faces
