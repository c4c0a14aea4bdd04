"""What keeps a URL from being had, in the words that stand in a row's error."""

from __future__ import annotations

from OpenSSL import SSL
from scrapy import exceptions

from pipeline.sources.takedown import TAKEN_DOWN

# A server that was not there at all; what may be otherwise in a moment, and is worth asking again; and what somebody
# has decided, so that older bytes go. After anything else they stay: a page to log in at, in place of each image, may
# be the network's for an evening.
NO_SERVER = frozenset({"dns", "refused", "timeout", "connection lost", "unreachable"})
WORTH_RETRYING = NO_SERVER | {"truncated", "5xx"}
# A host that gives nothing else, URL after URL, is left alone.
OF_NO_USE = NO_SERVER | {"too slow"}
PRIVATE, CERTIFICATE = "private address", "certificate"
OPTED_OUT = "opted out"
DECIDED = frozenset({"4xx", "robots", OPTED_OUT, TAKEN_DOWN})

REASONS = (
    (exceptions.CannotResolveHostError, "dns"),
    (exceptions.DownloadConnectionRefusedError, "refused"),
    (exceptions.DownloadCancelledError, "too large"),
    (exceptions.ResponseDataLossError, "truncated"),
    (exceptions.DownloadFailedError, "connection lost"),
    ((exceptions.UnsupportedURLSchemeError, exceptions.NotSupported, ValueError), "bad url"),
)


class PrivateAddressError(Exception):
    """A connection to an address that is not on the public Internet was asked for."""


class EndlessHeadersError(Exception):
    """A response's headers go on and on."""


def reason_of(fault: Exception, begun: bool) -> str:
    """Return in a word or two why a request failed; begun: whether an answer had."""
    if isinstance(fault, PrivateAddressError):
        return PRIVATE
    causes = [failure.value for failure in getattr(fault.__cause__, "reasons", [])]
    if any(isinstance(cause, EndlessHeadersError) for cause in causes):
        return "too large"
    if any(isinstance(cause, SSL.Error) and "certificate" in str(cause) for cause in causes):
        return CERTIFICATE
    if isinstance(fault, exceptions.DownloadTimeoutError):
        return "too slow" if begun else "timeout"
    if isinstance(fault, exceptions.IgnoreRequest):
        return "robots" if "robots.txt" in str(fault) else "too large"
    return next((reason for kind, reason in REASONS if isinstance(fault, kind)), "unreachable")
