from __future__ import annotations

import numpy as np
import pytest

from pipeline.dcgan.film import add_frame, spacing

FRAME = np.zeros((1, 2, 2, 3), np.uint8)


@pytest.mark.parametrize(
    ("step", "steps"),
    [
        pytest.param(20, 20, id="at first, every interval"),
        pytest.param(80, 20, id="as many as there may be"),
        pytest.param(81, 40, id="one more: half as often"),
        pytest.param(160, 40, id="full again"),
        pytest.param(161, 80, id="and half again"),
    ],
)
def test_spacing(step: int, steps: int) -> None:
    assert spacing(step, first=20, most=4) == steps


def test_frames_stay_few_and_even() -> None:
    frames = {0: FRAME}
    for step in range(20, 20_001, 20):
        if step % spacing(step, 20, 4) == 0:
            frames = add_frame(frames, step, FRAME, 20, 4)
        assert len(frames) <= 5  # the four, and the one before training
    assert list(frames) == [0, 5120, 10240, 15360]
