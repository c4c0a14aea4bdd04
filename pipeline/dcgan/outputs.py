"""What a training leaves behind: the networks, and the figures of the whole run."""

from __future__ import annotations

from pipeline import paths
from pipeline.dcgan.figures import Row, row
from pipeline.dcgan.state import TrainState
from pipeline.dcgan.weights import save_weights
from pipeline.params import Params


def write_networks(state: TrainState, params: Params, data_digest: str) -> None:
    """Write generator.safetensors (the average where it is on), generator_live and discriminator.

    Their metadata says how to rebuild the network, what it learnt from (the SHA-256 of train.npy) and how, and the
    last epoch's figures; nothing in it depends on the machine or the time.
    """
    recipe = ("image_size", "nc", "nz", "ngf", "ndf", "batch_size", "lr", "beta1", "num_epochs", "seed")
    metadata = {key: str(getattr(params, key)) for key in recipe} | {"data": data_digest}
    metadata |= {key: f"{value:.6g}" for key, value in state.epochs[-1].items() if key != "img_per_s"}
    average = "live" if state.ema is None else "ema"
    save_weights(paths.GENERATOR, state.shown, metadata | {"weights": average})
    save_weights(paths.GENERATOR_LIVE, state.netG, metadata | {"weights": "live"})
    save_weights(paths.DISCRIMINATOR, state.netD, metadata | {"weights": "live"})


def loss_rows(state: TrainState, epoch_steps: int, params: Params) -> list[Row]:
    """Return the rows of losses.csv: one for each logging interval, and one for the steps after the last whole one."""
    open_steps = state.step % params.train.log_steps
    if not open_steps:
        return state.rows
    return [*state.rows, row(state.interval, open_steps, state.step, epoch_steps, params.batch_size)]


def headline(state: TrainState) -> dict[str, float]:
    """Return the figures of metrics/train.json: the run's length and speed, and the last epoch's means."""
    last = state.epochs[-1]
    rate = 1000 * last["kimg"] / state.seconds
    return last | {"seconds": round(state.seconds, 1), "img_per_s": round(rate, 1)}
