"""The quick KID: how far drawn faces are from a sample of the training faces, often enough to make a curve.

Never against the holdout, which stays the judge: the best of a training is chosen by this figure.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from pipeline.faces import Faces
from pipeline.metrics.backbone import open_backbone
from pipeline.metrics.distances import FAKE, REAL, kid_between, within
from pipeline.metrics.features import cached_features, extract_features, spread

FEWEST = 4  # faces that KID needs
HALVES = 2  # for the standard error, which is not used


def quick_judge(faces: Faces, images: int, device: torch.device, cache: Path) -> Callable[[Faces], float] | None:
    """Return a function from pictures uint8 (N, H, W, C) to KID ×1000 of training faces; None for fewer than 4 images.

    faces: uint8 (M, H, W, C), of which twice `images` are taken, evenly; their features are cached in a folder.
    """
    if min(images, len(faces)) < FEWEST:
        return None
    backbone = open_backbone(device, *faces.shape[2:])
    features = cached_features(spread(faces, 2 * images), backbone, "quick KID: training faces", cache)
    real = within(features, HALVES, (0, REAL))

    def judge(pictures: Faces) -> float:
        fake = within(extract_features(pictures, backbone, "quick KID"), HALVES, (0, FAKE))
        return round(1000 * kid_between(real, fake)[0], 6)

    return judge
