"""Does netG draw new faces, or training faces again: distances to the nearest training face, beside a holdout's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.backbone import Features
from pipeline.metrics.coverage import nearest_distances


def copied(
    fake: Features, train: Features, holdout: Features, percentile: float
) -> tuple[float, NDArray[np.intp], NDArray[np.intp]]:
    """Return the share of fake images that are nearer to a training image than nearly all of the holdout is.

    Nearer than the given percentile of the holdout's own distances, so that a generator that has learnt the
    distribution, and no picture by heart, has a share of about percentile / 100; the idea is that of the data-copying
    test of Meehan, Chaudhuri and Dasgupta (2020, arXiv 2004.05675), without its cells.

    fake, train, holdout: (M, d), (N, d) and (H, d). Beside the share: the indices of the fake images (M,), the most
    suspicious first, and those of the training image that is nearest to each of these.
    """
    distances, twins = nearest_distances(fake, train)
    usual, _ = nearest_distances(holdout, train)
    order = np.argsort(distances, kind="stable")
    return float((distances < np.percentile(usual, percentile)).mean()), order, twins[order]
