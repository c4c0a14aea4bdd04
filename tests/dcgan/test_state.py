from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from pipeline.dcgan.state import new_state, seeded
from pipeline.params import Params

CPU = torch.device("cpu")


def test_random_numbers_have_a_stream_for_each_purpose() -> None:
    def draw(seed: int, purpose: str, index: int = 0) -> float:
        return torch.rand((), generator=seeded(CPU, seed, purpose, index), dtype=torch.float64).item()

    assert draw(0, "order", 1) == draw(0, "order", 1)
    assert (
        len({draw(0, "order", 1), draw(1, "order", 0), draw(1, "order", 1), draw(0, "steps", 1), draw(0, "order")}) == 5
    )


def test_the_average_starts_as_a_copy_of_netG_that_shares_nothing(small: Callable[..., Params]) -> None:
    state = new_state(small(), CPU)
    assert state.ema is not None
    for mean, weight in zip(state.ema.parameters(), state.netG.parameters(), strict=True):
        assert torch.equal(mean, weight)
        assert mean.data_ptr() != weight.data_ptr()
        assert not mean.requires_grad


@pytest.mark.parametrize(("ema", "shown"), [pytest.param(True, "ema", id="on"), pytest.param(False, "netG", id="off")])
def test_what_is_shown(ema: bool, shown: str, small: Callable[..., Params]) -> None:
    state = new_state(small(ema=ema), CPU)
    assert state.shown is getattr(state, shown)


def test_the_optimisers_are_the_recipes_with_netG_ahead_by_a_ratio(small: Callable[..., Params]) -> None:
    state = new_state(small(lr=0.001, beta1=0.25, lr_ratio=3.0), CPU)
    for optimiser, lr in ((state.optG, 0.003), (state.optD, 0.001)):
        assert (optimiser.defaults["lr"], optimiser.defaults["betas"]) == (lr, (0.25, 0.999))
