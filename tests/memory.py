"""How much memory a piece of code takes, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.conftest import ROOT

PROGRAM = """
import json, resource, sys
{imports}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{code}
print(json.dumps(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)))
"""


def measured(imports: str, code: str, *arguments: object) -> tuple[list[Any], int]:
    """Run code with arguments; return what it prints, JSON line by line, and by how many bytes its peak grew.

    By way of a shell that forks: Linux counts the memory of who starts a program as that program's own peak, and
    pytest's own may be a gigabyte by then.
    """
    program = PROGRAM.format(imports=imports, code=code)
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", program, *map(str, arguments)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, ""), run.stderr
    *told, peak = map(json.loads, run.stdout.splitlines())
    return told, peak
