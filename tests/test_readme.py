"""README.md names the targets that matter, and is finished; the rest is as for all documents: test_documents.py."""

import json
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


@pytest.mark.parametrize("document", ["README.md", "docs/measured.md"])
def test_the_headline_is_what_the_committed_run_came_to(root: Path, document: str) -> None:
    figures = json.loads((root / "metrics/evaluate.json").read_text())
    lines = (root / document).read_text(encoding="utf-8").splitlines()
    (row,) = (line for line in lines if line.startswith("| built-in faces, 5 epochs"))
    said = re.findall(r"KID×1000 (\d+) ± (\d+) against the raw holdout", row)
    assert said == [(f"{figures['kid_lite0_raw']:.0f}", f"{figures['kid_lite0_raw_se']:.0f}")]


def test_scale_counts_with_what_growth_measured(root: Path) -> None:
    def each(document: str) -> dict[str, str]:
        lines = (root / "docs" / document).read_text(encoding="utf-8").splitlines()
        rows = [
            line.strip("| ").split(" | ") for line in lines if re.match(r"\| (crawl-import|filter|resize) \|", line)
        ]
        return {
            row[0]: row[1 if document == "scale.md" else -1].removesuffix(" ms")
            for row in rows
            if "ms" in row[1] or "/" in row[1]
        }

    assert each("scale.md") == each("reliability.md")
    assert len(each("scale.md")) == 3
