"""An exponential moving average of netG, which makes better pictures than any single step's weights.

Yazıcı et al., "The Unusual Effectiveness of Averaging in GAN Training" (2019); a half-life in images shown, with a
ramp-up, as in Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020).
"""

from __future__ import annotations

import torch
from torch import nn


def ema_decay(batch_size: int, images_shown: int, halflife_kimg: float, rampup: float) -> float:
    """Return the share of the average that a step of batch_size images keeps.

    After halflife_kimg thousands of images a step's weight has halved. Early on the half-life is no more than rampup
    times the images shown so far, so that the average forgets the first, untrained weights.
    """
    halflife = min(halflife_kimg * 1000, images_shown * rampup)
    return float(0.5 ** (batch_size / halflife))


@torch.no_grad()
def update_ema(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the average towards net, its weights and BatchNorm's running statistics alike.

    Copied statistics would be those of the newest weights, which the average's are not; averaged ones measured better.
    """
    torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)
    for mean, value in zip(average.buffers(), net.buffers(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:  # num_batches_tracked
            mean.copy_(value)
