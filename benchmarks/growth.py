"""How time and memory grow with the pictures: python -m benchmarks.growth [--sizes N …].

All five stages run as dvc would start them, on a folder of ever more pictures, in a project of their own with the
params as shipped but for `evaluate.n_generated` (500), the nets (tiny, and trained for one epoch in batches of 16,
without quick KID) and `ngpu` (0). What a stage keeps for the next time (`.pipeline`) is removed before each size.

The pictures are JPEGs of 64×64, made of 2,000 built-in faces by laying a random field of colour over each, so strong
that about as many have a close hash as of real faces (8,000: 0.18 pairs a picture, real faces 0.23); one in twenty is
the picture before it, encoded again. They are made beforehand and not timed.

Seconds are those of the whole process, from its start to its end, and so are those of the processors, which other work
on the machine disturbs less. Loading Python, torch and MLflow is most of it where pictures are few. So the stages first
run on FIXED pictures, and what that takes is taken off: an exponent is the slope, by least squares, of
log(t(n) - t(FIXED)) over log(n - FIXED). Memory is the most that the process and all its workers take together (PSS),
at any moment.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import psutil
from matplotlib.figure import Figure
from ruamel.yaml import YAML

from benchmarks.filter_scale import as_jpeg
from benchmarks.memory import peak_memory
from pipeline import paths
from pipeline.atomic import whole_file
from pipeline.codec import Pixels
from pipeline.sources.builtin import draw
from pipeline.workers import open_workers

PLOT = Path("docs/growth.png")
SIZES = (2000, 8000, 32000, 128000)
STAGES = ("crawl_import", "filter", "resize", "train", "evaluate")
FIXED, FACES, COPIES, SIDE = 100, 2000, 20, 64
IN_FOLDER = 1000
NETS: dict[str, Any] = {"ngf": 8, "ndf": 8, "nz": 16, "batch_size": 16, "num_epochs": 1, "ngpu": 0}


class Cost(NamedTuple):
    """What a stage took: seconds on the clock, seconds of all processors, and bytes at the most."""

    seconds: float
    cpu: float
    peak: float


Costs = Mapping[str, Mapping[int, Cost]]  # by stage and number of pictures


def picture(number: int, face: Pixels) -> Pixels:
    """Return a face under a random field of colour: RGB uint8 (64, 64, 3), another for each number."""
    field = np.random.default_rng(number).normal(0, 70, (8, 8, 3))
    return np.clip(face + cv2.resize(field, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def make_pictures(numbers: range, faces: Sequence[Pixels], target: Path) -> None:
    """Write pictures as JPEG files, a thousand in a folder."""
    for number in numbers:
        copied = number - (number % COPIES == COPIES - 1)
        path = target / f"{number // IN_FOLDER:05d}" / f"{number:07d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(as_jpeg(picture(copied, faces[copied % len(faces)]), 70 + number % 25))


def make_project(root: Path, folder: Path) -> None:
    """Lay out a project whose dataroot is the folder `pictures` in it."""
    shutil.copytree(root / "data", folder / "data", ignore=shutil.ignore_patterns("*.parquet", "*.npy"))
    shutil.copy(root / paths.DVC_YAML, folder)
    for code in ("pipeline", "stages"):
        (folder / code).symlink_to(root / code)
    yaml = YAML()
    content = yaml.load(root / paths.PARAMS)
    content.update(NETS | {"dataroot": "pictures"})
    content["evaluate"]["n_generated"] = 500
    content["train"]["quick_kid_images"] = 0
    yaml.dump(content, folder / paths.PARAMS)
    (folder / "pictures").mkdir()


def run_stage(stage: str, folder: Path) -> Cost:
    """Run a stage in a project, as dvc does; what it printed is shown where it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
    with tempfile.TemporaryFile() as printed:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=folder,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        with peak_memory(psutil.Process(process.pid)) as peak:
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            printed.seek(0)
            raise SystemExit(f"{stage} left with {process.returncode}:\n{printed.read().decode(errors='replace')}")
    return Cost(seconds, used.ru_utime + used.ru_stime, peak[0])


def measure(sizes: Sequence[int], root: Path, folder: Path) -> dict[str, dict[int, Cost]]:
    """Return what each stage takes for FIXED pictures and for so many."""
    make_project(root, folder)
    faces = [draw(0, number, SIDE) for number in range(FACES)]
    costs: dict[str, dict[int, Cost]] = {stage: {} for stage in STAGES}
    there = 0
    # The first one loads the libraries from the disk, and makes MLflow's store; of the others the least counts.
    for size in (FIXED, FIXED, FIXED, *sizes):
        starts = range(there, size, IN_FOLDER)
        numbers = [range(start, min(start + IN_FOLDER, size)) for start in starts]
        with open_workers(2) as workers:
            make = partial(make_pictures, faces=faces, target=folder / "pictures")
            list(workers.map(make, numbers, label=f"make {size}", sizes=[len(some) for some in numbers]))
        there = size
        shutil.rmtree(folder / ".pipeline", ignore_errors=True)
        for stage in STAGES:
            cost = run_stage(stage, folder)
            costs[stage][size] = min(cost, costs[stage].get(size, cost), key=lambda one: one.cpu)
            print(f"{stage:14} {size:>9,} {costs[stage][size]}", file=sys.stderr)
    return costs


def exponent(taken: Mapping[int, float]) -> float | None:
    """Return the slope of log(t(n) - t(n0)) over log(n - n0), where n0 is the smallest n.

    None where t does not grow, or is known for one other n alone.
    """
    (fewest, fixed), *others = sorted(taken.items())
    n, t = np.array(others, float).T
    if len(t) < 2 or (t <= fixed).any():
        return None
    return float(np.polyfit(np.log(n - fewest), np.log(t - fixed), 1)[0])


def plot(costs: Costs, path: Path) -> None:
    """Draw seconds beyond the fixed ones (processors' dashed), beside a line that is linear, and memory, as a PNG."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    times, memory = figure.subplots(1, 2)
    for colour, (stage, taken) in enumerate(costs.items()):
        fixed, sizes = taken[FIXED], sorted(taken)[1:]
        style = {"color": f"C{colour}", "marker": "o"}
        times.loglog(sizes, [taken[n].seconds - fixed.seconds for n in sizes], label=stage.replace("_", "-"), **style)
        times.loglog(sizes, [taken[n].cpu - fixed.cpu for n in sizes], "--", **style)
        memory.semilogx(sizes, [taken[n].peak / 1e9 for n in sizes], **style)
    times.loglog(sizes, [n / 1000 for n in sizes], "k:", label="linear: 1 ms each")
    times.set_ylabel(f"seconds beyond those for {FIXED} pictures")
    memory.set_ylabel("GB at most, in all processes")
    memory.set_ylim(bottom=0)
    for axes in (times, memory):
        axes.set_xlabel("pictures")
        axes.grid(alpha=0.3)
    times.legend()
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=80, format="png")


def table(costs: Costs) -> str:
    """Return the costs as Markdown: a row a stage, and a column a size."""
    sizes = sorted(next(iter(costs.values())))
    columns = " | ".join(f"{size:,}" for size in sizes)
    lines = [f"| processors' seconds / GB at most | {columns} | exponent | at the end | ms a picture |"]
    lines.append("| --- " * (len(sizes) + 4) + "|")
    for stage, taken in costs.items():
        cells = [f"{taken[size].cpu:.1f} / {taken[size].peak / 1e9:.2f}" for size in sizes]
        each = 1000 * (taken[sizes[-1]].cpu - taken[FIXED].cpu) / (sizes[-1] - FIXED)
        slopes = " | ".join(map(_shown, exponents(taken, "cpu")))
        lines.append(f"| {stage.replace('_', '-')} | {' | '.join(cells)} | {slopes} | {each:.2f} |")
    return "\n".join(lines)


def exponents(taken: Mapping[int, Cost], what: str) -> tuple[float | None, float | None]:
    """Return the exponent of one of a stage's costs, over all sizes and between the two largest ones alone.

    The second, because one slope over all would hide a tail that has only begun to rise.
    """
    costs = {size: getattr(cost, what) for size, cost in sorted(taken.items())}
    fewest, *others = costs
    return exponent(costs), exponent({size: costs[size] for size in (fewest, *others[-2:])})


def _shown(slope: float | None) -> str:
    return "–" if slope is None else f"{slope:.2f}"


def main() -> None:
    """Measure, print the table, draw the plot of the usual sizes, and print one line of JSON last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(sorted(arguments.sizes), Path.cwd(), Path(folder))
    print(table(costs))
    if tuple(arguments.sizes) == SIZES:
        plot(costs, PLOT)
    largest = max(arguments.sizes)
    print(
        json.dumps(
            {
                "images": largest,
                "exponent": {stage: exponents(taken, "seconds")[0] for stage, taken in costs.items()},
                "exponent_cpu": {stage: exponents(taken, "cpu")[0] for stage, taken in costs.items()},
                "peak_mb": {stage: round(taken[largest].peak / 1e6) for stage, taken in costs.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
