"""What a study found: a table, the same figures as JSON, and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

from pipeline.atomic import whole_file, write_json
from pipeline.paired import Interval, mean_interval, share_interval, smallest_detectable, standard_error

RAW, CLEANED, PRISTINE = "raw", "cleaned", "pristine"

WITHOUT = "no-"  # begins the name of an arm that lacks a part of the filter

RULERS = ("pristine", "raw")
TOLD = ("in %", "detectable")  # of a difference

ABOUT = """# Does cleaning help?

Small DCGANs trained by `dcgan study cleaning` on the built-in faces: *raw*, every readable file as it is; *cleaned*,
through the filter; *pristine*, the same faces where nothing was damaged; and *no-…*, cleaned without that part of the
filter. All arms of a level have the same seeds and are shown as many images as whole epochs allow (kimg, thousands).

KID×1000, less is better, is against the undamaged originals of the holdout, the same file for all arms, and against the
holdout as it was crawled, for the arms that have it. ± is the standard error over the seeds. *Minus raw* is the mean of
the paired differences to raw and its 95 % interval, mean ± t(0.975, n - 1) · s / √n; *in %* is the same for each pair's
difference in per cent. What a part of the filter does is told by *minus cleaned*: differences to raw hold its luck too.
*Detectable* is the smallest true difference that a paired t test (5 %, two-sided) of so many pairs finds with power
80 %: the δ with P(T > t(0.975, n - 1)) = 0.8, where T follows the noncentral t distribution with n - 1 degrees of
freedom and noncentrality δ · √n / s, s being the standard deviation of the differences found here.

The seeds are those of training; the faces and their damage are the same for all. So the intervals hold the luck of
training, not that of other faces. Each interval is one of its own: of many arms one in twenty is off by chance, and by
few seeds *detectable* is itself known to within a factor of two or more."""


@dataclass(frozen=True)
class Arm:
    """One way to prepare the images, and what trainings on them came to."""

    name: str
    faces: int  # trained on
    outcomes: Mapping[int, Mapping[str, float]]  # by seed: kimg, and KID×1000 by ruler

    def values(self, figure: str, seeds: Sequence[int]) -> list[float]:
        """Return a figure of each of these seeds."""
        return [self.outcomes[seed][figure] for seed in seeds]


@dataclass(frozen=True)
class Level:
    """All arms at one level of dirt."""

    dirt: float  # the share of the images that is damaged or copied
    arms: Sequence[Arm]

    def arm(self, name: str) -> Arm | None:
        """Return the arm of that name, where it has outcomes."""
        return next((arm for arm in self.arms if arm.name == name and arm.outcomes), None)


def shared_seeds(*arms: Arm) -> list[int]:
    """Return the seeds that all arms have: a training that failed takes its pair with it."""
    return sorted(set.intersection(*(set(arm.outcomes) for arm in arms)))


def differences(arm: Arm, other: Arm, ruler: str) -> list[float]:
    """Return arm - other of each seed that both have, in KID×1000."""
    seeds = shared_seeds(arm, other)
    return [a - b for a, b in zip(arm.values(ruler, seeds), other.values(ruler, seeds), strict=True)]


def percentages(arm: Arm, other: Arm, ruler: str) -> list[float]:
    """Return what each seed's difference is in per cent of the other's figure; none where one of these is not above 0.

    KID, which is unbiased, may be 0 or less of a generator as good as real faces.
    """
    seeds = shared_seeds(arm, other)
    whole = other.values(ruler, seeds)
    if min(whole) <= 0:
        return []
    return [100 * (a / b - 1) for a, b in zip(arm.values(ruler, seeds), whole, strict=True)]


def comparison(arm: Arm, other: Arm, ruler: str) -> dict[str, Any] | None:
    """Return how an arm differs from another, by pairs; None with fewer than two, or without that ruler."""
    seeds = shared_seeds(arm, other)
    if arm is other or len(seeds) < 2 or any(ruler not in arm.outcomes[seed] for seed in seeds):
        return None
    found, shares = differences(arm, other, ruler), percentages(arm, other, ruler)
    return {
        "pairs": len(found),
        "difference": mean_interval(found),
        "per_cent": mean_interval(shares) if shares else None,
        "smallest_detectable": smallest_detectable(found),
    }


def closed_gap(level: Level) -> Interval | str | None:
    """Return the share of the way from raw to pristine that cleaning makes up, by the pristine ruler.

    Or why there is none to tell; None with fewer than two seeds that all three have.
    """
    raw, cleaned, pristine = (level.arm(name) for name in (RAW, CLEANED, PRISTINE))
    if raw is None or cleaned is None or pristine is None:
        return None
    seeds = shared_seeds(raw, cleaned, pristine)
    if len(seeds) < 2:
        return None
    start, middle, end = (arm.values("pristine", seeds) for arm in (raw, cleaned, pristine))
    gained, possible = ([a - b for a, b in zip(start, other, strict=True)] for other in (middle, end))
    if mean_interval(possible).high < 0:
        return "pristine came out worse than raw"
    return share_interval(gained, possible) or "that there is a gap at all is within chance"


def as_json(levels: Sequence[Level], settings: Mapping[str, str], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return all figures, for programs; settings: what all trainings had in the place of these params."""
    return {"settings": dict(settings), "params": dict(params), "levels": [_level_json(level) for level in levels]}


def _level_json(level: Level) -> dict[str, Any]:
    arms: dict[str, Any] = {}
    for arm in level.arms:
        outcomes = {str(seed): dict(outcome) for seed, outcome in sorted(arm.outcomes.items())}
        arms[arm.name] = {"faces": arm.faces, "outcomes": outcomes}
        for other, ruler in product((RAW, CLEANED) if arm.name.startswith(WITHOUT) else (RAW,), RULERS):
            if found := _compared(level, arm, other, ruler):
                arms[arm.name][f"to_{other}_by_{ruler}"] = {
                    key: value._asdict() if isinstance(value, Interval) else value for key, value in found.items()
                }
    share = closed_gap(level)
    return {"dirt": level.dirt, "gap_closed": share._asdict() if isinstance(share, Interval) else share, "arms": arms}


def _compared(level: Level, arm: Arm, other: str, ruler: str) -> dict[str, Any] | None:
    """Return the comparison of an arm with another one of its level, None where there is none."""
    against = level.arm(other)
    return comparison(arm, against, ruler) if against and arm.outcomes else None


def markdown(levels: Sequence[Level], settings: Mapping[str, str]) -> str:
    """Return the study as a page: what was done, and for each level a table and what follows from it."""
    told = ", ".join(f"`{key}={value}`" for key, value in settings.items())
    lines = [ABOUT, "", f"Settings: {told}. The others are those of `params.yaml` as it was, which `study.json` holds."]
    for level in levels:
        lines += ["", *level_page(level)]
    return "\n".join(lines) + "\n"


def level_page(level: Level) -> list[str]:
    """Return the lines of a level's part of the page."""
    heading = f"## {level.dirt:.0%} of the images damaged or copied"
    return [heading, "", *_table(level), "", *_conclusions(level), *_parts(level)]


def _table(level: Level) -> list[str]:
    headings = ["arm", "trained on", "kimg", "seeds", "KID×1000, pristine", "raw ruler", "minus raw", *TOLD]
    rows = []
    for arm in level.arms:
        seeds = sorted(arm.outcomes)
        rows.append(
            [
                *(arm.name, f"{arm.faces} faces"),
                f"{mean(arm.values('kimg', seeds)):.1f}" if seeds else "–",
                str(len(seeds)),
                *(_mean(arm, ruler) for ruler in RULERS),
                *_differences(_compared(level, arm, RAW, "pristine")),
            ]
        )
    return _lines(headings, rows)


def _parts(level: Level) -> list[str]:
    """Return the lines on the arms without a part of the filter: how they differ from the whole of it."""
    without = [arm for arm in level.arms if arm.name.startswith(WITHOUT)]
    rows = [[arm.name, *_differences(_compared(level, arm, CLEANED, "pristine"))] for arm in without]
    return ["", *_lines(["arm", "minus cleaned", *TOLD], rows)] if without else []


def _lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (headings, ["---"] * len(headings), *rows)]


def _differences(found: Mapping[str, Any] | None) -> list[str]:
    """Return the cells of a comparison: the difference, in per cent, and what could be detected."""
    if not found:
        return ["–"] * 3
    return [
        _interval(found["difference"], 1),
        _interval(found["per_cent"], 1) if found["per_cent"] else "–",
        f"{found['smallest_detectable']:.1f}",
    ]


def _mean(arm: Arm, ruler: str) -> str:
    """Return mean ± standard error of a figure, a dash where there is none."""
    values = [outcome[ruler] for outcome in arm.outcomes.values() if ruler in outcome]
    if not values:
        return "–"
    return f"{mean(values):.1f}" + (f" ± {standard_error(values):.1f}" if len(values) > 1 else "")


def _interval(interval: Interval, digits: int) -> str:
    return f"{interval.value:+.{digits}f} ({interval.low:+.{digits}f} … {interval.high:+.{digits}f})"


def _conclusions(level: Level) -> list[str]:
    raw, cleaned = level.arm(RAW), level.arm(CLEANED)
    if raw is None or cleaned is None:
        return ["Raw or cleaned is missing: of whether cleaning helps nothing follows."]
    lines = []
    for ruler, named in (("pristine", "the undamaged holdout"), ("raw", "the holdout as it was crawled")):
        if found := comparison(cleaned, raw, ruler):
            lines.append(f"- Against {named}, {_verdict(found)}.")
    share = closed_gap(level)
    if isinstance(share, Interval):
        lines.append(
            f"- Cleaning closes {share.value:.0%} ({share.low:.0%} … {share.high:.0%}) of the gap from raw to pristine."
        )
    elif share:
        lines.append(f"- What share of the gap from raw to pristine cleaning closes can't be told: {share}.")
    if not lines:
        return ["Fewer than two pairs: nothing follows."]
    if len({frozenset(arm.outcomes) for arm in level.arms}) > 1:
        lines.append(
            "- Not all arms have all seeds: a mean is over its arm's own, *minus raw* over those that both have."
        )
    shown = [outcome["kimg"] for arm in level.arms for outcome in arm.outcomes.values()]
    return [*lines, f"- The images shown differ by {max(shown) / min(shown) - 1:.1%} at most."]


def _verdict(found: Mapping[str, Any]) -> str:
    difference, per_cent = found["difference"], found["per_cent"]
    amount = f"KID×1000 by {_interval(difference, 1)}" + (f", {_interval(per_cent, 1)} %" if per_cent else "")
    if difference.high < 0:
        return f"cleaning helped: {amount}"
    if difference.low > 0:
        return f"cleaning made it worse: {amount}"
    return (
        f"no effect of cleaning is shown: {amount}. By the spread of these {found['pairs']} pairs, a true one of "
        f"{found['smallest_detectable']:.1f} would be found four times in five, a smaller one less often"
    )


def study_plot(levels: Sequence[Level], path: Path) -> None:
    """Draw KID×1000 against the pristine holdout: a thin line a seed, the mean of each arm with its 95 % interval."""
    figure = Figure(
        figsize=(max(4.5, 1.3 * max(len(level.arms) for level in levels)) * len(levels), 4), layout="constrained"
    )
    for axes, level in zip(figure.subplots(1, len(levels), sharey=True, squeeze=False)[0], levels, strict=True):
        arms = [arm for arm in level.arms if arm.outcomes]
        for seed in sorted({seed for arm in arms for seed in arm.outcomes}):
            points = [(at, arm.outcomes[seed]["pristine"]) for at, arm in enumerate(arms) if seed in arm.outcomes]
            axes.plot(*zip(*points, strict=True), color="0.75", linewidth=0.8, marker=".", zorder=1)
        for at, arm in enumerate(arms):
            values = arm.values("pristine", sorted(arm.outcomes))
            reach = mean_interval(values).high - mean(values) if len(values) > 1 else 0.0
            axes.errorbar(at, mean(values), reach, fmt="o", capsize=4, color="C0", zorder=2)
        axes.set_xticks(range(len(arms)), [arm.name for arm in arms])
        axes.set_title(f"{level.dirt:.0%} dirt")
        axes.grid(axis="y", alpha=0.3)
    figure.axes[0].set_ylabel(
        "KID×1000, pristine holdout (lower is better):\neach seed; the mean and its 95 % interval"
    )
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=100)


def write_study(levels: Sequence[Level], settings: Mapping[str, str], params: Mapping[str, Any], folder: Path) -> str:
    """Write study.md, study.json and study.png into a folder; return the page's tables and conclusions."""
    page = markdown(levels, settings)
    with whole_file(folder / "study.md") as temporary:
        temporary.write_text(page, encoding="utf-8")
    write_json(folder / "study.json", as_json(levels, settings, params))
    study_plot(levels, folder / "study.png")
    return page
