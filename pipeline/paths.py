"""Every path that dvc.yaml names, relative to the project's root, which is where DVC runs a stage."""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")
DVC_YAML = Path("dvc.yaml")
DVC_LOCK = Path("dvc.lock")

# Of the checkout that a stage runs in, not the main one: experiments in temporary checkouts run side by side.
STAGE_LOCK = Path(".dvc/tmp/stage.lock")

TAKEDOWN = Path("data/takedown.txt")
RAW = Path("data/raw")
CLEAN = Path("data/clean")
VERDICTS = Path("data/verdicts.parquet")
FACES = Path("data/faces")
HOLDOUT_RAW = FACES / "holdout_raw.npy"
HOLDOUT_CLEAN = FACES / "holdout_clean.npy"

GENERATOR = Path("models/generator.safetensors")
GENERATOR_LIVE = Path("models/generator_live.safetensors")
GENERATOR_BEST = Path("models/generator_best.safetensors")
DISCRIMINATOR = Path("models/discriminator.safetensors")

METRICS = Path("metrics")
METRICS_CODE = Path("pipeline/metrics")
PLOTS = Path("plots")
REPORTS = Path("reports")
EVALUATE_PAGE = REPORTS / "evaluate.html"


def metrics_file(stage: str) -> Path:
    """Return where a stage writes its figures; stage is its name in dvc.yaml."""
    return METRICS / f"{stage.replace('-', '_')}.json"


def main_checkout(root: Path) -> Path:
    """Return the checkout that the user works in.

    DVC runs `dvc exp run --temp` and `--queue` in throw-away checkouts below <main>/.dvc/tmp/exps/ and deletes them
    afterwards: what must outlive an experiment (the MLflow store, checkpoints, caches) belongs in the main one.
    """
    root = root.resolve()
    head, found, _ = str(root).partition("/.dvc/tmp/exps/")
    return Path(head) if found else root


def state_dir() -> Path:
    """Return the folder outside DVC's outs where stages keep what they resume from and reuse; it is git-ignored."""
    return main_checkout(Path.cwd()) / ".pipeline"
