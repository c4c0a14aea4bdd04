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
    """Ends the stage once it has loaded the generators."""


@pytest.mark.parametrize(
    ("generator", "ema", "loaded"),
    [
        pytest.param("last", True, [paths.GENERATOR, paths.GENERATOR_LIVE], id="the average and netG"),
        pytest.param("best", True, [paths.GENERATOR_BEST, paths.GENERATOR_LIVE], id="the best average and netG"),
        pytest.param("last", False, [paths.GENERATOR], id="netG, which has no average, once"),
        pytest.param("best", False, [paths.GENERATOR_BEST, paths.GENERATOR_LIVE], id="the best and the last netG"),
    ],
)
def test_the_generators_that_the_params_name_are_evaluated(
    generator: str, ema: bool, loaded: list[Path], params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def stage_run(stage: str, params: Params) -> Iterator[MagicMock]:
        yield MagicMock()

    def end(*_: Any) -> None:
        raise Asked

    asked: list[Path] = []
    evaluate = params.evaluate.model_copy(update={"generator": generator})
    named = params.model_copy(update={"evaluate": evaluate, "train": params.train.model_copy(update={"ema": ema})})
    monkeypatch.setattr(stages.evaluate, "load_params", lambda: named)
    monkeypatch.setattr(stages.evaluate, "stage_run", stage_run)
    monkeypatch.setattr(stages.evaluate, "load_generator", lambda path, _: asked.append(path))
    monkeypatch.setattr(stages.evaluate, "load_discriminator", end)
    with pytest.raises(Asked):
        stages.evaluate.main()
    assert asked == loaded
