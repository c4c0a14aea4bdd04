"""The charts of what netD believes: D(x) of training, of holdout and of generated faces, to one scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.metrics.belief import Beliefs, Doubles
from pipeline.reports.histogram import BOTTOM, LABEL, LEFT, PLOT, RIGHT, Bar, Histogram, Line

BINS = 40
BASE = LABEL + 4 + PLOT

TITLES = {
    "train": ("D(x), training faces", "which netD has seen in training"),
    "holdout": ("D(x), holdout faces", "which netD has never seen; as the filter kept them"),
    "generated": ("D(G(z)), generated faces", "of netG as it is evaluated"),
}
# The page's colours of three things that are told apart.
COLOURS = {"train": "all", "holdout": "acted", "generated": "dropped"}


class Chart(NamedTuple):
    """A histogram with its name and what it is of."""

    name: str
    says: str
    drawing: Histogram


def belief_charts(beliefs: Beliefs) -> list[Chart]:
    """Return a histogram of each set's probabilities: shares of its faces, on one scale, with the mean as a mark."""
    edges = np.linspace(0, 1, BINS + 1)
    shares = {who: np.histogram(values, edges)[0] / len(values) for who, values in beliefs._asdict().items()}
    highest = max(float(share.max()) for share in shares.values())
    return [Chart(*TITLES[who], _draw(who, getattr(beliefs, who), shares[who], highest)) for who in TITLES]


def _draw(who: str, values: Doubles, shares: Doubles, highest: float) -> Histogram:
    heights = np.round(PLOT * shares / highest, 1).tolist()
    width = (RIGHT - LEFT) / BINS
    bars = [
        Bar(
            x=round(LEFT + width * at, 1),
            width=round(width, 1),
            **{"all": 0.0, "acted": 0.0, "dropped": 0.0, COLOURS[who]: height},
            title=f"{at / BINS:g} to {(at + 1) / BINS:g}: {shares[at]:.1%}",
        )
        for at, height in enumerate(heights)
        if shares[at]
    ]
    mean = float(values.mean())
    step = next(step for step in (1, 2, 5, 10, 20, 25) if 100 * highest / step <= 5)
    return Histogram(
        f"{TITLES[who][0]}: {len(values)} of them, mean {mean:.3f}",
        BASE + BOTTOM,
        BASE,
        bars,
        [Line(_x(mean), LABEL - 2, f"mean {mean:.3f}", "start" if mean < 0.5 else "end")],
        [(_x(tick / 5), f"{tick / 5:g}") for tick in range(6)],
        [
            (round(BASE - PLOT * per_cent / (100 * highest), 1), f"{per_cent}%")
            for per_cent in range(0, int(100 * highest) + 1, step)
        ],
    )


def _x(value: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * value, 1)
