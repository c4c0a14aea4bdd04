"""What torch-fidelity computes from our features, through an extractor that it lets us register, is what we compute."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch_fidelity as fidelity
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from pipeline.faces import Faces
from pipeline.metrics.backbone import Backbone, open_backbone
from pipeline.metrics.coverage import coverage_figures
from pipeline.metrics.distances import frechet, kid
from pipeline.metrics.official import Pictures
from pipeline.sources.builtin import draw

NAME, COUNT, K = "ours", 60, 3


class Ours(fidelity.FeatureExtractorBase):
    """Our features, in float64, as torch-fidelity computes in the precision that it is given."""

    backbone: Backbone
    width: int

    def __init__(self, name: str, features_list: list[str], **_: object) -> None:
        super().__init__(name, features_list)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.from_numpy(features_of(pictures.permute(0, 2, 3, 1).numpy(), self.backbone, self.width)),)

    @staticmethod
    def get_provided_features_list() -> tuple[str]:
        return ("all",)

    @staticmethod
    def get_default_feature_layer_for_metric(_: str) -> str:
        return "all"


def features_of(faces: Faces, backbone: Backbone, width: int) -> np.ndarray:
    """The first so many features, in float64."""
    return backbone.extract(np.ascontiguousarray(faces))[:, :width].astype(np.float64)


@pytest.fixture(scope="module")
def faces() -> tuple[Faces, Faces]:
    drawn = np.stack([draw(0, number, 32) for number in range(2 * COUNT)])
    noise = np.random.default_rng(0).integers(-20, 21, drawn[COUNT:].shape)
    return drawn[:COUNT], np.clip(drawn[COUNT:] + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def extractor() -> Iterator[type[Ours]]:
    Ours.backbone = open_backbone(torch.device("cpu"), 32, 3)
    fidelity.register_feature_extractor(NAME, Ours)
    yield Ours
    del FEATURE_EXTRACTORS_REGISTRY[NAME]


def theirs(real: Faces, fake: Faces) -> dict[str, float]:
    return fidelity.calculate_metrics(
        input1=Pictures(fake),
        input2=Pictures(real),
        fid=True,
        kid=True,
        prc=True,
        kid_subsets=2,
        kid_subset_size=COUNT,
        prc_neighborhood=K,
        feature_extractor=NAME,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )


def test_figures_agree_at_full_rank(extractor: type[Ours], faces: tuple[Faces, Faces]) -> None:
    extractor.width = 24
    found = theirs(*faces)
    x, y = (features_of(some, extractor.backbone, extractor.width) for some in faces)
    assert kid(x, y, 2, 0)[0] == pytest.approx(found[fidelity.KEY_METRIC_KID_MEAN], rel=1e-6)
    assert frechet(x, y)[0] == pytest.approx(found[fidelity.KEY_METRIC_FID], rel=1e-6)
    ours = coverage_figures(x, y, nearest_k=K)
    assert 0 < ours.precision < 1
    assert 0 < ours.recall < 1
    assert ours.precision == pytest.approx(found[fidelity.KEY_METRIC_PRECISION], rel=1e-6)
    assert ours.recall == pytest.approx(found[fidelity.KEY_METRIC_RECALL], rel=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda x, y: (x, y), id="fewer images than dimensions"),
        pytest.param(lambda x, _: (x, x), id="identical sets"),
        pytest.param(lambda x, y: (x, np.zeros_like(y)), id="all fakes alike"),
        pytest.param(lambda x, y: (np.zeros_like(x), np.zeros_like(y)), id="constant features"),
    ],
)
def test_figures_agree_on_degenerate_sets(extractor: type[Ours], faces: tuple[Faces, Faces], make) -> None:
    extractor.width = 2 * COUNT
    real, fake = make(*faces)
    found = theirs(real, fake)
    x, y = (features_of(some, extractor.backbone, extractor.width) for some in (real, fake))
    trace = (x.var(axis=0) + y.var(axis=0)).sum()
    assert frechet(x, y)[0] == pytest.approx(found[fidelity.KEY_METRIC_FID], abs=1e-3 * trace + 1e-9)
    assert kid(x, y, 2, 0)[0] == pytest.approx(found[fidelity.KEY_METRIC_KID_MEAN], rel=1e-6, abs=1e-9)
    if trace == 0:  # no distance is less than another, which prdc and we ask for; torch-fidelity takes equal ones
        return
    ours = coverage_figures(x, y, nearest_k=K)
    assert ours.precision == pytest.approx(found[fidelity.KEY_METRIC_PRECISION], rel=1e-6)
    assert ours.recall == pytest.approx(found[fidelity.KEY_METRIC_RECALL], rel=1e-6)
