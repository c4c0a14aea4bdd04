"""Histograms as inline SVG: the geometry by arithmetic, the markup as a Jinja macro."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# In the SVG's own units, which are pixels at the width that the page gives it. A row of `LABEL` for each mark on top.
LEFT, RIGHT, PLOT, LABEL, BOTTOM = 30, 354, 110, 14, 20
BINS = 45

# Round distances between ticks.
_STEPS = [float(f"{step}e{power}") for power in range(-6, 9) for step in (1, 2, 5)]


class Mark(NamedTuple):
    """A threshold: its name, where it is, and whether it is what lies over it, not under, that is told."""

    name: str
    value: float
    over: bool


class Bar(NamedTuple):
    """A bin: its left end, its width, how high all of it, the acted on and the dropped stand, and a tooltip."""

    x: float
    width: float
    all: float
    acted: float
    dropped: float
    title: str


class Line(NamedTuple):
    """A mark as it is drawn: x, the label's y, its text, and which end of the text is at x."""

    x: float
    y: float
    label: str
    anchor: str


class Histogram(NamedTuple):
    """All that the macro draws; base is the y of the axis, ticks are (position, label)."""

    title: str
    height: int
    base: float
    bars: Sequence[Bar]
    lines: Sequence[Line]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]


def bin_edges(values: Values, marks: Sequence[float], log: bool = False) -> Values:
    """Return the edges of about 45 bins, float64, ascending: equal ones, but that every mark is an edge.

    The range is that of the values but for the furthest thousandth on either side (whoever counts puts those into the
    end bins, so that one freak does not squeeze the rest), widened so that no mark is at its end. log: equal ratios
    instead of equal widths; values and marks must be above 0.
    """
    scaled, limits = (np.log(np.asarray(some, np.float64)) if log else np.asarray(some) for some in (values, marks))
    low, high = np.quantile(scaled, (0.001, 0.999), method="nearest")
    span = max(high, *limits) - min(low, *limits) if len(limits) else high - low
    for limit in limits:
        low, high = min(low, limit - 0.06 * span), max(high, limit + 0.06 * span)
    if not log and values.min() >= 0:
        low = max(low, 0.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    nearest = [1 + int(np.abs(edges[1:-1] - limit).argmin()) for limit in limits]
    others = np.delete(edges, nearest)
    # A mark as it is: by way of its logarithm it would be off by rounding, and what lies on it on its other side.
    return np.union1d(np.exp(others) if log else others, marks)


def counted(values: Values, marks: Sequence[float], log: bool = False) -> tuple[Values, NDArray[np.int64]]:
    """Return the edges of the bins, and how many values are in each, what lies beyond the ends in the end bins."""
    edges = bin_edges(values, marks, log)
    return edges, _count(values, edges)


def histogram(
    name: str, values: Values, acted: Values, dropped: Values, marks: Sequence[Mark], log: bool = False
) -> Histogram:
    """Return the histogram of a measure, the counts on a logarithmic scale: one picture in 100,000 is to be seen.

    values: float64 (N,), finite, N at least 1; acted: those repaired or dropped because of this measure, dropped: the
    ones of them that are dropped. Either is drawn before the other, not upon it: each bar begins at the axis.
    """
    edges, found = counted(values, [mark.value for mark in marks], log)
    counts = np.stack([found, *(_count(some, edges) for some in (acted, dropped))], axis=1)
    top = LABEL * len(marks) + 4
    base = top + PLOT
    highest = int(counts.max())
    heights = np.round(PLOT * np.log1p(counts) / np.log1p(highest), 1)
    ends = np.interp(np.log(edges) if log else edges, *_scale(edges, log))
    bars = [
        Bar(
            x=round(float(ends[at]), 1),
            width=round(float(ends[at + 1] - ends[at]), 1),
            all=float(heights[at, 0]),
            acted=float(heights[at, 1]),
            dropped=float(heights[at, 2]),
            title=f"{edges[at]:.3g} to {edges[at + 1]:.3g}: {counts[at, 0]:,}",
        )
        for at in np.flatnonzero(counts[:, 0]).tolist()
    ]
    lines = [_line(mark, _position(mark.value, edges, log), at) for at, mark in enumerate(marks)]
    decades = [10**power for power in range(len(str(highest)))]
    return Histogram(
        f"{name} of {len(values)} images, {values.min():.3g} to {values.max():.3g}"
        + "".join(f"; {mark.name} is {mark.value:g}" for mark in marks),
        base + BOTTOM,
        base,
        bars,
        lines,
        [(_position(tick, edges, log), f"{tick:g}") for tick in _ticks(edges, log)],
        [(round(base - PLOT * float(np.log1p(n) / np.log1p(highest)), 1), _short(n)) for n in decades],
    )


def _short(count: int) -> str:
    """Return a power of ten in at most four characters: 100, 10k, 1M."""
    for size, unit in ((10**6, "M"), (1000, "k")):
        if count >= size:
            return f"{count // size}{unit}"
    return str(count)


def _count(values: Values, edges: Values) -> NDArray[np.int64]:
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].astype(np.int64)


def _scale(edges: Values, log: bool) -> tuple[Values, list[float]]:
    ends = edges[[0, -1]]
    return np.log(ends) if log else ends, [LEFT, RIGHT]


def _position(value: float, edges: Values, log: bool) -> float:
    """Return the x of a value."""
    return round(float(np.interp(np.log(value) if log else value, *_scale(edges, log))), 1)


def _line(mark: Mark, x: float, at: int) -> Line:
    """Return a mark's line; its arrow points to what is told by it, its label to where there is room."""
    label = f"{mark.name} {mark.value:g}"
    label = f"{label} →" if mark.over else f"← {label}"
    return Line(x, LABEL * (at + 1) - 2, label, "start" if x < (LEFT + RIGHT) / 2 else "end")


def _ticks(edges: Values, log: bool) -> list[float]:
    """Return round numbers within the edges, at most seven; on a log axis 1, 2, 5, 10 … or only the tenfold."""
    low, high = float(edges[0]), float(edges[-1])
    if log:
        ticks = [step for step in _STEPS if low <= step <= high]
        return ticks if len(ticks) <= 7 else [tick for tick in ticks if f"{tick:e}".startswith("1")]
    beyond = 10.0 ** math.floor(math.log10(high - low))  # of the table: one step, or a few
    step = next((step for step in _STEPS if (high - low) / step <= 6), beyond)
    return [round(at * step, 9) for at in range(math.ceil(low / step), math.floor(high / step) + 1)]


# Each bar from the axis up, the larger behind. The colours are the page's.
MACRO = """
{% macro draw(chart) %}
<svg viewBox="0 0 360 {{ chart.height }}" role="img" aria-label="{{ chart.title }}">
<title>{{ chart.title }}</title>
{% for y, label in chart.y_ticks %}
<path class="grid" d="M30 {{ y }}H354"/><text x="26" y="{{ y + 3.5 }}" text-anchor="end">{{ label }}</text>
{% endfor %}
{% for bar in chart.bars %}
<g><title>{{ bar.title }}</title>
{% for name, height in (("all", bar.all), ("acted", bar.acted), ("dropped", bar.dropped)) if height %}
<path class="{{ name }}" d="M{{ bar.x }} {{ chart.base }}v-{{ height }}h{{ bar.width }}v{{ height }}"/>
{% endfor %}
</g>
{% endfor %}
<path class="axis" d="M30 {{ chart.base }}H354"/>
{% for x, label in chart.x_ticks %}
<text x="{{ x }}" y="{{ chart.base + 14 }}" text-anchor="middle">{{ label }}</text>
{% endfor %}
{% for line in chart.lines %}
<path class="mark" d="M{{ line.x }} {{ line.y - 10 }}V{{ chart.base }}"/>
<text class="mark" x="{{ line.x + (4 if line.anchor == "start" else -4) }}" y="{{ line.y }}"
text-anchor="{{ line.anchor }}">{{ line.label }}</text>
{% endfor %}
</svg>
{% endmacro %}
"""
