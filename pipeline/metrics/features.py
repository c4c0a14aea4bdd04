"""Features of many faces, a batch at a time, and their cache."""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.atomic import whole_file
from pipeline.digest import file_digest
from pipeline.faces import Faces
from pipeline.metrics.backbone import WIDTH, Backbone, Features

Row = TypeVar("Row", bound=np.generic)

UNFINISHED_NS = 3600 * 10**9


def extract_features(faces: Faces, backbone: Backbone, label: str) -> Features:
    """Return float32 (N, 1280) for faces uint8 (N, H, W, C), under a progress bar; faces may be memory-mapped."""
    features = np.empty((len(faces), WIDTH), np.float32)

    def fill(start: int) -> int:
        batch = faces[start : start + backbone.batch]
        features[start : start + len(batch)] = backbone.extract(batch)
        return len(batch)

    with (
        ThreadPoolExecutor(backbone.threads) as pool,
        tqdm(total=len(faces), desc=label, unit="img", leave=None) as bar,
    ):
        for done in pool.map(fill, range(0, len(faces), backbone.batch)):
            bar.update(done)
    return features


def cached_features(faces: Faces, backbone: Backbone, label: str, folder: Path) -> Features:
    """Return extract_features(), from a file in folder where the same faces went through the same network before."""
    code = file_digest(Path(__file__).with_name("backbone.py"))
    libraries = [version(library) for library in ("onnxruntime", "timm", "torch")]
    known = (code, *libraries, backbone.device, faces.shape)
    digest = hashlib.sha256(" ".join(map(str, known)).encode())
    digest.update(np.ascontiguousarray(faces).data)
    path = folder / f"{digest.hexdigest()}.npz"
    if (cached := _read(path)) is not None:
        return cached
    features = extract_features(faces, backbone, label)
    with whole_file(path) as temporary:
        np.savez(temporary, features=features)  # and not save: a zip file has checksums
    return features


def _read(path: Path) -> Features | None:
    """Return cached features, None where there are none or they are damaged."""
    try:
        os.utime(path)
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            features: Features = file["features"]
    except Exception:  # no look before, as another process may forget the file; damage makes the readers raise anything
        return None
    return features


def forget_features(folder: Path, megabytes: float) -> None:
    """Delete from a folder of cached_features the files used longest ago, until the rest take so many megabytes (10⁶).

    Another process may be at work in the folder: what it reads it has, and what it writes is left alone.
    """
    used = []
    for path in folder.glob("*.np[yz]"):
        with suppress(FileNotFoundError):  # another process forgets too
            used.append((path.stat().st_mtime_ns, path.stat().st_size, path))
    left = megabytes * 1e6
    for last_use, size, path in sorted(used, reverse=True):
        unfinished = path.name.startswith(".")  # see whole_file; written in a second, unless its writer was killed
        left -= size
        if left < 0 and not (unfinished and last_use > time.time_ns() - UNFINISHED_NS):
            path.unlink(missing_ok=True)


def spread(rows: NDArray[Row], most: int) -> NDArray[Row]:
    """Return at most so many rows of an array, evenly spread over it; all, uncopied, where there are no more."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.intp)]
