"""All that training changes, and so all that a checkpoint must hold."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.dcgan.losses import FIGURES
from pipeline.dcgan.networks import Discriminator, Generator, init_weights
from pipeline.faces import Faces
from pipeline.params import Params


@dataclass
class TrainState:
    """The nets, their optimisers, the random numbers, and what has been noted on the way."""

    netG: Generator
    netD: Discriminator
    ema: Generator | None  # None where the average is off
    optG: torch.optim.Adam
    optD: torch.optim.Adam
    interval: Tensor  # (6,) float64 on the device: sums of losses.FIGURES over the open logging interval
    epoch: Tensor  # the same over the open epoch
    step: int = 0
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)  # losses.csv
    epochs: list[dict[str, float]] = field(default_factory=list)  # the figures of each epoch that is over
    quality: list[dict[str, float]] = field(default_factory=list)  # quick_kid.csv
    best: dict[str, Tensor] | None = None  # the shown generator's state when its quick KID was lowest
    frames: dict[int, Faces] = field(default_factory=dict)  # step → the pictures of the fixed noise at that step

    @property
    def shown(self) -> Generator:
        """The generator that is shown, evaluated and shipped."""
        return self.netG if self.ema is None else self.ema

    def state_dict(self) -> dict[str, Any]:
        """Return everything as tensors and plain values, which torch.load(weights_only=True) takes back."""
        return {
            "netG": self.netG.state_dict(),
            "netD": self.netD.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "optG": self.optG.state_dict(),
            "optD": self.optD.state_dict(),
            "interval": self.interval,
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "rows": self.rows,
            "epochs": self.epochs,
            "quality": self.quality,
            "best": self.best,
            "frames": {step: torch.from_numpy(frame) for step, frame in self.frames.items()},
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take over what state_dict() of an equally built state returned."""
        self.netG.load_state_dict(saved["netG"])
        self.netD.load_state_dict(saved["netD"])
        if self.ema is not None:
            self.ema.load_state_dict(saved["ema"])
        self.optG.load_state_dict(saved["optG"])
        self.optD.load_state_dict(saved["optD"])
        self.interval.copy_(saved["interval"])
        self.epoch.copy_(saved["epoch"])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.rows, self.epochs, self.quality = saved["rows"], saved["epochs"], saved["quality"]
        self.best = saved["best"]
        self.frames = {step: frame.numpy() for step, frame in saved["frames"].items()}


def new_state(params: Params, device: torch.device) -> TrainState:
    """Return the state before the first step, on the device; the weights are the same for a seed on every device."""
    netG = Generator(nz=params.nz, ngf=params.ngf, nc=params.nc, image_size=params.image_size)
    netD = Discriminator(ndf=params.ndf, nc=params.nc, image_size=params.image_size)
    init_weights(netG, seeded(torch.device("cpu"), params.seed, "netG"))
    init_weights(netD, seeded(torch.device("cpu"), params.seed, "netD"))
    for net in (netG, netD):
        net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    return TrainState(
        netG=netG,
        netD=netD,
        ema=copy.deepcopy(netG).eval().requires_grad_(False) if params.train.ema else None,
        optG=_adam(netG, params.lr * params.train.lr_ratio, params.beta1),
        optD=_adam(netD, params.lr, params.beta1),
        interval=torch.zeros(len(FIGURES), dtype=torch.float64, device=device),
        epoch=torch.zeros(len(FIGURES), dtype=torch.float64, device=device),
    )


def _adam(net: nn.Module, lr: float, beta1: float) -> torch.optim.Adam:
    return torch.optim.Adam(net.parameters(), lr=lr, betas=(beta1, 0.999), fused=True)


def seeded(device: torch.device, seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """Return random numbers of their own for a purpose, such as one epoch's order, all driven by one seed.

    Each step has its own too: there is no stream whose place a checkpoint would have to keep.
    """
    key = [seed, index, *purpose.encode()]
    return torch.Generator(device).manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))
