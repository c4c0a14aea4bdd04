from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.cleaning import repair as repairs
from pipeline.cleaning.dct import shrink_noise
from pipeline.cleaning.denoise import DENOISERS, replace_impulses
from pipeline.cleaning.measures import measure
from pipeline.cleaning.opponent import noise_sigmas
from pipeline.cleaning.tone import TONE_CURVES, Tone, equalize, stretch, undo_gamma
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


def repaired(pixels, damage, params):
    (measures,) = measure([pixels], 64, params)
    return repairs.repair([repairs.Damaged(pixels, damage, measures)], 64, params)[0]


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_recognised_and_repaired(params, face, damage):
    pristine = face(2)
    damaged = DAMAGES[damage](pristine)
    (measures,) = measure([damaged], 64, params.filter)
    assert judge(as_columns(measures), params.filter)[1][0] == damage
    mended, was, remains = repaired(damaged, damage, params.filter)
    assert repairs.holds(damage, was, remains, params.filter)
    error, error_before = (np.mean((p.astype(float) - pristine) ** 2) for p in (mended, damaged))
    assert error < error_before


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("damage", DAMAGES)
def test_bars_beside_the_square_change_no_verdict_and_no_repair(params, face, damage, level):
    """A curve by the levels of white bars would take a faded face further from what it was."""
    pristine = face(2)
    damaged = DAMAGES[damage](pristine)
    barred = np.full((96, 96 + 2 * 64, 3), level, np.uint8)
    barred[:, 64:-64] = damaged  # on JPEG's grid, as the picture alone is
    (alone,), (measures,) = measure([damaged], 64, params.filter), measure([barred], 64, params.filter)
    assert measures._replace(width=96) == alone
    mended, was, remains = repaired(barred, damage, params.filter)
    assert repairs.holds(damage, was, remains, params.filter)
    error, error_before = (np.mean((p[:, 64:-64].astype(float) - pristine) ** 2) for p in (mended, barred))
    assert error < error_before


@pytest.mark.parametrize("bar", [60, 61, 63])
def test_blocks_are_found_beside_bars_of_any_width(params, face, bar):
    barred = np.zeros((96, 96 + 2 * bar, 3), np.uint8)
    barred[:, bar:-bar] = face(2)
    alone = blocky(face(2))
    found = measure([alone, blocky(barred)], 64, params.filter)
    assert found[1].blockiness == pytest.approx(found[0].blockiness, rel=0.2)
    assert judge(as_columns(found[1]), params.filter)[1][0] == "jpeg blocks"


def test_a_tone_that_stays_damaged_was_not_repaired(params, face):
    measures = measure([DAMAGES["faded"](face(2))], 64, params.filter)[0]
    less = measures._replace(contrast=measures.contrast + 5)
    assert judge(as_columns(less), params.filter)[1][0] == "faded"
    assert not repairs.holds("faded", measures, less, params.filter)


def test_an_undamaged_picture_is_left_alone(params, face):
    for seed in range(20):
        assert judge(as_columns(measure([face(seed)], 64, params.filter)[0]), params.filter)[1][0] is None


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda pixels: np.asarray(cv2.blur(pixels, (15, 15)), np.uint8), id="blurred on the way"),
        pytest.param(lambda pixels: pixels, id="changed nothing"),
    ],
)
def test_a_repair_that_does_not_hold_is_taken_back(params, face, monkeypatch, harm):
    monkeypatch.setattr(repairs, "mend", lambda pixels, *_: harm(pixels))
    _, was, remains = repaired(noisy(face(1)), "gaussian noise", params.filter)
    assert not repairs.holds("gaussian noise", was, remains, params.filter)


def test_a_large_picture_is_repaired_at_the_work_size(params, face):
    large = cv2.resize(face(1), (600, 600), interpolation=cv2.INTER_CUBIC)
    faded = (large * 0.25 + 90).astype(np.uint8)
    mended, was, remains = repaired(faded, "faded", params.filter)
    assert repairs.holds("faded", was, remains, params.filter)
    assert mended.shape == (256, 256, 3)


def test_an_unknown_damage_is_an_error(params, face):
    with pytest.raises(ValueError, match="torn"):
        repairs.mend(face(1), "torn", 1.0, params.filter)


def test_a_large_picture_is_not_too_small_once_it_is_repaired_at_the_work_size(params, face):
    strict = params.filter.model_copy(update={"min_side": 300, "work_side": 256})
    faded = DAMAGES["faded"](face(2, side=384))
    mended, was, remains = repaired(faded, "faded", strict)
    assert repairs.holds("faded", was, remains, strict)
    assert mended.shape == (256, 256, 3)


def test_the_params_as_shipped_name_these_functions(params, face):
    pixels, section = noisy(face(1)), params.filter
    expected = {
        "impulse noise": replace_impulses(pixels),
        "gaussian noise": shrink_noise(pixels, noise_sigmas(pixels)),
        "jpeg blocks": shrink_noise(pixels, np.full(3, section.deblock_sigma, np.float32)),
        "faded": stretch(pixels, section.faded_black, section.faded_white),
        "dark": undo_gamma(pixels, 2.7),
        "bright": undo_gamma(pixels, 2.7),
    }
    assert set(expected) == set(DAMAGES)
    for damage, wanted in expected.items():
        assert np.array_equal(repairs.mend(pixels, damage, 2.7, section), wanted), damage
    assert repairs.asked_of_all(section) == {}
    assert repairs.finish(pixels, None, 2.7, section) is None


def changed(section, **changes):
    return section.model_copy(update=changes)


@pytest.mark.parametrize("name", DENOISERS)
@pytest.mark.parametrize("damage", repairs.DENOISED_BY)
def test_each_noise_is_mended_by_the_filter_named(params, face, damage, name):
    section = changed(params.filter, **{repairs.DENOISED_BY[damage]: name})
    pixels = noisy(face(1))
    sigmas = np.full(3, 18, np.float32) if damage == "jpeg blocks" else noise_sigmas(pixels)
    assert np.array_equal(repairs.mend(pixels, damage, 1.0, section), DENOISERS[name](pixels, sigmas))


@pytest.mark.parametrize("name", TONE_CURVES)
@pytest.mark.parametrize("damage", repairs.TONED_BY)
def test_each_tone_is_mended_by_the_curve_named(params, face, damage, name):
    section = changed(params.filter, **{repairs.TONED_BY[damage]: name})
    expected = TONE_CURVES[name](face(1), Tone(2.0, 25, 250, 153))
    assert np.array_equal(repairs.mend(face(1), damage, 2.0, section), expected)


@pytest.mark.parametrize("name", ["dct", "non_local_means", "total_variation", "wavelet"])
def test_a_repair_by_another_member_holds_too(params, face, name):
    section = changed(params.filter, noise_filter=name)
    _, was, remains = repaired(noisy(face(2)), "gaussian noise", section)
    assert repairs.holds("gaussian noise", was, remains, section)


def test_a_member_that_cures_nothing_is_taken_back(params, face):
    section = changed(params.filter, noise_filter="median")
    _, was, remains = repaired(noisy(np.clip(face(2), 90, 165)), "gaussian noise", section)
    assert not repairs.holds("gaussian noise", was, remains, section)


def test_all_are_denoised_and_then_toned(params, face):
    section, pixels = changed(params.filter, denoise_all="dct", tone_all="equalize"), noisy(face(1))
    denoised = shrink_noise(pixels, noise_sigmas(pixels))
    finished, label = repairs.finish(pixels, None, 1.0, section)
    assert np.array_equal(finished, equalize(denoised))
    assert label == "denoised and toned"
    assert repairs.asked_of_all(section) == {
        "denoised": "dct",
        "toned": "equalize",
        "denoised and toned": "dct and equalize",
    }


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("gaussian noise", lambda pixels: equalize(pixels)),
        ("dark", lambda pixels: shrink_noise(pixels, noise_sigmas(pixels))),
    ],
)
def test_a_repair_is_not_repeated_and_names_the_result(params, face, damage, expected):
    section, pixels = changed(params.filter, denoise_all="dct", tone_all="equalize"), noisy(face(1))
    finished, label = repairs.finish(pixels, damage, 1.0, section)
    assert np.array_equal(finished, expected(pixels))
    assert label == damage


def test_what_changes_nothing_is_no_change(params):
    flat = np.full((40, 40, 3), 90, np.uint8)
    assert repairs.finish(flat, None, 1.0, changed(params.filter, denoise_all="dct", tone_all="auto_gamma")) is None
    _, label = repairs.finish(flat, None, 2.0, changed(params.filter, denoise_all="dct", tone_all="auto_gamma"))
    assert label == "toned"


def test_a_large_picture_is_finished_at_the_work_size_and_stays_where_nothing_changes(params, face):
    large = cv2.resize(face(1), (600, 600), interpolation=cv2.INTER_CUBIC)
    finished, label = repairs.finish(large, None, 2.0, changed(params.filter, tone_all="auto_gamma"))
    assert (finished.shape, label) == ((256, 256, 3), "toned")
    assert repairs.finish(large, None, 1.0, changed(params.filter, tone_all="auto_gamma")) is None
