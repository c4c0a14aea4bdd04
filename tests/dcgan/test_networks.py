from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.dcgan.networks import Discriminator, Generator, init_weights

# As printed by PyTorch's DCGAN tutorial at its own settings: nz 100, ngf 64, ndf 64, nc 3, image_size 64.
TUTORIAL_G = {
    "main.0.weight": (100, 512, 4, 4),
    "main.1.weight": (512,),
    "main.3.weight": (512, 256, 4, 4),
    "main.4.weight": (256,),
    "main.6.weight": (256, 128, 4, 4),
    "main.7.weight": (128,),
    "main.9.weight": (128, 64, 4, 4),
    "main.10.weight": (64,),
    "main.12.weight": (64, 3, 4, 4),
}
TUTORIAL_D = {
    "main.0.weight": (64, 3, 4, 4),
    "main.2.weight": (128, 64, 4, 4),
    "main.3.weight": (128,),
    "main.5.weight": (256, 128, 4, 4),
    "main.6.weight": (256,),
    "main.8.weight": (512, 256, 4, 4),
    "main.9.weight": (512,),
    "main.11.weight": (1, 512, 4, 4),
}


def weights(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in net.named_parameters() if name.endswith("weight")}


def test_keys_and_shapes_are_the_tutorials() -> None:
    assert weights(Generator(nz=100, ngf=64, nc=3, image_size=64)) == TUTORIAL_G
    assert weights(Discriminator(ndf=64, nc=3, image_size=64)) == TUTORIAL_D


@pytest.mark.parametrize(
    ("image_size", "nc", "layers"),
    [
        pytest.param(32, 3, 4, id="32 px, colour"),
        pytest.param(64, 1, 5, id="64 px, luma"),
        pytest.param(64, 3, 5, id="64 px, colour"),
        pytest.param(128, 3, 6, id="128 px, colour"),
    ],
)
def test_sizes(image_size: int, nc: int, layers: int) -> None:
    netG = Generator(nz=7, ngf=4, nc=nc, image_size=image_size)
    netD = Discriminator(ndf=4, nc=nc, image_size=image_size)
    images = netG(torch.randn(2, 7, 1, 1))
    assert images.shape == (2, nc, image_size, image_size)
    assert images.abs().max() <= 1
    assert netD(images).shape == (2,)
    for net in (netG, netD):
        assert sum(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in net.modules()) == layers


def test_netD_returns_logits() -> None:
    netD = Discriminator(ndf=4, nc=3, image_size=32)
    with torch.no_grad():
        netD.main[-1].weight.fill_(1.0)  # type: ignore[union-attr,operator]
        assert netD(torch.rand(8, 3, 32, 32)).abs().max() > 1  # no probability


def test_initial_weights_are_those_of_the_paper() -> None:
    netG = Generator(nz=100, ngf=32, nc=3, image_size=64)
    init_weights(netG, torch.Generator().manual_seed(0))
    convolution, norm = netG.main[3].weight, netG.main[1]
    assert convolution.mean().item() == pytest.approx(0.0, abs=1e-4)  # type: ignore[operator,union-attr]
    assert convolution.std().item() == pytest.approx(0.02, rel=0.01)  # type: ignore[operator,union-attr]
    assert norm.weight.mean().item() == pytest.approx(1.0, abs=0.01)  # type: ignore[operator,union-attr]
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.2)  # type: ignore[operator,union-attr]
    assert not norm.bias.any()  # type: ignore[operator,union-attr]


def test_a_seed_gives_the_same_weights_whatever_the_global_random_numbers() -> None:
    nets = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        netD = Discriminator(ndf=4, nc=3, image_size=32)
        init_weights(netD, torch.Generator().manual_seed(5))
        nets.append(netD.state_dict())
    assert all(torch.equal(nets[0][name], nets[1][name]) for name in nets[0])
