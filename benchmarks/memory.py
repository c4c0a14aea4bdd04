"""How much memory a process and its children take together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def peak_memory(root: psutil.Process) -> Iterator[list[int]]:
    """Yield a list whose one number is the most bytes of a process and its children together, so far.

    PSS, in which pages that processes share count in parts, sampled five times a second.
    """
    peak, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.wait(0.2):
            peak[0] = max(peak[0], _together(root))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        ended.set()
        sampler.join()


def _together(root: psutil.Process) -> int:
    try:
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:  # it has ended by now
            continue
    return total
