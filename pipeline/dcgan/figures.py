"""The figures of a training run: means over steps, where in the run they belong, and their tables."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from pipeline.atomic import whole_file
from pipeline.dcgan.losses import FIGURES

COLUMNS = ("step", "epoch", "kimg", *FIGURES)  # of losses.csv
QUALITY_COLUMNS = ("step", "kimg", "quick_kid")  # of quick_kid.csv

Row = dict[str, float]


def row(sums: Tensor, steps: int, step: int, epoch_steps: int, batch_size: int) -> Row:
    """Return the means of losses.FIGURES over the steps that end with `step`, under losses.csv's columns.

    sums: (6,), the figures added up over that many steps. epoch counts from 1; kimg is thousands of images shown.
    """
    epoch = (step - 1) // epoch_steps + 1
    means = (sums / steps).tolist()
    found = dict(zip(COLUMNS, [step, epoch, step * batch_size / 1000, *means], strict=True))
    return found | {"lossD": found["lossD_real"] + found["lossD_fake"]}


def write_table(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Write columns of rows as CSV, eight significant digits, whole or not at all."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([f"{values[column]:.8g}" for column in columns] for values in rows)


def tick_line(figures: Row, quality: Row | None, memory: int, seconds_left: float) -> str:
    """Return a tick's figures in words, for a printed line; quality: quick_kid.csv's last row; memory in bytes."""
    judged = "" if quality is None else f"quick KID {quality['quick_kid']:.0f} at {quality['kimg']:.0f} kimg, "
    rate = figures["img_per_s"]
    return (
        f"{figures['kimg']:.1f} kimg, {rate:.0f} img/s, {1000 / rate:.2f} s/kimg, lossD {figures['lossD']:.3f}, "
        f"lossG {figures['lossG']:.3f}, D(x) {figures['D_x']:.3f}, D(G(z)) {figures['D_G_z1']:.3f} → "
        f"{figures['D_G_z2']:.3f}, {judged}{memory / 2**30:.1f} GiB, {tqdm.format_interval(seconds_left)} left"
    )
