"""Debian's chromium on a page: what it holds once its scripts have run, and what comes of using it."""

from __future__ import annotations

import html
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
VIRTUAL_MS = 40_000  # of the page's own time, which runs fast while the page waits for nothing
PATIENCE_MS = 90_000
HIGH_ENOUGH = {"width": 2400, "height": 4000}  # MLflow renders what is in view alone


@contextmanager
def opened(address: str) -> Iterator[Page]:
    """Yield a server's page, whose parts are to be waited for."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=HIGH_ENOUGH)
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        yield page
        browser.close()


def wait_for(page: Page, *wanted: str) -> None:
    """Wait until each of these texts is seen on a page."""
    for text in wanted:
        page.get_by_text(text, exact=True).first.wait_for()


def look(address: str, profile: Path, *flags: str) -> str:
    """Return the document of a page that waits for no server, as the browser has it."""
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
