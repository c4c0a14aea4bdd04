"""A few rounds of chaos.py; `python -m tests.e2e.chaos` plays more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.chaos import chaos

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"),
]


def test_a_pipeline_that_is_killed_anywhere_ends_as_one_that_was_not(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong, killed = chaos(root, tmp_path, rounds=2, seed=0, images=700)  # the second is an experiment
    said = capfd.readouterr().out
    assert wrong == 0, said
    assert killed >= 2, said
