"""Statistics of paired trainings: the same seeds under two settings. Two-sided at 5 %, by Student's t.

A paired t test asks whether the mean of the differences, one a seed, is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct, t

ALPHA, POWER = 0.05, 0.8

# Between these lies the noncentrality for a power of 0.8: from 2.8, with ever so many pairs, to 16.3, with two.
_NONCENTRALITIES = (1.0, 20.0)


class Interval(NamedTuple):
    """An estimate and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of at least two values."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean of at least two values: mean ± t(0.975, n - 1) · s / √n."""
    mean, reach = float(np.mean(values)), _critical(len(values)) * standard_error(values)
    return Interval(mean, mean - reach, mean + reach)


def smallest_detectable(differences: Sequence[float]) -> float:
    """Return the smallest true mean difference that a paired t test of so many pairs finds with power 80 %.

    The δ at which P(T > t(0.975, n - 1)) = 0.8, where T follows the noncentral t distribution of n - 1 degrees of
    freedom and noncentrality δ · √n / s, with s the standard deviation of these differences (at least two). The other
    tail, a difference found with the wrong sign, is below 0.0001 there and left out.
    """
    freedom, critical = len(differences) - 1, _critical(len(differences))

    def surplus(noncentrality: float) -> float:
        return float(nct.sf(critical, freedom, noncentrality)) - POWER

    return float(brentq(surplus, *_NONCENTRALITIES)) * standard_error(differences)


def share_interval(parts: Sequence[float], wholes: Sequence[float]) -> Interval | None:
    """Return mean(parts) / mean(wholes), which are paired, with the interval of Fieller's theorem (1954).

    The interval holds every θ for which the mean of part - θ · whole does not differ from zero by t. None where the
    whole is not positive beyond chance: then it has no shares.
    """
    (var_part, covariance), (_, var_whole) = np.cov(parts, wholes) / len(parts)
    part, whole, t2 = float(np.mean(parts)), float(np.mean(wholes)), _critical(len(parts)) ** 2
    # (part - θ · whole)² = t² (var_part - 2 θ · covariance + θ² · var_whole), as a θ² - 2 b θ + c = 0.
    a, b, c = whole**2 - t2 * var_whole, part * whole - t2 * covariance, part**2 - t2 * var_part
    if whole <= 0.0 or a <= 0.0:
        return None
    reach = np.sqrt(max(0.0, b * b - a * c))
    return Interval(part / whole, float((b - reach) / a), float((b + reach) / a))


def _critical(count: int) -> float:
    return float(t.ppf(1.0 - ALPHA / 2.0, count - 1))
