"""crawl-import: turn whatever dataroot names into image shards, a row a file, readable or not.

Reads   dataroot: a folder, an archive, a list of URLs, or a recipe; data/takedown.txt
Writes  data/raw/*.parquet, metrics/crawl_import.json
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

from pipeline import paths
from pipeline.atomic import write_json
from pipeline.errors import StageError
from pipeline.params import load_params
from pipeline.sources.importing import digest_of, import_source
from pipeline.sources.takedown import read_takedown
from pipeline.tracking import stage_run
from pipeline.workers import open_workers
from stages import run_stage

STAGE = "crawl-import"


def main() -> None:
    """Import params.dataroot."""
    params = load_params()
    with stage_run(STAGE, params) as run, open_workers(params.workers, params.scheduler) as workers:
        started = time.monotonic()
        takedown = read_takedown(paths.TAKEDOWN)
        shards = import_source(Path(params.dataroot), params.crawl, paths.RAW, workers, takedown)
        seconds = time.monotonic() - started

        splits = sum((shard.splits for shard in shards), Counter())
        errors = sum((shard.errors for shard in shards), Counter())
        total = splits.total() + errors.total()
        figures = {
            "images": total,
            "readable": splits.total(),
            "unreadable": errors.total(),
            **{f"unreadable.{reason}": count for reason, count in sorted(errors.items())},
            "train": splits["train"],
            "holdout": splits["holdout"],
            "img_per_s": round(total / seconds, 1),
        }
        write_json(paths.metrics_file(STAGE), figures)
        run.log_metrics(figures)
        run.log_input(params.dataroot, digest_of(shards))
        if not splits:  # no setting of a later stage could help
            reasons = ", ".join(f"{count} {reason}" for reason, count in errors.most_common())
            raise StageError(f"dataroot {params.dataroot} has no picture that can be read ({reasons})")
        if splits["train"] < params.batch_size or not splits["holdout"]:  # said hours before train or evaluate would
            print(
                f"warning: {splits['train']} pictures to train on and {splits['holdout']} to measure by are too few: "
                f"train needs {params.batch_size} (batch_size), and evaluate some; give more pictures",
                file=sys.stderr,
            )
        print(
            f"crawl-import: {total} files, {splits.total()} readable ({splits['train']} train, {splits['holdout']} "
            f"holdout), {errors.total()} not; {len(shards)} shards in {paths.RAW}"
        )


if __name__ == "__main__":
    run_stage(STAGE, main)
