"""Grids of faces, from uint8 arrays to PNG and GIF files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.utils import make_grid

from pipeline.atomic import whole_file
from pipeline.codec import Pixels, encode_png
from pipeline.faces import Faces


def grid(faces: Faces, columns: int) -> Pixels:
    """Return faces as one picture, row by row, on white; columns is the number of faces in a row.

    faces: uint8 (N, H, W, C), N at least 1, C 1 or 3. Returns RGB uint8 (H', W', 3).
    """
    planes = torch.from_numpy(np.array(faces)).permute(0, 3, 1, 2)
    picture: Pixels = make_grid(planes, nrow=columns, pad_value=255).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(picture)


def pairs_grid(above: Faces, below: Faces, columns: int) -> Pixels:
    """Return two sets of faces as one picture: each row of `above` has its partners from `below` under it.

    above, below: uint8 (N, H, W, C), row i of one belongs to row i of the other. Returns RGB uint8 (H', W', 3).
    """
    blank = np.full((-len(above) % columns, *above.shape[1:]), 255, np.uint8)
    halves = [np.concatenate([half, blank]).reshape(-1, columns, *above.shape[1:]) for half in (above, below)]
    return grid(np.stack(halves, axis=1).reshape(-1, *above.shape[1:]), columns)


def side_by_side(left: Faces, right: Faces, columns: int) -> Pixels:
    """Return the grids of two sets of as many faces as one picture, with a gap between them; see grid()."""
    halves = [grid(left, columns), grid(right, columns)]
    gap = np.full((halves[0].shape[0], left.shape[2] // 2, 3), 255, np.uint8)
    return np.hstack([halves[0], gap, halves[1]])


def write_png(pixels: Pixels, path: Path) -> None:
    """Write RGB uint8 (H, W, 3) as a PNG file, whole or not at all; the bytes depend on the pixels alone."""
    with whole_file(path) as temporary:
        temporary.write_bytes(encode_png(pixels))


def write_gif(frames: Sequence[NDArray[np.uint8]], path: Path, frame_ms: int) -> None:
    """Write frames, RGB uint8 (H, W, 3) of one size, as an endless GIF that shows each for frame_ms milliseconds.

    frames holds at least one. The file appears whole or not at all.
    """
    first, *others = (Image.fromarray(frame) for frame in frames)
    with whole_file(path) as temporary:
        first.save(temporary, save_all=True, append_images=others, duration=frame_ms, loop=0)
