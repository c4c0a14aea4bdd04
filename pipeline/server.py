"""Serve a registered generator: MLflow's own scoring server, with a limit on what a request may hold."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline import serving
from pipeline.errors import ParamsError, StageError
from pipeline.registered import SCHEME, download

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Enough for 256 rows with all three numbers.
LARGEST_BODY = 1 << 14
PATIENCE = 10  # seconds for a request, for the next one on a connection, and for so much of an answer to be read
LEAST_READ = 1 << 16
DEEPEST = 16  # brackets within brackets: what is asked for has three, and of thousands Python can read none
# Possessive, and one without an end goes to the body's: else a quote after the other would be looked at from anew.
_STRING = re.compile(rb'"(?:\\.|[^"\\])*+"?', re.DOTALL)
NAMES = {"n", *serving.DEFAULTS}
EXAMPLE = '{"inputs": [{"n": 4, "seed": 7, "truncation": 0.8}]}'
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
        """Gives up a connection that asks nothing in time, or does not read: uvicorn would wait, and counts it.

        It looks now and then whether anything was asked since, or read where there is something to read.
        """

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._look_later(None, 0)

        def connection_lost(self, exc: Exception | None) -> None:
            self._watch.cancel()
            super().connection_lost(exc)

        def _look_later(self, cycle: object, unread: int) -> None:
            self._watch = self.loop.call_later(PATIENCE, self._look, cycle, unread)

        def _look(self, last: object, before: int) -> None:
            unread, cycle = self.transport.get_write_buffer_size(), self.cycle
            is_idle = not before and cycle is last and (cycle is None or cycle.response_complete)
            is_stuck = before and unread > before - LEAST_READ if unread else is_idle
            if is_stuck:
                self.transport.abort()
            else:
                self._look_later(cycle, unread)

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
            asks = scope["method"] == "POST"
            if asks:
                _require_json(scope)
            body = await _bounded(receive)
            body = _completed(body) if asks else body
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


def _require_json(scope: Scope) -> None:
    """Refuse other types, which MLflow's server also reads, and two of them, of which it goes by the first.

    Parquet has a million rows in a few bytes, and CSV thousands of rows of thousands of columns in 16 KB.
    """
    kinds = [value.partition(b";")[0].strip().lower() for name, value in scope["headers"] if name == b"content-type"]
    if kinds != [b"application/json"]:
        raise _RefusedError(415, "a request has one header Content-Type: application/json")


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
        asked = json.loads(body.decode("utf-8-sig"))  # of UTF-16, which json takes too, _depth() would see nothing
    except ValueError as fault:  # a number of 5,000 digits is one too
        raise _RefusedError(400, f"the request is no JSON that can be read: {fault}") from None
    # None, and NaN, which is how a table has it.
    given = [{key: value for key, value in row.items() if value == value and value is not None} for row in _rows(asked)]
    for row in given:
        for key in ("n", "seed"):
            if isinstance(row.get(key), float) and not row[key].is_integer():
                raise _RefusedError(400, f"{key} must be a whole number, is {row[key]}")
    return json.dumps({"inputs": [serving.DEFAULTS | row for row in given]}).encode()


def _rows(asked: Any) -> list[dict[str, Any]]:
    """Return the rows of a request in any of MLflow's forms, of which it may have one, and nothing beside that."""
    try:
        match asked:
            case {"inputs": [*rows]} | {"dataframe_records": [*rows]} | {"instances": [*rows]}:
                found = rows
            case {"inputs": {**columns}} if all(isinstance(column, list) for column in columns.values()):
                found = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            case {"dataframe_split": {"columns": [*names], "data": [*lists], **rest}} if rest.keys() <= {"index"}:
                if len(set(names)) < len(names) or not all(isinstance(row, list) for row in lists):
                    raise ValueError
                found = [dict(zip(names, row, strict=True)) for row in lists]
            case _:
                raise ValueError
        if len(asked) > 1 or not all(isinstance(row, dict) and row.keys() <= NAMES for row in found):
            raise ValueError
    except (TypeError, ValueError):  # of names that are none, and of rows and columns of other lengths
        raise _RefusedError(400, f"a request is as {EXAMPLE}, and has nothing beside that") from None
    return found


def _depth(body: bytearray) -> int:
    """Return how many brackets outside of strings are open at most."""
    return max(accumulate((byte in b"[{") - (byte in b"]}") for byte in _STRING.sub(b"", body)), default=0)
