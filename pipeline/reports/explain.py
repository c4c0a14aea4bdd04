"""Why the filter dropped, repaired or kept one image, in text: what `dcgan explain` prints."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.cleaning.measures import Measures
from pipeline.cleaning.verdict import DROP_RULES, NEED_ALL, REPAIR_RULES, Rule, as_columns, judge, with_shape
from pipeline.errors import StageError
from pipeline.messages import HIDDEN, printable
from pipeline.params import FilterParams
from pipeline.records import open_shard, read_rows, shard_paths
from pipeline.sources.crop import CROP_FIELDS
from pipeline.sources.provenance import PROVENANCE

Verdict = dict[str, Any]

# What only some sources know of an image; a shard has all columns of a kind or none.
ORIGIN = {*PROVENANCE, *(field.name for field in CROP_FIELDS)}

# Of an id, this many characters are enough; and of many images with one name, this many are explained.
PREFIX, MOST = 6, 5


def find_images(verdicts: pa.Table, name: str | int) -> list[Verdict]:
    """Return the verdicts on the images that a name means, at least one, in row order; a number is a row's alone.

    name: an id or the first six or more of its characters, a path as stored, as shown or with folders before it, a file
    name without its folders or, where it is none of these, a row number; several images may share an id or a file name.
    StageError where nothing fits, or where the start of an id fits several ids.
    """
    if isinstance(name, int):
        of_row: list[Verdict] = verdicts.filter(pc.equal(verdicts["row"], name)).to_pylist()
        if not of_row:
            raise StageError(f"the filter's verdicts have no row {name}; run 'dvc repro' first")
        return of_row
    name = os.fsencode(name).decode("utf-8", "backslashreplace")  # as the import spells what is no UTF-8
    for mask in _readings(verdicts, name):
        found: list[Verdict] = verdicts.filter(pc.fill_null(mask, False)).to_pylist()
        if found:
            ids = sorted({verdict["id"] for verdict in found if str(verdict["id"]).startswith(name.lower())})
            if len(ids) > 1:
                some = ", ".join(ids[:MOST]) + (", …" if len(ids) > MOST else "")
                raise StageError(f"{printable(name)} is the start of {len(ids)} ids; give more of it: {some}")
            return found
    raise StageError(
        f"no image is called {printable(name)}; give a path or a file name as in reports/filter.html, "
        f"or an id or at least {PREFIX} characters of its start, or train:NUMBER for a row of train.npy"
    )


def row_of_face(faces: Path, name: str) -> str | int:
    """Return the row number of a face named by its array and place in it, as in train:17; any other name unchanged.

    faces: the folder of index.parquet. StageError where the array has no such face, or there is no index.
    """
    face = re.fullmatch(r"(train|holdout_[a-z]+):(\d{1,18})", name)
    if face is None:
        return name
    path = faces / "index.parquet"
    if not path.exists():
        raise StageError(f"{path} is missing; run 'dvc repro resize' first")
    with open_shard(path) as index:
        meant = (pc.field("array") == face[1]) & (pc.field("index") == int(face[2]))
        found = index.read().filter(meant)["row"].to_pylist()
    if not found:
        raise StageError(f"{path} has no face {name}")
    return int(found[0])


def _readings(verdicts: pa.Table, name: str) -> list[pa.ChunkedArray]:
    """Return which images each way to read a name means, the likeliest way first."""
    masks = [pc.equal(verdicts["path"], name), pc.equal(verdicts["id"], name.lower())]
    if len(name) >= PREFIX:
        masks.append(pc.starts_with(verdicts["id"], name.lower()))
    masks.append(pc.ends_with(verdicts["path"], f"/{name}"))
    folders = name.split("/")
    masks.append(
        pc.is_in(verdicts["path"], pa.array(["/".join(folders[at:]) for at in range(1, len(folders))], pa.string()))
    )
    if HIDDEN in name:  # copied from a page
        masks.append(pa.chunked_array([[printable(path) == name for path in verdicts["path"].to_pylist()]], pa.bool_()))
    if name.isdecimal() and len(name) < 19:
        masks.append(pc.equal(verdicts["row"], int(name)))
    return masks


def explain(verdict: Verdict, verdicts: pa.Table, raw: Path, params: FilterParams) -> str:
    """Return the verdict on one image with its measures, the thresholds of params, and the copy that it lost to.

    verdicts: cleaning.decide.VERDICT_SCHEMA, made with params; raw: the shards, which tell why one is unreadable.
    """
    lines = [
        printable(verdict["path"]),
        f"  row {verdict['row']}, {verdict['split']}, id {verdict['id'] or 'none: it has no bytes'}",
        f"  {_fate(verdict)}",
        *_origin(raw, verdict["row"]),
    ]
    if verdict["reason"] == "unreadable":
        return "\n".join([*lines, f"  {_error(raw, verdict['row'])}"])
    if verdict["duplicate_of"] is not None:
        lines += _copy(verdict, verdicts, params)
    measures = Measures(*(verdict[name] for name in Measures._fields))
    values = {name: float(column[0]) for name, column in with_shape(as_columns(measures)).items()}
    called = judge(as_columns(measures), params)[1][0]
    if verdict["kept"] and verdict["repair"] not in REPAIR_RULES and called is not None:
        lines.append(f"  it measures as {called}, but the repair did not hold: no cure, or a reason to drop the result")
    off = [f"filter.{name}" for name in ("enabled", "dedup", "blur", "repair") if not getattr(params, name)]
    if off:
        lines.append(f"  switched off: {', '.join(off)}")
    lines += ["", "  dropped where", *_table(DROP_RULES, values, params)]
    lines += ["", "  repaired where", *_table(REPAIR_RULES, values, params)]
    return "\n".join(lines)


def changes(used: FilterParams, now: FilterParams) -> list[str]:
    """Return the settings of params.yaml that are others now than those that a verdict was made with."""
    before, after = used.model_dump(), now.model_dump()
    return [f"filter.{key} is {after[key]}, was {value}" for key, value in before.items() if after[key] != value]


def _fate(verdict: Verdict) -> str:
    if verdict["reason"] is not None:
        return f"dropped: {verdict['reason']}"
    if verdict["repair"] is None:
        return "kept as it is"
    if verdict["repair"] in REPAIR_RULES:
        return f"kept, repaired: {verdict['repair']}"
    return f"kept, {verdict['repair']}: filter.denoise_all or filter.tone_all asked it of every image"


def _origin(raw: Path, row: int) -> list[str]:
    """Return where a crawl found an image, and which picture it was cut from, by the raw shards; else nothing."""
    for shard in shard_paths(raw):
        with open_shard(shard) as file:
            known = [name for name in file.schema_arrow.names if name in ORIGIN]
        if not known:
            continue
        for record in read_rows(shard, ["row", "fetched_at", "licence", *known]):
            if record["row"] == row:
                told = {name.replace("_", " "): _text(value) for name, value in record.items() if name != "row"}
                return [f"  {name}: {printable(text)}" for name, text in told.items() if text is not None]
    return []


def _text(value: object) -> str | None:
    """Return a column's value as it is shown; a box by its four numbers."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return None if value is None else str(value)


def _error(raw: Path, row: int) -> str:
    """Return what is wrong with an unreadable file, as the import noted it."""
    for shard in shard_paths(raw):
        for record in read_rows(shard, ["row", "error"]):
            if record["row"] == row:
                return printable(str(record["error"]))
    return f"its error is not known: {raw} does not hold its row; run 'dvc repro crawl-import'"


def _copy(verdict: Verdict, verdicts: pa.Table, params: FilterParams) -> list[str]:
    """Return what an image is a copy of, and how like the two are."""
    (best,) = verdicts.filter(pc.equal(verdicts["row"], verdict["duplicate_of"])).to_pylist()
    limit = f"max_difference {params.max_difference:g}"
    if verdict["id"] == best["id"]:
        likeness = "the same bytes"
    elif verdict["difference"] > params.max_difference:
        likeness = f"difference {verdict['difference']:.4g}, over {limit}, but both are like a further copy"
    else:
        likeness = f"difference {verdict['difference']:.4g}, within {limit}"
    return [
        f"  copy of {printable(best['path'])}, which is {_fate(best)}",
        f"    row {best['row']}, {best['split']}, id {best['id']}",
        f"    {likeness}",
    ]


def _table(rules: Mapping[str, Sequence[Rule]], values: Mapping[str, float], params: FilterParams) -> list[str]:
    """Return a line a rule: the label, the measure and its value, the threshold, and whether it is crossed."""
    lines = []
    for label, some in rules.items():
        both = "all of" if label in NEED_ALL else "any of"
        title = label if len(some) == 1 else f"{label}, {both}"
        for rule in some:
            value, limit = values[rule.measure], float(getattr(params, rule.param))
            crossed = value > limit if rule.over else value < limit
            test = f"{'over' if rule.over else 'under'} {rule.param} {limit:g}"
            lines.append(f"    {title:18}{rule.measure:12}{value:<10.4g}{test:28}{'yes' if crossed else 'no'}")
            title = ""
    return lines
