"""Guards around each connection of the crawler's process: where it leads, and how much may come before a body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.sources.addresses import is_public
from pipeline.sources.faults import EndlessHeadersError, PrivateAddressError

# Bytes of headers; browsers stop at about as many.
MAX_HEAD = 262_144


def guard_connections() -> None:
    """Refuse connections to other than public addresses, at the last moment: the address is what DNS gave by then.

    Whatever leads there passes here: the list's own URL, a redirect, robots.txt.
    """
    from twisted.internet import reactor

    connect: Callable[..., Any] = reactor.connectTCP

    def guarded(host: str, *rest: Any, **options: Any) -> Any:
        if not is_public(host):
            raise PrivateAddressError(host)
        return connect(host, *rest, **options)

    reactor.connectTCP = guarded  # type: ignore[method-assign, assignment]


def bound_headers() -> None:
    """Give up on a response that begins with more than MAX_HEAD bytes of headers, which Twisted would all keep."""
    from twisted.web._newclient import HTTPClientParser

    receive: Callable[..., None] = HTTPClientParser.dataReceived

    def bounded(parser: Any, data: bytes) -> None:
        if parser.state in ("STATUS", "HEADER"):
            parser.head_bytes = getattr(parser, "head_bytes", 0) + len(data)
            if parser.head_bytes > MAX_HEAD:
                raise EndlessHeadersError
        receive(parser, data)

    HTTPClientParser.dataReceived = bounded  # type: ignore[method-assign]
