"""The curves of a training run as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pipeline.atomic import whole_file

PANELS = {"loss": ("lossD_real", "lossD_fake", "lossG"), "probability": ("D_x", "D_G_z1", "D_G_z2")}


def loss_plot(csv: Path, path: Path) -> None:
    """Draw losses.csv as a PNG of two panels over thousands of images shown: the losses, and what netD believes.

    csv: the columns kimg, lossD_real, lossD_fake, lossG, D_x, D_G_z1 and D_G_z2, one row a tick. The picture's bytes
    depend on the table alone.
    """
    table = np.atleast_1d(np.genfromtxt(csv, delimiter=",", names=True, encoding="utf-8"))
    # A bare Figure draws with Agg and leaves pyplot's global state, and any display, alone.
    figure = Figure(figsize=(9, 6), layout="constrained")
    for axes, (unit, columns) in zip(figure.subplots(2, 1, sharex=True), PANELS.items(), strict=True):
        for column in columns:
            axes.plot(table["kimg"], table[column], label=column, linewidth=1)
        axes.set_ylabel(unit)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper right")
    axes.set_xlabel("kimg (thousands of images shown)")
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=100)
