"""Films as MP4, which have all colours and take less room than a GIF; browsers and phones play VP9."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.atomic import whole_file
from pipeline.errors import StageError


def write_mp4(frames: Sequence[NDArray[np.uint8]], path: Path, frame_ms: int) -> None:
    """Write frames, RGB uint8 (H, W, 3) of one even size, as a film that shows each for frame_ms milliseconds.

    frames holds at least one. The file appears whole or not at all. Raises StageError where OpenCV can't.
    """
    height, width = frames[0].shape[:2]
    with whole_file(path) as temporary:
        code = cv2.VideoWriter.fourcc(*"vp09")
        writer = cv2.VideoWriter(str(temporary), code, 1000 / frame_ms, (width, height))
        if not writer.isOpened():
            raise StageError(f"OpenCV can't write VP9 to {path}; write a .gif instead")
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        writer.release()
        # OpenCV does not say what it could not write.
        if cv2.VideoCapture(str(temporary)).get(cv2.CAP_PROP_FRAME_COUNT) != len(frames):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
