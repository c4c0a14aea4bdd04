"""Two runs side by side: settings, figures with their errors, and the faces that they draw from the same noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from pipeline import paths
from pipeline.codec import Pixels
from pipeline.dcgan.sampling import generate, load_generator, sample_noise
from pipeline.errors import StageError
from pipeline.messages import printable
from pipeline.reports.figure_table import better_of, pairs, rounded
from pipeline.reports.grids import grid
from pipeline.results import Results, is_same
from pipeline.runs import aligned

FACES, COLUMNS = 64, 8
NO_FIGURES = frozenset({"n_generated", "seconds", "img_per_s"})
# At what settings figures compare at all, and which ones tell other faces where the holdout's own digest is not known.
MEASURED_BY = ("evaluate.n_generated", "evaluate.n_real", "evaluate.nearest_k", "evaluate.copied_percentile")
HELD_OUT_BY, IMPORTED_BY = ("image_size", "nc"), ("dataroot", "crawl.")
# Of the last, what says how fast and how patiently to ask, and not for what.
FETCHED_BY = {
    *("crawl.timeout", "crawl.retries", "crawl.backoff", "crawl.max_wait", "crawl.dead_after", "crawl.min_success"),
    *("crawl.delay", "crawl.per_host", "crawl.concurrency", "crawl.user_agent"),
}
FILTERED = "figures against the clean ruler and the floors do not compare, the others do"
ERRORS = 2.0  # a difference beyond so many of its errors is told
BLANK = [""] * 5
MARGIN, LINE = 8, 20  # of the picture's labels, in pixels


class Difference(NamedTuple):
    """A figure of both runs: right minus left, its standard error, and whether it exceeds that; None where unknown."""

    name: str
    left: str
    right: str
    difference: float
    error: float | None
    exceeds: bool | None


class Caution(NamedTuple):
    """Why figures do not compare: all of them, or those alone that the filter has a part in.

    These are the ones against the clean ruler, and the floors, which are of the faces that it left to train on.
    """

    says: str
    filtered: bool


def differences(left: Results, right: Results) -> Iterator[Difference]:
    """Yield each figure that both runs have.

    Of independent errors the squares add up; that both runs share a holdout makes the sum err on the safe side.
    """
    others = {name: (value, error) for name, value, error in pairs(right.figures)}
    for name, value, error in pairs(left.figures):
        if name in others and name not in NO_FIGURES:
            other, others_error = others[name]
            apart = other - value
            # An error of 0 is that of a share of 0, of which it tells nothing.
            both = math.hypot(error, others_error) if error and others_error else None
            exceeds = None if both is None else abs(apart) > ERRORS * both
            yield Difference(name, rounded(value, error), rounded(other, others_error), apart, both, exceeds)


def differing_settings(left: Results, right: Results) -> dict[str, tuple[str, str]]:
    """Return the settings in which two runs differ; one that a run does not have is no difference."""
    shared = sorted(left.params.keys() & right.params.keys())
    return {
        key: (left.params[key], right.params[key]) for key in shared if not is_same(left.params[key], right.params[key])
    }


def cautions(left: Results, right: Results) -> list[Caution]:
    """Return why the figures of two runs do not compare."""
    differing, found = differing_settings(left, right), []
    holdouts, imported = {left.holdout, right.holdout}, [left.imported, right.imported]
    of_one_import = None not in imported and imported[0] == imported[1]
    kinds: list[tuple[tuple[str, ...], str]] = [(MEASURED_BY, "measured otherwise")]
    if None in holdouts:
        kinds.append((HELD_OUT_BY + IMPORTED_BY * (not of_one_import), "measured against other faces"))
    for keys, says in kinds:
        changed = [
            f"{key} {' and '.join(values)}"
            for key, values in differing.items()
            if key.startswith(keys) and key not in FETCHED_BY
        ]
        if changed:
            found.append(Caution(f"the two were {says} ({', '.join(changed)}): no figures compare", filtered=False))
    by = {left.metrics_code, right.metrics_code}
    if None not in by and len(by) > 1:
        says = f"the two were measured by other code ({paths.METRICS_CODE}): no figures compare"
        found.append(Caution(says, filtered=False))
    if any(key.startswith("filter.") and key != "filter.cache_days" for key in differing):
        says = f"the filter settings differ: {FILTERED}"
        found.append(Caution(says, filtered=True))
    elif None not in (left.clean, right.clean) and left.clean != right.clean:  # as by other code of the filter
        says = f"the clean holdouts are other faces: {FILTERED}"
        found.append(Caution(says, filtered=True))
    if None not in holdouts:
        if len(holdouts) > 1:
            found.append(Caution("the raw holdouts are other faces: no figures compare", filtered=False))
        return found
    if None not in imported and not of_one_import and all(doubt.filtered for doubt in found):
        found.append(Caution("the two imported other files: no figures compare", filtered=False))
    floors = [side.figures.get("fd_lite0_floor") for side in (left, right)]
    if not found and None not in floors and not math.isclose(floors[0], floors[1], rel_tol=1e-3):  # type: ignore[arg-type]
        found.append(Caution("the floors differ, so the real faces are others: no figures compare", filtered=False))
    return found


def _rank(one: Difference) -> tuple[bool, bool, bool]:
    """KID by the raw ruler, by which settings are judged, first; the floors, which are of no generator, last."""
    return "_floor" in one.name, not one.name.startswith("kid_lite0_raw"), not one.name.startswith("kid")


def told(left: Results, right: Results) -> str:
    """Return the comparison as text."""
    doubts, settings = cautions(left, right), differing_settings(left, right)
    lines = [["", left.name, right.name, "difference", "told apart"]]
    lines += [["", left.origin, right.origin, "", ""], BLANK]
    lines += [[key, *values, "", ""] for key, values in settings.items()]
    lines += [["no setting differs", "", "", "", ""]] if not settings else []
    lines.append(BLANK)
    found = sorted(differences(left, right), key=_rank)
    zero = [one.name for one in found if not left.figures[one.name] and not right.figures[one.name]]
    # Of the faces and not of the generators: where the faces are the same there is nothing to see.
    floors = [one.name for one in found if "_floor" in one.name and not one.difference]
    for one in found:
        if one.name not in zero + floors:
            apart = rounded(one.difference, one.error)
            lines.append([one.name, one.left, one.right, apart, _verdict(one, doubts)])
    text = [
        aligned(lines),
        *([fill(f"0 in both: {', '.join(zero)}", 100)] if zero else []),
        *([f"the same in both: {len(floors)} of the floors, which are of real faces"] if floors else []),
        "",
        "difference: the second run minus the first. told apart: |difference| > 2 × sqrt(se₁² + se₂²), and then",
        "whether the second is better; blank where an error is not known. It tells two generators apart, not two",
        "settings: training again with another seed moves the figures by more than the errors.",
    ]
    warnings = [doubt.says for doubt in doubts]
    warnings += [
        f"params.yaml has changed since {side.name} was made ({', '.join(side.edited)}); shown is what it was made with"
        for side in (left, right)
        if side.edited
    ]
    return "\n".join([*text, *(f"warning: {says}" for says in warnings)])


def _verdict(one: Difference, doubts: list[Caution]) -> str:
    by_filter = "_clean" in one.name or "_floor" in one.name
    if any(not doubt.filtered or by_filter for doubt in doubts):
        return "does not compare"
    if one.exceeds is None:
        return ""
    better = {"lower": one.difference < 0, "higher": one.difference > 0}.get(better_of(one.name))
    if not one.exceeds or better is None:
        return "yes" if one.exceeds else "no"
    return "yes, better" if better else "yes, worse"


def picture(left: Results, right: Results) -> tuple[Pixels, str]:
    """Return both runs' faces beside each other, RGB uint8 (H, W, 3), and what the picture shows.

    From the same noise: the left run's of samples.png, or that of a run of which only the logged picture is left.
    Raises StageError where a run has neither weights nor a picture.
    """
    for side in (left, right):
        if side.generator is None and side.samples is None:
            raise StageError(f"{side.name} ({side.origin}): its generator is not in DVC's cache; no picture is made")
    noise = next((side for side in (left, right) if side.generator is None), left).params["seed"]
    panels, seeds, says = [], set[str](), f"{left.name} and {right.name}, {FACES} faces each"
    for side in (left, right):
        if side.generator is None:
            says += f"; {side.name}'s as evaluate logged them, because its generator is not in DVC's cache"
        seeds.add(side.params["seed"] if side.generator is None else noise)
        panels.append(_labelled(_grid(side, int(noise)), side))
    same = len(seeds) == 1 and is_same(left.params["nz"], right.params["nz"])
    says += f"; the noise is {'the same' if same else 'NOT the same, as seed or nz differ'}"
    height = max(len(panel) for panel in panels)
    filled = [np.pad(panel, ((0, height - len(panel)), (0, 0), (0, 0)), constant_values=255) for panel in panels]
    return np.hstack(filled), says


def _grid(side: Results, seed: int) -> Pixels:
    if side.generator is not None:
        netG = load_generator(side.generator, torch.device("cpu"))
        return grid(generate(netG, sample_noise(FACES, netG.nz, seed), FACES), COLUMNS)
    with Image.open(side.samples) as picture:  # type: ignore[arg-type]
        return np.asarray(picture.convert("RGB"))


def _labelled(faces: Pixels, side: Results) -> Pixels:
    """Return a grid below its run's name, what that is, and its KID, with a margin around."""
    figures = side.figures
    lines = [side.name, side.origin]
    if "kid_lite0_raw" in figures:
        kid = rounded(figures["kid_lite0_raw"], figures.get("kid_lite0_raw_se"))
        lines.append(f"KID ×1000 {kid} against the raw holdout")
    height, width, _ = faces.shape
    top = MARGIN + LINE * len(lines)
    canvas = Image.new("RGB", (width + 2 * MARGIN, top + height + MARGIN), "white")
    # Pillow's own font has no ×.
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", 14)
    draw = ImageDraw.Draw(canvas)
    for at, line in enumerate(lines):
        draw.text((MARGIN + 2, MARGIN // 2 + LINE * at), _fitted(line, font, width), fill="black", font=font)
    canvas.paste(Image.fromarray(faces), (MARGIN, top))
    return np.asarray(canvas)


def _fitted(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return as much of a text as is not wider than so many pixels."""
    shown = printable(text)
    while font.getlength(shown) > width:
        shown = shown.removesuffix("…")[:-1] + "…"
    return shown
