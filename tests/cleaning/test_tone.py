from __future__ import annotations

import numpy as np
import pytest

from pipeline.cleaning.tone import stretch, undo_gamma

RAMP = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)


@pytest.mark.parametrize("gamma", [0.4, 1.0, 2.5])
def test_undo_gamma_inverts_a_gamma(gamma):
    changed = np.rint(255 * (RAMP / 255) ** gamma).astype(np.uint8)
    error = np.abs(undo_gamma(changed, gamma).astype(int) - RAMP)
    assert error.mean() < 3
    assert undo_gamma(RAMP, gamma)[0, [0, 255]].tolist() == [[0] * 3, [255] * 3]


def test_stretch_puts_black_and_white_where_asked():
    faded = (RAMP // 4 + 100).astype(np.uint8)
    back = stretch(faded, 25, 250)
    assert abs(int(back[0, 0, 0]) - 25) <= 3
    assert abs(int(back[0, 255, 0]) - 250) <= 3
    assert (np.diff(back[0, :, 0].astype(int)) >= 0).all()


def test_stretch_of_a_flat_picture_does_not_fail():
    assert stretch(np.full((4, 4, 3), 90, np.uint8), 25, 250).shape == (4, 4, 3)
