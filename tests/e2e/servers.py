"""Servers that tests start on this machine's loopback, and end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

START_SECONDS = 120


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@contextmanager
def serving(*command: str, answers: str, log: Path, environment: Mapping[str, str], folder: Path) -> Iterator[None]:
    """Run a server in a folder from when an address of it answers to the block's end, when it is killed."""
    with log.open("a") as said:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True
        )
    try:
        began = time.monotonic()
        while True:
            try:
                urllib.request.urlopen(answers, timeout=5).close()  # noqa: S310
                break
            except (URLError, OSError):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() - began < START_SECONDS, log.read_text()
                time.sleep(0.2)
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
