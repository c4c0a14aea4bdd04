"""The names of crawled files, as they may be shown: they are whatever a stranger chose."""

from __future__ import annotations

LONGEST = 100


def printable(text: str) -> str:
    """Return a name with all but letters, signs and spaces escaped, so that it can't command a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def shortened(text: str) -> str:
    """Return a printable name of at most 100 characters: its end, where the file's own name is."""
    shown = printable(text)
    return shown if len(shown) <= LONGEST else "…" + shown[1 - LONGEST :]
