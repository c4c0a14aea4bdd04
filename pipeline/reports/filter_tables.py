"""What the filter did, as the tables that `dvc plots` draws: rejects by reason, and histograms of the main measures."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.atomic import whole_file
from pipeline.cleaning.verdict import COPY_RULES, DROP_RULES
from pipeline.params import FilterParams
from pipeline.reports.filter_charts import LOGARITHMIC, marks_of
from pipeline.reports.histogram import counted

# Of the page's measures those that most rejects and repairs go by: a table in git should stay small.
MAIN = ("blur", "sharpness", "contrast", "noise")


def write_tables(verdicts: pa.Table, params: FilterParams, rejects: Path, histograms: Path) -> None:
    """Write both tables about the verdicts (cleaning.decide.VERDICT_SCHEMA); the same verdicts give the same bytes.

    rejects: reason, count; every reason is there, so that two runs have the same bars. histograms: measure, low, high,
    count; a row a bin, the bins those of the filter's page, a picture that could not be read in none.
    """
    _write(rejects, ("reason", "count"), _rejects(verdicts))
    _write(histograms, ("measure", "low", "high", "count"), _histograms(verdicts, params))


def _rejects(verdicts: pa.Table) -> Iterator[tuple[str, int]]:
    found = Counter(verdicts["reason"].to_pylist())
    for reason in ("unreadable", *DROP_RULES, *COPY_RULES):
        yield reason, found[reason]


def _histograms(verdicts: pa.Table, params: FilterParams) -> Iterator[tuple[str, str, str, int]]:
    for measure in MAIN:
        values = verdicts[measure].to_numpy()
        values = values[np.isfinite(values)]
        if len(values):
            limits = [mark.value for mark in marks_of(measure, params)]
            edges, counts = counted(values, limits, measure in LOGARITHMIC)
            for low, high, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True):
                yield measure, f"{low:.6g}", f"{high:.6g}", count


def _write(path: Path, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
