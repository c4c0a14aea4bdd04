"""The filter's page: what was dropped, repaired and kept, and why, with the borderline cases marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from jinja2 import DictLoader, Environment

from pipeline.atomic import whole_file
from pipeline.cleaning.repair import DENOISED_BY, TONED_BY, asked_of_all
from pipeline.cleaning.verdict import COPY_RULES, DROP_RULES, NEED_ALL, REPAIR_RULES, Rule
from pipeline.params import FilterParams
from pipeline.records import read_rows, require_shards
from pipeline.reports.filter_charts import charts
from pipeline.reports.filter_choice import largest_groups, sections
from pipeline.reports.filter_style import STYLE
from pipeline.reports.filter_template import TEMPLATE
from pipeline.reports.filter_tiles import Album, Sheet
from pipeline.reports.histogram import MACRO
from pipeline.reports.names import shortened

# What is done about each damage; the filter or curve that does it is named in params.yaml.
CURES = {
    "impulse noise": "lone dots are replaced by what is around them",
    "gaussian noise": "smoothed by as much noise as is measured",
    "faded": "brought back to the contrast that most art has",
    "bright": "darkened",
    "dark": "brightened",
    "jpeg blocks": "the steps between JPEG's blocks are smoothed",
}
# What copies are, and which one is dropped.
COPIES = {
    "exact duplicate": "The same bytes",
    "near duplicate": "The same picture in other bytes",
    "holdout twin": "A training picture that also is in the holdout, which would measure what was learnt by heart",
}
UNREADABLE = 60
SWITCHES = ("enabled", "dedup", "blur", "repair")


class Part(NamedTuple):
    """A section of the page: a reason, a repair, or what was left alone."""

    title: str
    anchor: str
    note: str
    total: int
    sheets: Sequence[Sheet]


def write_filter_page(verdicts: pa.Table, raw: Path, clean: Path, params: FilterParams, path: Path) -> None:
    """Write the page about the verdicts (cleaning.decide.VERDICT_SCHEMA) on the shards in raw and clean.

    One HTML file with everything inside: counts, a histogram a measure, a contact sheet a reason, pairs of before and
    after a repair, and the largest groups of copies. params are those that the verdicts were made with. The same
    verdicts give the same bytes.
    """
    planned, (groups, groups_total) = sections(verdicts, params), largest_groups(verdicts)
    album = Album(verdicts, [strip for section in planned for strip in section.strips], groups, raw, clean)
    parts = {
        section.title: Part(
            section.title,
            section.title.replace(" ", "-"),
            _note(section.title, params),
            section.total,
            [album.sheet(strip) for strip in section.strips if strip.rows],
        )
        for section in planned
    }
    unreadable = verdicts["reason"].to_pylist().count("unreadable")
    texts = DictLoader({"page": TEMPLATE, "style": STYLE, "histogram": MACRO})
    environment = Environment(loader=texts, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("page").render(
        total=len(verdicts),
        kept=verdicts["kept"].to_pylist().count(True),
        dropped=[parts[title] for title in (*DROP_RULES, *COPY_RULES)],
        repaired=[parts[title] for title in (*REPAIR_RULES, *asked_of_all(params))],
        asked=bool(asked_of_all(params)),
        off=[f"filter.{name}" for name in SWITCHES if not getattr(params, name)],
        alone=parts["left alone"],
        charts=list(charts(verdicts, params)),
        groups=[(group, album.group(group)) for group in groups],
        groups_total=groups_total,
        unreadable=_unreadable(raw) if unreadable else [],
        unreadable_total=unreadable,
    )
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _note(title: str, params: FilterParams) -> str:
    """Return what a reason or a repair is told by, and what was done."""
    if title in COPIES:
        further = "; the copy of a copy may be further from the one that stays"
        told = "".join(f"; {_limit(rule, params)}{further}" for rule in COPY_RULES[title])
        return f"{COPIES[title]}{told}."
    asked = asked_of_all(params)
    if title in asked:
        return f"No damage was repaired; {asked[title]}, as the params ask of every image, without a check."
    rules = {**DROP_RULES, **REPAIR_RULES}.get(title, ())
    told = (" and " if title in NEED_ALL else " or ").join(_limit(rule, params) for rule in rules)
    if title not in CURES:
        return f"{told}."
    done = f"{told}: {CURES[title]}, by {getattr(params, (DENOISED_BY | TONED_BY)[title])}"
    other = params.tone_all if title in DENOISED_BY else params.denoise_all
    return f"{done}; and {other} as for every image." if other is not None else f"{done}."


def _limit(rule: Rule, params: FilterParams) -> str:
    return f"{rule.measure} {'over' if rule.over else 'under'} {rule.param} {getattr(params, rule.param):g}"


def _unreadable(raw: Path) -> list[tuple[str, str]]:
    """Return the paths of the first unreadable files, and what is wrong with each."""
    found: list[tuple[str, str]] = []
    for shard in require_shards(raw, "crawl-import"):
        for row in read_rows(shard, ["path", "error"]):
            if row["error"] is not None:
                found.append((shortened(row["path"]), shortened(row["error"])))
                if len(found) == UNREADABLE:
                    return found
    return found
