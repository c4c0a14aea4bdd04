"""An exponential moving average of netG's weights, which makes better pictures than any single step's weights.

Yazıcı et al., "The Unusual Effectiveness of Averaging in GAN Training" (2019); half-life in images shown and its
ramp-up as in Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020).
"""

from __future__ import annotations

import torch
from torch import nn


def ema_decay(batch_size: int, images_shown: int, halflife_kimg: float, rampup: float) -> float:
    """Return the share of the average that a step of batch_size images keeps.

    halflife_kimg: thousands of images after which a step's weight has halved; early on the half-life is at most
    rampup times the images shown so far, so that the average forgets the first, untrained weights.
    """
    halflife = min(halflife_kimg * 1000, max(images_shown * rampup, 1e-8))
    return float(0.5 ** (batch_size / halflife))


@torch.no_grad()
def update_ema(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the average towards net; BatchNorm's running statistics are copied … by decay."""
    torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)
    for mean, value in zip(average.buffers(), net.buffers(), strict=True):
        mean.copy_(value)
