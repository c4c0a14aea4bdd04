"""The command `dcgan`: pictures from a trained generator, weights in and out, past runs, and what the filter does."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer

from pipeline import paths
from pipeline.dcgan.interpolation import interpolate as noise_between
from pipeline.dcgan.networks import Generator
from pipeline.dcgan.sampling import generate as pictures_of
from pipeline.dcgan.sampling import load_generator, sample_noise
from pipeline.dcgan.travel import metadata_of, network_of, read_state_dict, write_state_dict
from pipeline.dcgan.weights import read_weights, save_weights
from pipeline.errors import ParamsError, StageError
from pipeline.forget import forget as forgotten
from pipeline.onnx_export import export_onnx as write_onnx
from pipeline.params import load_params
from pipeline.reports.explain import MOST, changes, find_images, row_of_face
from pipeline.reports.explain import explain as explanation_of
from pipeline.reports.grids import grid, write_gif, write_png
from pipeline.reports.study import write_study
from pipeline.results import find_results
from pipeline.runs import past_invocations, table
from pipeline.soil import soil as soiled_set
from pipeline.study import ARMS, FULL, LONG, QUICK, run_study
from pipeline.verdicts import read_verdicts

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
studies = typer.Typer(no_args_is_help=True, help="Compare settings over several seeds, and say what is chance.")
app.add_typer(studies, name="study")

BATCH_SIZE, FRAME_MS = 64, 80

Weights = Annotated[Path, typer.Option(help="The generator, as the train stage writes it.")]
Seed = Annotated[int, typer.Option(min=0, help="Other faces for another seed.")]
Result = typer.Argument(
    metavar="REV_OR_RUN",
    help="A commit, branch, tag, DVC experiment or `workspace`; or an MLflow run's name, id or the start of its id.",
)
Truncation = Annotated[float, typer.Option(min=0.0, help="Multiplies the noise: below 1 less varied, more typical.")]


@app.command()
def generate(
    out: Annotated[Path, typer.Option(help="A .png file takes all faces as a grid, a folder one file a face.")] = Path(
        "generated.png"
    ),
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many faces.")] = 64,
    columns: Annotated[int, typer.Option(min=1, help="Faces in a row of the grid.")] = 8,
    seed: Seed = 0,
    truncation: Truncation = 1.0,
    weights: Weights = paths.GENERATOR,
) -> None:
    """Draw new faces."""
    if out.suffix not in (".png", ""):
        raise typer.BadParameter("must be a .png file or a folder", param_hint="--out")
    netG = _open(weights)
    faces = pictures_of(netG, sample_noise(count, netG.nz, seed) * truncation, BATCH_SIZE)
    if out.suffix:
        write_png(grid(faces, columns), out)
    else:
        digits = len(str(count - 1))
        for number, face in enumerate(faces):
            write_png(np.broadcast_to(face, (*face.shape[:2], 3)), out / f"{number:0{digits}}.png")
    typer.echo(f"{count} faces: {out}")


@app.command()
def interpolate(
    out: Annotated[Path, typer.Option(help="The .png file.")] = Path("interpolation.png"),
    rows: Annotated[int, typer.Option(min=1, help="How many pairs of faces.")] = 8,
    steps: Annotated[int, typer.Option(min=2, help="Faces in a row, the pair included.")] = 8,
    seed: Seed = 0,
    truncation: Truncation = 1.0,
    weights: Weights = paths.GENERATOR,
) -> None:
    """Draw the faces between pairs of faces, a row a pair."""
    if out.suffix != ".png":
        raise typer.BadParameter("must be a .png file", param_hint="--out")
    netG = _open(weights)
    start, end = torch.split(sample_noise(2 * rows, netG.nz, seed) * truncation, rows)
    write_png(grid(pictures_of(netG, noise_between(start, end, steps), BATCH_SIZE), steps), out)
    typer.echo(f"{rows} rows of {steps} faces: {out}")


@app.command()
def walk(
    out: Annotated[Path, typer.Option(help="The .gif file.")] = Path("walk.gif"),
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many faces walk side by side.")] = 16,
    columns: Annotated[int, typer.Option(min=1, help="Faces in a row.")] = 4,
    stops: Annotated[int, typer.Option(min=2, help="Faces that each one passes before it is back at the first.")] = 4,
    steps: Annotated[int, typer.Option(min=2, help="Frames from one stop to the next.")] = 12,
    seed: Seed = 0,
    truncation: Truncation = 1.0,
    weights: Weights = paths.GENERATOR,
) -> None:
    """Draw faces that turn into others and back again, as an endless film."""
    if out.suffix != ".gif":
        raise typer.BadParameter("must be a .gif file", param_hint="--out")
    netG = _open(weights)
    places = (sample_noise(stops * count, netG.nz, seed) * truncation).view(stops, count, netG.nz, 1, 1)
    legs = noise_between(places.flatten(0, 1), places.roll(-1, 0).flatten(0, 1), steps + 1)
    # Each leg ends where the next one begins.
    noise = legs.view(stops, count, steps + 1, netG.nz, 1, 1)[:, :, :-1].transpose(1, 2).flatten(0, 2)
    faces = pictures_of(netG, noise, BATCH_SIZE)
    frames = [grid(faces[at : at + count], columns) for at in range(0, len(faces), count)]
    write_gif(frames, out, FRAME_MS)
    typer.echo(f"{len(frames)} frames of {count} faces: {out}")


@app.command()
def import_weights(
    file: Annotated[Path, typer.Argument(help="A state dict of the DCGAN tutorial's netG or netD, a .pth file.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The safetensors file.", show_default=f"{paths.GENERATOR} or {paths.DISCRIMINATOR}"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Take weights over from PyTorch's DCGAN tutorial."""
    with _faults():
        net = network_of(read_state_dict(file), file)
        place = out or (paths.GENERATOR if isinstance(net, Generator) else paths.DISCRIMINATOR)
        if place.exists() and not force:
            raise StageError(f"{place} is there already; --force replaces it")
        metadata = metadata_of(net)
        save_weights(place, net, metadata)
    typer.echo(f"{type(net).__name__}, {', '.join(f'{key} {value}' for key, value in metadata.items())}: {place}")


@app.command()
def export_weights(
    out: Annotated[Path, typer.Option(help="The .pth file.")],
    weights: Annotated[Path, typer.Option(help="The network, as the train stage writes it.")] = paths.GENERATOR,
) -> None:
    """Write weights as a state dict that PyTorch's DCGAN tutorial loads."""
    with _faults():
        net = network_of(read_weights(weights)[0], weights)
        write_state_dict(out, net)
    typer.echo(f"{type(net).__name__}: {out}")


@app.command()
def export_onnx(
    out: Annotated[Path, typer.Option(help="The .onnx file.")],
    weights: Weights = paths.GENERATOR,
) -> None:
    """Write the generator as an ONNX model: noise (N, nz, 1, 1) from N(0, 1) to images in [-1, 1]."""
    if out.suffix != ".onnx":
        raise typer.BadParameter("must be a .onnx file", param_hint="--out")
    netG = _open(weights)
    write_onnx(netG, read_weights(weights)[1], out)
    shape = f"(N, {netG.nc}, {netG.image_size}, {netG.image_size})"
    typer.echo(f"noise (N, {netG.nz}, 1, 1) to images {shape}: {out}")


@app.command()
def explain(
    image: Annotated[
        str,
        typer.Argument(help="Its path, URL, file name, id or the start of its id (6 characters or more), or train:17."),
    ],
) -> None:
    """Tell why the filter dropped, repaired or kept an image, and which page a crawled one came from."""
    with _faults():
        verdicts, used = read_verdicts(paths.VERDICTS)
        found = find_images(verdicts, row_of_face(paths.FACES, image))
        now = load_params().filter
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


@app.command()
def forget(
    names: Annotated[list[str], typer.Argument(metavar="URL_OR_ID...", help="URLs, or ids of 64 digits.")],
) -> None:
    """Take images out for good, and tell which models have seen them and where copies are left."""
    with _faults():
        typer.echo(forgotten(names))


@app.command()
def runs(most: Annotated[int, typer.Option("--most", "-n", min=1, help="How many, the newest first.")] = 20) -> None:
    """List what was run: stages, figures, and the settings that differ; * marks the run whose results are here now."""
    with _faults():
        found = past_invocations(most)
    typer.echo(table(found) if found else "nothing was run yet; run 'dvc repro'")


@app.command()
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
    from pipeline import compare as comparison  # with the networks of the metrics it takes seconds to import

    with _faults(), TemporaryDirectory() as folder:
        sides = [find_results(name, Path(folder) / str(at)) for at, name in enumerate((left, right))]
        typer.echo(comparison.told(*sides))
        pixels, says = comparison.picture(*sides)
        write_png(pixels, out)
    typer.echo(f"{says}: {out}")


@app.command()
def promote(
    run: Annotated[str, typer.Argument(help="An MLflow run's name, id or the start of its id; `dcgan runs` has them.")],
    most_faces: Annotated[int, typer.Option(min=1, help="What one request to the served model may ask for.")] = 256,
) -> None:
    """Make a run's generator the champion that MLflow serves, if its KID beats the champion's beyond the error."""
    from pipeline.registry import promote as made_champion  # as for compare

    with _faults():
        says = made_champion(run, most_faces)
    typer.echo(says)


@app.command()
def soil(
    folder: Annotated[Path, typer.Argument(help="Clean pictures, at any depth.")],
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Which part of them is damaged or copied.")] = 0.4,
    seed: Annotated[int, typer.Option(min=0, help="Other damage for another seed.")] = 0,
) -> None:
    """Damage some of your own pictures in known ways, to see how well the filter tells."""
    with _faults():
        labels = soiled_set(folder, out, share, seed, load_params().crawl)
    kinds = [label.kind for label in labels if label.file]
    damaged, skipped = len(kinds) - kinds.count("clean"), len(labels) - len(kinds)
    typer.echo(
        f"{len(kinds)} pictures, {damaged} damaged, {skipped} files skipped: {out}; "
        f"now run python -m benchmarks.filter_quality {shlex.quote(str(out))}"
    )


@studies.command()
def cleaning(
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer seeds and shorter: under 15 minutes on two cores.")
    ] = False,
    long: Annotated[
        bool, typer.Option("--long", help="With the filter's parts left out in turn, and less dirt.")
    ] = False,
    arm: Annotated[list[str] | None, typer.Option(help=f"Only these of {', '.join(ARMS)}.")] = None,
    dirt: Annotated[
        list[float] | None, typer.Option(help="Multiplies the recipe's dirt; give it twice for two.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="Trainings of each arm.")] = None,
    kimg: Annotated[float | None, typer.Option(min=0.1, help="Thousand images shown in each.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set-param", "-S", help="KEY=VALUE in all arms, as dvc takes it.")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Trainings side by side, which share the cores.")
    ] = 2,
    out: Annotated[
        Path | None, typer.Option(help="The folder for study.md, .json and .png.", show_default="docs; --quick: out")
    ] = None,
) -> None:
    """Does cleaning help? Train on the built-in faces raw, cleaned and undamaged; what is there is not run again."""
    if quick and long:
        raise typer.BadParameter("is the opposite of --long", param_hint="--quick")
    form = QUICK if quick else LONG if long else FULL
    form = replace(
        form,
        arms=list(dict.fromkeys(arm or form.arms)),
        dirt=list(dict.fromkeys(dirt or form.dirt)),
        seeds=seeds or form.seeds,
        kimg=kimg or form.kimg,
        settings={**form.settings, **dict(_key_value(each) for each in setting or [])},
        folder=out or form.folder,
    )
    signal.signal(signal.SIGTERM, lambda signum, _: sys.exit(128 + signum))  # so that the experiments are ended too
    # They are ended as Ctrl-C would, which is ignored by what a shell starts in the background, and by its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with _faults():
        levels, failures = run_study(form, jobs, typer.echo)
        typer.echo("\n" + write_study(levels, form.settings, form.folder))
        typer.echo(f"{form.folder}/study.md, study.json, study.png")
        if failures:
            raise StageError("\n  ".join([f"{len(failures)} failed; the same command tries them again:", *failures]))


def _key_value(setting: str) -> tuple[str, str]:
    key, equals, value = setting.partition("=")
    if not (key and equals):
        raise typer.BadParameter(f"{setting!r} is not KEY=VALUE", param_hint="--set-param")
    return key, value


def _open(weights: Path) -> Generator:
    with _faults():
        return load_generator(weights, torch.device("cpu"))


@contextmanager
def _faults() -> Iterator[None]:
    """Turn what is known to go wrong into a line and an exit code: 1, or 2 for bad params."""
    try:
        yield
    except (StageError, ParamsError) as fault:
        typer.echo(f"dcgan: {fault}", err=True)
        raise typer.Exit(2 if isinstance(fault, ParamsError) else 1) from None
