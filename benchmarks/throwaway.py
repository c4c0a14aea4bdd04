"""What a benchmark needs and the project doesn't, in a virtual environment of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def install(package: str, environment: Path) -> Path:
    """Make a virtual environment with a package and return the folder of its commands."""
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([*uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, package], check=True)
    return environment / "bin"
