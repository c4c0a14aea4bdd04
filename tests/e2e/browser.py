"""Debian's chromium on a page of a server: what the page holds once its scripts have run."""

from __future__ import annotations

import html
import re
import subprocess
from pathlib import Path

CHROMIUM = Path("/usr/bin/chromium")
VIRTUAL_MS = 40_000  # of the page's own time, which runs fast while the page waits for nothing


def look(address: str, profile: Path, *flags: str) -> str:
    """Return the document as the browser has it."""
    return subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
            "--window-size=4000,4000", f"--virtual-time-budget={VIRTUAL_MS}", "--dump-dom", *flags, address,
        ],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip


def texts(document: str) -> list[str]:
    """Return the texts of a document, in order."""
    plain = re.sub(r"<(style|script)\b.*?</\1>", "", document, flags=re.DOTALL)
    return [text for part in re.sub(r"<[^>]+>", "\0", plain).split("\0") if (text := html.unescape(part).strip())]
