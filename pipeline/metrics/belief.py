"""What netD believes of faces: the logits that it gives them, and D(x), the probability of being real, by these."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t

from pipeline.dcgan.batches import to_images
from pipeline.dcgan.networks import Discriminator
from pipeline.dcgan.travel import network_of
from pipeline.dcgan.weights import read_weights
from pipeline.errors import StageError
from pipeline.faces import Faces
from pipeline.metrics.features import spread

Doubles = NDArray[np.float64]

BATCH = 32  # more of them go through the caches of a CPU no faster
MOST = 2000  # faces of a set: a share's error is about one per cent


class Beliefs(NamedTuple):
    """netD's logits, float64, of training, of holdout and of generated faces: (N,), (M,) and (K,)."""

    train: Doubles
    holdout: Doubles
    generated: Doubles


class Share(NamedTuple):
    """A share in 0 … 1, its standard error, and whether it exceeds a half by more than chance would explain.

    Chance does so in about 2.5 % of cases, with four faces in 3.5.
    """

    value: float
    error: float
    exceeds_half: bool


def load_discriminator(path: Path, faces: Faces, device: torch.device) -> Discriminator:
    """Return the discriminator that a safetensors file holds, in eval mode on the device.

    Raises StageError without one, or where it is for others than faces (N, H, W, C): an imported one need not fit.
    """
    net = network_of(read_weights(path)[0], path)
    if not isinstance(net, Discriminator):
        raise StageError(f"{path} holds a generator; run 'dvc repro -f train'")
    if (found := (net.image_size, net.nc)) != (needed := faces.shape[2:]):
        raise StageError(
            f"{path} has image_size and nc {found}, and the faces {needed}; 'dvc repro -f train' trains one that fits"
        )
    return net.to(device).eval()


def believe(netD: Discriminator, faces: Faces) -> Doubles:
    """Return the logits of at most MOST faces uint8 (N, H, W, C), evenly taken, as netD in its present mode sees them.

    Their sigmoid is D(x). Of a netD that is far ahead that is 1 for all real faces, which the logits still tell apart.
    """
    device = next(netD.parameters()).device
    some = spread(faces, MOST)
    with torch.inference_mode():
        logits = [
            netD(to_images(torch.from_numpy(np.array(some[start : start + BATCH])).to(device))).double().cpu()
            for start in range(0, len(some), BATCH)
        ]
    believed: Doubles = torch.cat(logits).numpy()
    return believed


def known_by_heart(train: Doubles, holdout: Doubles) -> Share:
    """Return in which share of all pairs the training face gets a higher D(x) than the holdout's; a tie is half a pair.

    That is the area under the ROC curve: 0.5 for a netD to which training faces are like any others, 1 for one that
    knows each of them. The error is that of DeLong, DeLong and Clarke-Pearson 1988 (doi 10.2307/2531595).
    Of few faces that is too small, so chance is judged by Student's t. train, holdout: (N,) and (M,), each at least 2.
    """
    above, below = _placements(train, holdout), _placements(holdout, train)
    variance = above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
    share, error = float(above.mean()), float(np.sqrt(variance))
    return Share(share, error, share - t.ppf(0.975, min(len(train), len(holdout)) - 1) * error > 0.5)


def _placements(values: Doubles, others: Doubles) -> Doubles:
    """Return for each value the share of the others that it exceeds, ties as a half."""
    ordered = np.sort(others)
    sides = [np.searchsorted(ordered, values, side) for side in ("left", "right")]
    placed: Doubles = (sides[0] + sides[1]) / (2 * len(others))
    return placed
