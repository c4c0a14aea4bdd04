"""Ways to train DCGAN, one loop for all of them: the experiments that the defaults of params.yaml were chosen by.

Spectral norm: Miyato et al., "Spectral Normalization for Generative Adversarial Networks" (2018). Hinge: Lim and Ye,
"Geometric GAN" (2017). R1: Mescheder et al., "Which Training Methods for GANs do actually Converge?" (2018), every 16th
step as in Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020). Two learning rates: Heusel et
al., "GANs Trained by a Two Time-Scale Update Rule" (2017). What did not win is here only, and not in the pipeline.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn.utils.parametrizations import spectral_norm

from benchmarks.classic_dcgan import classic_training
from pipeline.dcgan.augment import augment, flip
from pipeline.dcgan.batches import epoch_batches, on_device, to_images
from pipeline.dcgan.ema import ema_decay, update_ema
from pipeline.dcgan.losses import FAKE, REAL, bce
from pipeline.dcgan.networks import Generator
from pipeline.dcgan.state import new_state, seeded
from pipeline.faces import Faces
from pipeline.params import AugmentParams, Params

R1_STEPS = 16


@dataclass(frozen=True)
class Recipe:
    """What is done beside the classic recipe."""

    batch_size: int = 128
    ema: bool = False
    augment: tuple[str, ...] = ()  # which of AugmentParams are on
    flip: bool = False
    lr_ratio: float = 1.0
    spectral_norm: bool = False
    hinge: bool = False
    r1: float = 0.0  # the penalty's weight


_AVERAGED = Recipe(ema=True)
_AUGMENTED = replace(_AVERAGED, augment=tuple(AugmentParams.model_fields))
_FLIPPED = replace(_AUGMENTED, flip=True)
_RATES = replace(_FLIPPED, lr_ratio=2.0)

SAME = "same recipe, our loop"
# Each of the first takes over what the one before it has; those after "two learning rates" stand beside each other.
RECIPES = {
    SAME: Recipe(),
    "+ EMA": _AVERAGED,
    "+ DiffAugment": _AUGMENTED,
    "+ flips": _FLIPPED,
    "+ two learning rates": _RATES,
    "… and batch 64": replace(_RATES, batch_size=64),
    "… and spectral norm": replace(_RATES, spectral_norm=True),
    "… and hinge": replace(_RATES, hinge=True),
    "… and both": replace(_RATES, spectral_norm=True, hinge=True),
    "… and R1": replace(_RATES, r1=0.1),
    "… and twice the ratio": replace(_RATES, lr_ratio=4.0),
    "… and of DiffAugment translation alone": replace(_RATES, augment=("translation",)),
}
CLASSIC = "classic loop"
DEFAULTS = "… and of DiffAugment translation alone"


def train_classic(files: Path, params: Params, seconds: float) -> tuple[Generator, int]:
    """Return the netG of the classic loop over a folder of files, and the images shown in so much CPU time."""
    params = params.model_copy(update={"batch_size": RECIPES[SAME].batch_size})
    torch.manual_seed(params.seed)
    netG = Generator(nz=params.nz, ngf=params.ngf, nc=params.nc, image_size=params.image_size)
    steps, until = 0, time.process_time() + seconds
    for _ in classic_training(files, params, torch.device("cpu"), netG, loaders=0):
        steps += 1
        if time.process_time() >= until:
            break
    return netG, steps * params.batch_size


def train_recipe(recipe: Recipe, faces: Faces, params: Params, fabric: Fabric, seconds: float) -> tuple[Generator, int]:
    """Return the netG to show, and the images shown in so much CPU time; faces uint8 (N, H, W, C)."""
    changes = AugmentParams.model_validate({name: name in recipe.augment for name in AugmentParams.model_fields})
    knobs = params.train.model_copy(update={"ema": recipe.ema, "lr_ratio": recipe.lr_ratio, "augment": changes})
    params = params.model_copy(update={"batch_size": recipe.batch_size, "train": knobs})
    state, device, batch_size = new_state(params, fabric.device), fabric.device, recipe.batch_size
    if recipe.spectral_norm:
        torch.manual_seed(params.seed)  # of the vectors that it starts with
        for module in state.netD.modules():
            if isinstance(module, torch.nn.Conv2d):
                spectral_norm(module)
        state.optD = torch.optim.Adam(state.netD.parameters(), lr=params.lr, betas=(params.beta1, 0.999), fused=True)
    netG, optG = fabric.setup(state.netG, state.optG)
    netD, optD = fabric.setup(state.netD, state.optD)
    data = on_device(faces, device)
    lossD_of, lossG_of = (_hinge_D, _hinge_G) if recipe.hinge else (_bce_D, _bce_G)

    until = time.process_time() + seconds
    for batch in epoch_batches(len(faces), batch_size, params.seed, device, 0):
        rng = seeded(device, params.seed, "process 0", state.step)
        seen = partial(augment, params=changes, rng=rng)
        real = to_images(data[batch])
        real = flip(real, rng) if recipe.flip else real
        fake = netG(torch.randn(batch_size, params.nz, 1, 1, generator=rng, device=device))
        state.netD.requires_grad_(True)
        optD.zero_grad()
        lossD = lossD_of(netD(seen(real)), netD(seen(fake.detach())))
        if recipe.r1 and state.step % R1_STEPS == 0:
            lossD = lossD + R1_STEPS * recipe.r1 / 2 * _squared_slope(state.netD, seen(real))
        fabric.backward(lossD)
        optD.step()

        state.netD.requires_grad_(False)
        optG.zero_grad()
        fabric.backward(lossG_of(netD(seen(fake))))
        optG.step()

        state.step += 1
        if state.ema is not None:
            decay = ema_decay(batch_size, state.step * batch_size, knobs.ema_kimg, knobs.ema_rampup)
            update_ema(state.ema, state.netG, decay)
        if time.process_time() >= until:
            break
    return state.shown, state.step * batch_size


def _bce_D(real: Tensor, fake: Tensor) -> Tensor:
    return bce(real, REAL) + bce(fake, FAKE)


def _bce_G(fake: Tensor) -> Tensor:
    return bce(fake, REAL)


def _hinge_D(real: Tensor, fake: Tensor) -> Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def _hinge_G(fake: Tensor) -> Tensor:
    return -fake.mean()


def _squared_slope(netD: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return the mean over images of the squared norm of netD's gradient, in float32."""
    images = images.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(netD(images).sum(), images, create_graph=True)
    return slope.square().sum(dim=(1, 2, 3)).mean()
