"""A training small enough for a test: 14 faces of 32×32 in batches of 4 are 3 steps an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from pipeline.faces import Faces
from pipeline.params import Params


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Nets as small as these are slower on two threads, and far slower where other processes use the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def faces() -> Faces:
    return np.random.default_rng(0).integers(0, 256, (14, 32, 32, 3), np.uint8)


@pytest.fixture
def small(params: Params) -> Callable[..., Params]:
    """Return a function: params for a small training, with what the caller wants otherwise, train's keys among them."""

    def build(**wanted: object) -> Params:
        of_train = {key: wanted.pop(key) for key in list(wanted) if key in type(params.train).model_fields}
        train = params.train.model_copy(update={"precision": "fp32", "log_steps": 2, **of_train})
        sizes = {"image_size": 32, "ngf": 4, "ndf": 4, "nz": 5, "batch_size": 4, "num_epochs": 2, "ngpu": 0}
        return params.model_copy(update={**sizes, **wanted, "train": train})

    return build
