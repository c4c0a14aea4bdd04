"""The five stages of dvc.yaml, one thin file each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from filelock import FileLock, Timeout

from pipeline import invocation, paths
from pipeline.faults import faults, heed_signals


def _show(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
    """Show a fault, but no traceback of a Ctrl-C while a stage or a worker of it loads its libraries."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, fault, trace)


sys.excepthook = _show


def run_stage(name: str, main: Callable[[], None]) -> None:
    """Run a stage's main and leave with its exit code: 0 done, 1 failed, 2 bad params, 130 Ctrl-C, 143 SIGTERM.

    A fault that the user can mend is one line that names the stage; anything else keeps its traceback.
    """
    heed_signals()
    with faults(name):
        inputs = invocation.watched(name)
        before = invocation.state_of(inputs)
        with _one_stage_at_a_time(name):
            invocation.require_unchanged(inputs, before)  # the code was loaded before it waited
            main()
            invocation.require_unchanged(inputs, before)  # until now, as MLflow may have taken its time


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
