from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

import stages.evaluate
from pipeline import paths
from pipeline.params import Params


class Asked(Exception):  # noqa: N818
    """Ends the stage where it loads the first network, with the file's path."""


@pytest.mark.parametrize(("generator", "path"), [("last", paths.GENERATOR), ("best", paths.GENERATOR_BEST)])
def test_the_generator_that_the_params_name_is_evaluated(
    generator: str, path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def stage_run(stage: str, params: Params) -> Iterator[MagicMock]:
        yield MagicMock()

    def load_generator(path: Path, *_: Any) -> None:
        raise Asked(path)

    named = params.model_copy(update={"evaluate": params.evaluate.model_copy(update={"generator": generator})})
    monkeypatch.setattr(stages.evaluate, "load_params", lambda: named)
    monkeypatch.setattr(stages.evaluate, "stage_run", stage_run)
    monkeypatch.setattr(stages.evaluate, "load_generator", load_generator)
    with pytest.raises(Asked) as asked:
        stages.evaluate.main()
    assert asked.value.args == (path,)
