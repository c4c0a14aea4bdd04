"""A real `mlflow server`, and in front of it, on loopback, one that misbehaves when it is told to."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

START_SECONDS = 120


class Proxy:
    """Hands each request on to an MLflow server; `mode` says how badly.

    well, slow (late each time), hangs (never answers), 500 (to everything), every second 500, or refuses connections.
    """

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._asked = 0
        self._over = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.port = free_port()
        self.mode = "well"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._mode = mode
        if mode == "refuses":
            self.close()
        elif self._server is None:
            self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
            self._server.daemon_threads = True
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._over.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self._over = threading.Event()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy, over = self, self._over

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                proxy._asked += 1
                if proxy.mode == "hangs":
                    over.wait(60)
                    self.close_connection = True
                elif proxy.mode == "500" or (proxy.mode == "every second 500" and proxy._asked % 2):
                    self.send_error(500)
                else:
                    time.sleep(0.4 * (proxy.mode == "slow"))
                    self.hand_on()

            def hand_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                there = http.client.HTTPConnection("127.0.0.1", proxy._behind)
                there.request(self.command, self.path, body, dict(self.headers))
                answer = there.getresponse()
                content = answer.read()
                there.close()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path) -> Iterator[int]:
    """Run an MLflow server with its store in a folder, and yield its port."""
    port = free_port()
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")),
        ],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        began = time.monotonic()
        while not is_well(port):
            assert server.poll() is None, "the server ended"
            assert time.monotonic() - began < START_SECONDS
            time.sleep(0.2)
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def is_well(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
