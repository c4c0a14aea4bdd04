"""Features of many faces, a batch at a time, and their cache."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.atomic import whole_file
from pipeline.faces import Faces
from pipeline.metrics.backbone import VERSION, WIDTH, Backbone, Features

Row = TypeVar("Row", bound=np.generic)


def extract_features(faces: Faces, backbone: Backbone, label: str) -> Features:
    """Return float32 (N, 1280) for faces uint8 (N, H, W, C), under a progress bar; faces may be memory-mapped."""
    features = np.empty((len(faces), WIDTH), np.float32)

    def fill(start: int) -> int:
        batch = faces[start : start + backbone.batch]
        features[start : start + len(batch)] = backbone.extract(batch)
        return len(batch)

    with (
        ThreadPoolExecutor(backbone.threads) as pool,
        tqdm(total=len(faces), desc=label, unit="img", mininterval=0.5) as bar,
    ):
        for done in pool.map(fill, range(0, len(faces), backbone.batch)):
            bar.update(done)
    return features


def cached_features(faces: Faces, backbone: Backbone, label: str, folder: Path) -> Features:
    """Return extract_features(), from a file in folder where the same faces went through the same network before."""
    digest = hashlib.sha256(f"{VERSION} {backbone.device} {faces.shape}".encode())
    digest.update(np.ascontiguousarray(faces).data)
    path = folder / f"{digest.hexdigest()}.npy"
    if not path.exists():
        features = extract_features(faces, backbone, label)
        with whole_file(path) as temporary:
            np.save(temporary, features)
    cached: Features = np.load(path, allow_pickle=False)
    return cached


def spread(rows: NDArray[Row], most: int) -> NDArray[Row]:
    """Return at most so many rows of an array, evenly spread over it; all, uncopied, where there are no more."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.intp)]
