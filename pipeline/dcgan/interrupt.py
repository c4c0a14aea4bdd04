"""Ctrl-C and SIGTERM, taken between two steps: in the middle of one, the weights would be half changed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CAUGHT = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Whether a signal has come."""

    def __init__(self) -> None:
        self.received: int | None = None

    def leave(self) -> None:
        """Raise what the signal stands for: KeyboardInterrupt, or SystemExit(143) for SIGTERM."""
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + (self.received or 0))


@contextmanager
def held_signals() -> Iterator[Interrupts]:
    """Note the first Ctrl-C or SIGTERM within the block instead of raising; a second one acts as it did before.

    Python takes signals in the main thread; elsewhere ValueError is raised.
    """
    interrupts = Interrupts()
    before = {caught: signal.getsignal(caught) for caught in CAUGHT}

    def restore() -> None:
        for caught, handler in before.items():
            signal.signal(caught, handler)

    def note(signum: int, _frame: FrameType | None) -> None:
        interrupts.received = signum
        restore()

    for caught in CAUGHT:
        signal.signal(caught, note)
    try:
        yield interrupts
    finally:
        restore()
