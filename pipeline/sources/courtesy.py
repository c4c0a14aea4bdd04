"""What a server asks of a crawler, beyond robots.txt: to stay away from an image, or to come back later."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_REFUSALS = frozenset({"noai", "noimageai", "noindex", "none"})
# Directives of X-Robots-Tag that have a colon themselves; before any other colon stands the name of a crawler.
_WITH_VALUE = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")


def opts_out(headers: Iterable[str], product: str) -> bool:
    """Whether X-Robots-Tag headers ask a crawler of that name, or all crawlers, not to take an image for this."""
    return any(_refuses(header.lower(), product.lower()) for header in headers)


def _refuses(header: str, product: str) -> bool:
    """Whether a header refuses: what stands after a crawler's name is for that one, until the next name."""
    for_us = True
    for part in header.split(","):
        name, colon, rule = (word.strip() for word in part.partition(":"))
        # A name is one word: the rest of a date has colons too.
        if colon and name not in _WITH_VALUE and len(name.split()) == 1:
            for_us = name in (product, "*")
        else:
            rule = part.strip()
        if for_us and rule in _REFUSALS:
            return True
    return False


def retry_after(header: str | None, now: float) -> float:
    """Return the seconds that a Retry-After header asks to wait, from a number or a date; 0 without one."""
    text = (header or "").strip()
    if text.isdecimal() and text.isascii():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0


def as_moment(seconds: float) -> datetime:
    """Return seconds since 1970 as a time in UTC, whole seconds: servers' dates have no more."""
    return datetime.fromtimestamp(int(seconds), UTC)
