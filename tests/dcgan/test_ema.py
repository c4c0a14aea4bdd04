from __future__ import annotations

import pytest
from torch import nn

from pipeline.dcgan.ema import ema_decay, update_ema


@pytest.mark.parametrize(
    ("batch_size", "images_shown", "halflife_kimg", "rampup", "decay"),
    [
        pytest.param(100, 10**6, 0.1, 0.05, 0.5, id="one batch is one half-life"),
        pytest.param(100, 10**6, 0.4, 0.05, 0.5**0.25, id="four batches are one half-life"),
        pytest.param(100, 2000, 5.0, 0.05, 0.5, id="early on, half-life is rampup times the images shown"),
        pytest.param(100, 100, 5.0, 0.05, 0.5**20, id="after the first step little is left of the first weights"),
    ],
)
def test_decay(batch_size: int, images_shown: int, halflife_kimg: float, rampup: float, decay: float) -> None:
    assert ema_decay(batch_size, images_shown, halflife_kimg, rampup) == pytest.approx(decay)


def test_update_moves_weights_by_what_decay_leaves() -> None:
    average, net = nn.Linear(1, 1), nn.Linear(1, 1)
    for module, value in ((average, 0.0), (net, 8.0)):
        nn.init.constant_(module.weight, value)
        nn.init.constant_(module.bias, value)
    update_ema(average, net, 0.75)
    assert (average.weight.item(), average.bias.item()) == (2.0, 2.0)
    assert (net.weight.item(), net.bias.item()) == (8.0, 8.0)


def test_running_statistics_are_averaged_too() -> None:
    average, net = nn.BatchNorm2d(1), nn.BatchNorm2d(1)
    net.running_mean.fill_(4.0)  # type: ignore[union-attr,operator]
    net.running_var.fill_(3.0)  # type: ignore[union-attr,operator]
    net.num_batches_tracked.fill_(7)  # type: ignore[union-attr,operator]
    update_ema(average, net, 0.75)
    assert average.running_mean.item() == 1.0  # type: ignore[union-attr,operator]
    assert average.running_var.item() == 1.5  # type: ignore[union-attr,operator]
    assert average.num_batches_tracked.item() == 7  # type: ignore[union-attr,operator]
