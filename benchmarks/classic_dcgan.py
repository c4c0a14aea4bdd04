"""The loop that people copy, for comparison: PyTorch's DCGAN tutorial, faithful where it costs or saves time.

Image files through ImageFolder and a DataLoader with 2 workers (Resize, CenterCrop, Normalize), float32 in PyTorch's
default layout, BCELoss on a sigmoid, and netD's gradients computed in netG's step, though nothing uses them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from pipeline.dcgan.networks import Discriminator, Generator
from pipeline.params import Params


def classic_training(
    root: Path, params: Params, device: torch.device, netG: Generator, loaders: int = 2
) -> Iterator[float]:
    """Train netG for ever on the pictures below root/CLASS/ and yield, after each step, the seconds it waited for data.

    loaders: the DataLoader's processes; 0 loads within the loop.
    """
    size = params.image_size
    normalize = transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    chain = [transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor(), normalize]
    dataset = datasets.ImageFolder(str(root), transform=transforms.Compose(chain))
    loader = DataLoader(dataset, batch_size=params.batch_size, shuffle=True, num_workers=loaders)

    netG.to(device).apply(_init)
    features = Discriminator(ndf=params.ndf, nc=params.nc, image_size=size)
    netD = nn.Sequential(features, nn.Sigmoid()).to(device).apply(_init)
    criterion = nn.BCELoss()
    optD, optG = (torch.optim.Adam(net.parameters(), lr=params.lr, betas=(params.beta1, 0.999)) for net in (netD, netG))

    while True:
        asked = time.monotonic()
        for pixels, _ in loader:
            waited = time.monotonic() - asked
            # netD: maximise log D(x) + log(1 - D(G(z))).
            netD.zero_grad()
            real = pixels.to(device)
            label = torch.full((len(real),), 1.0, device=device)
            output = netD(real).view(-1)
            errD_real = criterion(output, label)
            errD_real.backward()
            fake = netG(torch.randn(len(real), params.nz, 1, 1, device=device))
            output = netD(fake.detach()).view(-1)
            errD_fake = criterion(output, label.fill_(0.0))
            errD_fake.backward()
            optD.step()

            # netG: maximise log D(G(z)).
            netG.zero_grad()
            output = netD(fake).view(-1)
            errG = criterion(output, label.fill_(1.0))
            errG.backward()
            optG.step()
            # The tutorial prints and keeps its losses at every step.
            _ = errD_real.item() + errD_fake.item(), errG.item(), output.mean().item()
            yield waited
            asked = time.monotonic()


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
