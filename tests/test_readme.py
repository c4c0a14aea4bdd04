"""README.md names files, targets and settings that exist."""

import re
from pathlib import Path

import pytest

from pipeline.params import flatten, read_yaml


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def test_links_and_pictures_are_there(readme: str, root: Path) -> None:
    local = [target for target in re.findall(r"\]\(([^)]+)\)", readme) if "://" not in target]
    assert local
    assert [target for target in local if not (root / target).exists()] == []


def test_make_targets_exist(readme: str, root: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", readme, re.MULTILINE))
    assert {"repro", "ui", "quick", "test", "check", "lock"} <= named <= targets


def test_settings_exist(readme: str, root: Path) -> None:
    known = set(flatten(read_yaml(root / "params.yaml")))
    named = set(re.findall(r"-S ([a-z_0-9.]+)=", readme)) | set(
        re.findall(r"`((?:crawl|filter|train|evaluate)\.[a-z_]+)`", readme)
    )
    assert named
    assert named - known == set()


def test_no_figure_is_left_to_fill_in(readme: str) -> None:
    assert re.findall(r"@[A-Z_]+@|TBD|TODO", readme) == []
