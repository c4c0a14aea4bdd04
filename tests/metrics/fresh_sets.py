"""Pairs of sets, drawn afresh as often as asked: what a standard error is checked against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Draws a real and a generated set by a number.
Draw = Callable[[int], tuple[np.ndarray, np.ndarray]]


def normals(width: int, shift: float, scale: float, n: int = 120, m: int = 200) -> Draw:
    """Two Gaussians whose spread differs from axis to axis; the second is shifted and scaled."""
    spread = np.arange(1, width + 1) ** -0.5

    def draw(number: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(number)
        x, y = rng.normal(size=(n, width)) * spread, (rng.normal(size=(m, width)) * scale + shift) * spread
        return x.astype(np.float32), y.astype(np.float32)

    return draw


APART, ALIKE = normals(8, 0.5, 0.8), normals(8, 0.0, 1.0)
FEW = normals(50, 0.3, 0.8, n=25, m=25)


def compare(draw: Draw, value: Callable[..., float], error: Callable[..., float], with_errors: int = 40) -> float:
    """Return the mean standard error over the spread of the value over 200 draws, which is itself known to 5 %."""
    values = [value(*draw(number)) for number in range(200)]
    return float(np.mean([error(*draw(number)) for number in range(with_errors)]) / np.std(values))
