"""The names of crawled files, as they may be shown: they are whatever a stranger chose."""

from __future__ import annotations

from pipeline.messages import printable

LONGEST = 100


def shortened(text: str) -> str:
    """Return a printable name of at most 100 characters: its end, where the file's own name is."""
    shown = printable(text)
    return shown if len(shown) <= LONGEST else "…" + shown[1 - LONGEST :]
