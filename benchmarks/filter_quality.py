"""How well and how fast the filter does on images with known dirt: python -m benchmarks.filter_quality PATH.

PATH is a folder or a zip with images/, labels.csv (file, origin, kind, expect = keep | repair | reject, strength,
pair = the file that a duplicate copies) and pristine/ (the undamaged original of every 'repair' row, PNG, by stem).
`dcgan soil` makes one of your own pictures. The filter sees the images only. Of a pair of duplicates either may be the
one dropped.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline.cleaning.run import filter_shards
from pipeline.cleaning.views import work_view
from pipeline.codec import Pixels, decode
from pipeline.params import load_params
from pipeline.records import read_rows
from pipeline.sources.importing import import_source
from pipeline.workers import Workers, open_workers

Label = dict[str, str]


def psnr(pixels: Pixels, pristine: Pixels) -> float:
    """Return the peak signal-to-noise ratio in dB of uint8 arrays of one shape, at most 54: a quarter of a level."""
    error = np.mean((pixels.astype(np.float64) - pristine) ** 2)
    return float(10 * np.log10(255**2 / max(error, 0.25)))


def gain(before: Pixels, after: Pixels, pristine: Pixels, work_side: int) -> float:
    """Return how many dB of psnr() a picture gained: at the size of a repair, which the original may be larger than."""
    before, after, pristine = (work_view(pixels, work_side) for pixels in (before, after, pristine))
    return psnr(after, pristine) - psnr(before, pristine)


def rejects(labels: list[Label], dropped: set[str]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Return true positives, false negatives and false positives by kind; a pair counts as one reject."""
    found, missed, wrong = Counter[str](), Counter[str](), Counter[str]()
    excused = set()
    for label in labels:
        if label["expect"] == "reject":
            pair = label["pair"]
            if label["file"] in dropped:
                found[label["kind"]] += 1
            elif pair and pair in dropped and pair not in excused:
                excused.add(pair)
                found[label["kind"]] += 1
            else:
                missed[label["kind"]] += 1
    for label in labels:
        if label["expect"] != "reject" and label["file"] in dropped - excused:
            wrong[label["kind"]] += 1
    return found, missed, wrong


LEGEND = """
recall: the share of those to be dropped that were; of a pair of copies, either of the two. wrong: dropped, though to be
kept (not where that was in place of its copy). touched: repaired, of clean ones a mistake too. dB: what repairs gained,
towards the undamaged originals.
"""


def reject_score(found: Counter[str], missed: Counter[str], wrong: Counter[str]) -> tuple[float, float, float]:
    """Return precision, recall and F1 of what rejects() counted."""
    true = found.total()
    precision, recall = true / max(true + wrong.total(), 1), true / max(true + missed.total(), 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def read_labels(root: Path) -> list[Label]:
    """Return the rows of labels.csv, but for those without a file: `dcgan soil` could not read their origin."""
    with (root / "labels.csv").open(encoding="utf-8", newline="") as file:
        return [label for label in csv.DictReader(file) if label["file"]]


def labelled_set(path: Path, work: Path) -> Path:
    """Return the folder of a labelled set, which may be a zip: it is unpacked in work."""
    if path.suffix != ".zip":
        return path
    with zipfile.ZipFile(path) as archive:
        archive.extractall(work / "set")
    return work / "set"


def score(root: Path, work: Path, workers_count: int) -> dict[str, Any]:
    """Import, filter and compare; print the tables and return the headline figures."""
    params = load_params()
    raw, clean = work / "raw", work / "clean"
    with open_workers(workers_count) as workers:
        import_source(root / "images", params.crawl, raw, workers)
        started = time.monotonic()
        verdicts = filter_shards(
            raw, clean, work / "cache", params.image_size, params.nc, params.filter, workers
        ).to_pylist()
        seconds = time.monotonic() - started
    labels = read_labels(root)
    verdict = {row["path"].removeprefix("images/"): row for row in verdicts}
    dropped = {name for name, row in verdict.items() if not row["kept"]}
    found, missed, wrong = rejects(labels, dropped)
    precision, recall, f1 = reject_score(found, missed, wrong)

    gains: dict[str, list[float]] = defaultdict(list)
    kept_pixels = {
        row["path"].removeprefix("images/"): row["image"]["bytes"]
        for shard in sorted(clean.glob("*.parquet"))
        for row in read_rows(shard, ["path", "image"])
    }
    touched, mangled = Counter[str](), Counter[str]()
    for label in tqdm(labels, desc="compare"):
        name, kind = label["file"], label["kind"]
        if name not in kept_pixels:
            continue
        touched[kind] += verdict[name]["repair"] is not None
        before = decode((root / "images" / name).read_bytes(), params.crawl.max_pixels)
        after = decode(kept_pixels[name], params.crawl.max_pixels)
        if label["expect"] == "keep" and not np.array_equal(before, after):
            mangled[kind] += 1
        if label["expect"] == "repair":
            pristine = decode((root / "pristine" / f"{Path(name).stem}.png").read_bytes(), params.crawl.max_pixels)
            gains[kind].append(gain(before, after, pristine, params.filter.work_side))

    counts = Counter(label["kind"] for label in labels)
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for label in labels:
        row = verdict[label["file"]]
        reasons[label["kind"]][row["reason"] or row["repair"] or "kept"] += 1
    print(f"{'kind':20} {'n':>5} {'recall':>7} {'wrong':>6} {'touched':>8} {'dB':>7}  verdicts")
    for kind, count in sorted(counts.items()):
        recalled = f"{found[kind] / count:7.3f}" if found[kind] + missed[kind] else " " * 7
        gained = f"{np.mean(gains[kind]):+7.2f}" if kind in gains else " " * 7
        told = ", ".join(f"{reason} {n}" for reason, n in reasons[kind].most_common())
        print(f"{kind:20} {count:5} {recalled} {wrong[kind]:6} {touched[kind]:8} {gained}  {told}")
    print(LEGEND)
    return {
        "f1": round(f1, 4),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "worst_kind_recall": round(
            min((found[k] / (found[k] + missed[k]) for k in {**found, **missed}), default=1.0), 3
        ),
        "clean_dropped": round(wrong["clean"] / max(counts["clean"], 1), 4),
        "clean_touched": round(touched["clean"] / max(counts["clean"], 1), 4),
        "keep_mangled": sum(mangled.values()),
        **{
            f"recall.{kind}": round(found[kind] / (found[kind] + missed[kind]), 3)
            for kind in sorted({**found, **missed})
        },
        **{f"gain_db.{kind}": round(float(np.mean(values)), 2) for kind, values in sorted(gains.items())},
        "img_per_s": round(len(verdicts) / seconds, 1),
    }


def _loaded(seconds: float) -> None:
    """Keep a worker, which has loaded this module and so the whole filter, from taking another's turn."""
    time.sleep(seconds)


def warm_up(workers: Workers, processes: int) -> None:
    """Have so many workers load the filter's libraries, which is then not timed."""
    list(workers.map(_loaded, [1.0] * processes, label="start", sizes=[0] * processes))


def run_on_labelled_set(doc: str | None, figures: Callable[[Path, Path, int], dict[str, Any]]) -> None:
    """Read PATH from the command line, call figures(set, work folder, processes), and print one line of JSON last."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n", maxsplit=1)[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.path.suffix != ".zip" and not (arguments.path / "labels.csv").exists():
        parser.error(f"{arguments.path} holds no labels.csv; 'dcgan soil' makes such a set")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        print(json.dumps(figures(labelled_set(arguments.path, work), work, arguments.workers)))


if __name__ == "__main__":
    run_on_labelled_set(__doc__, score)
