from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import MagicMock

import pytest

import stages.crawl_import
from pipeline.errors import StageError
from pipeline.params import Params


def test_a_folder_without_a_picture_ends_here(tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later stages would blame their settings."""

    @contextmanager
    def stage_run(stage: str, params: Params) -> Iterator[MagicMock]:
        yield MagicMock()

    monkeypatch.chdir(tmp_path)
    for name, data in {"a.jpg": b"text", "b.jpg": b"text", "c.jpg": b""}.items():
        (tmp_path / "crawl").mkdir(exist_ok=True)
        (tmp_path / "crawl" / name).write_bytes(data)
    named = params.model_copy(update={"dataroot": "crawl", "workers": 0})
    monkeypatch.setattr(stages.crawl_import, "load_params", lambda: named)
    monkeypatch.setattr(stages.crawl_import, "stage_run", stage_run)
    with pytest.raises(StageError, match=r"crawl has no picture that can be read \(2 not an image, 1 empty file\)"):
        stages.crawl_import.main()
    assert len(list((tmp_path / "data" / "raw").iterdir())) == 1
