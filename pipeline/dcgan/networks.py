"""The generator and the discriminator of DCGAN.

Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks" (2016), as in PyTorch's DCGAN tutorial: at image_size 64 the state-dict keys and shapes are exactly the
tutorial's, so weights move both ways. Other sizes drop or add a layer at the narrow end.
"""

from __future__ import annotations

from itertools import pairwise
from math import log2
from typing import cast

import torch
from torch import Tensor, nn


class Generator(nn.Module):
    """Noise (N, nz, 1, 1) → images (N, nc, image_size, image_size) in [-1, 1]."""

    def __init__(self, *, nz: int, ngf: int, nc: int, image_size: int) -> None:
        super().__init__()
        self.nz, self.ngf, self.nc, self.image_size = nz, ngf, nc, image_size
        widths = [ngf * multiple for multiple in reversed(_multiples(image_size))]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(nz, widths[0], 4, 1, 0, bias=False),  # (ngf·8, 4, 4) at image_size 64
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        for wide, narrow in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False),  # (ngf·4, 8, 8) … (ngf, 32, 32)
                nn.BatchNorm2d(narrow),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False), nn.Tanh()]  # (nc, 64, 64)
        self.main = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Return images (N, nc, image_size, image_size) in [-1, 1] for noise z (N, nz, 1, 1)."""
        return cast(Tensor, self.main(z))


class Discriminator(nn.Module):
    """Images (N, nc, image_size, image_size) in [-1, 1] → logits (N,): above 0 for real, below for fake.

    The tutorial ends in a Sigmoid, which has no weights; here it is part of the loss, where it is exact for large
    logits too.
    """

    def __init__(self, *, ndf: int, nc: int, image_size: int) -> None:
        super().__init__()
        self.ndf, self.nc, self.image_size = ndf, nc, image_size
        widths = [ndf * multiple for multiple in _multiples(image_size)]
        layers: list[nn.Module] = [
            nn.Conv2d(nc, ndf, 4, 2, 1, bias=False),  # (ndf, 32, 32) at image_size 64
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for narrow, wide in pairwise(widths):
            layers += [
                nn.Conv2d(narrow, wide, 4, 2, 1, bias=False),  # (ndf·2, 16, 16) … (ndf·8, 4, 4)
                nn.BatchNorm2d(wide),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers += [nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False)]  # (1, 1, 1)
        self.main = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N,) for images (N, nc, image_size, image_size) in [-1, 1]."""
        return cast(Tensor, self.main(images)).flatten()


def _multiples(image_size: int) -> list[int]:
    """Return the widths of the layers as multiples of ngf or ndf, from the image's side inwards to 4×4 pixels."""
    return [2**depth for depth in range(int(log2(image_size)) - 2)]


def init_weights(net: nn.Module, generator: torch.Generator) -> None:
    """Set the weights as in the DCGAN paper: convolutions N(0, 0.02), BatchNorm scales N(1, 0.02) and shifts 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02, generator=generator)
            nn.init.zeros_(module.bias)
