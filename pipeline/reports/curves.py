"""The curves of a training run as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.atomic import whole_file

PANELS = {
    "loss": ("lossD_real", "lossD_fake", "lossG"),
    "probability": ("D_x", "D_G_z1", "D_G_z2"),
    "KID ×1000": ("quick_kid",),
}


def training_plot(losses: Path, quality: Path, path: Path) -> None:
    """Draw losses.csv and quick_kid.csv as a PNG of three panels over thousands of images shown.

    The losses, what netD believes, and the quick KID, whose panel stays empty where it was not measured. The picture's
    bytes depend on the tables alone.
    """
    ticks = _whole_ticks(_read(losses))
    tables = [ticks, ticks, _read(quality)]
    # A bare Figure draws with Agg and leaves pyplot's global state, and any display, alone.
    figure = Figure(figsize=(9, 9), layout="constrained")
    for axes, table, (unit, columns) in zip(figure.subplots(3, 1, sharex=True), tables, PANELS.items(), strict=True):
        for column in columns:
            axes.plot(table["kimg"], table[column], label=column, linewidth=1)
        axes.set_ylabel(unit)
        axes.grid(alpha=0.3)
        axes.legend(loc="best")
    axes.set_xlabel("kimg (thousands of images shown)")
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _whole_ticks(table: NDArray[np.void]) -> NDArray[np.void]:
    """Return the rows of losses.csv without a last one of fewer steps, whose mean leaps where the others' is calm."""
    steps = np.diff(table["step"], prepend=0)
    return table[:-1] if len(table) > 1 and steps[-1] < steps[0] else table


def _read(csv: Path) -> NDArray[np.void]:
    """Return a CSV file with a header as an array with named columns, perhaps of no rows."""
    return np.atleast_1d(np.genfromtxt(csv, delimiter=",", names=True, encoding="utf-8"))
