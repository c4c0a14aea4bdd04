"""The figures of a training run: means over steps, where in the run they belong, and losses.csv."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from pipeline.atomic import whole_file
from pipeline.dcgan.losses import FIGURES
from pipeline.errors import StageError

COLUMNS = ("step", "epoch", "kimg", *FIGURES)

Row = dict[str, float]


def row(sums: Tensor, steps: int, step: int, epoch_steps: int, batch_size: int) -> Row:
    """Return the means of losses.FIGURES over the steps that end with `step`, under losses.csv's columns.

    sums: (6,), the figures added up over that many steps. epoch counts from 1; kimg is thousands of images shown.
    Raises StageError where a mean is no finite number: no later step would mend that.
    """
    epoch = (step - 1) // epoch_steps + 1
    means = (sums / steps).tolist()
    if not all(map(math.isfinite, means)):
        raise StageError(f"training has diverged by step {step} (a loss is no finite number); set lr lower")
    return dict(zip(COLUMNS, [step, epoch, step * batch_size / 1000, *means], strict=True))


def write_losses(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as losses.csv, eight significant digits, whole or not at all."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([f"{values[column]:.8g}" for column in COLUMNS] for values in rows)


def summary(figures: Row) -> str:
    """Return an epoch's figures in words, for one printed line."""
    return (
        f"{figures['kimg']:.1f} kimg, lossD {figures['lossD']:.3f}, lossG {figures['lossG']:.3f}, "
        f"D(x) {figures['D_x']:.3f}, D(G(z)) {figures['D_G_z1']:.3f} → {figures['D_G_z2']:.3f}, "
        f"{figures['img_per_s']:.0f} img/s"
    )
