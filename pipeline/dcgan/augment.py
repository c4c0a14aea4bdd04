"""Differentiable augmentation: netD sees real and fake images changed at random, so that it can't learn them by heart.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (2020), with the paper's strengths.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.params import AugmentParams

TRANSLATION = 1 / 8  # of the side
CUTOUT = 1 / 2  # of the side


def augment(images: Tensor, params: AugmentParams, rng: torch.Generator) -> Tensor:
    """Return square images (N, C, H, H) in [-1, 1] with the augmentations that are on, drawn anew for each image."""
    if params.color:
        images = color(images, rng)
    if params.translation:
        images = translation(images, rng)
    if params.cutout:
        images = cutout(images, rng)
    return images


def color(images: Tensor, rng: torch.Generator) -> Tensor:
    """Shift the brightness by up to ±0.5, scale the saturation by 0 to 2 and the contrast by 0.5 to 1.5."""
    brightness, saturation, contrast = torch.rand(3, len(images), 1, 1, 1, generator=rng, device=images.device)
    brightness, saturation, contrast = brightness - 0.5, saturation * 2, contrast + 0.5
    grey = images.mean(dim=1, keepdim=True)
    level = grey.mean(dim=(2, 3), keepdim=True)
    # Brightness, then saturation about the grey, then contrast about the mean, in one pass over the pixels.
    offset = brightness + (1 - contrast) * level
    changed: Tensor = images * (saturation * contrast) + (grey * ((1 - saturation) * contrast) + offset)
    return changed


def translation(images: Tensor, rng: torch.Generator) -> Tensor:
    """Move each image by whole pixels, up to an eighth of its side each way; what comes in is 0, mid-grey."""
    count, channels, side, _ = images.shape
    reach = round(side * TRANSLATION)
    moves = torch.randint(-reach, reach + 1, (count, 2), generator=rng, device=images.device)
    # Sampling at exact pixel centres: no value is interpolated, and the gradient is the opposite move. Indexing does
    # the same, but its gradient is ten times slower on a CPU.
    still = torch.eye(2, 3, device=images.device)[None]
    unmoved = F.affine_grid(still, [1, channels, side, side], align_corners=False)
    # By a number: a tensor made here would have to be copied to a GPU, which would wait for all that it has to do.
    centres = unmoved + (moves * (2 / side))[:, None, None, :]
    return F.grid_sample(images, centres, mode="nearest", padding_mode="zeros", align_corners=False)


def cutout(images: Tensor, rng: torch.Generator) -> Tensor:
    """Set a square of half the side to 0, mid-grey; its centre lies anywhere, so part of it may fall outside."""
    count, _, height, width = images.shape
    half = round(height * CUTOUT) // 2
    rows, columns = torch.randint(0, height + 1, (2, count, 1), generator=rng, device=images.device) - half
    in_rows = _between(torch.arange(height, device=images.device), rows, 2 * half)  # (N, H)
    in_columns = _between(torch.arange(width, device=images.device), columns, 2 * half)  # (N, W)
    hole = in_rows[:, None, :, None] & in_columns[:, None, None, :]
    return images.masked_fill(hole, 0.0)


def _between(positions: Tensor, start: Tensor, length: int) -> Tensor:
    return (positions >= start) & (positions < start + length)


def flip(images: Tensor, rng: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability one half."""
    mirrored = torch.rand(len(images), 1, 1, 1, generator=rng, device=images.device) < 0.5
    return torch.where(mirrored, images.flip(3), images)
