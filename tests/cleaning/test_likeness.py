from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.cleaning.likeness import difference, layout, layout_likeness, same_tones, signature
from pipeline.cleaning.views import net_view


def compare(params, first, second):
    """Return the difference in units of the limit, and whether the layouts pass."""
    limits = params.filter
    worst, tint = difference(signature(first)[None], signature(second)[None], limits.max_difference)
    correlation, layout_tint = layout_likeness(layout(first)[None], layout(second)[None])
    alike = correlation[0] >= limits.min_layout and max(tint[0], layout_tint[0]) <= limits.max_tint
    return worst[0] / limits.max_difference, bool(alike)


def jpeg(pixels, quality):
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(lambda p: p, id="itself"),
        pytest.param(lambda p: jpeg(p, 40), id="re-encoded"),
        pytest.param(lambda p: cv2.resize(p, (64, 64), interpolation=cv2.INTER_AREA), id="smaller"),
        pytest.param(lambda p: cv2.resize(p, (180, 180), interpolation=cv2.INTER_LINEAR), id="larger"),
        pytest.param(lambda p: p[3:, 3:], id="cut at the top left"),
        pytest.param(lambda p: p[:-2, 3:], id="cut at the left"),
        pytest.param(lambda p: (p * np.array([0.85, 0.9, 1.0])).astype(np.uint8), id="tinted darker"),
        pytest.param(lambda p: np.clip(p * 1.15, 0, 255).astype(np.uint8), id="brighter, clipped"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_copies_differ_by_less_than_the_limit(params, face, copy, seed):
    original = face(seed)
    changed = np.ascontiguousarray(copy(original))
    for pair in ((original, changed), (changed, original)):
        worst, alike = compare(params, *pair)
        assert worst < 1
        assert alike


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda face: face(1, eyes=(200, 40, 40)), id="eyes of another colour"),
        pytest.param(lambda face: np.ascontiguousarray(face(1)[:, ::-1]), id="mirrored"),
        pytest.param(lambda face: face(2), id="another face"),
        pytest.param(lambda face: closed(face(1, eyes=(30, 60, 160))), id="another expression"),
    ],
)
def test_other_pictures_differ_by_more(params, face, change):
    worst, alike = compare(params, face(1, eyes=(30, 60, 160)), change(face))
    assert worst > 1 or not alike


def closed(pixels):
    changed = pixels.copy()
    rows, columns = np.nonzero((pixels > 235).all(axis=2))
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    changed[box] = pixels[rows.max() + 3, columns.min() + 4]
    return changed


def test_tint_is_the_logarithm_of_the_gain(face):
    pixels = np.clip(face(4), 20, 180)
    half = (pixels * 0.5).astype(np.uint8)
    _, tint = difference(signature(pixels)[None], signature(half)[None], 1.0)
    assert tint[0] == pytest.approx(np.log(2), abs=0.02)
    correlation, layout_tint = layout_likeness(layout(pixels)[None], layout(half)[None])
    assert correlation[0] == pytest.approx(1, abs=0.01)
    assert layout_tint[0] == pytest.approx(np.log(2), abs=0.03)


def test_flat_pictures_have_no_layout():
    flat = np.full((1, 6, 6, 3), 90, np.uint8)
    assert layout_likeness(flat, flat)[0] == 0


def test_no_pairs_give_no_figures():
    none = np.zeros((0, 32, 32, 3), np.uint8)
    worst, tint = difference(none, none, 0.2)
    assert worst.shape == tint.shape == (0,)


@pytest.mark.parametrize("side", [64, 65, 96, 200])
def test_the_nets_view_of_a_square_has_the_same_signature(face, side):
    pixels = face(1, side=side)
    assert np.array_equal(signature(net_view(pixels, 64)), signature(pixels))


@pytest.mark.parametrize("gamma", [0.6, 1.8])
def test_same_tones_undo_a_curve_and_no_other_colours(face, gamma):
    pixels = signature(face(4))
    curved = (255 * (pixels / 255) ** gamma).round().astype(np.uint8)
    for one, other in ((pixels, curved), (curved, pixels)):
        alike, goal = same_tones(one[None], other[None])
        assert np.abs(alike.astype(int) - goal).mean() < 1.5
    alike, goal = same_tones(pixels[None], pixels[None, :, :, ::-1])
    assert np.abs(alike.astype(int) - goal).mean() > 10
