"""The pictures of the filter's page: small copies, with what each one is and what was measured of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.cleaning.verdict import COPY_RULES, Rule, with_shape
from pipeline.codec import Pixels
from pipeline.reports.contact_sheet import data_uri, read_pictures
from pipeline.reports.filter_choice import Group, Strip
from pipeline.reports.names import shortened

Verdict = dict[str, Any]


class Picture(NamedTuple):
    """A data URI, and what the picture is in its tile: before, after, stays, … or nothing."""

    uri: str
    role: str


class Tile(NamedTuple):
    """One picture of a sheet, or two that belong together; `mark` is borderline, stays or nothing."""

    pictures: Sequence[Picture]
    path: str
    figures: Sequence[str]
    mark: str


class Sheet(NamedTuple):
    """Some pictures under a heading; pair as in filter_choice.Strip."""

    title: str
    pair: str
    tiles: Sequence[Tile]


class Album:
    """All pictures that the page shows, each read once."""

    def __init__(
        self, verdicts: pa.Table, strips: Sequence[Strip], groups: Sequence[Group], raw: Path, clean: Path
    ) -> None:
        """Read what the strips and groups show; verdicts: cleaning.decide.VERDICT_SCHEMA on the shards of raw."""
        shown = {row for strip in strips for row, _ in strip.rows}
        shown |= {row for group in groups for row in (group.best, *group.copies)}
        self.verdict = _by_row(verdicts, shown)
        self.verdict |= _by_row(verdicts, {verdict["duplicate_of"] for verdict in self.verdict.values()} - {None})
        self.before: dict[int, Pixels] = read_pictures(raw, self.verdict)
        repaired = [row for strip in strips if strip.pair == "repair" for row, _ in strip.rows]
        self.after: dict[int, Pixels] = read_pictures(clean, repaired)

    def sheet(self, strip: Strip) -> Sheet:
        """Return a strip with its pictures."""
        return Sheet(strip.title, strip.pair, [self._tile(row, strip, marked) for row, marked in strip.rows])

    def group(self, group: Group) -> list[Tile]:
        """Return the tiles of a group: the copy that stays first."""
        best = self.verdict[group.best]
        tiles = [Tile([self._picture(best["row"], "")], shortened(best["path"]), [], _fate(best))]
        for copy in (self.verdict[row] for row in group.copies):
            figures = [copy["reason"], *_figures(copy, COPY_RULES.get(copy["reason"], ()))]
            tiles.append(Tile([self._picture(copy["row"], "")], shortened(copy["path"]), figures, ""))
        return tiles

    def _tile(self, row: int, strip: Strip, borderline: bool) -> Tile:
        verdict = self.verdict[row]
        figures = _figures(verdict, strip.rules)
        if strip.pair == "repair":
            pictures = [self._picture(row, "before"), Picture(data_uri(self.after[row]), "after")]
        elif strip.pair == "copy":
            best = self.verdict[verdict["duplicate_of"]]
            pictures = [self._picture(row, "dropped"), self._picture(best["row"], _fate(best))]
            figures = [f"copy of {shortened(best['path'])}", *figures]
        else:
            pictures = [self._picture(row, "")]
        return Tile(pictures, shortened(verdict["path"]), figures, "borderline" if borderline else "")

    def _picture(self, row: int, role: str) -> Picture:
        return Picture(data_uri(self.before[row]), role)


def _by_row(verdicts: pa.Table, rows: Iterable[int]) -> dict[int, Verdict]:
    wanted = pc.is_in(verdicts["row"], pa.array(sorted(rows), pa.int64()))
    return {verdict["row"]: verdict for verdict in verdicts.filter(wanted).to_pylist()}


def _fate(best: Verdict) -> str:
    """Return what became of the copy that stays; one of the holdout may be dropped for another reason."""
    return "stays" if best["kept"] else str(best["reason"])


def _figures(verdict: Verdict, rules: Sequence[Rule]) -> list[str]:
    """Return the measures that the rules are about, with their values where there are any."""
    names = dict.fromkeys(rule.measure for rule in rules)
    sides = {name: np.array([verdict[name]], np.float64) for name in ("width", "height")}
    values = {**verdict, **{name: float(value[0]) for name, value in with_shape(sides).items()}}
    known = [(name, values[name]) for name in names if values[name] is not None and np.isfinite(values[name])]
    return [f"{name} {value:.3g}" for name, value in known]
