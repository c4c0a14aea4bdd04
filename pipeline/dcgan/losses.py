"""The losses of the reference recipe, on logits, and the names of the figures that are kept of a step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

REAL = 1.0
FAKE = 0.0

# lossD_real, lossD_fake and lossG are cross-entropies in nats; D_x, D_G_z1 and D_G_z2 the mean probability that netD
# gives to real images, to fake ones before its step, and to the same fake ones after it.
FIGURES = ("lossD_real", "lossD_fake", "lossG", "D_x", "D_G_z1", "D_G_z2")


def bce(logits: Tensor, label: float) -> Tensor:
    """Return the mean binary cross-entropy of logits (N,) against one label: REAL or FAKE.

    For netG, bce(netD(fake), REAL) maximises log D(G(z)), the non-saturating loss of Goodfellow et al. (2014).
    """
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def probability(logits: Tensor) -> Tensor:
    """Return the mean probability of being real that logits (N,) stand for."""
    return logits.detach().sigmoid().mean()
