"""Mistakes in the code that the module's own tests have to notice: such as benchmarks.mutation makes, a few by hand."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.mutation import MODULES, SECONDS, check_command, copy_project

pytestmark = pytest.mark.long

MISTAKES = [
    ("verdict", "labels[ratios[name] > 1]", "labels[ratios[name] < 1]"),
    ("verdict", "for name in reversed(ratios)", "for name in ratios"),
    ("verdict", 'Rule("noise", True,', 'Rule("noise", False,'),
    ("verdict", "repairs[present(reasons)] = None", "repairs[present(repairs)] = None"),
    ("duplicates", "(blur, -size, -area,", "(blur, size, -area,"),
    ("duplicates", "(rank, ~kept, ~holdout, group)", "(rank, ~kept, holdout, group)"),
    ("duplicates", "loser & ~holdout & holdout[champion]", "loser & holdout & holdout[champion]"),
    ("duplicates", "reasons[copy & ~same]", "reasons[copy & same]"),
    ("distances", "/ (n * (n - 1)))", "/ (n * n))"),
    ("distances", "+ 1.0) ** 3\n", "+ 1.0) ** 2\n"),
    ("distances", "- 2 * root", "- root"),
    ("distances", "np.sqrt((n - 1) * (m - 1))", "np.sqrt(n * m)"),
    ("distances", "+ fake.norms - moved_y", "+ fake.norms + moved_y"),
]


@pytest.fixture(scope="module")
def copy(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(root, tmp_path_factory.mktemp("mutation") / "copy")


@pytest.mark.parametrize("module", MODULES)
def test_the_code_as_it_is_passes(module: str, copy: Path) -> None:
    subprocess.run(check_command(MODULES[module][1]), cwd=copy, check=True, capture_output=True, timeout=5 * SECONDS)


@pytest.mark.parametrize(("module", "right", "wrong"), MISTAKES)
def test_a_mistake_is_noticed(module: str, right: str, wrong: str, copy: Path) -> None:
    code, tests = MODULES[module]
    text = (copy / code).read_text(encoding="utf-8")
    assert text.count(right) == 1
    try:
        (copy / code).write_text(text.replace(right, wrong), encoding="utf-8")
        found = subprocess.run(
            check_command(tests), cwd=copy, check=False, capture_output=True, text=True, timeout=5 * SECONDS
        )
    finally:
        (copy / code).write_text(text, encoding="utf-8")
    assert found.returncode == 1, found.stdout
