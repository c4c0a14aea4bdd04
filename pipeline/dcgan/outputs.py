"""What a training leaves behind: the networks, the curves, the film, and the figures of the whole run."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pipeline import paths
from pipeline.atomic import write_json
from pipeline.dcgan.figures import COLUMNS, QUALITY_COLUMNS, Row, row, write_table
from pipeline.dcgan.state import TrainState
from pipeline.dcgan.trainer import fixed_noise_pictures
from pipeline.dcgan.weights import save_weights
from pipeline.params import Params
from pipeline.reports.curves import training_plot
from pipeline.reports.grids import grid, write_gif

GRID_COLUMNS = 8  # of the fixed noise's pictures
FRAME_MS = 250


def write_outputs(state: TrainState, params: Params, epoch_steps: int, learnt_from: Mapping[str, Any]) -> None:
    """Write all of it: the networks, the curves as tables and as a picture, the film, and metrics/train.json.

    learnt_from is what the networks' metadata says of how they came to be; it is taken when the training begins.
    """
    write_networks(state, learnt_from)
    losses, quality = paths.PLOTS / "losses.csv", paths.PLOTS / "quick_kid.csv"
    write_table(losses, [*state.rows, *open_row(state, epoch_steps, params)], COLUMNS)
    write_table(quality, state.quality, QUALITY_COLUMNS)
    training_plot(losses, quality, paths.PLOTS / "losses.png")
    frames = state.frames | {state.step: fixed_noise_pictures(state, params)}
    write_gif([grid(frame, GRID_COLUMNS) for frame in frames.values()], paths.PLOTS / "training.gif", FRAME_MS)
    write_json(paths.metrics_file("train"), headline(state))


def write_networks(state: TrainState, learnt_from: Mapping[str, Any]) -> None:
    """Write generator.safetensors (the average where it is on), generator_best, generator_live and discriminator.

    The best is the one whose quick KID was lowest, and the last one where none was measured. Their metadata says how to
    rebuild the network, what it learnt from (the SHA-256 of train.npy) and how (each param that counts), and the last
    epoch's figures; nothing in it depends on the machine or the time.
    """
    metadata = {key: str(value) for key, value in learnt_from.items()}
    metadata |= _told({key: value for key, value in state.epochs[-1].items() if key != "img_per_s"})
    average = "live" if state.ema is None else "ema"
    save_weights(paths.GENERATOR, state.shown, metadata | {"weights": average})
    save_weights(paths.GENERATOR_LIVE, state.netG, metadata | {"weights": "live"})
    save_weights(paths.DISCRIMINATOR, state.netD, metadata | {"weights": "live"})
    best, told = copy.deepcopy(state.shown), {"weights": average}
    if state.best is not None:
        best.load_state_dict(state.best)
        lowest = min(state.quality, key=lambda measured: measured["quick_kid"])
        told |= _told(lowest)
    save_weights(paths.GENERATOR_BEST, best, metadata | told)


def _told(figures: Row) -> dict[str, str]:
    return {key: str(value) if isinstance(value, int) else f"{value:.6g}" for key, value in figures.items()}


def open_row(state: TrainState, epoch_steps: int, params: Params) -> list[Row]:
    """Return the row of losses.csv for the steps after the last whole tick, or none where there are none.

    It is no part of the state, in which a longer training would go on within that tick.
    """
    open_steps = state.step % params.train.log_steps
    return [row(state.interval, open_steps, state.step, epoch_steps, params.batch_size)] if open_steps else []


def headline(state: TrainState) -> Row:
    """Return the figures of metrics/train.json: the run's length and speed, and the last epoch's means.

    And the last quick KID, and the lowest, where it was measured.
    """
    last = state.epochs[-1]
    rate = 1000 * last["kimg"] / state.seconds
    figures = last | {"seconds": round(state.seconds, 1), "img_per_s": round(rate, 1)}
    if state.quality:
        figures["quick_kid"] = state.quality[-1]["quick_kid"]
        figures["quick_kid_best"] = min(measured["quick_kid"] for measured in state.quality)
    return figures
