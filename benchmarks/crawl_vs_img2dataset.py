"""The crawl beside img2dataset, from the same server on loopback: python -m benchmarks.crawl_vs_img2dataset.

The server (benchmarks/picture_server.py) has 10,000 distinct JPEGs of about 20 KB, no robots.txt, and answers at once,
as four hosts, 127.0.0.1 to 127.0.0.4, of which the list has a quarter each; a further turn of both has one host only.
img2dataset is installed into a virtual environment that is deleted afterwards (the network is needed for that). Both
sides fetch all of it in turns, each time into an empty folder and in fresh processes, and each must have every picture.

- img2dataset: two processes with THREADS threads each (the fastest of 16, 32, 64 and 128 on two cores), and the list
  cut so that both have as much to do; a file an image, byte for byte, with its SHA-256, and neither resized, encoded
  anew nor searched for EXIF. It looks for X-Robots-Tag, as it always does, but not for robots.txt nor at the bytes, has
  no journal (a share that was cut off is fetched again), and asks each URL over a connection of its own.
- ours: listed_units(), that is, the list into the journal, the crawler's process, which asks for robots.txt, keeps the
  bytes by their SHA-256 and notes each outcome at once, and the shards of what is stored; with LIFTED params only.

The time begins with the first request that the server sees, so the loading of libraries is counted for no side, and
ends with ours when the shards are there, with img2dataset when its last share is written. In brackets the rates from
the call on, libraries included. ratio is our rate over img2dataset's: the medians of all turns.

Memory is the PSS (pages shared with other processes count in parts) of the importing and the crawling process together,
sampled five times a second: with all the pictures, and with a quarter of them.

The server and whoever asks it share the machine: the rates are of both together. Nothing is deleted between the turns,
because ext4 is slow (up to 0.8 ms a file instead of 0.1) at making files for half a minute after many were deleted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from ctypes import c_double
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.memory import peak_memory
from benchmarks.picture_server import HOSTS, picture_server
from benchmarks.throwaway import install
from pipeline.params import CrawlParams, load_params
from pipeline.sources.crawler import listed_units
from pipeline.sources.takedown import Takedown
from pipeline.sources.urls import read_list

PEER = "img2dataset==1.47.0"
PROCESSES, THREADS = 2, 16
# Each process of img2dataset gets so many shares of the list.
SHARES = 2
LIFTED = {"allow_private": True, "delay": 0.0, "per_host": 64, "concurrency": 64}


@dataclass(frozen=True)
class Turn:
    """When a side was called, had the server's attention and had everything, in seconds since 1970; and what it has."""

    called: float
    ended: float
    pictures: int  # distinct ones
    peak_mb: float = 0.0
    began: float = 0.0


def distinct(pictures: Iterable[bytes]) -> int:
    """Return how many different ones there are."""
    return len({hashlib.sha256(one).digest() for one in pictures})


def fetch_theirs(command: Path, urls: Path, count: int, folder: Path) -> Turn:
    """Have img2dataset fetch the list into the folder."""
    options = {
        "url_list": urls,
        "output_folder": folder,
        "processes_count": PROCESSES,
        "thread_count": THREADS,
        "number_sample_per_shard": -(-count // (PROCESSES * SHARES)),
        "resize_mode": "no",
        "disable_all_reencoding": True,
        "extract_exif": False,
        "enable_wandb": False,
    }
    # Its libraries would ask the network whether there are newer ones, and leave folders behind.
    quiet = {"WANDB_MODE": "disabled", "NO_ALBUMENTATIONS_UPDATE": "1", "TMPDIR": str(folder.parent)}
    called = time.time()
    subprocess.run(
        [command, *(f"--{name}={value}" for name, value in options.items())],
        check=True,
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ended = max(json.loads(path.read_text(encoding="utf-8"))["end_time"] for path in folder.glob("*_stats.json"))
    return Turn(called, ended, distinct(path.read_bytes() for path in folder.rglob("*.jpg")))


def fetch_ours(urls: Path, crawl: CrawlParams, folder: Path) -> Turn:
    """Fetch the list into a store in the folder; for a process of its own, whose working directory that becomes."""
    folder.mkdir()
    os.chdir(folder)
    with peak_memory(psutil.Process()) as peak, redirect_stdout(sys.stderr):
        called = time.time()
        with listed_units(urls, read_list(urls), crawl, Takedown()) as units:
            ended = time.time()
            found = distinct(item.data for unit in units for item in unit.read() if item.data is not None)
    return Turn(called, ended, found, peak[0] / 1e6)


def in_fresh_process(urls: Path, crawl: CrawlParams, folder: Path) -> Turn:
    """Return fetch_ours() of a process that has nothing else in its memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(fetch_ours, urls, crawl, folder).result()


def write_list(urls: Sequence[str], path: Path) -> Path:
    """Write a list of URLs, one a line."""
    path.write_text("\n".join(urls) + "\n", encoding="utf-8")
    return path


def lifted() -> CrawlParams:
    """Return the params as they are but for what politeness costs."""
    return load_params().crawl.model_copy(update=LIFTED)


def line(name: str, turn: Turn) -> str:
    """Return a turn as a line of the table."""
    memory = f"{turn.peak_mb:5.0f}" if turn.peak_mb else ""
    whole = f"({turn.pictures / (turn.ended - turn.called):.0f})"
    seconds = turn.ended - turn.began
    return f"{name:21} {seconds:8.2f} {turn.pictures / seconds:7.0f} {whole:>8} {turn.pictures:9,} {memory}"


def compare(urls: Sequence[str], first: c_double, rounds: int, work: Path) -> dict[str, Any]:
    """Run both sides in turns, print the table, and return the headline figures."""
    count, crawl = len(urls), lifted()
    every, quarter = write_list(urls, work / "all.txt"), write_list(urls[: count // 4], work / "quarter.txt")
    alone = write_list([f"http://{HOSTS[0]}:{url.split(':')[2]}" for url in urls], work / "alone.txt")
    command = install(PEER, work / "peer") / "img2dataset"
    turns: dict[str, list[Turn]] = {}
    runs: dict[str, Callable[[Path], Turn]] = {
        "img2dataset": lambda folder: fetch_theirs(command, every, count, folder),
        "ours": lambda folder: in_fresh_process(every, crawl, folder),
        "img2dataset, one host": lambda folder: fetch_theirs(command, alone, count, folder),
        "ours, one host": lambda folder: in_fresh_process(alone, crawl, folder),
        "a quarter": lambda folder: in_fresh_process(quarter, crawl, folder),
    }
    print(f"{'':21} {'seconds':>8} {'img/s':>7} {'(whole)':>8} {'pictures':>9} {'MB':>5}")
    for number, name in enumerate([*list(runs)[:2] * rounds, *list(runs)[2:]]):
        first.value = 0.0
        turn = replace(runs[name](work / str(number)), began=first.value)
        print(line(name, turn), flush=True)
        assert turn.pictures == (count // 4 if name == "a quarter" else count), "some pictures are missing"
        turns.setdefault(name, []).append(turn)
    seconds = {name: median(turn.ended - turn.began for turn in all_) for name, all_ in turns.items()}
    whole = {name: median(turn.ended - turn.called for turn in all_) for name, all_ in turns.items()}
    figures = {
        "ratio": round(seconds["img2dataset"] / seconds["ours"], 2),
        "ratio_one_host": round(seconds["img2dataset, one host"] / seconds["ours, one host"], 2),
        "ratio_whole": round(whole["img2dataset"] / whole["ours"], 2),
        "images": count,
        "img_per_s": round(count / seconds["ours"], 1),
        "img2dataset_img_per_s": round(count / seconds["img2dataset"], 1),
        "peak_mb": round(max(turn.peak_mb for turn in turns["ours"])),
        "peak_mb_of_a_quarter": round(turns["a quarter"][0].peak_mb),
    }
    one = figures["ratio_one_host"]
    print(f"ratio {figures['ratio']}, {figures['ratio_whole']} with libraries loaded; {one} from one host")
    print("the server shares the cores\n")
    return figures


def main() -> None:
    """Compare and print one line of JSON last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, picture_server(arguments.images) as (urls, first):
        print(json.dumps(compare(urls, first, arguments.rounds, Path(folder))))


if __name__ == "__main__":
    main()
