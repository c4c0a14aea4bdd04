"""The commands in README.md and docs/, as the tests of the documents take them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# What a block may be marked with behind `sh`: it takes long, or needs a GPU, or other machines and servers.
NOT_RUN = {"long", "gpu", "remote"}
# The documents whose other blocks tests/e2e/test_documents.py runs; that of crawling.md needs a server, which
# test_crawl.py has.
RUN_IN_THEIR_ORDER = ("README.md", "docs/own_faces.md", "docs/filter_page.md", "docs/experiments.md", "docs/team.md")
PROGRAMS = "dcgan|dvc|make|mlflow|dask|python -m"


class Block(NamedTuple):
    """A block of shell commands and its marks."""

    marks: set[str]
    commands: list[list[str]]


def documents(root: Path) -> list[Path]:
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def blocks(text: str) -> Iterator[Block]:
    """Yield a document's ```sh blocks."""
    for info, code in re.findall(r"^```sh\b(.*)\n((?:(?!```).*\n)*)```$", text, re.MULTILINE):
        yield Block(
            set(info.split()), [words for line in code.replace("\\\n", " ").splitlines() for words in split(line)]
        )


def inline(text: str) -> Iterator[list[str]]:
    """Yield the commands in a document's running text; what has an … in it is no whole command."""
    plain = re.sub(r"^```.*?^```$|``.+?``", "", text, flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(rf"`((?:{PROGRAMS}) [^`]+)`", plain):
        if "…" not in code:
            yield from split(" ".join(code.split()))


def split(line: str) -> Iterator[list[str]]:
    """Yield the commands of a line as a shell's words, without comments and variables before them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if word.strip(";&|"):
            command += [] if not command and re.match(r"[A-Z_]+=", word) else [word]
        elif command:
            yield command
            command = []
