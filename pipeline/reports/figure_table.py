"""The figures of an evaluation as people read them: with their errors, against each ruler, beside the floor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from pipeline.metrics.scores import figure_name

RULERS = ("raw", "clean", "pristine")

# Which way is better: down, up, or towards what training faces have, or would have.
Better = Literal["lower", "higher", "floor"]


class Meaning(NamedTuple):
    """What a figure is called, which way is better ("" for neither), and what it says; ruled where it needs a ruler."""

    title: str
    better: Better | Literal[""]
    says: str
    ruled: bool = True


# By their stems in metrics/evaluate.json; in pipeline/metrics/ at length.
MEANINGS: dict[str, Meaning] = {
    "kid_lite0": Meaning(
        "KID ×1000",
        "lower",
        "How far the generated faces are from the real ones, all in all: 0 where no difference is found, and by chance "
        "a little below.",
    ),
    "fd_lite0": Meaning(
        "Fréchet distance",
        "lower",
        "How far the mean and the spread of the two sets' features lie apart. The features are EfficientNet-Lite0's: "
        "this is no FID, and compares with none.",
    ),
    "swd_lite0": Meaning(
        "sliced Wasserstein ×1000",
        "lower",
        "How far the two sets lie apart along a direction, the mean of 1,024: it sees the whole of both sets, not "
        "their means and spreads alone.",
    ),
    "precision": Meaning(
        "precision",
        "higher",
        "The share of generated faces that lie among the real ones: how many are good. One typical face drawn again "
        "and again scores high too.",
    ),
    "recall": Meaning(
        "recall",
        "higher",
        "The share of real faces that lie among the generated ones: how many kinds are drawn.",
    ),
    "density": Meaning(
        "density",
        "higher",
        "Like precision, but counts among how many real faces a generated one lies, so that one odd real face can't "
        "vouch for many; it may exceed 1.",
    ),
    "coverage": Meaning(
        "coverage",
        "higher",
        "The share of real faces that have a generated one near.",
    ),
    "diversity": Meaning(
        "diversity",
        "floor",
        "The mean distance between two faces of a set: below what training faces have, netG draws too few kinds; above "
        "it, something that faces have not.",
        ruled=False,
    ),
    "copied_share": Meaning(
        "copied share",
        "floor",
        "The share of generated faces that lie nearer to a training face than nearly all of the raw holdout does: more "
        "is copying, less is far from all real faces, where copying can't be seen.",
        ruled=False,
    ),
    "fid": Meaning(
        "FID",
        "lower",
        "The Fréchet distance as it is published, on the official Inception's features, against the raw holdout. It "
        "depends on the number of faces: compare at equal ones only.",
        ruled=False,
    ),
    "kid_inception": Meaning(
        "KID ×1000 on Inception", "lower", "As it is published: the mean over subsets, against the raw holdout.", False
    ),
    "kid_inception_std": Meaning(
        "its spread", "", "The standard deviation over those subsets, which is no standard error of the mean.", False
    ),
    "precision_inception": Meaning(
        "precision on Inception", "higher", "Precision among Inception's features, against the raw holdout.", False
    ),
    "recall_inception": Meaning(
        "recall on Inception", "higher", "Recall among Inception's features, against the raw holdout.", False
    ),
}


class Line(NamedTuple):
    """A figure against one ruler ("" where it has none), as text, "" where there is none: of generated faces, of those
    by netG without its average, and of training faces.
    """

    ruler: str
    generated: str
    live: str
    floor: str


class Entry(NamedTuple):
    """A figure in the table: its title, which way is better ("" where nobody has said), its sentence, its lines."""

    title: str
    better: Better | Literal[""]
    says: str
    lines: Sequence[Line]


def table(figures: Mapping[str, float], copied: float) -> list[Entry]:
    """Return all figures by their names in metrics/evaluate.json, those that MEANINGS explains first.

    Beside a figure stand that of netG without its average (`_live`) and the floor; `_se` stands behind what it is the
    error of. A figure that is none of this is shown by its name alone. copied: the copied_share to be expected.
    """
    entries, shown = [], set[str]()
    for stem, meaning in MEANINGS.items():
        lines = []
        for ruler in RULERS if meaning.ruled else ("raw",):
            name, live, floor = (figure_name(stem, who, ruler) for who in ("", "live", "floor"))
            if name in figures:
                beside = f"about {copied:.2g}" if stem == "copied_share" else _told(figures, floor)
                told = _told(figures, name), _told(figures, live), beside
                lines.append(Line(ruler if meaning.ruled else "", *told))
                shown |= {name, live, floor}
        if lines:
            entries.append(Entry(meaning.title, meaning.better, meaning.says, lines))
    others = [name for name in figures if name not in shown and not name.endswith("_se")]
    return entries + [Entry(name, "", "", [Line("", _told(figures, name), "", "")]) for name in others]


def pairs(figures: Mapping[str, float]) -> Iterator[tuple[str, float, float | None]]:
    """Yield each figure that is no error itself: its name, its value, and its standard error, or None."""
    for name, value in figures.items():
        if not name.endswith("_se"):
            yield name, value, figures.get(f"{name}_se")


def better_of(name: str) -> Better | Literal[""]:
    """Return which way a figure of metrics/evaluate.json is better; "" for floors, and where nobody has said."""
    if "_floor" in name:
        return ""
    stems = [stem for stem in MEANINGS if name.startswith(stem)]
    return MEANINGS[max(stems, key=len)].better if stems else ""


def rounded(value: float, error: float | None) -> str:
    """Return a figure with its error, as exact as two digits of the error; without one, at most three decimals.

    An error of 0 is none: the bootstrap finds that where a share is 0 or 1, which is no certainty.
    """
    if not (error and error > 0):
        return f"{value:z.{1 if abs(value) >= 10 else 3}f}"
    digits = min(max(1 - math.floor(math.log10(error)), 0), 6)
    return f"{value:z.{digits}f} ± {error:.{digits}f}"


def _told(figures: Mapping[str, float], name: str) -> str:
    return rounded(figures[name], figures.get(f"{name}_se")) if name in figures else ""
