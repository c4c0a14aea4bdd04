from __future__ import annotations

import pytest
import torch

from pipeline.dcgan.interpolation import interpolate


def test_two_steps_are_the_two_ends() -> None:
    start, end = torch.randn(2, 3, 5, 1, 1, generator=torch.Generator().manual_seed(0))
    way = interpolate(start, end, steps=2)
    assert way.shape == (6, 5, 1, 1)
    assert torch.allclose(way[0::2], start, atol=1e-6)
    assert torch.allclose(way[1::2], end, atol=1e-6)


def test_middle_is_as_long_as_its_ends_where_they_are_orthogonal() -> None:
    start = torch.tensor([3.0, 0.0]).view(1, 2, 1, 1)
    end = torch.tensor([0.0, 3.0]).view(1, 2, 1, 1)
    middle = interpolate(start, end, steps=3)[1].flatten()
    assert middle.tolist() == pytest.approx([3 / 2**0.5, 3 / 2**0.5])
