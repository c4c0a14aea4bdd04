from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.dcgan.plan import plan_epoch, shortness
from pipeline.errors import ParamsError, StageError
from pipeline.params import Params


def test_the_last_partial_batch_is_dropped(small: Callable[..., Params]) -> None:
    assert plan_epoch(np.zeros((14, 32, 32, 3), np.uint8), small(batch_size=4), 1) == 3


@pytest.mark.parametrize("batch_size", [pytest.param(5, id="no equal shares"), pytest.param(2, id="a face each")])
def test_batches_that_processes_cannot_share(batch_size: int, small: Callable[..., Params]) -> None:
    with pytest.raises(ParamsError, match=f"batch_size: {batch_size} can't be shared by 2 processes"):
        plan_epoch(np.zeros((14, 32, 32, 3), np.uint8), small(batch_size=batch_size), 2)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        pytest.param((3, 32, 32, 3), "3 faces do not fill one batch of 4", id="fewer than a batch"),
        pytest.param((14, 64, 64, 3), r"the faces are 64×64×3, and params.yaml wants 32×32×3", id="another size"),
        pytest.param((14, 32, 32, 1), r"the faces are 32×32×1, and params.yaml wants 32×32×3", id="other channels"),
    ],
)
def test_faces_that_cannot_be_trained_on(shape: tuple[int, ...], words: str, small: Callable[..., Params]) -> None:
    with pytest.raises(StageError, match=words):
        plan_epoch(np.zeros(shape, np.uint8), small(), 1)


@pytest.mark.parametrize(
    ("epoch_steps", "num_epochs", "enough"),
    [
        pytest.param(62, 5, 17, id="8,000 faces at batch 128: 310 steps"),
        pytest.param(999, 1, 2, id="one step too few"),
        pytest.param(200, 5, None, id="just enough"),
    ],
)
def test_shortness_names_the_epochs_that_would_do(
    epoch_steps: int, num_epochs: int, enough: int | None, small: Callable[..., Params]
) -> None:
    warning = shortness(epoch_steps, small(num_epochs=num_epochs, min_steps=1000))
    if enough is None:
        assert warning is None
    else:
        assert warning is not None
        assert f"set num_epochs to {enough} or more" in warning
        assert epoch_steps * enough >= 1000 > epoch_steps * (enough - 1)
