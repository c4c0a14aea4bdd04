from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

import stages.crawl_import
from pipeline.errors import StageError
from pipeline.params import Params


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: Params) -> Path:
    """A project whose dataroot is the folder crawl, without MLflow."""

    @contextmanager
    def stage_run(stage: str, params: Params) -> Iterator[MagicMock]:
        yield MagicMock()

    monkeypatch.chdir(tmp_path)
    (tmp_path / "crawl").mkdir()
    named = params.model_copy(update={"dataroot": "crawl", "workers": 0})
    monkeypatch.setattr(stages.crawl_import, "load_params", lambda: named)
    monkeypatch.setattr(stages.crawl_import, "stage_run", stage_run)
    return tmp_path


def test_a_folder_without_a_picture_ends_here(project: Path) -> None:
    """Later stages would blame their settings."""
    for name, data in {"a.jpg": b"text", "b.jpg": b"text", "c.jpg": b""}.items():
        (project / "crawl" / name).write_bytes(data)
    with pytest.raises(StageError, match=r"crawl has no picture that can be read \(2 not an image, 1 empty file\)"):
        stages.crawl_import.main()
    assert len(list((project / "data" / "raw").iterdir())) == 1


def test_of_too_few_pictures_is_warned(
    project: Path, picture: np.ndarray, save: Callable[..., bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "crawl/a.png").write_bytes(save(picture, "PNG"))
    stages.crawl_import.main()
    assert "warning: 1 pictures to train on and 0 to measure by are too few: train needs 128" in capsys.readouterr().err
