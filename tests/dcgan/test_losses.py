from __future__ import annotations

import math

import pytest
import torch

from pipeline.dcgan.losses import FAKE, REAL, bce, probability


@pytest.mark.parametrize(
    ("logits", "label", "loss"),
    [
        pytest.param([0.0, 0.0], REAL, math.log(2), id="undecided"),
        pytest.param([math.log(3)], REAL, math.log(4 / 3), id="three to one for real, real"),
        pytest.param([math.log(3)], FAKE, math.log(4), id="three to one for real, fake"),
        pytest.param([100.0], REAL, 0.0, id="sure and right"),
        pytest.param([1000.0], FAKE, 1000.0, id="sure and wrong: finite, where a sigmoid first would be infinite"),
        pytest.param([0.0, 1000.0], FAKE, (math.log(2) + 1000) / 2, id="the mean over images"),
    ],
)
def test_bce(logits: list[float], label: float, loss: float) -> None:
    assert bce(torch.tensor(logits), label).item() == pytest.approx(loss, rel=1e-6, abs=1e-6)


def test_probability_is_the_mean_of_sigmoids_and_holds_no_graph() -> None:
    logits = torch.tensor([0.0, math.log(3)], requires_grad=True)
    seen = probability(logits)
    assert seen.item() == pytest.approx((0.5 + 0.75) / 2)
    assert not seen.requires_grad
