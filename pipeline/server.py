"""Serve a registered generator: MLflow's own scoring server, with a limit on what a request may hold."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline import serving
from pipeline.errors import ParamsError, StageError
from pipeline.registered import SCHEME, download

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Enough for 256 rows with all three numbers. MLflow's server makes a table of rows times names out of JSON, so that the
# memory that a request takes goes by the square of its length.
LARGEST_BODY = 1 << 14
PATIENCE = 10  # seconds for a request, for the next one on a connection, and for so much of an answer to be read
LEAST_READ = 1 << 16
DEEPEST = 16  # brackets within brackets: what is asked for has three, and of thousands Python can read none
# Possessive, and one without an end goes to the body's: else a quote after the other would be looked at from anew.
_STRING = re.compile(rb'"(?:\\.|[^"\\])*+"?', re.DOTALL)
JSON = b"application/json"
KINDS = {JSON, b"text/csv"}
MOST_REQUESTS = 64  # at a time; further ones get status 503


def serve(model: str, host: str, port: int) -> None:
    """Answer requests for a model's faces until SIGINT or SIGTERM; see pipeline.serving for what may be asked.

    model: a URI of the registry, as models:/anime-dcgan@champion. Raises ParamsError where there is no such model,
    StageError where it is none that this project registered, or the port is not to be had.
    """
    import uvicorn
    from mlflow.pyfunc import scoring_server
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Prompt(H11Protocol):
        """Gives up a connection that asks nothing in time, or does not read: uvicorn would wait, and counts it."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._await_request(after=None)

        def on_response_complete(self) -> None:
            answered = self.cycle
            super().on_response_complete()
            self._await_request(after=answered)

        def _await_request(self, after: object) -> None:
            self.loop.call_later(PATIENCE, lambda: self.transport.abort() if self.cycle is after else None)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._await_reader(self.transport.get_write_buffer_size())

        def _await_reader(self, unread: int) -> None:
            self._slow = self.loop.call_later(PATIENCE, self._look_at_reader, unread)

        def _look_at_reader(self, before: int) -> None:
            unread = self.transport.get_write_buffer_size()
            if unread > before - LEAST_READ:
                self.transport.abort()
            else:
                self._await_reader(unread)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._slow.cancel()

    with _listening(host, port) as listening:
        app = scoring_server.init(load(model))
        app.add_middleware(BoundedBody)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            limit_concurrency=MOST_REQUESTS,
            timeout_graceful_shutdown=PATIENCE,
            http=Prompt,
        )
        place = f"[{host}]" if ":" in host else host
        print(f"{model} answers on http://{place}:{port}/invocations; Ctrl-C ends it", flush=True)
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket for connections to that address alone, before the model is loaded, which takes seconds."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as fault:
        raise StageError(f"port {port} of {host} is not to be had: {fault.strerror}") from None


def load(model: str) -> PyFuncModel:
    """Return a registered model; its weights are safetensors, and nothing but this project's code reads them."""
    from mlflow.models import Model
    from mlflow.pyfunc import load_model

    if not model.startswith(SCHEME):
        raise ParamsError(f"{model!r} is no model of the registry, as models:/anime-dcgan@champion is")
    with TemporaryDirectory() as folder:
        files = download(model, Path(folder))
        try:
            flavour = Model.load(str(files)).flavors["python_function"]
            # Another one may name any module to load it by, and bring the code for that, or a pickle.
            if flavour["loader_module"] != serving.__name__ or flavour.get("code"):
                raise StageError(f"{model} is none that 'dcgan promote' registered")
            return load_model(str(files))
        except StageError:
            raise
        except Exception as fault:  # whatever libraries say of damaged files
            raise StageError(f"{model} can't be loaded: {fault}") from None


class BoundedBody:
    """ASGI middleware that reads a request's body, and closes the connection where that is too large or too slow, or
    nests too deep.

    MLflow's server and uvicorn would hold whatever comes, and wait for it for ever, or answer as if the fault were
    theirs.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on with its body in one piece."""
        from starlette.responses import JSONResponse

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            kind = dict(scope["headers"]).get(b"content-type", b"").partition(b";")[0].strip().lower()
            if (
                scope["method"] == "POST" and kind not in KINDS
            ):  # MLflow's also reads Parquet, a million rows in a few bytes
                raise _RefusedError(415, "a request has the header Content-Type: application/json, or text/csv")
            body = await _bounded(receive)
            if kind == JSON and body:
                body = _completed(body)
        except _RefusedError as refused:
            refusal = JSONResponse({"message": str(refused)}, refused.status, {"connection": "close"})
            await refusal(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)


class _RefusedError(Exception):
    """A request that MLflow's server shall not see."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def _bounded(receive: Receive) -> bytes:
    """Return a request's body, what there is of it where the client goes away."""
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(PATIENCE):
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > LARGEST_BODY:
                    raise _RefusedError(413, f"a request may have {LARGEST_BODY} bytes")
    except TimeoutError:
        raise _RefusedError(408, f"the request did not come within {PATIENCE} seconds") from None
    if _depth(body) > DEEPEST:
        raise _RefusedError(400, f"a request may nest {DEEPEST} deep")
    return bytes(body)


def _completed(body: bytes) -> bytes:
    """Return a request in JSON with the defaults in the rows that leave something out.

    MLflow's table would have NaN there as soon as another row has it, and half a face would be rounded to none.
    """
    try:
        asked = json.loads(body)
    except ValueError as fault:  # a number of 5,000 digits is one too
        raise _RefusedError(400, f"the request is no JSON that can be read: {fault}") from None
    for rows in asked.values() if isinstance(asked, dict) else ():
        for at, row in enumerate(rows if isinstance(rows, list) else ()):
            if isinstance(row, dict):
                rows[at] = serving.DEFAULTS | {key: value for key, value in row.items() if value is not None}
                if isinstance(row.get("n"), float) and not row["n"].is_integer():
                    raise _RefusedError(400, f"n must be a whole number, is {row['n']}")
    return json.dumps(asked).encode()


def _depth(body: bytearray) -> int:
    """Return how many brackets outside of strings are open at most."""
    return max(accumulate((byte in b"[{") - (byte in b"]}") for byte in _STRING.sub(b"", body)), default=0)
