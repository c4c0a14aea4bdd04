"""What the filter did to an image, and images that are to go or to be damaged."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.faults import faults


def explain(
    image: Annotated[
        str,
        typer.Argument(help="Its path, URL, file name, id or the start of its id (6 characters or more), or train:17."),
    ],
) -> None:
    """Tell why the filter dropped, repaired or kept an image, and which page a crawled one came from."""
    from pipeline.params import load_params
    from pipeline.reports.explain import MOST, changes, find_images, row_of_face
    from pipeline.reports.explain import explain as explanation_of
    from pipeline.verdicts import read_verdicts

    with faults():
        now = load_params().filter
        verdicts, used = read_verdicts(paths.VERDICTS, now)
        found = find_images(verdicts, row_of_face(paths.FACES, image))
        texts = [explanation_of(verdict, verdicts, paths.RAW, used or now) for verdict in found[:MOST]]
    typer.echo("\n\n".join(texts))
    if len(found) > MOST:
        typer.echo(f"\nand {len(found) - MOST} more; give a path or an id")
    if used is None:
        typer.echo(
            f"\nThe thresholds are those of {paths.PARAMS}: {paths.VERDICTS} does not say which it was made with."
        )
    elif used != now:
        typer.echo(f"\nThe thresholds are those that the verdict was made with. {paths.PARAMS} has changed since:")
        typer.echo("\n".join(f"  {change}" for change in changes(used, now)))


def forget(
    names: Annotated[list[str], typer.Argument(metavar="URL_OR_ID...", help="URLs, or ids of 64 digits.")],
) -> None:
    """Take images out for good, and tell which models have seen them and where copies are left."""
    from pipeline.forget import forget as forgotten

    with faults():
        typer.echo(forgotten(names))


def soil(
    folder: Annotated[Path, typer.Argument(help="Clean pictures, at any depth.")],
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Which part of them is damaged or copied.")] = 0.4,
    seed: Annotated[int, typer.Option(min=0, help="Other damage for another seed.")] = 0,
) -> None:
    """Damage some of your own pictures in known ways, to see how well the filter tells."""
    from pipeline.params import load_params
    from pipeline.soil import soil as soiled_set

    with faults():
        labels = soiled_set(folder, out, share, seed, load_params().crawl)
    kinds = [label.kind for label in labels if label.file]
    damaged, skipped = len(kinds) - kinds.count("clean"), len(labels) - len(kinds)
    typer.echo(
        f"{len(kinds)} pictures, {damaged} damaged or copied, {skipped} files skipped: {out}; "
        f"now run python -m benchmarks.filter_quality {shlex.quote(str(out))}"
    )
