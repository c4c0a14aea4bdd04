"""The five stages of dvc.yaml, one thin file each."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

from pipeline.errors import ParamsError, StageError


def run_stage(name: str, main: Callable[[], None]) -> None:
    """Run a stage's main and leave with its exit code: 0 done, 1 failed, 2 bad params, 130 Ctrl-C, 143 SIGTERM.

    A fault that the user can mend is one line that names the stage; anything else keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        main()
    except (ParamsError, StageError) as fault:
        print(f"{name}: {fault}", file=sys.stderr)
        sys.exit(2 if isinstance(fault, ParamsError) else 1)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)


def _terminate(signum: int, _frame: FrameType | None) -> None:
    """Leave by an exception, so that `with` blocks close: the MLflow run is ended, temporary files are removed."""
    sys.exit(128 + signum)
