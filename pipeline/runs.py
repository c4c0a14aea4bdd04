"""What was run: a line an invocation of dvc, for `dcgan runs`, with the columns that the MLflow UI shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from pipeline.lineage import PARENT_TAG, maker_of, settings, stage_runs
from pipeline.messages import printable
from pipeline.mlflow_store import open_store


class Invocation(NamedTuple):
    """One invocation of dvc: its settings and figures, the stages that it ran, and whether its results are here now."""

    name: str
    started: datetime
    status: str
    stages: Sequence[str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    here: bool
    run_id: str


def past_invocations(most: int) -> list[Invocation]:
    """Return the newest invocations, at most so many, the newest first.

    The results here are those of the newest one whose evaluate stage left what dvc.lock has now: an invocation that
    starts no stage leaves no run, but what it leaves here was made by one.
    """
    found = []
    with open_store() as (client, experiment_id):
        made = maker_of(client, experiment_id, "evaluate")
        here = made.data.tags[PARENT_TAG] if made else None
        newest = ["attributes.start_time DESC"]
        for parent in client.search_runs(
            [experiment_id], "tags.kind = 'invocation'", max_results=most, order_by=newest
        ):
            own = stage_runs(client, experiment_id, parent.info.run_id)
            stages = list(dict.fromkeys(child.data.tags["stage"] for child in reversed(own)))
            started = datetime.fromtimestamp(parent.info.start_time / 1000).astimezone()
            name, status, figures = str(parent.info.run_name), str(parent.info.status), parent.data.metrics
            is_here = parent.info.run_id == here
            found.append(
                Invocation(
                    name, started, status, stages, settings(parent, reversed(own)), figures, is_here, parent.info.run_id
                )
            )
    return found


def differing_settings(invocations: Sequence[Invocation]) -> list[str]:
    """Return the settings in which invocations differ; one that an older one did not have yet is no difference.

    Of a recipe's tables the sums alone: ten columns of dirt would hide the others.
    """
    keys = sorted({key for one in invocations for key in one.params if not re.match(r"dataroot:.*\.", key)})
    return [key for key in keys if len({one.params[key] for one in invocations if key in one.params}) > 1]


def table(invocations: Sequence[Invocation]) -> str:
    """Return a line an invocation below a line of headings; of the settings, those in which the invocations differ.

    A setting that an older invocation did not have yet is left blank there.
    """
    differing = differing_settings(invocations)
    headings = ["", "name", "id", "started", "status", "stages", "KID×1000", "precision", "recall", "img/s", "kept"]
    lines = [[*headings, *differing]]
    for one in invocations:
        figures = one.metrics
        kid = (
            f"{figures['kid_lite0_raw']:.1f} ± {figures['kid_lite0_raw_se']:.1f}" if "kid_lite0_raw" in figures else ""
        )
        lines.append(
            [
                "*" if one.here else "",
                *(
                    one.name,
                    one.run_id[:8],
                    f"{one.started:%Y-%m-%d %H:%M}",
                    one.status.lower(),
                    " ".join(one.stages),
                    kid,
                ),
                *(f"{figures[key]:.3f}" if key in figures else "" for key in ("precision", "recall")),
                f"{figures['img_per_s']:.0f}" if "img_per_s" in figures else "",
                f"{figures['kept_share']:.1%}" if "kept_share" in figures else "",
                *(one.params.get(key, "") for key in differing),
            ]
        )
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of as many cells each as text to be shown, with the cells of a column below each other."""
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
