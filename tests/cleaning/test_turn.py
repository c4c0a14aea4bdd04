from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.cleaning.turn import TURNED_UNIT, turned
from pipeline.cleaning.views import levels_of


def test_a_turn_is_opencvs(face):
    gray = np.asarray(cv2.cvtColor(face(1, side=64), cv2.COLOR_RGB2GRAY), np.uint8)
    by_opencv = cv2.warpAffine(
        gray.astype(np.float64),
        cv2.getRotationMatrix2D((31.5, 31.5), 45, 1),
        (64, 64),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )
    assert turned(levels_of(gray[None]))[:, :, 0] / TURNED_UNIT == pytest.approx(by_opencv[8:56, 8:56], abs=1e-3)
