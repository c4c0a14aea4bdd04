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
    for header in headers:
        agent, colon, rules = header.partition(":")
        if colon and "," not in agent and agent.strip().lower() not in _WITH_VALUE:
            if agent.strip().lower() not in (product.lower(), "*"):
                continue
        else:
            rules = header
        if _REFUSALS & {rule.strip().lower() for rule in rules.split(",")}:
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
