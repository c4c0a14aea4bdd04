"""resize: pack the kept faces, and the rulers that evaluate measures with, into arrays of one size.

Reads   data/raw/*.parquet, data/clean/*.parquet
Writes  data/faces/train.npy, holdout_clean.npy, holdout_raw.npy (recipes: holdout_pristine.npy), index.parquet
"""

from __future__ import annotations

import time

from pipeline import paths
from pipeline.atomic import write_json
from pipeline.packing import pack_faces
from pipeline.params import load_params
from pipeline.tracking import stage_run
from pipeline.workers import open_workers
from stages import run_stage

STAGE = "resize"


def main() -> None:
    """Pack every array."""
    params = load_params()
    with stage_run(STAGE, params) as run, open_workers(params.workers, params.scheduler) as workers:
        started = time.monotonic()
        counts = pack_faces(paths.RAW, paths.CLEAN, paths.FACES, params.image_size, params.nc, workers)
        figures = {**counts, "img_per_s": round(sum(counts.values()) / (time.monotonic() - started), 1)}
        write_json(paths.metrics_file(STAGE), figures)
        run.log_metrics(figures)
        shape = f"{params.image_size}×{params.image_size}×{params.nc}"
        print(f"resize: {', '.join(f'{count} {name}' for name, count in counts.items())}, {shape}, in {paths.FACES}")


if __name__ == "__main__":
    run_stage(STAGE, main)
