"""Ctrl-C, SIGTERM and a closed terminal, taken between two steps: in the middle of one, weights are half changed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Whether a signal has come."""

    def __init__(self) -> None:
        self.received: int | None = None

    def leave(self) -> None:
        """Raise what the signal stands for: KeyboardInterrupt, or SystemExit: 143 for SIGTERM, 129 for SIGHUP."""
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + (self.received or 0))


@contextmanager
def held_signals() -> Iterator[Interrupts]:
    """Note the first signal within the block instead of raising; a second one acts as it did before.

    A closed terminal that is ignored stays so: that is what nohup is for.

    Python takes signals in the main thread; elsewhere ValueError is raised.
    """
    interrupts = Interrupts()
    before = {caught: signal.getsignal(caught) for caught in CAUGHT}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]

    def restore() -> None:
        for caught, handler in before.items():
            signal.signal(caught, handler)

    def note(signum: int, _frame: FrameType | None) -> None:
        interrupts.received = signum
        restore()

    for caught in before:
        signal.signal(caught, note)
    try:
        yield interrupts
    finally:
        restore()
