"""The evaluation's page: what netG draws, how good it is, what netD believes, and whether netG copies."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from jinja2 import DictLoader, Environment
from scipy.special import expit

from pipeline.atomic import whole_file
from pipeline.codec import Pixels
from pipeline.errors import StageError
from pipeline.metrics.belief import Beliefs, known_by_heart
from pipeline.metrics.copying import expected_share, is_below_chance
from pipeline.params import EvaluateParams
from pipeline.reports.belief_charts import belief_charts
from pipeline.reports.contact_sheet import data_uri
from pipeline.reports.curves import training_plot
from pipeline.reports.evaluate_template import STYLE, TEMPLATE
from pipeline.reports.figure_table import RULERS, rounded, table
from pipeline.reports.filter_style import STYLE as HOUSE_STYLE
from pipeline.reports.histogram import MACRO

DIRECTIONS = {
    "lower": "↓ lower is better",
    "higher": "↑ higher is better",
    "floor": "≈ best near the value of training faces",
}


class Counts(NamedTuple):
    """How many faces: training faces that the floor is of, those searched for copies, all; and the raw holdout's."""

    floor: int
    searched: int
    train: int
    holdout: int


def write_evaluate_page(
    figures: Mapping[str, float],
    knobs: EvaluateParams,
    counts: Counts,
    pictures: Mapping[str, Pixels],
    beliefs: Beliefs,
    plots: Path,
    path: Path,
) -> None:
    """Write the page about an evaluation, one HTML file with everything inside, whole or not at all.

    figures: those of metrics/evaluate.json but for rates and times, so that the same evaluation gives the same bytes.
    pictures: by the names that evaluate gives them, RGB uint8 (H, W, 3). plots: the folder of losses.csv and
    quick_kid.csv, StageError where one is missing.
    """
    texts = DictLoader({"page": TEMPLATE, "style": HOUSE_STYLE + STYLE, "histogram": MACRO})
    environment = Environment(loader=texts, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    expected = expected_share(counts.holdout, knobs.copied_percentile)
    entries = table(figures, expected)

    def told(name: str) -> str:
        return rounded(figures[name], figures.get(f"{name}_se"))

    page = environment.get_template("page").render(
        headline=told("kid_lite0_raw"),
        floor=told("kid_lite0_floor"),
        copied=told("copied_share"),
        expected=expected,
        is_blind=is_below_chance(figures["copied_share"], knobs.n_generated, counts.holdout, knobs.copied_percentile),
        chosen="best" if knobs.generator == "best" and has_rows(plots / "quick_kid.csv") else "last",
        n_generated=knobs.n_generated,
        counts=counts,
        percentile=knobs.copied_percentile,
        rulers=[ruler for ruler in RULERS if f"kid_lite0_{ruler}" in figures],
        entries=entries,
        live_title="last, without EMA" if knobs.generator == "best" else "without EMA",
        live=any(line.live for entry in entries for line in entry.lines),
        directions=DIRECTIONS,
        means={who: float(expit(logits).mean()) for who, logits in beliefs._asdict().items()},
        heart=known_by_heart(beliefs.train, beliefs.holdout),
        charts=belief_charts(Beliefs(*map(expit, beliefs))),
        pictures={name: data_uri(pixels) for name, pixels in pictures.items()},
        curves=_curves(plots / "losses.csv", plots / "quick_kid.csv"),
    )
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def has_rows(table: Path) -> bool:
    """Whether a CSV file has more than its header: without a quick KID none was chosen, and the last is the best."""
    return table.exists() and len(table.read_text(encoding="utf-8").splitlines()) > 1


def _curves(losses: Path, quality: Path) -> str:
    """Return the training's curves as the data URI of a PNG."""
    for needed in (losses, quality):
        if not needed.exists():
            raise StageError(f"{needed} is missing; run 'dvc repro train' first")
    with TemporaryDirectory() as folder:
        drawn = Path(folder) / "curves.png"
        training_plot(losses, quality, drawn)
        return "data:image/png;base64," + base64.b64encode(drawn.read_bytes()).decode("ascii")
