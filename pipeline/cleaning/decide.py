"""From the measures of all images to one verdict each: dropped, kept or repaired, and the copy that it lost to."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.cleaning.cache import Cached
from pipeline.cleaning.comparison import CLEARED, RETONED
from pipeline.cleaning.copies import find_copies
from pipeline.cleaning.duplicates import (
    Flags,
    Rows,
    best_first,
    champions,
    duplicate_reasons,
    groups,
    one_per_content,
    same_content_pairs,
)
from pipeline.cleaning.hashing import Pairs
from pipeline.cleaning.measures import Measures
from pipeline.cleaning.repair import TONED_BY
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

    measured: MEASURED_SCHEMA of all raw shards, in row order; cached: where their measures and comparisons are. Copies
    are sought among the images that are otherwise kept and, for the leak guard, all readable ones of the holdout: the
    raw holdout is a ruler too.
    """
    columns: Columns = {name: measured[name].to_numpy() for name in Measures._fields}
    readable = measured["readable"].to_numpy()
    reasons, repairs = judge(columns, params)
    reasons[~readable] = "unreadable"
    kept = ~present(reasons)
    holdout = pc.equal(measured["split"], "holdout").to_numpy()
    contents = _numbered(measured["id"])

    members = np.nonzero(readable & (kept | holdout))[0]
    originals = one_per_content(contents, members)
    # With its tone repaired or its dots gone, a picture may be one of the other split that it does not look like yet.
    toned = np.isin(repairs, list(TONED_BY)) | (params.enabled and params.tone_all is not None)
    dotted = (repairs == "impulse noise") | (params.enabled and params.denoise_all == "median")

    # An original stands for all of the same bytes, which may be in both splits: crops of two files may be alike.
    in_holdout, in_train = (
        np.isin(contents, contents[members[split]]) for split in (holdout[members], ~holdout[members])
    )

    def across(some: Pairs, changed: Flags) -> Flags:
        left, right = some.T
        splits = (in_holdout[left] & in_train[right]) | (in_train[left] & in_holdout[right])
        return np.asarray(splits & (changed[left] | changed[right]))

    ways = {RETONED: partial(across, changed=toned), CLEARED: partial(across, changed=dotted)}
    pairs, compare = find_copies(measured, originals, ways, cached, params, workers)
    group = groups(len(measured), np.concatenate([pairs, same_content_pairs(contents, members)]))
    area, size = columns["width"] * columns["height"], measured["bytes"].to_numpy()
    champion = champions(group, holdout, kept, best_first(repairs, area, size, columns["blur"]))
    copied = duplicate_reasons(champion, contents, holdout, kept, within_split=params.enabled and params.dedup)
    lost = present(copied)
    reasons[lost], repairs[lost] = copied[lost], None

    # 0 for the same bytes; it may be over the limit where a third picture is a copy of both.
    difference = np.where(lost, 0.0, np.nan)
    near = np.flatnonzero(lost & (contents != contents[champion]))
    original = np.full(contents.max(initial=-1) + 1, -1)
    original[contents[originals]] = originals
    ends = original[contents[np.stack([near, champion[near]], axis=1)]]
    difference[near] = compare.smallest(ends, ways)
    compare.save()

    derived = {
        "kept": pa.array(~present(reasons)),
        "reason": pa.array(reasons, pa.string()),
        "repair": pa.array(repairs, pa.string()),
        "duplicate_of": pa.array(measured["row"].to_numpy()[champion], mask=~lost),
        "severity": pa.array(_severity(columns, reasons, repairs, params), from_pandas=True),
        "difference": pa.array(difference, from_pandas=True),
        "phash": _hexadecimal(measured["phash"].combine_chunks()),
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


def _numbered(ids: pa.ChunkedArray) -> Rows:
    """Return a number for each id, the same for the same one, from 0 on, and -1 for null: int64 (N,)."""
    numbers = ids.combine_chunks().dictionary_encode().indices
    return np.asarray(numbers.cast(pa.int64()).fill_null(-1), np.int64)


def _hexadecimal(hashes: pa.UInt64Array) -> pa.StringArray:
    """Return hashes as their 16 digits, null where they are."""
    digits = hashes.fill_null(0).to_numpy().astype(">u8").tobytes().hex()
    told = np.frombuffer(digits.encode(), "S16")
    return pa.array(told, pa.binary(), mask=hashes.is_null().to_numpy(zero_copy_only=False)).cast(pa.string())
