"""A drawn face, as near to real art as arithmetic gets, and a way to make shards of pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.codec import encode_png
from pipeline.records import RAW_SCHEMA, write_shard


def draw_face(seed: int, eyes: tuple[int, int, int] | None = None, side: int = 96) -> np.ndarray:
    """Return a shaded face of random colours and proportions, RGB uint8 (side, side, 3)."""
    rng = np.random.default_rng(seed)
    grid_y, grid_x = np.mgrid[0:192, 0:192] / 192
    skin, hair, ground = (
        rng.integers((200, 170, 140), (255, 225, 200)),
        rng.integers(20, 160, 3),
        rng.integers(60, 250, 3),
    )
    eye = np.array(eyes) if eyes is not None else rng.integers(20, 200, 3)
    face = np.stack([ground[c] * (0.75 + 0.25 * grid_y) for c in range(3)], axis=-1)
    x, y = rng.integers(80, 112), rng.integers(84, 116)
    cv2.ellipse(face, (int(x), int(y)), (70, 74), 0, 0, 360, hair.tolist(), -1)
    cv2.ellipse(face, (int(x), int(y) + 14), (50, 56), 0, 0, 360, skin.tolist(), -1)
    for side_x in (-22, 22):
        cv2.ellipse(face, (int(x) + side_x, int(y) + 10), (11, 16), 0, 0, 360, (250, 250, 250), -1)
        cv2.circle(face, (int(x) + side_x, int(y) + 12), 9, eye.tolist(), -1)
        cv2.circle(face, (int(x) + side_x, int(y) + 12), 4, (10, 10, 10), -1)
        cv2.ellipse(face, (int(x) + side_x, int(y) - 8), (15, 4), 0, 180, 360, (30, 20, 20), 2)
    cv2.ellipse(face, (int(x), int(y) + 48), (int(rng.integers(8, 22)), 5), 0, 0, 180, (150, 50, 60), 2)
    for strand in range(24):
        start = (int(x) - 66 + 6 * strand, int(y) - 44 - int(rng.integers(0, 20)))
        end = (start[0] + int(rng.integers(-14, 14)), int(y) - 12 + int(rng.integers(-12, 12)))
        cv2.line(face, start, end, (hair * rng.uniform(0.3, 1.3)).clip(0, 255).tolist(), 2, cv2.LINE_AA)
    face += 12 * np.sin(40 * grid_x + rng.uniform(0, 6))[..., None] * (grid_y < 0.35)[..., None]
    small = cv2.resize(face.clip(0, 255).astype(np.uint8), (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


@pytest.fixture(scope="session")
def face() -> Callable[..., np.ndarray]:
    return draw_face


@pytest.fixture
def shard(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes pictures, bytes or None (unreadable) as one raw shard, and gives its folder."""

    def write(
        images: Sequence[np.ndarray | bytes | None],
        splits: Sequence[str] | None = None,
        name: str = "0",
        first: int = 0,
    ) -> Path:
        def rows() -> Any:
            for at, image in enumerate(images, first):
                data = encode_png(image) if isinstance(image, np.ndarray) else image
                yield {
                    "row": at,
                    "id": None if data is None else hashlib.sha256(data).hexdigest(),
                    "path": f"{at}.png",
                    "image": {"bytes": data, "path": f"{at}.png"},
                    "split": splits[at - first] if splits else "train",
                    "error": None if data is not None else "truncated",
                }

        write_shard(tmp_path / "raw" / f"{name}.parquet", rows(), RAW_SCHEMA)
        return tmp_path / "raw"

    return write
