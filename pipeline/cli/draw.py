"""Pictures from a trained generator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import paths
from pipeline.errors import StageError
from pipeline.faults import faults
from pipeline.limits import LARGEST_SEED, LARGEST_TRUNCATION
from pipeline.registered import weights_file

if TYPE_CHECKING:
    from pipeline.dcgan.networks import Generator
    from pipeline.faces import Faces

BATCH_SIZE, FRAME_MS = 64, 80
MOST_FACES = 1_000_000
MOST_PIXELS = 65_535  # a side of a GIF, or of VP9's frames

Weights = Annotated[
    str,
    typer.Option(
        metavar="FILE_OR_URI",
        help="The generator, as the train stage writes it, or one of MLflow's registry: models:/anime-dcgan@champion, "
        "models:/anime-dcgan/3.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Other faces for another seed.")]
Truncation = Annotated[
    float,
    typer.Option(min=0.0, max=LARGEST_TRUNCATION, help="Multiplies the noise: below 1 less varied, more typical."),
]


def generate(
    out: Annotated[
        Path, typer.Argument(help="A .png file takes all faces as a grid, a folder one file a face.")
    ] = Path("generated.png"),
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=MOST_FACES, help="How many faces.")] = 64,
    columns: Annotated[int, typer.Option(min=1, help="Faces in a row of the grid.")] = 8,
    seed: Seed = 0,
    truncation: Truncation = 1.0,
    weights: Weights = str(paths.GENERATOR),
) -> None:
    """Draw new faces."""
    if out.suffix not in (".png", ""):
        raise typer.BadParameter("must be a .png file or a folder", param_hint="OUT")
    import numpy as np
    import torch
    from tqdm import tqdm

    from pipeline.dcgan.sampling import generate as pictures_of
    from pipeline.dcgan.sampling import sample_noise
    from pipeline.reports.grids import grid, write_png

    with faults():
        netG = _open(weights)
        of_grid: list[Faces] = []
        digits = len(str(count - 1))
        with tqdm(total=count, desc="generate", unit="img", delay=1) as bar:
            for noise in torch.split(sample_noise(count, netG.nz, seed) * truncation, BATCH_SIZE):
                faces = pictures_of(netG, noise, BATCH_SIZE)
                if out.suffix:
                    of_grid.append(faces)
                else:
                    for number, face in enumerate(faces, bar.n):
                        write_png(np.broadcast_to(face, (*face.shape[:2], 3)), out / f"{number:0{digits}}.png")
                bar.update(len(faces))
        if of_grid:
            write_png(grid(np.concatenate(of_grid), columns), out)
    others = len(list(out.iterdir())) - count if not out.suffix else 0
    typer.echo(f"{count} faces: {out}" + (f", beside {others} older files" if others else ""))


def interpolate(
    out: Annotated[Path, typer.Argument(help="The .png file.")] = Path("interpolation.png"),
    rows: Annotated[int, typer.Option(min=1, max=MOST_FACES, help="How many pairs of faces.")] = 8,
    steps: Annotated[int, typer.Option(min=2, help="Faces in a row, the pair included.")] = 8,
    seed: Seed = 0,
    truncation: Truncation = 1.0,
    weights: Weights = str(paths.GENERATOR),
) -> None:
    """Draw the faces between pairs of faces, a row a pair."""
    if out.suffix != ".png":
        raise typer.BadParameter("must be a .png file", param_hint="OUT")
    _require_few(rows * steps)
    import torch

    from pipeline.dcgan.interpolation import interpolate as noise_between
    from pipeline.dcgan.sampling import generate as pictures_of
    from pipeline.dcgan.sampling import sample_noise
    from pipeline.reports.grids import grid, write_png

    with faults():
        netG = _open(weights)
        start, end = torch.split(sample_noise(2 * rows, netG.nz, seed) * truncation, rows)
        faces = pictures_of(netG, noise_between(start, end, steps), BATCH_SIZE)
        write_png(grid(faces, steps), out)
    typer.echo(f"{rows} rows of {steps} faces: {out}")


def walk(
    out: Annotated[Path, typer.Argument(help="The .gif or .mp4 file.")] = Path("walk.gif"),
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=MOST_FACES, help="How many faces walk side by side.")
    ] = 16,
    columns: Annotated[int, typer.Option(min=1, help="Faces in a row.")] = 4,
    stops: Annotated[int, typer.Option(min=2, help="Faces that each one passes before it is back at the first.")] = 4,
    steps: Annotated[int, typer.Option(min=2, help="Frames from one stop to the next.")] = 12,
    seed: Seed = 0,
    truncation: Truncation = 1.0,
    weights: Weights = str(paths.GENERATOR),
) -> None:
    """Draw faces that turn into others and back again, as a film that ends as it begins; a GIF repeats it."""
    if out.suffix not in (".gif", ".mp4"):
        raise typer.BadParameter("must be a .gif or .mp4 file", param_hint="OUT")
    _require_few(count * stops * steps)
    from pipeline.dcgan.interpolation import interpolate as noise_between
    from pipeline.dcgan.sampling import generate as pictures_of
    from pipeline.dcgan.sampling import sample_noise
    from pipeline.reports.grids import grid, write_gif
    from pipeline.reports.video import write_mp4

    with faults():
        netG = _open(weights)
        places = (sample_noise(stops * count, netG.nz, seed) * truncation).view(stops, count, netG.nz, 1, 1)
        legs = noise_between(places.flatten(0, 1), places.roll(-1, 0).flatten(0, 1), steps + 1)
        # Each leg ends where the next one begins.
        noise = legs.view(stops, count, steps + 1, netG.nz, 1, 1)[:, :, :-1].transpose(1, 2).flatten(0, 2)
        if max(grid(pictures_of(netG, noise[:count], BATCH_SIZE), columns).shape) > MOST_PIXELS:
            raise StageError(f"a film has at most {MOST_PIXELS:,} pixels a side; take fewer faces or other columns")
        faces = pictures_of(netG, noise, BATCH_SIZE)
        frames = [grid(faces[at : at + count], columns) for at in range(0, len(faces), count)]
        (write_gif if out.suffix == ".gif" else write_mp4)(frames, out, FRAME_MS)
    typer.echo(f"{len(frames)} frames of {count} faces: {out}")


def _require_few(faces: int) -> None:
    if faces > MOST_FACES:
        raise typer.BadParameter(f"{faces:,} faces in all, and at most {MOST_FACES:,} are drawn")


def _open(weights: str) -> Generator:
    import torch

    from pipeline.dcgan.sampling import load_generator

    with weights_file(weights) as file:
        return load_generator(file, torch.device("cpu"))
