"""How a process ends: what a user can mend is a line and an exit code, anything else a traceback."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import ParamsError, StageError
from pipeline.messages import shown
from pipeline.signals import heed_signals

# What a user can mend about files: full disks and quotas, rights, file systems that are read-only, and places that
# something else has.
MENDABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
}


@contextmanager
def faults(name: str = "dcgan") -> Iterator[None]:
    """Turn what is known to go wrong into a line that names who says it, and an exit code.

    1 failed, 2 for bad params, 130 for Ctrl-C. Anything else keeps its traceback, without secrets. From here on a
    signal of end_at_once() is an exception.
    """
    heed_signals()
    try:
        yield
    except (ParamsError, StageError) as fault:
        print(f"{name}: {shown(fault)}", file=sys.stderr)
        sys.exit(2 if isinstance(fault, ParamsError) else 1)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as fault:
        if isinstance(fault, OSError) and fault.errno in MENDABLE:
            file = shown(fault.filename or "a file")
            print(f"{name}: {file} can't be read or written: {fault.strerror}", file=sys.stderr)
        else:  # of the code; a library's message may hold the address of a server, with its password
            print(shown(traceback.format_exc()), file=sys.stderr)
        sys.exit(1)
