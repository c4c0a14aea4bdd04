"""Serve a registered generator: MLflow's own scoring server, with a limit on what a request may hold."""

from __future__ import annotations

import asyncio
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
BODY_SECONDS = 10.0
DEEPEST = 16  # brackets within brackets: what is asked for has three, and of thousands Python can read none
# Possessive, and one without an end goes to the body's: else a quote after the other would be looked at from anew.
_STRING = re.compile(rb'"(?:\\.|[^"\\])*+"?', re.DOTALL)
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
        """Closes a connection on which nothing is asked in time: uvicorn would wait for ever, and counts it."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.loop.call_later(BODY_SECONDS, lambda: transport.close() if self.cycle is None else None)

    with _listening(host, port) as listening:
        app = scoring_server.init(load(model))
        app.add_middleware(BoundedBody)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, limit_concurrency=MOST_REQUESTS, http=Prompt
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
    from mlflow.exceptions import MlflowException
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
        except (MlflowException, OSError, LookupError) as fault:
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
            if scope["method"] == "POST" and b"content-type" not in dict(scope["headers"]):
                raise _RefusedError(415, "a request has the header Content-Type: application/json")
            body = await _bounded(receive)
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
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > LARGEST_BODY:
                    raise _RefusedError(413, f"a request may have {LARGEST_BODY} bytes")
    except TimeoutError:
        raise _RefusedError(408, f"the request did not come within {BODY_SECONDS:g} seconds") from None
    if _depth(body) > DEEPEST:
        raise _RefusedError(400, f"a request may nest {DEEPEST} deep")
    return bytes(body)


def _depth(body: bytearray) -> int:
    """Return how many brackets outside of strings are open at most."""
    return max(accumulate((byte in b"[{") - (byte in b"]}") for byte in _STRING.sub(b"", body)), default=0)
