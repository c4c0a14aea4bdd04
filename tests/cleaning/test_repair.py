from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.cleaning import repair as repairs
from pipeline.cleaning.measures import measure
from pipeline.cleaning.verdict import as_columns, judge


def noisy(pixels):
    return np.clip(pixels + np.random.default_rng(0).normal(0, 25, pixels.shape), 0, 255).astype(np.uint8)


def dotted(pixels):
    dots = np.random.default_rng(0).random(pixels.shape[:2])
    changed = pixels.copy()
    changed[dots < 0.03], changed[dots > 0.97] = 0, 255
    return changed


def blocky(pixels):
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 7])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def curved(gamma):
    return lambda pixels: (255 * (pixels / 255) ** gamma).astype(np.uint8)


DAMAGES = {
    "gaussian noise": noisy,
    "impulse noise": dotted,
    "jpeg blocks": blocky,
    "faded": lambda pixels: (pixels * 0.25 + 90).astype(np.uint8),
    "dark": curved(4.0),
    "bright": curved(0.2),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_recognised_and_repaired(params, face, damage):
    pristine = face(2)
    damaged = DAMAGES[damage](pristine)
    measures = measure(damaged, 64, params.filter.work_side)
    assert judge(as_columns(measures), params.filter)[1][0] == damage
    mended, was, remains = repairs.repair(damaged, damage, measures.gamma, 64, params.filter)
    assert repairs.holds(damage, was, remains, params.filter)
    error, error_before = (np.mean((p.astype(float) - pristine) ** 2) for p in (mended, damaged))
    assert error < error_before


def test_an_undamaged_picture_is_left_alone(params, face):
    for seed in range(20):
        assert judge(as_columns(measure(face(seed), 64, 256)), params.filter)[1][0] is None


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda pixels: np.asarray(cv2.blur(pixels, (15, 15)), np.uint8), id="blurred on the way"),
        pytest.param(lambda pixels: pixels, id="changed nothing"),
    ],
)
def test_a_repair_that_does_not_hold_is_taken_back(params, face, monkeypatch, harm):
    monkeypatch.setattr(repairs, "mend", lambda pixels, *_: harm(pixels))
    _, was, remains = repairs.repair(noisy(face(1)), "gaussian noise", 1.0, 64, params.filter)
    assert not repairs.holds("gaussian noise", was, remains, params.filter)


def test_a_large_picture_is_repaired_at_the_work_size(params, face):
    large = cv2.resize(face(1), (600, 600), interpolation=cv2.INTER_CUBIC)
    faded = (large * 0.25 + 90).astype(np.uint8)
    mended, was, remains = repairs.repair(faded, "faded", 1.0, 64, params.filter)
    assert repairs.holds("faded", was, remains, params.filter)
    assert mended.shape == (256, 256, 3)


def test_an_unknown_damage_is_an_error(params, face):
    with pytest.raises(ValueError, match="torn"):
        repairs.mend(face(1), "torn", 1.0, params.filter)


def test_a_large_picture_is_not_too_small_once_it_is_repaired_at_the_work_size(params, face):
    strict = params.filter.model_copy(update={"min_side": 300, "work_side": 256})
    faded = DAMAGES["faded"](face(2, side=384))
    mended, was, remains = repairs.repair(faded, "faded", 1.0, 64, strict)
    assert repairs.holds("faded", was, remains, strict)
    assert mended.shape == (256, 256, 3)
