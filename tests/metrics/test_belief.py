from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.dcgan.networks import Discriminator, Generator
from pipeline.dcgan.weights import save_weights
from pipeline.errors import StageError
from pipeline.metrics import belief
from pipeline.metrics.belief import believe, known_by_heart, load_discriminator

CPU = torch.device("cpu")


def faces(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3)).astype(np.uint8)


def test_what_netD_believes_are_its_logits_in_eval_mode(tmp_path: Path) -> None:
    torch.manual_seed(0)
    netD = Discriminator(ndf=2, nc=3, image_size=32)
    save_weights(tmp_path / "netD.safetensors", netD, {})
    loaded = load_discriminator(tmp_path / "netD.safetensors", faces(1), CPU)
    assert not loaded.training
    some = faces(130)
    expected = netD.eval()(torch.from_numpy(some).permute(0, 3, 1, 2) / 127.5 - 1).detach().numpy()
    believed = believe(loaded, some)
    assert believed.dtype == np.float64
    np.testing.assert_allclose(believed, expected, atol=1e-5)


@pytest.mark.parametrize(("image_size", "nc"), [(64, 3), (32, 1)])
def test_a_netD_for_other_faces_is_refused(tmp_path: Path, image_size: int, nc: int) -> None:
    save_weights(tmp_path / "netD.safetensors", Discriminator(ndf=2, nc=nc, image_size=image_size), {})
    with pytest.raises(StageError, match=rf"has image_size and nc \({image_size}, {nc}\), and the faces \(32, 3\)"):
        load_discriminator(tmp_path / "netD.safetensors", faces(1), CPU)


def test_of_many_faces_some_are_asked_of_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(belief, "MOST", 3)
    netD = Discriminator(ndf=2, nc=3, image_size=32).eval()
    some = faces(9)
    np.testing.assert_allclose(believe(netD, some), believe(netD, some[[0, 4, 8]]))


def test_a_generator_is_no_discriminator(tmp_path: Path) -> None:
    save_weights(tmp_path / "netD.safetensors", Generator(nz=4, ngf=2, nc=3, image_size=32), {})
    with pytest.raises(StageError, match="holds a generator"):
        load_discriminator(tmp_path / "netD.safetensors", faces(1), CPU)


@pytest.mark.parametrize(
    ("train", "holdout", "value", "error"),
    [
        pytest.param([0.8, 0.9], [0.1, 0.2, 0.3], 1.0, 0.0, id="each face known"),
        pytest.param([0.1, 0.2], [0.8, 0.9], 0.0, 0.0, id="the other way round"),
        pytest.param([0.5, 0.5], [0.5, 0.5], 0.5, 0.0, id="ties"),
        # Placements ½ and 1 of the training faces, 0 and ½ of the holdout's: variances of 1/8 over 2 faces each.
        pytest.param([0.5, 0.9], [0.1, 0.6], 0.75, 0.125**0.5, id="three of four pairs"),
    ],
)
def test_known_by_heart(train: list[float], holdout: list[float], value: float, error: float) -> None:
    share = known_by_heart(np.array(train), np.array(holdout))
    assert share.value == pytest.approx(value)
    assert share.error == pytest.approx(error)


def test_a_netD_that_is_sure_of_all_faces_still_tells_those_that_it_has_seen() -> None:
    """Their probabilities are all 1."""
    drawn = np.random.default_rng(0)
    share = known_by_heart(drawn.normal(47.8, 1, 100), drawn.normal(42.4, 1, 100))
    assert share.value > 0.99
    assert share.exceeds_half


@pytest.mark.parametrize("holdout", [4, 20, 200])
def test_of_few_faces_too_nothing_is_seen_by_chance(holdout: int) -> None:
    drawn = np.random.default_rng(0)
    found = [known_by_heart(drawn.normal(size=500), drawn.normal(size=holdout)) for _ in range(1000)]
    assert np.mean([share.exceeds_half for share in found]) < 0.045
