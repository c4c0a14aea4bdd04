"""train: teach netG to draw faces that netD takes for real ones.

Reads   data/faces/train.npy
Writes  models/{generator,generator_best,generator_live,discriminator}.safetensors, metrics/train.json,
        plots/losses.{csv,png}, plots/quick_kid.csv, plots/training.gif; checkpoints to .pipeline/checkpoints
"""

from __future__ import annotations

import sys

import torch

from pipeline import paths
from pipeline.dcgan.checkpoint import open_checkpoint
from pipeline.dcgan.device import choose_devices, choose_precision, warn_without_gpu
from pipeline.dcgan.identity import out_digests, train_params, training_key
from pipeline.dcgan.outputs import headline, open_row, write_outputs
from pipeline.dcgan.plan import plan_epoch, shortness
from pipeline.dcgan.processes import companions, join, launch
from pipeline.dcgan.quick_kid import quick_judge
from pipeline.dcgan.reporting import reporting
from pipeline.dcgan.state import new_state
from pipeline.dcgan.trainer import train
from pipeline.digest import file_digest
from pipeline.dvc_cache import cached_file
from pipeline.faces import load_faces
from pipeline.params import load_params
from pipeline.tracking import stage_run
from stages import run_stage

STAGE = "train"
PLOTTED = ("losses.csv", "losses.png", "quick_kid.csv", "training.gif")


def main() -> None:
    """Train, or go on with a training that was cut off, and write what came out."""
    params = load_params()
    device, count = choose_devices(params.ngpu, params.train, torch.cuda.device_count())
    warn_without_gpu(params.ngpu)
    with stage_run(STAGE, params) as run:
        faces = load_faces("train")
        epoch_steps = plan_epoch(faces, params, count)
        if warning := shortness(epoch_steps, params):
            print(f"warning: {warning}", file=sys.stderr)
        precision, data = choose_precision(params.train.precision, device), file_digest(paths.FACES / "train.npy")
        run.set_tags({"device": device, "precision": precision})
        # Now, as dvc.yaml may change while it trains.
        key, learnt_from = training_key(params, data, device, count, precision), train_params(params) | {"data": data}
        root = paths.state_dir()
        with open_checkpoint(root / "checkpoints", key, params.train.keep_checkpoints) as checkpoint:
            with companions(count):
                fabric = launch(params)
                state, total_steps = new_state(params, fabric.device), epoch_steps * params.num_epochs
                checkpoint.resume(state, total_steps, are_stored=lambda outs: all(map(cached_file, outs)))
                print(f"train: {len(faces)} faces on {device} in {precision}, from step {state.step} to {total_steps}")
                judge = quick_judge(faces, params.train.quick_kid_images, fabric.device, root / "features")
                join(state, fabric, params)
                with reporting(run, state.rows, state.quality, total_steps * params.batch_size / 1000) as report:
                    train(state, faces, params, fabric, report=report, save=checkpoint.save, judge=judge)
            run.log_rows(open_row(state, epoch_steps, params))
            write_outputs(state, params, epoch_steps, learnt_from)
            for plot in PLOTTED:
                run.log_file(paths.PLOTS / plot, "plots")
            run.log_parent_metrics({name: headline(state)[name] for name in ("kimg", "img_per_s", "lossD", "lossG")})
            checkpoint.finish(out_digests())  # last: who is cut off before goes on, with nothing left to train
        print(f"train: {state.step} steps in {state.seconds:.0f} s; {paths.GENERATOR}, {paths.PLOTS / 'training.gif'}")


if __name__ == "__main__":
    run_stage(STAGE, main)
