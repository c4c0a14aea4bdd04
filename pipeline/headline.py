"""Which figures of a stage's metrics file the invocation's run shows, where experiments are compared."""

from __future__ import annotations

from collections.abc import Mapping

COUNTING = ("crawl-import", "filter", "resize")
OF_TRAINING = ("kimg", "img_per_s", "lossD", "lossG")
RATES = frozenset({"img_per_s", "seconds"})


def headline(stage: str, figures: Mapping[str, float]) -> dict[str, float]:
    """Return what a stage's figures are called in its invocation's run; evaluate logs its own there.

    `filter/kept` and their like are counts; `kept_share` is what the filter kept of all images, 0 to 1.
    """
    if stage == "train":
        return {name: figures[name] for name in OF_TRAINING if name in figures}
    if stage not in COUNTING:
        return {}
    shown = {f"{stage}/{name}": value for name, value in figures.items() if name not in RATES}
    if stage == "filter" and figures.get("input"):
        shown["kept_share"] = round(figures["kept"] / figures["input"], 4)
    return shown
