"""Serve a registered generator: MLflow's own scoring server, with a limit on what a request may hold."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.registered import download

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# 256 rows, each with all three numbers, take a quarter of it.
LARGEST_BODY = 1 << 16


def serve(model: str, host: str, port: int) -> None:
    """Answer requests for a model's faces until SIGINT or SIGTERM; see pipeline.serving for what may be asked.

    model: a URI of the registry, as models:/anime-dcgan@champion. Raises ParamsError where there is no such model.
    """
    import uvicorn
    from mlflow.pyfunc import load_model, scoring_server

    with TemporaryDirectory() as folder:
        loaded = load_model(str(download(model, Path(folder))))
    app = scoring_server.init(loaded)
    app.add_middleware(BoundedBody)
    uvicorn.run(app, host=host, port=port, log_level="warning")


class BoundedBody:
    """ASGI middleware that reads a request's body, and answers with status 413 where that is over LARGEST_BODY bytes.

    MLflow's server and uvicorn would hold whatever comes. Status 400 where JSON nests deeper than Python's parser goes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on with its body in one piece."""
        from starlette.responses import JSONResponse

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > LARGEST_BODY:
                refusal = JSONResponse({"message": f"a request may have {LARGEST_BODY} bytes"}, 413)
                await refusal(scope, receive, send)
                return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        try:
            await self._app(scope, replay, send)
        except RecursionError:
            await JSONResponse({"message": "the JSON nests too deep"}, 400)(scope, receive, send)
