"""The filter's page: what was dropped, repaired and kept, and why, with the borderline cases first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment

from pipeline.atomic import whole_file
from pipeline.codec import Pixels
from pipeline.records import read_rows, require_shards
from pipeline.reports.contact_sheet import choose, data_uri, read_pictures
from pipeline.reports.filter_template import TEMPLATE

# In the order of precedence; each with the measures that tell it.
REASONS: dict[str, tuple[str, ...]] = {
    "aspect": ("width", "height"),
    "too small": ("width", "height"),
    "uniform": ("contrast", "information", "edges"),
    "blurry": ("blur", "sharpness"),
    "exact duplicate": (),
    "near duplicate": ("difference",),
    "holdout twin": ("difference",),
}
REPAIRS: dict[str, tuple[str, ...]] = {
    "impulse noise": ("impulses",),
    "gaussian noise": ("noise",),
    "faded": ("contrast", "white"),
    "bright": ("gamma",),
    "dark": ("gamma",),
    "jpeg blocks": ("blockiness",),
}
COPIES = ("exact duplicate", "near duplicate", "holdout twin")
KEPT = "kept, the nearest to being dropped first"

# Shown of each: the most borderline, and a fair sample of the others. With these the page stays below 5 MB.
BORDERLINE, OTHERS = 16, 16
UNREADABLE = 60


class Tile(NamedTuple):
    """One picture of a sheet, or two that belong together, as data URIs."""

    pictures: Sequence[str]
    path: str
    figures: str
    borderline: bool


class Sheet(NamedTuple):
    """A reason or a repair: how many, and some of them."""

    title: str
    anchor: str
    note: str
    total: int
    tiles: Sequence[Tile]


def write_filter_page(verdicts: pa.Table, raw: Path, clean: Path, path: Path) -> None:
    """Write the page about the verdicts (cleaning.decide.VERDICT_SCHEMA) on the shards in raw and clean.

    One HTML file with everything inside: a table of counts, a contact sheet for each reason and pairs of before and
    after for each repair. The same verdicts give the same bytes.
    """
    chosen = {title: _choose(verdicts, title) for title in (*REASONS, *REPAIRS, KEPT)}
    shown = {row for rows in chosen.values() for row, _ in rows}
    known = verdicts.filter(pc.is_in(verdicts["row"], pa.array(sorted(shown), pa.int64()))).to_pylist()
    verdict = {row["row"]: row for row in known}
    winners = {row["duplicate_of"] for row in known} - {None}
    before, after = read_pictures(raw, shown | winners), read_pictures(clean, shown)

    counts = Counter(verdicts["reason"].to_pylist()) + Counter(verdicts["repair"].to_pylist())
    sheets = []
    for title, rows in chosen.items():
        tiles = [_tile(verdict[row], title, borderline, before, after) for row, borderline in rows]
        count = counts[title] if title != KEPT else verdicts["kept"].to_pylist().count(True)
        sheets.append(Sheet(title, title.replace(" ", "-").replace(",", ""), _note(title), count, tiles))
    page = (
        Environment(autoescape=True)
        .from_string(TEMPLATE)
        .render(
            total=len(verdicts),
            kept=verdicts["kept"].to_pylist().count(True),
            dropped=[sheet for sheet in sheets if sheet.title in REASONS and sheet.total],
            repaired=[sheet for sheet in sheets if sheet.title in REPAIRS and sheet.total],
            kept_sheet=sheets[-1],
            unreadable=_unreadable(raw) if counts["unreadable"] else [],
            unreadable_count=counts["unreadable"],
        )
    )
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _choose(verdicts: pa.Table, title: str) -> list[tuple[int, bool]]:
    if title == KEPT:
        mask = pc.and_(verdicts["kept"], pc.is_null(verdicts["repair"]))
    else:
        mask = pc.equal(verdicts["repair" if title in REPAIRS else "reason"], title)
    some = verdicts.filter(pc.fill_null(mask, False))
    if title in COPIES:
        difference = some["difference"].to_numpy()
        closeness = np.where(difference > 0, -difference, np.nan)
    else:
        severity = some["severity"].to_numpy()
        closeness = -severity if title == KEPT else severity
    return choose(some["row"].to_numpy(), closeness, BORDERLINE, OTHERS)


def _tile(
    verdict: dict[str, Any], title: str, borderline: bool, before: dict[int, Pixels], after: dict[int, Pixels]
) -> Tile:
    pictures = [before[verdict["row"]]]
    if title in REPAIRS:
        pictures.append(after[verdict["row"]])
    elif verdict["duplicate_of"] is not None:
        pictures.append(before[verdict["duplicate_of"]])
    names = {**REASONS, **REPAIRS}.get(title, ("blur", "sharpness"))
    figures = ", ".join(f"{name} {verdict[name]:.3g}" for name in names if verdict[name] is not None)
    return Tile([data_uri(picture) for picture in pictures], verdict["path"], figures, borderline)


def _note(title: str) -> str:
    if title in REPAIRS:
        return "before and after"
    return "the copy that was dropped, and the one that stays" if title in COPIES else ""


def _unreadable(raw: Path) -> list[tuple[str, str]]:
    """Return the paths of the first unreadable files, and what is wrong with each."""
    found: list[tuple[str, str]] = []
    for shard in require_shards(raw, "crawl-import"):
        for row in read_rows(shard, ["path", "error"]):
            if row["error"] is not None:
                found.append((row["path"], row["error"]))
                if len(found) == UNREADABLE:
                    return found
    return found
