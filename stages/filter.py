"""filter: keep the images that are fit to train on, repair what can be, and say why for each one.

Reads   data/raw/*.parquet
Writes  data/clean/*.parquet, data/verdicts.parquet, metrics/filter.json, reports/filter.html,
        plots/rejects.csv, plots/histograms.csv
"""

from __future__ import annotations

import time
from collections import Counter

from pipeline import paths
from pipeline.atomic import write_json
from pipeline.cleaning.run import filter_shards
from pipeline.cleaning.verdict import REPAIR_RULES
from pipeline.params import load_params
from pipeline.reports.filter_page import write_filter_page
from pipeline.reports.filter_tables import write_tables
from pipeline.tracking import stage_run
from pipeline.verdicts import write_verdicts
from pipeline.workers import open_workers
from stages import run_stage

STAGE = "filter"
PAGE = paths.REPORTS / "filter.html"
REJECTS, HISTOGRAMS = paths.PLOTS / "rejects.csv", paths.PLOTS / "histograms.csv"


def main() -> None:
    """Filter every shard."""
    params = load_params()
    with stage_run(STAGE, params) as run, open_workers(params.workers, params.scheduler) as workers:
        started = time.monotonic()
        verdicts = filter_shards(
            paths.RAW, paths.CLEAN, paths.state_dir() / "filter", params.image_size, params.nc, params.filter, workers
        )
        seconds = time.monotonic() - started
        write_verdicts(verdicts, params.filter, paths.VERDICTS)

        dropped = Counter(reason for reason in verdicts["reason"].to_pylist() if reason)
        changed = Counter(repair for repair in verdicts["repair"].to_pylist() if repair)
        repaired = Counter({repair: count for repair, count in changed.items() if repair in REPAIR_RULES})
        # What filter.denoise_all and filter.tone_all did to images that nothing was the matter with.
        asked = changed - repaired
        figures = {
            "input": len(verdicts),
            "kept": len(verdicts) - dropped.total(),
            **{f"rejected.{reason}": count for reason, count in sorted(dropped.items())},
            **{f"repaired.{repair}": count for repair, count in sorted(repaired.items())},
            **{f"asked.{label}": count for label, count in sorted(asked.items())},
            "img_per_s": round(len(verdicts) / seconds, 1),
        }
        write_json(paths.metrics_file(STAGE), figures)
        run.log_metrics(figures)
        write_filter_page(verdicts, paths.RAW, paths.CLEAN, params.filter, PAGE)
        run.log_file(PAGE)
        write_tables(verdicts, params.filter, REJECTS, HISTOGRAMS)
        for plot in (REJECTS, HISTOGRAMS):
            run.log_file(plot, "plots")

        for name, count in list(figures.items())[2:-1]:
            print(f"  {name:26} {count:7}  {count / len(verdicts):6.1%}")
        print(
            f"filter: {figures['kept']} of {len(verdicts)} images kept, {repaired.total()} of them repaired, "
            f"{figures['img_per_s']} img/s; see {PAGE} and {paths.VERDICTS}"
        )


if __name__ == "__main__":
    run_stage(STAGE, main)
