"""What a training tells while it goes on: lines above the progress bar, and curves and pictures in MLflow."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

import psutil
import torch
from tqdm import tqdm

from pipeline.dcgan.figures import Row, tick_line
from pipeline.dcgan.outputs import GRID_COLUMNS
from pipeline.faces import Faces
from pipeline.reports.grids import grid
from pipeline.tracking import StageRun

INTERVAL = 5.0  # seconds between two lines, and two batches to MLflow, at least: a GPU has many ticks a second


class Reporter:
    """The trainer's Report: rows are collected, and told a few seconds' worth at a time, the newest in a line."""

    def __init__(self, run: StageRun, total_kimg: float) -> None:
        self._run = run
        self._total_kimg = total_kimg
        self._pending: list[Mapping[str, float]] = []
        self._quality: Row | None = None
        self._told = 0.0

    def tick(self, figures: Row) -> None:
        """Take a tick's row."""
        self._pending.append(figures)
        if time.monotonic() - self._told >= INTERVAL:
            self._tell(figures)

    def quality(self, figures: Row) -> None:
        """Take a row of quick_kid.csv."""
        self._quality = figures
        self._pending.append(quality_point(figures))

    def epoch(self, figures: Row, pictures: Faces) -> None:
        """Show the fixed noise's pictures after an epoch."""
        self._run.log_image(grid(pictures, GRID_COLUMNS), "samples", int(figures["step"]))

    def collapsed(self, how: str, step: int) -> None:
        """Warn of a collapse."""
        _say(f"warning: at step {step} {how}", sys.stderr)
        self._run.set_tags({"collapse": f"step {step}: {how}"})

    def flush(self) -> None:
        """Log what has not been logged yet."""
        self._run.log_rows(self._pending)
        self._pending = []

    def _tell(self, figures: Row) -> None:
        left = 1000 * (self._total_kimg - figures["kimg"]) / figures["img_per_s"]
        _say(tick_line(figures, self._quality, _memory(), left), sys.stdout)
        self.flush()
        self._told = time.monotonic()


def _say(line: str, stream: TextIO) -> None:
    """Write a line above the bar; to a terminal that was closed, nothing: training goes on, or saves and leaves."""
    try:
        tqdm.write(line, file=stream)
    except OSError as fault:
        if fault.errno != errno.EIO:
            raise


def quality_point(figures: Row) -> Row:
    """Return what MLflow gets of a row of quick_kid.csv: its kimg may be a tick's, whose point would be doubled."""
    return {name: figures[name] for name in ("step", "quick_kid")}


@contextmanager
def reporting(run: StageRun, rows: Sequence[Row], quality: Sequence[Row], total_kimg: float) -> Iterator[Reporter]:
    """Yield a reporter whose curves begin with what was noted before; the last are logged however the block ends."""
    run.log_rows([*rows, *map(quality_point, quality)])
    reporter = Reporter(run, total_kimg)
    with run.watch_system():
        try:
            yield reporter
        finally:
            reporter.flush()


def _memory() -> int:
    """Return the bytes that training takes: of the GPU's memory where there is one, else of the machine's."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    return int(psutil.Process().memory_info().rss)
