"""A fast web server of made-up pictures, in a process of its own on loopback: what crawlers are timed against.

It answers by several addresses, as many hosts as a list from the net has, of which all give the same.

It parses no more of a request than it needs, keeps connections alive where the client does, and holds its pictures in
memory, so that it is no crawler's bottleneck.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_double
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np

from pipeline.codec import Pixels, encode_jpeg

SIDE = 224
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def texture() -> Pixels:
    """Return smooth noise, RGB uint8 (SIDE, SIDE, 3), of which picture() encodes about 20 KB."""
    noise = np.random.default_rng(0).uniform(0, 255, (SIDE, SIDE, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.0)
    smooth -= smooth.min()
    return np.asarray(255 * smooth / smooth.max(), np.uint8)


def picture(number: int, noise: Pixels) -> bytes:
    """Return a JPEG of the noise, shifted: another one for each of SIDE × SIDE numbers."""
    return encode_jpeg(np.roll(noise, divmod(number, SIDE), axis=(0, 1)), 84)


def answer(number: int, noise: Pixels) -> bytes:
    """Return a whole response with a picture."""
    body = picture(number, noise)
    head = f'HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nETag: "{number}"\r\nContent-Length: {len(body)}\r\n\r\n'
    return head.encode() + body


class Answering(asyncio.Protocol):
    """One connection; first is told when the first request since it was 0 came, in seconds since 1970."""

    def __init__(self, answers: dict[bytes, bytes], first: c_double) -> None:
        self._answers, self._first = answers, first
        self._held = b""

    def connection_made(self, transport: Any) -> None:
        """Keep what to answer with."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._first.value = self._first.value or time.time()
        *requests, self._held = (self._held + data).split(b"\r\n\r\n")
        for request in requests:
            self._transport.write(self._answers.get(request.split(b" ", 2)[1], MISSING))
            if b"connection: close" in request.lower():
                self._transport.close()


async def _serve(answers: dict[bytes, bytes], first: c_double, ready: Connection) -> None:
    loop, port = asyncio.get_running_loop(), 0
    for host in HOSTS:
        server = await loop.create_server(lambda: Answering(answers, first), host, port, backlog=1024)
        port = server.sockets[0].getsockname()[1]
    ready.send(port)
    await server.serve_forever()


def _main(count: int, first: c_double, ready: Connection) -> None:
    noise = texture()
    asyncio.run(_serve({f"/{number}.jpg".encode(): answer(number, noise) for number in range(count)}, first, ready))


@contextmanager
def picture_server(count: int) -> Iterator[tuple[list[str], c_double]]:
    """Yield the URLs of so many distinct pictures, and the moment of the first request since it was last set to 0.

    The hosts take turns; a picture's URL with another of HOSTS gives the same.
    """
    spawn = multiprocessing.get_context("spawn")
    first = spawn.RawValue(c_double)
    here, there = spawn.Pipe(duplex=False)
    server = spawn.Process(target=_main, args=(count, first, there), daemon=True)
    server.start()
    there.close()
    try:
        port = here.recv()
        yield [f"http://{HOSTS[number % len(HOSTS)]}:{port}/{number}.jpg" for number in range(count)], first
    finally:
        server.terminate()
        server.join()
