"""Studies: settings compared over several seeds."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.errors import StageError
from pipeline.faults import faults


def cleaning(
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer seeds and shorter: under 15 minutes on two cores.")
    ] = False,
    long: Annotated[
        bool, typer.Option("--long", help="With the filter's parts left out in turn, and less dirt.")
    ] = False,
    arm: Annotated[
        list[str] | None, typer.Option(help="Only these of raw, cleaned, pristine, no-repair, no-dedup, no-blur.")
    ] = None,
    dirt: Annotated[
        list[float] | None, typer.Option(help="Multiplies the recipe's dirt; give it twice for two.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="Trainings of each arm.")] = None,
    kimg: Annotated[float | None, typer.Option(min=0.1, max=1e6, help="Thousand images shown in each.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set-param", "-S", help="KEY=VALUE in all arms, as dvc takes it.")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Trainings side by side, which share the cores.")
    ] = 2,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder for study.md, .json and .png.", show_default="docs; out where it is not the whole"
        ),
    ] = None,
) -> None:
    """Does cleaning help? Train on the built-in faces raw, cleaned and undamaged; what is there is not run again."""
    if quick and long:
        raise typer.BadParameter("is the opposite of --long", param_hint="--quick")
    from pipeline.params import flatten, read_yaml
    from pipeline.reports.study import write_study
    from pipeline.study import FULL, LONG, QUICK, RECIPE, run_study

    form = QUICK if quick else LONG if long else FULL
    form = replace(
        form,
        arms=list(dict.fromkeys(arm or form.arms)),
        dirt=list(dict.fromkeys(dirt or form.dirt)),
        seeds=seeds or form.seeds,
        kimg=kimg or form.kimg,
        settings={**form.settings, **dict(_key_value(each) for each in setting or [])},
        folder=out or (Path("out") if arm or dirt or seeds or kimg or setting else form.folder),
    )
    # The experiments are ended as Ctrl-C would, which is ignored by what a shell starts in the background, and by its
    # children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with faults():
        form.folder.mkdir(parents=True, exist_ok=True)  # or the fault comes now, and not after an hour
        recipe = {f"{RECIPE}:{key}": value for key, value in flatten(read_yaml(RECIPE)).items()}
        params = flatten(read_yaml(paths.PARAMS)) | recipe  # which may be edited meanwhile
        levels, failures = run_study(form, jobs, typer.echo)
        if any(one.outcomes for level in levels for one in level.arms):
            folder = form.folder if out or not failures else Path("out")  # docs/ is for a whole one
            typer.echo("\n" + write_study(levels, form.settings, params, folder))
            typer.echo(f"{folder}/study.md, study.json, study.png")
        if failures:
            raise StageError("\n  ".join([f"{len(failures)} failed; the same command tries them again:", *failures]))


def _key_value(setting: str) -> tuple[str, str]:
    key, equals, value = setting.partition("=")
    if not (key and equals):
        raise typer.BadParameter(f"{setting!r} is not KEY=VALUE", param_hint="--set-param")
    return key, value
