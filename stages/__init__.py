"""The five stages of dvc.yaml, one thin file each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.signals import end_at_once

if sys.argv[0] == "-m" or "--multiprocessing-fork" in sys.orig_argv:  # a stage, or a worker of one: here it begins
    end_at_once()

from filelock import FileLock, Timeout

from pipeline import paths
from pipeline.faults import faults
from pipeline.inputs import Inputs


def run_stage(name: str, main: Callable[[], None]) -> None:
    """Run a stage's main and leave with its exit code: 0 done, 1 failed, 2 bad params, 130 Ctrl-C, 143 SIGTERM.

    A fault that the user can mend is one line that names the stage; anything else keeps its traceback.
    """
    end_at_once()  # where it was not started by -m
    with faults(name):
        inputs = Inputs(name)
        with _one_stage_at_a_time(name):
            inputs.require_unchanged()  # the code was loaded before it waited
            main()
            inputs.require_unchanged()  # until now, as MLflow may have taken its time


@contextmanager
def _one_stage_at_a_time(name: str) -> Iterator[None]:
    """Hold this checkout against other stages: one whose dvc was killed goes on, and would write beside the next."""
    paths.STAGE_LOCK.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(paths.STAGE_LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{name}: another stage is still at work here; waiting for it", file=sys.stderr)
        lock.acquire()
    with lock:
        yield
