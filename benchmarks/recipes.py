"""Which recipe draws the better faces in the same time: python -m benchmarks.recipes [--faces FOLDER].

Without a folder, on faces drawn by the built-in source; with one, on its pictures, of which every tenth is kept aside.
Each recipe of benchmarks/recipe_training.py trains small nets on one core for the same CPU time (which is the
wall-clock of a core that has nothing else to do) with each seed, as many side by side as asked. Printed is KID×1000 of
drawn faces against the faces kept aside, the mean over the seeds and their standard deviation.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.folder import readable_pictures
from benchmarks.recipe_training import CLASSIC, DEFAULTS, RECIPES, train_classic, train_recipe
from pipeline.codec import decode, encode_jpeg
from pipeline.dcgan.device import open_fabric
from pipeline.dcgan.sampling import generate, sample_noise
from pipeline.faces import Faces
from pipeline.metrics.backbone import open_backbone
from pipeline.metrics.distances import kid
from pipeline.metrics.features import extract_features
from pipeline.packing import resize_face
from pipeline.params import load_params
from pipeline.sources.builtin import draw

STORED, DRAWN, DRAW_SEED = 96, 14_000, 1
MOST_PIXELS = 10**8
MOST_REAL = 2_000  # faces kept aside, and as many are generated


@dataclass(frozen=True)
class Setting:
    """What all trainings of a table share."""

    work: Path  # train.npy, holdout.npy (features), and files/faces/ for the classic loop
    ngf: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a training came to."""

    kid: float  # ×1000
    kimg: float


def prepare(folder: Path | None, work: Path, image_size: int) -> None:
    """Write train.npy uint8 (N, H, W, 3), files/faces/*.jpg of the same faces, and holdout.npy, features (M, 1280)."""
    files = work / "files" / "faces"
    files.mkdir(parents=True)
    sources = readable_pictures(folder, MOST_PIXELS) if folder else []
    train, holdout = [], []
    for number in tqdm(range(len(sources) or DRAWN), desc="prepare", unit="img"):
        stored = decode(sources[number].read_bytes(), MOST_PIXELS) if sources else draw(DRAW_SEED, number, STORED)
        face = resize_face(stored, image_size, 3)
        if number % 10 == 9:
            holdout.append(face)
        else:
            train.append(face)
            (files / f"{number}.jpg").write_bytes(sources[number].read_bytes() if sources else encode_jpeg(stored, 92))
    np.save(work / "train.npy", np.stack(train))
    backbone = open_backbone(torch.device("cpu"), image_size, 3)
    np.save(work / "holdout.npy", extract_features(np.stack(holdout[:MOST_REAL]), backbone, "holdout"))


def outcome(recipe: str, seed: int, setting: Setting) -> Outcome:
    """Train by a recipe, draw, and measure; one core's work."""
    torch.set_num_threads(1)
    read = load_params()
    params = read.model_copy(update={"seed": seed, "ngf": setting.ngf, "ndf": setting.ngf})
    faces: Faces = np.load(setting.work / "train.npy", mmap_mode="r")
    if recipe == CLASSIC:
        netG, shown = train_classic(setting.work / "files", params, setting.seconds)
    else:
        fabric = open_fabric(params.model_copy(update={"ngpu": 0}))
        netG, shown = train_recipe(RECIPES[recipe], faces, params, fabric, setting.seconds)
    real = np.load(setting.work / "holdout.npy")
    drawn = generate(netG, sample_noise(len(real), params.nz, seed), 100)
    backbone = open_backbone(torch.device("cpu"), params.image_size, params.nc)
    fake = extract_features(drawn, backbone, "")
    return Outcome(1000 * kid(real, fake, 2, seed)[0], shown / 1000)


def table(outcomes: dict[str, list[Outcome]]) -> str:
    """Return the outcomes as a Markdown table, a row a recipe."""
    lines = ["| recipe | KID×1000 | kimg shown |", "| --- | --- | --- |"]
    for recipe, found in outcomes.items():
        kids = [each.kid for each in found]
        spread = f" ± {stdev(kids):.0f}" if len(kids) > 1 else ""
        lines.append(f"| {recipe} | {mean(kids):.0f}{spread} | {mean(each.kimg for each in found):.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and one line of JSON last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--faces", type=Path, metavar="FOLDER", help="pictures to train on, instead of drawn ones")
    parser.add_argument("--minutes", type=float, default=4.0, help="of CPU time a training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ngf", type=int, default=32)
    parser.add_argument("--jobs", type=int, default=2, help="trainings side by side, a core each")
    parser.add_argument("--only", nargs="+", default=[CLASSIC, *RECIPES], metavar="RECIPE")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that are started from here on
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(Path(folder), arguments.ngf, 60 * arguments.minutes)
        prepare(arguments.faces, setting.work, load_params().image_size)
        with ProcessPoolExecutor(arguments.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            # Seed by seed, so that the load of the machine falls on all recipes alike.
            asked: dict[tuple[str, int], Future[Outcome]] = {
                (recipe, seed): pool.submit(outcome, recipe, seed, setting)
                for seed in range(arguments.seeds)
                for recipe in arguments.only
            }
            for (recipe, seed), future in asked.items():
                tqdm.write(f"{recipe}, seed {seed}: {future.result()}")
    outcomes = {recipe: [asked[recipe, seed].result() for seed in range(arguments.seeds)] for recipe in arguments.only}
    print(table(outcomes))
    kids = {recipe: round(mean(each.kid for each in found), 1) for recipe, found in outcomes.items()}
    ratio = {"ratio": round(kids[CLASSIC] / kids[DEFAULTS], 2)} if {CLASSIC, DEFAULTS} <= kids.keys() else {}
    print(json.dumps({**ratio, **kids}))


if __name__ == "__main__":
    main()
