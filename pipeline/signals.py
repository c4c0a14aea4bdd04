"""How Ctrl-C, SIGTERM and a closed terminal end a process: where it stands while it loads, by an exception later."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def end_at_once() -> None:
    """Have a signal end this process without an exception, until heed_signals(): to be called before all else.

    Within a library's import an exception leaves half of the library, and the rest of the program goes on to use it.
    """
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:  # by nohup, or for a shell's background job
            signal.signal(signum, _end)


def heed_signals() -> None:
    """Have the signals of end_at_once() raise from now on, so that `with` blocks close.

    The MLflow run is ended and temporary files are removed; the exit code is 143, or 129 for a closed terminal.
    """
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is _end:
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else _leave)


def _end(signum: int, _frame: FrameType | None) -> None:
    if signum == signal.SIGINT:
        os.write(2, b"interrupted\n")
    os._exit(128 + signum)


def _leave(signum: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signum)
