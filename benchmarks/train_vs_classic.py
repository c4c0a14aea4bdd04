"""Our training loop beside the one that people copy: python -m benchmarks.train_vs_classic.

Both train the same nets on the same drawn faces, in turns on the same machine: ours as `dvc repro` would (EMA and
augmentation included, but for the quick KID, which measures and does not train), the other as in
benchmarks/classic_dcgan.py. The first turn of each is not counted. Beside the images a second it prints what share of a
step each spends waiting for its data, how many FLOP a step of ours takes for an image, counted by torch, and what share
that is of the machine's own rate of multiplying bfloat16 matrices of 2048×2048.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.classic_dcgan import classic_training
from pipeline.codec import encode_jpeg
from pipeline.dcgan.batches import epoch_batches, on_device, to_images
from pipeline.dcgan.device import open_fabric
from pipeline.dcgan.figures import Row
from pipeline.dcgan.losses import FAKE, REAL, bce
from pipeline.dcgan.networks import Generator
from pipeline.dcgan.state import new_state
from pipeline.dcgan.trainer import train
from pipeline.faces import Faces
from pipeline.params import Params, load_params
from pipeline.sources.builtin import draw

STORED = 96  # the side of the classic loop's files, as crawled faces have it


def draw_faces(count: int, folder: Path, image_size: int) -> Faces:
    """Draw faces: as files in a folder for the classic loop, and packed for ours, uint8 (count, side, side, 3)."""
    folder.mkdir(parents=True)
    for face in range(count):
        (folder / f"{face}.jpg").write_bytes(encode_jpeg(draw(0, face, STORED), 92))
    return np.stack([draw(0, face, image_size) for face in range(count)])


def flop_per_image(params: Params) -> float:
    """Return what a step of ours multiplies and adds for an image."""
    state = new_state(params, torch.device("cpu"))
    real = torch.zeros(params.batch_size, params.nc, params.image_size, params.image_size)
    with FlopCounterMode(display=False) as counter:
        fake = state.netG(torch.zeros(params.batch_size, params.nz, 1, 1))
        (bce(state.netD(real), REAL) + bce(state.netD(fake.detach()), FAKE)).backward()
        state.netD.requires_grad_(False)
        bce(state.netD(fake), REAL).backward()
    return counter.get_total_flops() / params.batch_size


def matmul_rate(device: torch.device, side: int = 2048, times: int = 20) -> float:
    """Return the FLOP a second of multiplying bfloat16 matrices."""
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    float((left @ right)[0, 0])
    started = time.monotonic()
    for _ in range(times):
        product = left @ right
    float(product[0, 0])
    return times * 2 * side**3 / (time.monotonic() - started)


class Rates:
    """A training's report that keeps the images a second of each epoch."""

    def __init__(self) -> None:
        self.of_epochs: list[float] = []

    def tick(self, figures: Row) -> None:
        """Ignore a tick."""

    def quality(self, figures: Row) -> None:
        """Ignore a quick KID."""

    def epoch(self, figures: Row, pictures: Faces) -> None:  # noqa: ARG002
        """Note an epoch's rate."""
        self.of_epochs.append(figures["img_per_s"])

    def collapsed(self, how: str, step: int) -> None:
        """Ignore a collapse: nothing is learnt here for long."""


def compare(ngf: int, turns: int, steps: int, work: Path) -> dict[str, Any]:
    """Run both loops in turns at that width and return their figures."""
    read = load_params()
    params = read.model_copy(update={"ngf": ngf, "ndf": ngf})
    fabric = open_fabric(params)
    faces = draw_faces(steps * params.batch_size, work / f"ngf{ngf}" / "faces", params.image_size)
    state, rates = new_state(params, fabric.device), Rates()
    netG = Generator(nz=params.nz, ngf=ngf, nc=params.nc, image_size=params.image_size)
    classic, classic_rates, waits = classic_training(work / f"ngf{ngf}", params, fabric.device, netG), [], []
    for turn in range(turns + 1):
        longer = params.model_copy(update={"num_epochs": turn + 1})
        train(state, faces, longer, fabric, report=rates, save=lambda _: None)
        next(classic)  # the loader's processes are started at an epoch's first step
        started = time.monotonic()
        waited = sum(islice(classic, steps - 1))
        seconds = time.monotonic() - started
        classic_rates.append((steps - 1) * params.batch_size / seconds)
        waits.append(waited / seconds)
    classic.close()

    data, batches = on_device(faces, fabric.device), epoch_batches(len(faces), params.batch_size, 1, fabric.device, 0)
    started = time.monotonic()
    for batch in islice(batches, steps):
        float(to_images(data[batch])[0, 0, 0, 0])
    ours, theirs = median(rates.of_epochs[1:]), median(classic_rates[1:])
    loading = (time.monotonic() - started) / steps / (params.batch_size / ours)
    flop, most = flop_per_image(params), matmul_rate(fabric.device)
    print(f"{'ngf ' + str(ngf):10} {'img/s':>7} {'waiting for data':>17}")
    print(f"{'classic':10} {theirs:7.0f} {median(waits[1:]):17.1%}")
    print(f"{'ours':10} {ours:7.0f} {loading:17.1%}   {fabric.strategy.precision.precision} on {fabric.device.type}")
    each = ", ".join(f"{one / other:.2f}" for one, other in zip(rates.of_epochs[1:], classic_rates[1:], strict=True))
    print(f"ratio {ours / theirs:.2f}, in each turn {each}")
    print(
        f"{flop / 1e9:.2f} GFLOP an image: {flop * ours / 1e9:.0f} GFLOP/s, {flop * ours / most:.0%} of the matrix "
        f"multiplication's {most / 1e9:.0f}\n"
    )
    return {
        f"ratio_ngf{ngf}": round(ours / theirs, 2),
        f"img_per_s_ngf{ngf}": round(ours, 1),
        f"classic_img_per_s_ngf{ngf}": round(theirs, 1),
        f"of_matmul_ngf{ngf}": round(flop * ours / most, 3),
        f"waiting_ngf{ngf}": round(loading, 4),
    }


def main() -> None:
    """Compare at each width and print one line of JSON last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--ngf", type=int, nargs="+", default=[64, 32])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="steps of a turn")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for ngf in arguments.ngf:
            figures |= compare(ngf, arguments.turns, arguments.steps, Path(folder))
    print(json.dumps({"ratio": figures[f"ratio_ngf{arguments.ngf[0]}"], **figures}))


if __name__ == "__main__":
    main()
