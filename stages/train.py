"""train: teach netG to draw faces that netD takes for real ones.

Reads   data/faces/train.npy
Writes  models/{generator,generator_live,discriminator}.safetensors, metrics/train.json, plots/losses.{csv,png},
        plots/training.gif; checkpoints to .pipeline/checkpoints
"""

from __future__ import annotations

import sys
from functools import partial

from tqdm import tqdm

from pipeline import paths
from pipeline.atomic import write_json
from pipeline.dcgan.checkpoint import open_checkpoint
from pipeline.dcgan.device import open_fabric, precision_of
from pipeline.dcgan.figures import Row, summary, write_losses
from pipeline.dcgan.identity import file_digest, training_key
from pipeline.dcgan.outputs import headline, loss_rows, write_networks
from pipeline.dcgan.plan import plan_epoch, shortness
from pipeline.dcgan.state import new_state
from pipeline.dcgan.trainer import fixed_noise_pictures, train
from pipeline.faces import Faces, load_faces
from pipeline.params import load_params
from pipeline.reports.curves import loss_plot
from pipeline.reports.grids import grid, write_gif
from pipeline.tracking import StageRun, stage_run
from stages import run_stage

STAGE = "train"
COLUMNS, FRAME_MS = 8, 250


def main() -> None:
    """Train, or go on with a training that was cut off, and write what came out."""
    params = load_params()
    fabric = open_fabric(params.ngpu, params.train.precision)
    device, precision = fabric.device.type, precision_of(fabric)
    with stage_run(STAGE, params) as run:
        run.set_tags({"device": device, "precision": precision})
        faces = load_faces("train")
        epoch_steps = plan_epoch(faces, params)
        if warning := shortness(epoch_steps, params):
            print(f"warning: {warning}", file=sys.stderr)
        data = file_digest(paths.FACES / "train.npy")
        key = training_key(params, data, device, precision)
        with open_checkpoint(paths.state_dir() / "checkpoints", key, params.train.keep_checkpoints) as checkpoint:
            state, total_steps = new_state(params, fabric.device), epoch_steps * params.num_epochs
            checkpoint.resume(state, total_steps)
            print(f"train: {len(faces)} faces on {device} in {precision}, from step {state.step} to {total_steps}")
            for past in state.epochs:
                run.log_metrics(past, step=int(past["step"]))
            train(state, faces, params, fabric, report=partial(_report, run, params.num_epochs), save=checkpoint.save)

            write_networks(state, params, data)
            write_losses(paths.PLOTS / "losses.csv", loss_rows(state, epoch_steps, params))
            loss_plot(paths.PLOTS / "losses.csv", paths.PLOTS / "losses.png")
            frames = state.frames | {state.step: fixed_noise_pictures(state, params)}
            write_gif([grid(frame, COLUMNS) for frame in frames.values()], paths.PLOTS / "training.gif", FRAME_MS)
            write_json(paths.metrics_file(STAGE), headline(state))
            checkpoint.finish()
        for plot in ("losses.csv", "losses.png", "training.gif"):
            run.log_file(paths.PLOTS / plot, "plots")
        run.log_parent_metrics({name: headline(state)[name] for name in ("kimg", "img_per_s", "lossD", "lossG")})
        print(f"train: {state.step} steps in {state.seconds:.0f} s; {paths.GENERATOR}, {paths.PLOTS / 'training.gif'}")


def _report(run: StageRun, num_epochs: int, figures: Row, pictures: Faces) -> None:
    step = int(figures["step"])
    run.log_metrics(figures, step)
    run.log_image(grid(pictures, COLUMNS), "samples", step)
    tqdm.write(f"epoch {figures['epoch']:.0f}/{num_epochs}: {summary(figures)}")


if __name__ == "__main__":
    run_stage(STAGE, main)
