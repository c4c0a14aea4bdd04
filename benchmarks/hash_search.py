"""How fast the search for near duplicates is, and whether it is exact: python -m benchmarks.hash_search.

The hashes are drawn: half of them strangers, half copies in groups of 2 to 400 (sizes by a power law, so thousands of
groups, some of hundreds), each copy up to ten random bit flips from its original, 2.5 on average, as a picture is that
was encoded again, shifted or tinted. Each search runs in a fresh process, whose time and peak memory (resident, all
of Python and numpy included) are shown; a smaller one has gone before in it, so that nothing is loaded for the first
time. At 100,000 the pairs are compared with those of brute force, all 5e9 of them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from pipeline.cleaning.hashing import Hashes, Pairs, close_pairs

FEW, MANY = 100_000, 1_000_000
LARGEST, FLIPS = 400, 10
REPEATS = 3


def drawn(count: int, seed: int = 0) -> Hashes:
    """Return uint64 (count,) hashes: strangers, and groups of copies, shuffled."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    sizes = np.minimum(2 + rng.pareto(1.1, count).astype(np.int64), LARGEST)
    groups = np.repeat(np.arange(count), sizes)[: count // 2]
    copies = hashes[count // 2 + groups % (count // 2)]
    flips = rng.binomial(FLIPS, 0.25, len(copies))
    for flip in range(FLIPS):
        bit = np.uint64(1) << rng.integers(0, 64, len(copies), dtype=np.uint64)
        copies ^= np.where(flips > flip, bit, np.uint64(0))
    hashes[: count // 2] = copies
    rng.shuffle(hashes)
    return hashes


def brute_force(hashes: Hashes, radius: int) -> Pairs:
    """Return what close_pairs must: all pairs within the radius, sorted."""
    found = []
    for row in range(len(hashes)):
        near = np.flatnonzero(np.bitwise_count(hashes[row + 1 :] ^ hashes[row]) <= radius) + row + 1
        found.append(np.stack([np.full_like(near, row), near], axis=1))
    return np.concatenate(found)


def searched(count: int, radius: int) -> dict[str, float]:
    """Return the seconds (the best of three), peak resident bytes and pairs of a search, for a process of its own."""
    hashes = drawn(count)
    close_pairs(hashes[:10_000], radius)
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        pairs = len(close_pairs(hashes, radius))
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": min(seconds), "peak_bytes": peak, "pairs": pairs}


def main() -> None:
    """Print a table of searches, the check against brute force, and one line of JSON last."""
    argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0]).parse_args()
    figures: dict[str, float | bool] = {}
    print(f"{'hashes':>9} {'radius':>6} {'seconds':>8} {'peak MB':>8} {'pairs':>11}")
    for radius in (8, 10):
        results = {}
        for count in (FEW, MANY):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                result = results[count] = process.submit(searched, count, radius).result()
            megabytes = result["peak_bytes"] / 1e6
            print(f"{count:9,} {radius:6} {result['seconds']:8.2f} {megabytes:8,.0f} {result['pairs']:11,}", flush=True)
            name = f"{count}_r{radius}"
            figures |= {f"seconds_{name}": round(result["seconds"], 3), f"peak_mb_{name}": round(megabytes)}
        figures[f"ratio_r{radius}"] = round(results[MANY]["seconds"] / results[FEW]["seconds"], 1)
        print(f"{'':9} {radius:6} {figures[f'ratio_r{radius}']:8} times as long for ten times as many")
    hashes = drawn(FEW)
    for radius in (8, 10):
        exact = np.array_equal(close_pairs(hashes, radius), brute_force(hashes, radius))
        print(
            f"{FEW:9,} {radius:6} {'the pairs are those of brute force' if exact else 'PAIRS DIFFER from brute force'}"
        )
        figures[f"exact_r{radius}"] = exact
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
