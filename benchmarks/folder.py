"""The pictures of a folder that a benchmark is given."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from pipeline.codec import DecodeError, decode

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
LEAST = 50  # with fewer no figure says anything


def readable_pictures(folder: Path, max_pixels: int) -> list[Path]:
    """Return the files of a folder, and of those within it, that hold a picture, in order; SystemExit for too few."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    found = [path for path in tqdm(files, desc="look", unit="img", leave=False) if _is_readable(path, max_pixels)]
    if len(found) < len(files):
        print(f"{len(files) - len(found)} of {len(files)} files can't be read, and are left out")
    if len(found) < LEAST:
        raise SystemExit(f"{folder} holds {len(found)} pictures; give {LEAST} or more")
    return found


def _is_readable(path: Path, max_pixels: int) -> bool:
    try:
        decode(path.read_bytes(), max_pixels)
    except (OSError, DecodeError):
        return False
    return True
