"""From the measures of all images to one verdict each: dropped, kept or repaired, and the copy that it lost to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.cleaning.cache import Cached
from pipeline.cleaning.comparison import Comparison
from pipeline.cleaning.copies import find_copies
from pipeline.cleaning.duplicates import (
    Flags,
    Rows,
    best_first,
    champions,
    duplicate_reasons,
    groups,
    one_per_id,
    same_id_pairs,
)
from pipeline.cleaning.measures import Measures
from pipeline.cleaning.verdict import Columns, Labels, damages, judge, present, severities
from pipeline.params import FilterParams
from pipeline.workers import Workers

VERDICT_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("id", pa.string()),
        ("path", pa.string()),
        ("split", pa.string()),
        ("kept", pa.bool_()),
        ("reason", pa.string()),
        ("repair", pa.string()),
        ("duplicate_of", pa.int64()),
        ("severity", pa.float64()),
        ("difference", pa.float64()),
        ("bytes", pa.int64()),
        *((name, pa.float64()) for name in Measures._fields),
        ("phash", pa.string()),
    ]
)


def decide(measured: pa.Table, cached: Cached, params: FilterParams, workers: Workers) -> pa.Table:
    """Return a verdict for each image, VERDICT_SCHEMA in row order; repair is what is called for, not yet made.

    measured: MEASURED_SCHEMA of all raw shards; cached: where their measures and comparisons are. Copies are sought
    among the images that are otherwise kept and, for the leak guard, all readable ones of the holdout: the raw holdout
    is a ruler too.
    """
    measured = measured.sort_by("row")
    columns: Columns = {name: measured[name].to_numpy() for name in Measures._fields}
    readable = measured["readable"].to_numpy()
    reasons, repairs = judge(columns, params)
    reasons[~readable] = "unreadable"
    kept = ~present(reasons)
    holdout = measured["split"].to_numpy() == "holdout"
    ids = measured["id"].to_numpy()

    members = np.nonzero(readable & (kept | holdout))[0]
    originals = one_per_id(ids, members)
    pairs, differences, compare = find_copies(measured.take(originals), cached, params, workers)
    group = groups(len(measured), np.concatenate([originals[pairs], same_id_pairs(ids, members)]))
    known = {frozenset(pair): value for pair, value in zip(pairs.tolist(), differences.tolist(), strict=True)}
    area, size = columns["width"] * columns["height"], measured["bytes"].to_numpy()
    champion = champions(group, holdout, kept, best_first(repairs, area, size, columns["blur"]))
    copied = duplicate_reasons(champion, ids, holdout, kept, within_split=params.enabled and params.dedup)
    lost = present(copied)
    reasons[lost], repairs[lost] = copied[lost], None

    difference = _difference(champion, lost, ids, originals, known, compare)
    compare.save()

    derived = {
        "kept": pa.array(~present(reasons)),
        "reason": pa.array(reasons, pa.string()),
        "repair": pa.array(repairs, pa.string()),
        "duplicate_of": pa.array(measured["row"].to_numpy()[champion], mask=~lost),
        "severity": pa.array(_severity(columns, reasons, repairs, params), from_pandas=True),
        "difference": difference,
        "phash": pa.array([None if bits is None else f"{bits:016x}" for bits in measured["phash"].to_pylist()]),
    }
    return pa.table(
        [derived[field.name] if field.name in derived else measured[field.name] for field in VERDICT_SCHEMA],
        schema=VERDICT_SCHEMA,
    )


def _severity(columns: Columns, reasons: Labels, repairs: Labels, params: FilterParams) -> NDArray[np.float64]:
    """Return how far each picture is over the threshold of its reason or repair; if untouched, how near to a reason."""
    by_reason, by_damage = severities(columns, params), damages(columns, params)
    severity: NDArray[np.float64] = np.maximum.reduce(list(by_reason.values()))
    for labels, ratios in ((reasons, by_reason), (repairs, by_damage)):
        for name, ratio in ratios.items():
            severity[labels == name] = ratio[labels == name]
    return severity


def _difference(
    champion: Rows,
    lost: Flags,
    ids: Labels,
    originals: Rows,
    known: Mapping[frozenset[int], float],
    compare: Comparison,
) -> pa.Array:
    """Return each lost copy's difference to the copy that stays, 0 for the same bytes; null for all others.

    It may be over the limit where a third picture is a copy of both. known: that of pairs of places in originals; the
    others are compared.
    """
    values = np.where(lost, 0.0, np.nan)
    near = np.nonzero(lost & (ids != ids[champion]))[0]
    place = {content: at for at, content in enumerate(ids[originals])}
    pairs = np.array([(place[ids[at]], place[ids[champion[at]]]) for at in near], np.int64).reshape(-1, 2)
    values[near] = [known.get(frozenset(pair), np.nan) for pair in pairs.tolist()]
    unknown = np.isnan(values[near])
    values[near[unknown]] = compare.smallest(pairs[unknown])
    return pa.array(values, pa.float64(), from_pandas=True)
