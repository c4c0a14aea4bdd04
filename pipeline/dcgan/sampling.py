"""From weights and noise to pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline import paths
from pipeline.dcgan.networks import Generator
from pipeline.dcgan.weights import load_weights, read_weights
from pipeline.errors import StageError
from pipeline.faces import Faces
from pipeline.params import Params


def load_generator(path: Path, device: torch.device) -> Generator:
    """Return the generator that a safetensors file holds, in eval mode on the device.

    Raises StageError where the file is missing, unreadable, or its metadata does not name the network in it.
    """
    tensors, metadata = read_weights(path)
    try:
        sizes = {name: int(metadata[name]) for name in ("nz", "ngf", "nc", "image_size")}
        with torch.device("meta"):  # the sizes may be anything: here they take no memory
            netG = Generator(**sizes)
        if netG.nc not in (1, 3):
            raise ValueError
    except (LookupError, ValueError, TypeError, RuntimeError):
        raise StageError(
            f"{path} is no generator's file: it does not say nz, ngf, nc and image_size; 'dvc repro train' makes one"
        ) from None
    load_weights(netG, tensors, path)
    return netG.to(device).eval()


def load_evaluated(params: Params, device: torch.device) -> dict[str, Generator]:
    """Return the generators that are evaluated, by what their figures' names have: "" and, if it is another, `live`."""
    shown = paths.GENERATOR_BEST if params.evaluate.generator == "best" else paths.GENERATOR
    nets = {"": load_generator(shown, device)}
    if params.train.ema or shown != paths.GENERATOR:  # else both are the same
        nets["live"] = load_generator(paths.GENERATOR_LIVE, device)
    return nets


def require_alike(nets: Mapping[str, Generator], faces: Faces) -> None:
    """Raise StageError unless generators draw faces as large as those of an array (N, H, W, C), from one noise.

    One that was imported need not be as the params say.
    """
    size = (*faces.shape[2:], nets[""].nz)
    for who, netG in nets.items():
        found = (netG.image_size, netG.nc, netG.nz)
        if found != size:
            raise StageError(
                f"the generator {who or 'to evaluate'} has image_size, nc and nz {found}, where {size} are needed to "
                "compare; 'dvc repro' trains one that fits"
            )


def sample_noise(n: int, nz: int, seed: int) -> Tensor:
    """Return noise (n, nz, 1, 1) float32 from N(0, 1), on the CPU; the same for a seed on every machine."""
    return torch.randn(n, nz, 1, 1, generator=torch.Generator().manual_seed(seed))


def to_uint8(images: Tensor) -> Faces:
    """Return images (N, C, H, W) in [-1, 1] as uint8 (N, H, W, C)."""
    pixels = images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


def generate(netG: Generator, z: Tensor, batch_size: int) -> Faces:
    """Return the pictures uint8 (N, H, W, C) that netG makes of noise z (N, nz, 1, 1), in eval mode and float32."""
    device = next(netG.parameters()).device
    was_training = netG.training
    netG.eval()
    with torch.inference_mode():
        pictures = [to_uint8(netG(batch.to(device))) for batch in torch.split(z, batch_size)]
    netG.train(was_training)
    return np.concatenate(pictures)
