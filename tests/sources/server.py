"""A web server on loopback that misbehaves in every way a real one does, by path; it counts what it was asked."""

from __future__ import annotations

import gzip
import io
import json
import socket
import ssl
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from PIL import Image

# What becomes of a path: None is an image. With a timeout of a second, some retries, and a million bytes and pixels.
OUTCOMES = {
    "/image/1.png": None,
    "/packed/7.png": None,
    "/moved": None,
    "/once/4.png": None,
    "/later/5.png": None,
    "/gone": "4xx",
    "/broken": "5xx",
    "/page.png": "not an image",
    "/endless": "too large",
    "/declared": "too large",
    "/headers": "too large",
    "/bomb": "too large",
    "/drip": "too slow",
    "/silent": "timeout",
    "/huge.png": "too many pixels",
    "/short": "truncated",
    "/chunks": "truncated",
    "/reset": "connection lost",
    "/loop": "redirect loop",
    "/stairs/1": "redirect loop",
    "/to-file": "unsafe redirect",
    "/to-nowhere": "unsafe redirect",
    "/after-all-time": "4xx",
    "/to-forbidden": "robots",
    "/forbidden/1.png": "robots",
    "/noai/1.png": "opted out",
}


def picture(number: int) -> bytes:
    """Return a small PNG, another one for every number."""
    held = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)).save(held, "PNG")
    return held.getvalue()


def noise_picture(kind: str = "JPEG") -> bytes:
    """Return a picture of some kilobytes."""
    held = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(held, kind)
    return held.getvalue()


def huge_picture() -> bytes:
    """Return a PNG whose header claims 60,000×60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + picture(0)[33:]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        """Answer as the first part of the path says."""
        with self.server.lock:
            self.server.asked[self.path] += 1
            self.server.agents.add(self.headers["User-Agent"])
            self.server.asked_for_newer[self.path] += bool({"If-None-Match", "If-Modified-Since"} & {*self.headers})
            self.server.times.setdefault(self.path, []).append(time.monotonic())
        kind = self.path.strip("/").split("/")[0].split(".")[0].replace("-", "_")
        if self.path in self.server.failing:
            kind = "broken"
        if self.path in self.server.pages:
            kind = "page"
        if self.path in self.server.gone:
            kind = "missing"
        if self.path in self.server.files:
            kind = "file"
        try:
            getattr(self, f"on_{kind}", self.on_missing)()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def reply(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def number(self) -> int:
        return int(self.path.rsplit("/", 1)[1].split(".")[0])

    def on_file(self) -> None:
        self.reply(self.server.files[self.path])

    def on_robots(self) -> None:
        if self.server.robots_failures:
            self.server.robots_failures -= 1
            self.reply(b"", 429)
            return
        self.reply(self.server.robots, self.server.robots_status, Content_Type="text/plain")

    def on_missing(self) -> None:
        self.reply(b"no", 404)

    def on_image(self) -> None:
        self.reply(picture(self.number()), Content_Type="image/png")

    def linger(self, seconds: float) -> None:
        """Take one's time, and note how many do at once; that ends before the answer, which another may follow."""
        with self.server.lock:
            self.server.lingering += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.lingering)
        time.sleep(seconds)
        with self.server.lock:
            self.server.lingering -= 1

    def on_slowish(self) -> None:
        self.linger(0.02)
        self.on_image()

    def on_slow(self) -> None:
        self.linger(0.8)
        self.on_image()

    def on_tree(self) -> None:
        """A page with an image, and links to fifteen further pages."""
        self.linger(0.02)
        number = self.number()
        links = "".join(f'<a href="/tree/{15 * number + child}">on</a>' for child in range(1, 16))
        self.reply(f'{links} <img src="/slowish/{number}.png">'.encode(), Content_Type="text/html")

    def on_tagged(self) -> None:
        """An image with an ETag, which `server.edition` changes."""
        tag = f'"{self.number()}-{self.server.edition}"'
        if self.headers["If-None-Match"] == tag:
            self.send_response(304)
            self.end_headers()
        else:
            self.reply(picture(self.number() + 1000 * self.server.edition), ETag=tag)

    def on_dated(self) -> None:
        """An image with a date, which stays the same whatever `server.edition` is."""
        date = "Wed, 21 Oct 2015 07:28:00 GMT"
        if self.headers["If-Modified-Since"] == date:
            self.send_response(304)
            self.end_headers()
        else:
            self.reply(picture(self.number() + 1000 * self.server.edition), Last_Modified=date)

    def on_forbidden(self) -> None:
        self.on_image()

    def on_noai(self) -> None:
        self.reply(picture(1), X_Robots_Tag="noai, noimageai")

    def on_noai_once(self) -> None:
        """An image with an ETag that opts out, but not again where nothing is newer."""
        if self.headers["If-None-Match"]:
            self.on_unasked()
        else:
            self.reply(picture(1), ETag='"1"', X_Robots_Tag="noai")

    def on_gone(self) -> None:
        self.reply(b"", 410)

    def on_broken(self) -> None:
        self.reply(b"", 500)

    def on_once(self) -> None:
        """Fails at first."""
        self.reply(b"", 503) if self.server.asked[self.path] == 1 else self.on_image()

    def on_later(self) -> None:
        """Wants to be left alone for a second at first."""
        self.reply(b"", 429, Retry_After="1") if self.server.asked[self.path] == 1 else self.on_image()

    def on_tired(self) -> None:
        """Wants to be left alone for four seconds at first."""
        self.reply(b"", 429, Retry_After="4") if self.server.asked[self.path] == 1 else self.on_image()

    def on_spent(self) -> None:
        """Is gone, and says when to ask again."""
        self.reply(b"", 410, Retry_After="1")

    def on_never(self) -> None:
        self.reply(b"", 503, Retry_After="86400")

    def on_enough(self) -> None:
        self.reply(b"", 429, Retry_After="3600")

    def on_page(self) -> None:
        self.reply(b"<html>", Content_Type="image/png")

    def on_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        for _ in range(10_000):
            self.wfile.write(b"x" * 10_000)

    def on_headers(self) -> None:
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(5_000):
            self.wfile.write(b"X-%d: " % number + b"x" * 10_000 + b"\r\n")

    def on_declared(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(10**12))
        self.end_headers()
        self.close_connection = True

    def on_drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"x")
            self.wfile.flush()
            if self.server.closing.wait(0.1):
                return

    def on_silent(self) -> None:
        self.server.closing.wait(10)
        self.close_connection = True

    def on_bomb(self) -> None:
        self.reply(gzip.compress(b"\0" * 20_000_000), Content_Encoding="gzip")

    def on_packed(self) -> None:
        self.reply(gzip.compress(picture(7)), Content_Encoding="gzip")

    def on_huge(self) -> None:
        self.reply(huge_picture())

    def on_short(self) -> None:
        self.reply(picture(2)[:-20], Content_Length=str(len(picture(2))))
        self.close_connection = True

    def on_chunks(self) -> None:
        """A chunked body that breaks off."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"50\r\n" + picture(3)[:0x20])
        self.close_connection = True

    def on_uncounted(self) -> None:
        self.uncount(noise_picture())

    def uncount(self, body: bytes) -> None:
        """Give a body that ends where the connection does: half of it at first."""
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.server.asked[self.path] == 1 else body)

    def on_uncounted_webp(self) -> None:
        self.uncount(noise_picture("WEBP"))

    def on_uncounted_avif(self) -> None:
        self.uncount(noise_picture("AVIF"))

    def on_packed_half(self) -> None:
        """A gzip stream of a picture, half of it at first, and counted so."""
        body = gzip.compress(noise_picture())
        self.reply(body[: len(body) // 2] if self.server.asked[self.path] == 1 else body, Content_Encoding="gzip")

    def on_unwanted(self) -> None:
        """Busy at first, on a page that no search engine shall show."""
        if self.server.asked[self.path] == 1:
            self.reply(b"busy", 503, X_Robots_Tag="noindex")
        else:
            self.on_image()

    def on_unasked(self) -> None:
        self.send_response(304)
        self.end_headers()

    def on_reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def on_gallery(self) -> None:
        """A page with two images and a link to the next page and back; the fifth asks not to be used."""
        number = self.number()
        refused = '<meta name="robots" content="noai">' if number == 5 else ""
        self.reply(
            f"""<html><head>{refused}</head><body><a class="post" href="/gallery/{number + 1}.html#top">next</a>
            <a class="post" href="/gallery/{number + 2}.html">skip</a> <a href="/elsewhere/1.html">out</a>
            <a class="post" href="http://other.example/gallery/9.html">away</a> <a class="post" href="http://[">bad</a>
            <img class="full" src="../image/{number}.png"><img class="full" src="/image/{number + 1}.png">
            <img src="/image/99.png"></body></html>""".encode(),
            Content_Type="text/html",
        )

    def on_posts(self) -> None:
        """The pages of an image board's API: three with two images each, of which the last is for members."""
        page = int(self.path.rpartition("=")[2])
        posts = [
            {
                "id": 2 * page + at,
                "file_url": f"/image/{2 * page + at}.png",
                "tag": {"artist": f"a{page}"},
                "rating": "g",
            }
            for at in range(2)
        ]
        if page == 3:
            del posts[1]["file_url"]
        self.reply(json.dumps({"posts": posts if page <= 3 else []}).encode(), Content_Type="application/json")

    def on_old_posts(self) -> None:
        self.reply(b"", 302, Location=self.path.replace("old-", ""))

    def on_aside(self) -> None:
        """Another server's, of the same number."""
        self.reply(b"", 302, Location=f"{self.server.aside}/{self.number()}")

    def on_loop(self) -> None:
        self.reply(b"", 302, Location="/loop/back" if self.path == "/loop" else "/loop")

    def on_stairs(self) -> None:
        self.reply(b"", 302, Location=f"/stairs/{self.number() + 1}")

    def on_moved(self) -> None:
        self.reply(b"", 301, Location="/image/8.png")

    def on_to_file(self) -> None:
        self.reply(b"", 302, Location="file:///etc/passwd")

    def on_to_nowhere(self) -> None:
        self.reply(b"", 302, Location="http://[x")

    def on_after_all_time(self) -> None:
        self.reply(b"", 404, Retry_After="Mon, 01 Jan 99999999999 00:00:00 GMT")

    def on_to_forbidden(self) -> None:
        self.reply(b"", 302, Location="/forbidden/1.png")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Handler)
        self.host = host
        self.asked: Counter[str] = Counter()
        self.asked_for_newer: Counter[str] = Counter()  # than what the crawler has
        self.times: dict[str, list[float]] = {}
        self.agents: set[str] = set()
        self.lock, self.closing = threading.Lock(), threading.Event()
        self.lingering = self.most_at_once = 0
        self.edition = 0
        self.failing: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.aside = ""
        self.pages: set[str] = set()
        self.gone: set[str] = set()
        self.robots_failures = 0  # as often it is too busy for robots.txt
        self.robots, self.robots_status = b"User-agent: *\nDisallow: /forbidden/\n", 200

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.server_port}"

    def encrypt(self, certificate: Path) -> None:
        """Speak HTTPS from now on, by a .pem with the key in it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: object, client_address: object) -> None:
        pass


def write_certificate(path: Path, host: str) -> None:
    """Write a certificate for a host, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem))


@contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[Server]:
    with Server(host) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
