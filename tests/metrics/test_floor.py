from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline.metrics.floor
from pipeline.metrics.backbone import Features
from pipeline.metrics.features import forget_features
from pipeline.metrics.floor import cached_floor
from pipeline.metrics.scores import all_figures
from pipeline.params import EvaluateParams, Params

SEED = 3


@pytest.fixture
def knobs(params: Params) -> EvaluateParams:
    return params.evaluate.model_copy(update={"kid_subsets": 3})


@pytest.fixture
def faces() -> Features:
    return np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)


@pytest.fixture
def rulers() -> dict[str, Features]:
    draw = np.random.default_rng(1)
    return {name: draw.normal(size=(9, 6)).astype(np.float32) for name in ("clean", "raw")}


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each comparison that is really made."""
    made: list[int] = []

    def counting(sets: Mapping[str, Features], *rest: Any) -> dict[str, float]:
        made.append(len(sets))
        return all_figures(sets, *rest)

    monkeypatch.setattr(pipeline.metrics.floor, "all_figures", counting)
    return made


def test_the_floor_is_compared_once(
    faces: Features, rulers: dict[str, Features], knobs: EvaluateParams, tmp_path: Path, compared: list[int]
) -> None:
    first = cached_floor(faces, rulers, knobs, SEED, tmp_path)
    again = cached_floor(faces.copy(), dict(reversed(rulers.items())), knobs, SEED, tmp_path)
    assert first == again == all_figures({"floor": faces}, rulers, knobs, SEED)
    assert compared == [1]


def other_faces(faces: Features, rulers: dict[str, Features], knobs: EvaluateParams) -> tuple[Any, ...]:
    return faces + 1, rulers, knobs, SEED


def other_ruler(faces: Features, rulers: dict[str, Features], knobs: EvaluateParams) -> tuple[Any, ...]:
    return faces, rulers | {"raw": rulers["clean"]}, knobs, SEED


def swapped_rulers(faces: Features, rulers: dict[str, Features], knobs: EvaluateParams) -> tuple[Any, ...]:
    return faces, {"clean": rulers["raw"], "raw": rulers["clean"]}, knobs, SEED


def one_more_ruler(faces: Features, rulers: dict[str, Features], knobs: EvaluateParams) -> tuple[Any, ...]:
    return faces, rulers | {"pristine": rulers["clean"]}, knobs, SEED


def other_seed(faces: Features, rulers: dict[str, Features], knobs: EvaluateParams) -> tuple[Any, ...]:
    return faces, rulers, knobs, SEED + 1


def other_neighbours(faces: Features, rulers: dict[str, Features], knobs: EvaluateParams) -> tuple[Any, ...]:
    return faces, rulers, knobs.model_copy(update={"nearest_k": 2}), SEED


def other_halves(faces: Features, rulers: dict[str, Features], knobs: EvaluateParams) -> tuple[Any, ...]:
    return faces, rulers, knobs.model_copy(update={"kid_subsets": 4}), SEED


@pytest.mark.parametrize(
    "change",
    [other_faces, other_ruler, swapped_rulers, one_more_ruler, other_seed, other_neighbours, other_halves],
)
def test_what_it_depends_on_makes_it_anew(
    change: Callable[..., tuple[Any, ...]],
    faces: Features,
    rulers: dict[str, Features],
    knobs: EvaluateParams,
    tmp_path: Path,
    compared: list[int],
) -> None:
    cached_floor(faces, rulers, knobs, SEED, tmp_path)
    faces, rulers, knobs, seed = change(faces, rulers, knobs)
    found = cached_floor(faces, rulers, knobs, seed, tmp_path)
    assert compared == [1, 1]
    assert found == all_figures({"floor": faces}, rulers, knobs, seed)


def test_other_code_makes_it_anew(
    faces: Features,
    rulers: dict[str, Features],
    knobs: EvaluateParams,
    tmp_path: Path,
    compared: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cached_floor(faces, rulers, knobs, SEED, tmp_path)
    monkeypatch.setattr(pipeline.metrics.floor, "file_digest", lambda path: f"another {path.name}")
    cached_floor(faces, rulers, knobs, SEED, tmp_path)
    assert compared == [1, 1]


def test_a_damaged_file_is_made_anew_and_forgotten_like_features(
    faces: Features, rulers: dict[str, Features], knobs: EvaluateParams, tmp_path: Path, compared: list[int]
) -> None:
    whole = cached_floor(faces, rulers, knobs, SEED, tmp_path)
    (path,) = tmp_path.iterdir()
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    assert cached_floor(faces, rulers, knobs, SEED, tmp_path) == whole
    assert compared == [1, 1]
    forget_features(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []
