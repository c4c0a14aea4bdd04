"""Run pure functions over shards in parallel, in order, in memory that does not grow with their number."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A pool of local processes; 0 processes means the calling one."""

    def __init__(self, pool: ProcessPoolExecutor | None, processes: int) -> None:
        self._pool = pool
        self._in_flight = 2 * processes

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        label: str,
        sizes: Sequence[int],
    ) -> Iterator[Result]:
        """Yield function(item) for each item, in the order of items, under a progress bar.

        function and items must be picklable; function must not depend on anything but its argument. sizes gives the
        number of images in each item, so that the bar shows images a second. At most twice as many items as processes
        are in flight, so a slow consumer holds the work back instead of filling memory.
        """
        with tqdm(total=sum(sizes), desc=label, unit="img", mininterval=0.5) as bar:
            for size, result in zip(sizes, self._results(function, items), strict=True):
                bar.update(size)
                yield result

    def _results(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        if self._pool is None:
            yield from map(function, items)
            return
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(self._pool.submit(function, item))
                if len(pending) >= self._in_flight:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _start_worker() -> None:
    """Keep the libraries to one thread, because the processes are the parallelism, and end with the parent.

    A worker that outlived a killed stage would go on writing shards beside the next one's.
    """
    import cv2
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = "1"  # for torch, which is imported later
    threadpool_limits(1)
    cv2.setNumThreads(1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def open_workers(processes: int) -> Iterator[Workers]:
    """Yield Workers with that many local processes (0: run in this one).

    The processes are spawned, not forked: a fork of a process that holds threads (torch, OpenCV) can hang.
    """
    if processes == 0:
        yield Workers(None, 0)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker) as pool:
        yield Workers(pool, processes)
