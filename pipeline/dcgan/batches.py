"""Batches of training images: their order, and their way from bytes to what the nets take."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.dcgan.state import seeded
from pipeline.faces import Faces


def on_device(faces: Faces, device: torch.device) -> Tensor:
    """Return faces uint8 (N, H, W, C) as a tensor: whole in a GPU's memory, but on the CPU the mapped file itself."""
    with warnings.catch_warnings():
        # torch warns that the map is read-only; nothing writes to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(faces).to(device)


def epoch_batches(count: int, batch_size: int, seed: int, device: torch.device, first_step: int) -> Iterator[Tensor]:
    """Yield the indices (batch_size,) of a batch for every step from first_step on, without end.

    An epoch is a random order of all count images, cut into batches; the last partial batch is dropped. The order
    depends on the seed and the epoch alone, so that a run that is taken up within an epoch goes on as it would have.
    """
    epoch_steps = count // batch_size
    epoch, position = divmod(first_step, epoch_steps)
    while True:
        order = torch.randperm(count, generator=seeded(device, seed, "order", epoch), device=device)
        yield from order[: epoch_steps * batch_size].view(epoch_steps, batch_size)[position:]
        epoch, position = epoch + 1, 0


def to_images(pixels: Tensor) -> Tensor:
    """Return uint8 (N, H, W, C) as float32 (N, C, H, W) in [-1, 1], in channels_last layout."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
