"""Ways through the noise space."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Return noise on the way from start to end, both included: two of (N, nz, 1, 1) → (N · steps, nz, 1, 1).

    Row i · steps + j is step j of pair i. The way is cos θ · start + sin θ · end, θ from 0 to π/2: every point on it is
    itself N(0, 1) noise, unlike those of the straight line, which are too short for the generator to draw them well
    (White 2016, arXiv 1609.04468).
    """
    angle = torch.linspace(0, math.pi / 2, steps).view(1, steps, 1, 1, 1)
    return (angle.cos() * start.unsqueeze(1) + angle.sin() * end.unsqueeze(1)).flatten(0, 1)
