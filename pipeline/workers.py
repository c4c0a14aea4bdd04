"""Run pure functions over shards in parallel, in order, in memory that does not grow with their number."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

from pipeline.errors import ParamsError, StageError
from pipeline.params import SCHEDULER, SCHEDULER_RULE

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

# Wins over `scheduler` in params.yaml; set and empty, it means local processes.
SCHEDULER_VARIABLE = "PIPELINE_SCHEDULER"

# Seconds to wait for the scheduler, and again for a worker where there is none, before giving up.
PATIENCE = 10.0

Item = TypeVar("Item")
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Task(Protocol[Result_co]):
    """What the process pool's futures and Dask's have in common."""

    def result(self, timeout: float | None = None, /) -> Result_co:
        """Wait for the function, so many seconds at most, and return what it returned or raise what it raised."""

    def done(self) -> bool:
        """Return whether the result is there, or the fault."""

    def cancel(self) -> object:
        """Take the task back, unless it has begun."""


class Submit(Protocol):
    """Start function(item) somewhere else."""

    def __call__(self, function: Callable[[Item], Result], item: Item, /) -> Task[Result]:
        """Return at once."""


class Workers:
    """Where functions run: wherever submit takes them, on as many threads as there are now; in this one without it."""

    def __init__(
        self,
        submit: Submit | None = None,
        threads: Callable[[], int] = lambda: 0,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        """check is called now and then by whoever waits for a result, and has the task fail where nobody does it."""
        self._submit = submit
        self._threads = threads
        self._check = check

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        label: str,
        sizes: Sequence[int],
    ) -> Iterator[Result]:
        """Yield function(item) for each item, in the order of items, under a progress bar.

        function and items must be picklable; function must not depend on anything but its argument, and the paths in
        both must be absolute: a cluster's workers have another working directory. sizes gives the number of images in
        each item, so that the bar shows images a second. At most twice as many items as threads are in flight, so a
        slow consumer holds the work back instead of filling memory.
        """
        with tqdm(total=sum(sizes), desc=label, unit="img") as bar:
            for size, result in zip(sizes, self._results(function, items), strict=True):
                bar.update(size)
                yield result

    def _results(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        if self._submit is None:
            for item in items:
                with _one_thread():
                    result = function(item)
                yield result
            return
        pending: deque[Task[Result]] = deque()
        try:
            for item in items:
                pending.append(self._submit(function, item))
                in_flight = 2 * self._threads()
                while pending and len(pending) >= in_flight:
                    yield self._result(pending.popleft())
            while pending:
                yield self._result(pending.popleft())
        finally:
            for task in pending:
                task.cancel()

    def _result(self, task: Task[Result]) -> Result:
        """Wait for a task, and look now and then whether anybody is left to do it."""
        while not task.done():
            with suppress(TimeoutError):
                return task.result(PATIENCE)
            self._check()
        return task.result()


@contextmanager
def open_workers(processes: int, scheduler: str | None = None) -> Iterator[Workers]:
    """Yield Workers on the Dask cluster of that scheduler or, without one, with that many local processes.

    0 processes means this one. The environment variable PIPELINE_SCHEDULER wins over scheduler: ParamsError where it is
    no address. StageError where the cluster can't be used.
    """
    address = os.environ.get(SCHEDULER_VARIABLE, scheduler)
    if address:
        if not re.fullmatch(SCHEDULER, address):
            raise ParamsError(f"{SCHEDULER_VARIABLE}: {SCHEDULER_RULE} (found {address!r})")
        with _cluster(address) as workers:
            yield workers
    elif processes == 0:
        yield Workers()
    else:
        with _pool(processes) as pool:
            try:
                yield Workers(
                    pool.submit, lambda: processes, partial(_let_it_break, pool._processes, pool._result_queue)
                )
            except BrokenProcessPool:
                raise StageError(
                    "a worker process was killed, for want of memory perhaps; set workers lower, or run the stage again"
                ) from None


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Yield that many processes, and wait for them at the end, whatever became of them."""
    # Spawned, not forked: a fork of a process that holds threads (torch, OpenCV) can hang.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=spawn, initializer=start_worker, initargs=(os.getpid(),))
    try:
        yield pool
    finally:
        manager: Any = pool._executor_manager_thread
        workers, results = pool._processes, pool._result_queue
        pool.shutdown(wait=False)
        while manager is not None and manager.is_alive():
            manager.join(PATIENCE)
            _let_it_break(workers, results)


def _let_it_break(workers: Mapping[int, BaseProcess], results: Any) -> None:
    """Have a pool notice that a worker was killed in the middle of sending a result.

    Its thread would wait for the rest for ever, because others hold the pipe's other end open, and this process is one
    of them. There is no public way to tell it.
    """
    everyone = list(workers.values())
    if any(worker.exitcode not in (None, 0) for worker in everyone):
        for worker in everyone:
            worker.kill()
        results._writer.close()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep the libraries to one thread for a while, as they are in a worker: on two, BLAS rounds differently."""
    import cv2
    from threadpoolctl import threadpool_limits

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(threads)


def start_worker(parent: int) -> None:
    """End with the process of that id, leave Ctrl-C to it, and keep the libraries to one thread.

    A worker that outlived a killed stage would go on writing shards beside the next one's.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died while this one started, and of that no signal comes
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _keep_to_one_thread()
    _keep_freed_memory()


def _keep_to_one_thread() -> None:
    """Keep the libraries to one thread, because the processes are the parallelism."""
    import cv2
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = "1"  # for torch, which is imported later
    threadpool_limits(1)
    cv2.setNumThreads(1)


def _keep_freed_memory() -> None:
    """Have glibc keep up to 64 MB of what is freed, in blocks of up to 32 MB, its limit, for what is asked for next.

    By itself it gives a block of 128 KB back at once, and numpy's next array of that size faults in each of its pages:
    a tenth of the filter's time, half of a noisy picture's repair.
    """
    with suppress(AttributeError, OSError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 64 << 20)


@contextmanager
def _cluster(address: str) -> Iterator[Workers]:
    """Yield Workers on a Dask cluster; StageError where it can't be reached, has no workers, or is lost on the way."""
    try:
        from distributed import Client, KilledWorker
        from distributed.comm.core import CommClosedError
        from distributed.security import Security
    except ImportError:
        raise StageError(
            f"the scheduler {address} is set, and Dask is not installed; run `pip install -e '.[cluster]'`"
        ) from None
    security = Security()  # as Dask's own configuration says
    if address.startswith("tls://") and security.get_connection_args("client").get("ssl_context") is None:
        raise StageError(
            f"the scheduler {address} needs certificates: set distributed.comm.tls in Dask's configuration"
        )
    try:
        client = Client(address, timeout=PATIENCE, security=security, set_as_default=False)
    except (OSError, UnicodeError) as fault:  # the second, of a name with two dots in a row
        raise StageError(
            f"the scheduler {address} can't be reached ({fault}); start it with `dask scheduler`, or empty `scheduler` "
            f"in params.yaml and {SCHEDULER_VARIABLE} to work on local processes"
        ) from None

    def submit(function: Callable[[Item], Result], item: Item) -> Task[Result]:
        # Closed in one partial, because Dask would look for tasks of its own in the arguments. Not pure: a result that
        # Dask knew again by the arguments would be one from before the files changed.
        task: Task[Result] = client.submit(partial(_on_one_thread, function, item), pure=False)
        return task

    def threads() -> int:
        try:
            if not client.nthreads():
                client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise StageError(
                f"the scheduler {address} has no workers; start some with `dask worker {address} --nthreads 1`"
            ) from None
        return int(sum(client.nthreads().values()))

    with client:
        threads()
        try:
            yield Workers(submit, threads, threads)
        except (CancelledError, CommClosedError):
            raise StageError(f"the scheduler {address} was lost on the way; run the stage again") from None
        except KilledWorker as fault:
            raise StageError(f"the cluster's workers die of this work, of too little memory perhaps: {fault}") from None


def _on_one_thread(function: Callable[[Item], Result], item: Item) -> Result:
    """Return function(item), with the libraries kept to one thread as in a local process.

    At each call and not once a worker: OpenMP keeps its limit for each thread, and a library may have come since.
    """
    _keep_to_one_thread()
    return function(item)
