"""The filter beside cleanvision and imagededup, on the same files: python -m benchmarks.filter_vs_peers PATH.

PATH is a folder or a zip with images/ and labels.csv, as in benchmarks.filter_quality. The peers are installed into a
virtual environment that is deleted afterwards (the network is needed; torch, which imagededup imports and PHash does
not use, is this project's own). All sides have the same number of processes and read the same files.

- cleanvision: its default issues at their default thresholds. Rejected is what it calls odd_size, odd_aspect_ratio,
  low_information or blurry, and of each of its sets of exact or near duplicates all but one that is not rejected
  already; light, dark and grayscale are no fault that a reject label stands for. It ends at the first unreadable file,
  so it is not shown those (found by decoding, not timed), and is credited with having found them.
- with imagededup: the same, and of each pair of PHash.find_duplicates() at its default of 10 bits one.
- ours: import (each file is decoded, hashed and packed) and filter, repairs included; and the filter alone.

The loading of libraries is counted for no side.

ratio is our images a second, import included, over cleanvision's, the faster of the two.
"""

from __future__ import annotations

import json
import site
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.filter_quality import read_labels, reject_score, rejects, run_on_labelled_set, warm_up
from pipeline.cleaning.run import filter_shards
from pipeline.codec import DecodeError, decode
from pipeline.params import load_params
from pipeline.sources.importing import import_source
from pipeline.workers import open_workers

PEERS = ("cleanvision==0.3.7", "imagededup==0.3.3.post2")
# What imagededup.methods imports at its start, beside torch and torchvision.
PEERS_NEED = ("matplotlib", "PyWavelets", "scikit-learn", "tqdm")
FAULTS = ("odd_size", "odd_aspect_ratio", "low_information", "blurry")


def install(environment: Path) -> Path:
    """Make a virtual environment with the peers and return its interpreter."""
    subprocess.run([sys.executable, "-m", "uv", "venv", "--quiet", environment], check=True)
    python = environment / "bin" / "python"
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, PEERS[0], *PEERS_NEED], check=True)
    subprocess.run([*install, "--no-deps", PEERS[1]], check=True)
    found = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"], check=True, capture_output=True
    )
    # Looked up last, so that of all else the peers have the versions that they ask for.
    (Path(found.stdout.decode().strip()) / "zz_torch.pth").write_text(site.getsitepackages()[0], encoding="utf-8")
    return python


def run_peers(root: Path, work: Path, processes: int) -> dict[str, Any]:
    """Return what benchmarks/peer_filters.py says of the readable images, and the unreadable ones' names."""
    python = install(work / "peers")
    readable, unreadable = work / "readable", set()
    readable.mkdir()
    limit = load_params().crawl.max_pixels
    for path in sorted((root / "images").iterdir()):
        data = path.read_bytes()
        try:
            decode(data, limit)
        except DecodeError:
            unreadable.add(path.name)
        else:
            (readable / path.name).write_bytes(data)
    result = work / "peers.json"
    script = Path(__file__).with_name("peer_filters.py")
    subprocess.run([python, script, readable, result, str(processes)], check=True, stderr=subprocess.DEVNULL)
    return {**json.loads(result.read_text(encoding="utf-8")), "unreadable": unreadable}


def one_each(dropped: set[str], duplicates: list[list[str]]) -> set[str]:
    """Return the dropped files and, of each list of duplicates, all but the first that is still there."""
    gone = set(dropped)
    for files in duplicates:
        gone.update([file for file in sorted(files) if file not in gone][1:])
    return gone


def run_ours(root: Path, work: Path, processes: int) -> tuple[set[str], float, float]:
    """Return what the filter drops, and the seconds that the import and the filter took."""
    params = load_params()
    with open_workers(processes) as workers:
        warm_up(workers, processes)
        started = time.monotonic()
        import_source(root / "images", params.crawl, work / "raw", workers)
        imported = time.monotonic()
        verdicts = filter_shards(
            work / "raw", work / "clean", work / "cache", params.image_size, params.nc, params.filter, workers
        ).to_pylist()
        ended = time.monotonic()
    dropped = {row["path"].removeprefix("images/") for row in verdicts if not row["kept"]}
    return dropped, imported - started, ended - imported


def compare(root: Path, work: Path, processes: int) -> dict[str, Any]:
    """Run both sides, print the tables, and return the headline figures."""
    labels = read_labels(root)
    ours, importing, filtering = run_ours(root, work, processes)
    peers = run_peers(root, work, processes)
    faults = peers["unreadable"].union(*(peers["issues"].get(issue, []) for issue in FAULTS))
    seconds = peers["seconds"]
    sides = {
        "cleanvision": (one_each(faults, peers["sets"]), seconds["cleanvision"]),
        "with imagededup": (one_each(faults, peers["sets"] + peers["pairs"]), sum(seconds.values())),
        "ours": (ours, importing + filtering),
        "ours, filter alone": (ours, filtering),
    }
    print(f"{'':20} {'seconds':>8} {'img/s':>7} {'precision':>9} {'recall':>7} {'F1':>7}")
    figures: dict[str, Any] = {}
    recalls: dict[str, dict[str, float]] = {}
    for name, (dropped, took) in sides.items():
        found, missed, wrong = rejects(labels, dropped)
        precision, recall, f1 = reject_score(found, missed, wrong)
        rate = len(labels) / took
        print(f"{name:20} {took:8.1f} {rate:7.0f} {precision:9.3f} {recall:7.3f} {f1:7.3f}")
        recalls[name] = {kind: found[kind] / (found[kind] + missed[kind]) for kind in {**found, **missed}}
        key = name.replace(",", "").replace(" ", "_")
        figures |= {f"{key}.img_per_s": round(rate, 1), f"{key}.f1": round(f1, 4)}
        figures |= {f"{key}.precision": round(precision, 4), f"{key}.recall": round(recall, 4)}
    names = list(sides)[:3]
    print(f"\n{'recall of':20} {'n':>5} " + " ".join(f"{name:>16}" for name in names))
    for kind, count in sorted(Counter(label["kind"] for label in labels if label["expect"] == "reject").items()):
        print(f"{kind:20} {count:5} " + " ".join(f"{recalls[name][kind]:16.3f}" for name in names))
    for name in ("cleanvision", "with imagededup"):
        figures["ratio" if name == "cleanvision" else "ratio_both"] = round(sides[name][1] / sides["ours"][1], 2)
    return figures


if __name__ == "__main__":
    run_on_labelled_set(__doc__, compare)
