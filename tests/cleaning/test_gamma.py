import cv2
import numpy as np
import pytest

from pipeline.cleaning import gamma as g
from pipeline.cleaning.tone import undo_gamma
from pipeline.cleaning.views import net_view
from pipeline.sources.builtin import draw

NATS = 4.0


def as_jpeg(pixels):
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize("number", [3, 8, 21])
def test_the_first_look_follows_the_gamma_that_was_applied(number):
    pixels = draw(0, number, 64)
    estimates = [g.first_look(undo_gamma(pixels, 1 / applied)[None])[0] for applied in (0.3, 0.6, 1.0, 1.8, 3.0)]
    assert estimates == sorted(estimates)
    assert estimates[0] < 0.5
    assert estimates[2] == pytest.approx(1.0, rel=0.4)
    assert estimates[4] > 2.0


def test_a_grey_picture_is_no_paler_than_a_coloured_one():
    pixels = draw(0, 3, 64)
    grey = np.repeat(pixels[:, :, 1:2], 3, axis=2)
    assert g.first_look(grey[None]) == pytest.approx(g.first_look(pixels[None]), rel=0.3)


def test_the_profile_of_one_colour_is_known():
    profile = g.tone_profiles(np.full((1, 64, 64, 3), 128, np.uint8))[0]
    assert profile.shape == (135,)
    assert profile[:54] == pytest.approx(np.log(132 / 259))
    assert profile[54:108] == pytest.approx(128 / 255)
    assert profile[108:] == pytest.approx(0), "no saturation, no texture, no colour"


@pytest.mark.parametrize("applied", [0.25, 3.4])
@pytest.mark.parametrize("number", [3, 8, 21])
def test_the_second_look_measures_the_gamma_by_the_edges(number, applied):
    pixels = as_jpeg(undo_gamma(draw(0, number, 96), 1 / applied))
    assert g.gamma([pixels], net_view(pixels, 64)[None], NATS) == pytest.approx(applied, rel=0.3)


@pytest.mark.parametrize(("gain", "offset"), [pytest.param(0.5, 0, id="dark"), pytest.param(0.5, 128, id="pale")])
def test_of_what_is_dark_or_pale_by_a_straight_line_no_gamma_is_undone(gain, offset, params):
    for number in range(8):
        pixels = as_jpeg(np.rint(draw(0, number, 96) * gain + offset).astype(np.uint8))
        assert params.filter.min_gamma < g.gamma([pixels], net_view(pixels, 64)[None], NATS) < params.filter.max_gamma


def test_the_second_look_is_only_taken_where_the_first_finds_something(monkeypatch):
    monkeypatch.setattr(g, "second_look", lambda _: pytest.fail("looked twice"))
    pixels = draw(0, 3, 96)
    view = net_view(pixels, 64)[None]
    assert g.gamma([pixels], view, NATS) == g.first_look(view)


@pytest.mark.parametrize(
    ("logits", "found"),
    [
        pytest.param((0, NATS + 0.1, 0), 3.0, id="dark"),
        pytest.param((0, 0, NATS + 0.1), 0.3, id="pale"),
        pytest.param((0, NATS - 0.1, 0), 1.0, id="dark on purpose, maybe"),
        pytest.param((0, 0, NATS - 0.1), 1.0, id="pale on purpose, maybe"),
    ],
)
def test_a_gamma_must_be_much_likelier_than_none(monkeypatch, logits, found):
    outputs = np.array([*logits, np.log(3.0), np.log(0.3)], np.float32)
    monkeypatch.setattr(g, "first_look", lambda _: np.array([3.0]))
    monkeypatch.setattr(g, "second_look", lambda _: outputs)
    pixels = draw(0, 3, 96)
    assert g.gamma([pixels], net_view(pixels, 64)[None], NATS) == pytest.approx(found)


@pytest.mark.parametrize("shape", [(32, 40), (64, 64), (75, 90), (96, 96), (300, 200)])
def test_the_second_look_takes_pictures_of_any_size(shape):
    pixels = cv2.resize(draw(0, 3, 96), shape[::-1])
    assert g.second_look(pixels).shape == (5,)
    assert np.isfinite(g.second_look(pixels)).all()
