"""The takedown list: URLs and ids (SHA-256) of images that no import may take in, one a line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from pipeline import paths
from pipeline.atomic import whole_file
from pipeline.errors import ParamsError
from pipeline.sources.urls import plain_url

TAKEN_DOWN = "taken down"
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Takedown:
    """What is to stay out."""

    urls: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def covers(self, sha256: str | None, *urls: str | None) -> bool:
        """Whether an image is to stay out, by its id or by a URL that it came from."""
        if sha256 in self.ids:
            return True
        return bool(self.urls) and not self.urls.isdisjoint(plain_url(url) for url in urls if url)


def is_url(name: str) -> bool:
    """Whether a name is a web address rather than an id."""
    return name.startswith(("http://", "https://"))


def read_takedown(path: Path) -> Takedown:
    """Return the list, empty where there is no file; ParamsError names a line that is neither a URL nor an id."""
    urls, ids = set(), set()
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n") if path.exists() else []
    except UnicodeDecodeError as fault:
        raise ParamsError(f"{path} is no text in UTF-8 ({fault}); save it as that") from None
    for number, line in enumerate(map(plain_url, map(str.strip, lines)), start=1):
        if is_url(line):
            urls.add(line)
        elif _ID.fullmatch(name := line.partition("#")[0].strip().lower()):  # as a URL may have a note
            ids.add(name)
        elif line and not line.startswith("#"):
            raise ParamsError(f"{path}, line {number}: neither a URL nor an id of 64 hexadecimal digits: {line[:80]!r}")
    return Takedown(frozenset(urls), frozenset(ids))


def add_to_takedown(path: Path, names: Iterable[str]) -> list[str]:
    """Append the URLs and ids that the list lacks, and return these; what is there stays as it is."""
    paths.state_dir().mkdir(exist_ok=True)
    with FileLock(paths.state_dir() / "takedown.lock"):
        known = read_takedown(path)
        new = sorted({name for name in names if name not in known.urls and name not in known.ids})
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if text and not text.endswith("\n"):
            text += "\n"
        with whole_file(path) as temporary:
            temporary.write_text(text + "".join(f"{name}\n" for name in new), encoding="utf-8")
    return new
