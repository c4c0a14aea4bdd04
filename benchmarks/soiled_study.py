"""Does cleaning help on real faces? python -m benchmarks.soiled_study FOLDER: your faces, soiled in known ways.

Every fifth picture of the folder is kept aside, undamaged: the ruler, which no arm touches. The rest is soiled as by
`dcgan soil`, a share of it damaged or copied. Small nets are trained on them raw (every readable file as it is),
cleaned (through the filter, as params.yaml has it) and pristine (the same pictures, undamaged, through the filter),
with the same seeds, one core each, shown as many images as whole epochs allow. It is `dcgan study cleaning` for
pictures in a folder; that one needs the built-in recipe. Printed are the same table and what follows from it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.folder import readable_pictures
from pipeline.cleaning.run import filter_shards
from pipeline.codec import decode
from pipeline.dcgan.device import open_fabric
from pipeline.dcgan.sampling import generate, sample_noise
from pipeline.dcgan.state import new_state
from pipeline.dcgan.trainer import train
from pipeline.metrics.backbone import open_backbone
from pipeline.metrics.distances import kid
from pipeline.metrics.features import extract_features
from pipeline.packing import pack_faces, resize_face
from pipeline.params import AugmentParams, Params, load_params
from pipeline.reports.study import CLEANED, PRISTINE, RAW, Arm, Level, level_page
from pipeline.soil import soil
from pipeline.sources.importing import import_source
from pipeline.study import epochs_for
from pipeline.workers import open_workers

ARMS = (RAW, CLEANED, PRISTINE)
SETTINGS = {"batch_size": 64, "ngf": 16, "ndf": 16, "ngpu": 0}
# As in pipeline/study.py.
TRAINING = {"lr_ratio": 4.0, "augment": AugmentParams(color=True, translation=True, cutout=True)}
DRAWN = 1_000


@dataclass(frozen=True)
class Silent:
    """Hears of a training, and says nothing."""

    def tick(self, figures: Any) -> None:
        """A row of losses."""

    def quality(self, figures: Any) -> None:
        """A row of quick KIDs."""

    def epoch(self, figures: Any, pictures: Any) -> None:
        """An epoch's end."""

    def collapsed(self, how: str, step: int) -> None:
        """A collapse."""


def lay_aside(folder: Path, work: Path, params: Params) -> None:
    """Copy four of five pictures into work/clean and write the features of the fifth to work/ruler.npy."""
    files = readable_pictures(folder, params.crawl.max_pixels)
    (work / "clean").mkdir()
    for number, file in enumerate(files):
        if number % 5 != 4:
            shutil.copyfile(file, work / "clean" / f"{number}{file.suffix}")
    aside = (decode(file.read_bytes(), params.crawl.max_pixels) for file in files[4::5])
    ruler = np.stack([resize_face(pixels, params.image_size, params.nc) for pixels in aside])
    backbone = open_backbone(torch.device("cpu"), params.image_size, params.nc)
    np.save(work / "ruler.npy", extract_features(ruler, backbone, "ruler"))


def pack_arm(arm: str, work: Path, params: Params) -> int:
    """Write work/ARM/train.npy; return how many faces are in it."""
    source = work / "clean" if arm == PRISTINE else work / "soiled" / "images"
    crawl = params.crawl.model_copy(update={"holdout_fraction": 0.01})  # what resize would miss; the ruler is another
    rules = params.filter.model_copy(update={"enabled": arm != RAW})
    with open_workers(params.workers) as workers:
        raw, clean = work / f"{arm}-raw", work / f"{arm}-clean"
        import_source(source, crawl, raw, workers)
        filter_shards(raw, clean, work / "cache", params.image_size, params.nc, rules, workers)
        return pack_faces(raw, clean, work / arm, params.image_size, params.nc, workers)["train"]


def outcome(arm: str, seed: int, kimg: float, work: Path, params: Params) -> dict[str, float]:
    """Train on an arm's faces, draw, and measure; one core's work."""
    torch.set_num_threads(1)
    faces = np.load(work / arm / "train.npy", mmap_mode="r")
    epochs = epochs_for(kimg, len(faces), params.batch_size)
    params = params.model_copy(update={"seed": seed, "num_epochs": epochs})
    fabric = open_fabric(params)
    state = new_state(params, fabric.device)
    train(state, faces, params, fabric, report=Silent(), save=lambda _: None)
    drawn = generate(state.shown, sample_noise(DRAWN, params.nz, seed), 100)
    features = extract_features(drawn, open_backbone(torch.device("cpu"), params.image_size, params.nc), "")
    distance = kid(np.load(work / "ruler.npy"), features, 2, seed)[0]
    return {"kimg": state.step * params.batch_size / 1000, "pristine": 1000 * distance}


def main() -> None:
    """Print the table and what follows, and one line of JSON last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--share", type=float, default=0.4, help="of the pictures that is damaged or copied")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--kimg", type=float, default=100.0, help="thousand images shown in each training")
    parser.add_argument("--jobs", type=int, default=2, help="trainings side by side, a core each")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that are started from here on
    read = load_params()
    params = read.model_copy(update={**SETTINGS, "train": read.train.model_copy(update=TRAINING)})
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        lay_aside(arguments.folder, work, params)
        soil(work / "clean", work / "soiled", arguments.share, 0, params.crawl)
        counts = {arm: pack_arm(arm, work, params) for arm in ARMS}
        with ProcessPoolExecutor(arguments.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            # Seed by seed, so that the load of the machine falls on all arms alike.
            asked: dict[tuple[str, int], Future[dict[str, float]]] = {
                (arm, seed): pool.submit(outcome, arm, seed, arguments.kimg, work, params)
                for seed in range(arguments.seeds)
                for arm in ARMS
            }
            for (arm, seed), future in asked.items():
                tqdm.write(f"{arm}, seed {seed}: {future.result()}")
    arms = [Arm(arm, counts[arm], {seed: asked[arm, seed].result() for seed in range(arguments.seeds)}) for arm in ARMS]
    print("\n".join(level_page(Level(arguments.share, arms))))
    kids = {arm.name: [round(one["pristine"], 1) for one in arm.outcomes.values()] for arm in arms}
    print(json.dumps({"faces": counts, **kids}))


if __name__ == "__main__":
    main()
