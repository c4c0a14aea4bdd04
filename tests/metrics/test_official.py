from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as library

from pipeline.errors import StageError
from pipeline.faces import Faces
from pipeline.metrics import official
from pipeline.metrics.coverage import coverage_figures
from pipeline.metrics.distances import frechet, kid
from pipeline.metrics.official import official_figures, read_inception
from pipeline.sources.builtin import draw

Weights = dict[str, torch.Tensor]

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Random weights in the official file's layout, which keep the signal's size from layer to layer."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(library, "load_state_dict_from_url", lambda *_, **__: {})
        patched.setattr(library.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        net = library.FeatureExtractorInceptionV3("random", ["2048"])
    generator = torch.Generator().manual_seed(0)
    for name, tensor in net.named_parameters():
        if name.endswith("conv.weight"):
            torch.nn.init.kaiming_normal_(tensor, generator=generator)
    return net.state_dict()


@pytest.fixture
def allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that writes an object as a weights file, takes its sha256 for the official one and reads it."""

    def write(content: object) -> str:
        held = io.BytesIO()
        torch.save(content, held)
        monkeypatch.setattr(official, "WEIGHTS_SHA256", hashlib.sha256(held.getvalue()).hexdigest())
        path = tmp_path / "inception.pth"
        path.write_bytes(held.getvalue())
        return str(path)

    return write


@pytest.fixture(scope="module")
def faces() -> Faces:
    return np.stack([draw(0, number, 32) for number in range(40)])


@pytest.mark.parametrize(
    "layer", [pytest.param("64", id="first layers"), pytest.param("2048", id="whole", marks=pytest.mark.long)]
)
def test_figures_are_those_of_the_networks_features(
    weights: Weights, allow, faces: Faces, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(official, "LAYER", layer)
    path = allow(weights)
    inception = read_inception(path)
    assert inception is not None
    assert inception.sha256 == official.WEIGHTS_SHA256
    real, fake = faces[:20], 255 - faces[20:]
    figures = official_figures(inception, real, fake, CPU)
    net = library.FeatureExtractorInceptionV3("again", [layer], feature_extractor_weights_path=path)
    x, y = (net(torch.from_numpy(some).permute(0, 3, 1, 2))[0].double().numpy() for some in (real, fake))
    # Fewer images than dimensions: FID is exact to a thousandth of the trace only.
    assert figures["fid"] == pytest.approx(frechet(x, y)[0], abs=1e-3 * (x.var(axis=0) + y.var(axis=0)).sum())
    assert figures["fid"] > 0
    # All subsets are the whole sets, here; torch-fidelity computes in float32.
    assert figures["kid_inception"] == pytest.approx(1000 * kid(x, y, 2, 0)[0], rel=1e-3, abs=1e-3)
    assert figures["kid_inception_std"] == pytest.approx(0.0, abs=1e-3)
    expected = coverage_figures(x, y, nearest_k=3)
    assert figures["precision_inception"] == pytest.approx(expected.precision)
    assert figures["recall_inception"] == pytest.approx(expected.recall)
    assert set(figures) == {"fid", "kid_inception", "kid_inception_std", "precision_inception", "recall_inception"}


def test_luma_is_shown_as_grey(faces: Faces) -> None:
    luma, colour = (official.Pictures(some)[3] for some in (faces[..., :1], faces))
    assert luma.tolist() == [faces[3, ..., 0].tolist()] * 3
    assert colour.permute(1, 2, 0).tolist() == faces[3].tolist()


def test_without_a_file_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert read_inception(None) is None
    said = capsys.readouterr().out
    assert "no FID" in said
    assert said.count("\n") == 1


def test_another_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    path.write_bytes(b"something else")
    with pytest.raises(StageError, match=r"has sha256 .* expected 6726825d"):
        read_inception(str(path))


def test_a_missing_file_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"gone\.pth is not readable .*download https://github.com/toshas/"):
        read_inception(str(tmp_path / "gone.pth"))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda weights: {k: v for k, v in weights.items() if k != "fc.bias"}, id="a tensor missing"),
        pytest.param(lambda weights: weights | {"more": torch.zeros(1)}, id="one too many"),
        pytest.param(lambda weights: weights | {"fc.bias": torch.zeros(1000)}, id="another shape"),
    ],
)
def test_another_layout_is_refused(weights: Weights, allow, change) -> None:
    with pytest.raises(StageError, match="does not fit"):
        read_inception(allow(change(weights)))
