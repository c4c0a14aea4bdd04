"""Calls to MLflow's store, which may be away: made at once or, where it does not take them, later."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

from pipeline.mlflow_store import explain

# Each try costs MLflow's own patience with a server that is away, up to half a minute. So after a fault the store is
# left alone for a while, and faults may take so many seconds in a row, and at the end.
AWAY_SECONDS = 300.0
PATIENCE = 1.0
LAST_PATIENCE = 60.0
LATER = "the work goes on, and this is tried again"


class Backlog:
    """Makes calls, and keeps those that the store did not take: nothing stays out of it unsaid."""

    def __init__(self, begin: Callable[[], object]) -> None:
        """Begin is called before the first call, until it succeeds: without it no call can."""
        self._begin = begin
        self._begun = False
        self._missed: list[tuple[str, Callable[[], object]]] = []
        self._next_try = 0.0

    def add(self, what: str, call: Callable[[], object]) -> None:
        """Make a call, which logs what is named, now or, where the store is away, later. A fault of it is printed."""
        self._missed.append((what, call))
        if time.monotonic() >= self._next_try:
            self._catch_up(PATIENCE)

    def finish(self) -> None:
        """Try a last time what the store has not taken yet, and name what it lacks then."""
        if not self._missed:
            return
        self._catch_up(LAST_PATIENCE)
        lacking = ", ".join(dict.fromkeys(what for what, _ in self._missed))
        told = f"warning: MLflow lacks {lacking}; the figures are in metrics/ and plots/"
        print(told if lacking else "MLflow has all by now that it did not take before", file=sys.stderr)

    def _catch_up(self, patience: float) -> None:
        """Make the calls that are due, until faults have taken so many seconds; what met a fault goes to the end."""
        due, self._missed, lost = self._missed, [], 0.0
        try:
            while due and lost <= patience:
                what, call = due[0]
                began = time.monotonic()
                try:
                    if not self._begun:
                        self._begin()
                        self._begun = True
                    call()
                except Exception as fault:  # the store may be a server that is away, a full disk, a locked database
                    if not lost:
                        print(f"warning: MLflow did not take {what}: {explain(fault)}; {LATER}", file=sys.stderr)
                    self._missed.append((what, call))
                    self._next_try = time.monotonic() + AWAY_SECONDS
                    lost += time.monotonic() - began if self._begun else math.inf
                del due[0]
        finally:  # Ctrl-C leaves the rest to the end too
            self._missed = due + self._missed
