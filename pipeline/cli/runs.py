"""Past runs: their list, two side by side, and the best one, served."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from pipeline.faults import faults

Result = typer.Argument(
    metavar="REV_OR_RUN",
    help="A commit, branch, tag, DVC experiment or `workspace`; or an MLflow run's name, id or the start of its id.",
)


def runs(
    most: Annotated[int, typer.Option("--most", "-n", min=1, max=50_000, help="How many, the newest first.")] = 20,
) -> None:
    """List what was run: stages, figures, and the settings that differ; * marks the run whose results are here now."""
    from pipeline.runs import past_invocations, table

    with faults():
        found = past_invocations(most)
    typer.echo(table(found) if found else "nothing was run yet; run 'dvc repro'")


def compare(
    left: Annotated[str, Result],
    right: Annotated[str, Result],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .png file, both grids from the same noise.")] = Path(
        "compare.png"
    ),
) -> None:
    """Set two runs side by side: settings, figures with their errors, and the faces that they draw."""
    if out.suffix != ".png":
        raise typer.BadParameter("must be a .png file", param_hint="--out")
    from pipeline import compare as comparison
    from pipeline.reports.grids import write_png
    from pipeline.results import find_results

    with faults(), TemporaryDirectory() as folder:
        sides = [find_results(name, Path(folder) / str(at)) for at, name in enumerate((left, right))]
        typer.echo(comparison.told(*sides))
        pixels, says = comparison.picture(*sides)
        write_png(pixels, out)
    typer.echo(f"{says}: {out}")


def promote(
    run: Annotated[str, typer.Argument(help="An MLflow run's name, id or the start of its id; `dcgan runs` has them.")],
    most_faces: Annotated[int, typer.Option(min=1, help="What one request to the served model may ask for.")] = 256,
) -> None:
    """Make a run's generator the champion that MLflow serves, if its KID beats the champion's beyond the error."""
    from pipeline.registry import promote as made_champion

    with faults():
        says = made_champion(run, most_faces)
    typer.echo(says)


def serve(
    model: Annotated[
        str, typer.Argument(metavar="URI", help="A model of MLflow's registry: models:/anime-dcgan/3.")
    ] = "models:/anime-dcgan@champion",
    host: Annotated[str, typer.Option(help="0.0.0.0 for all who reach this machine; it knows no users.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5001,
) -> None:
    """Answer HTTP requests for faces of a registered generator, until Ctrl-C."""
    from pipeline.server import serve as answer

    with faults():
        answer(model, host, port)
