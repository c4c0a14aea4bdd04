"""README.md names the targets that matter, and is finished; the rest is as for all documents: test_documents.py."""

import re
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def test_make_targets_exist(readme: str, root: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", readme, re.MULTILINE))
    assert {"repro", "ui", "quick", "test", "check", "lock"} <= named <= targets


def test_no_figure_is_left_to_fill_in(readme: str) -> None:
    assert re.findall(r"@[A-Z_]+@|TBD|TODO", readme) == []
