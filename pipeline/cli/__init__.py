"""The command `dcgan`: pictures from a trained generator, weights in and out, past runs, and what the filter does.

The commands' own modules import typer and little else, and each command imports what it needs when it is called: torch
and its like take seconds, which `dcgan --help` and completion have no use for.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from pipeline.cli import draw, images, runs, study, weights
from pipeline.signals import end_at_once

ABOUT = (__doc__ or "").partition("\n")[0]

# Each command with the examples that its --help ends with; a test parses them.
COMMANDS: dict[Callable[..., None], tuple[str, ...]] = {
    draw.generate: (
        "dcgan generate -n 64 --seed 7 faces.png",
        "dcgan generate -n 1000 a-folder --weights models:/anime-dcgan@champion",
    ),
    draw.interpolate: ("dcgan interpolate --rows 4 --steps 10 between.png",),
    draw.walk: ("dcgan walk walk.gif", "dcgan walk -n 1 --columns 1 --truncation 0.8 walk.mp4"),
    weights.import_weights: ("dcgan import-weights netG.pth --out netG.safetensors",),
    weights.export_weights: (
        "dcgan export-weights --out netG.pth",
        "dcgan export-weights --weights models/discriminator.safetensors --out netD.pth",
    ),
    weights.export_onnx: ("dcgan export-onnx --out netG.onnx",),
    images.explain: ("dcgan explain faces/0004711", "dcgan explain train:17"),
    images.forget: ("dcgan forget https://gallery.example/1.png",),
    runs.runs: ("dcgan runs -n 5",),
    runs.compare: ("dcgan compare HEAD workspace", "dcgan compare main my-experiment --out compare.png"),
    runs.promote: ("dcgan promote my-experiment", "dcgan promote 3f9c21aa --most-faces 64"),
    runs.serve: ("dcgan serve --port 5001",),
    images.soil: ("dcgan soil my-clean-faces soiled --share 0.4",),
}
STUDIES: dict[Callable[..., None], tuple[str, ...]] = {
    study.cleaning: (
        "dcgan study cleaning --quick",
        "dcgan study cleaning --arm raw --arm cleaned --seeds 3 -S ngf=32",
    ),
}


def _epilog(examples: tuple[str, ...]) -> str:
    # Click keeps the lines of a paragraph that begins with \b.
    return "\n".join(["Examples:" if len(examples) > 1 else "Example:", "", "\b", *examples])


FIRST = tuple(COMMANDS[command][0] for command in (draw.generate, draw.walk, images.explain, runs.compare))
app = typer.Typer(no_args_is_help=True, help=ABOUT, epilog=_epilog(FIRST), pretty_exceptions_enable=False)
studies = typer.Typer(no_args_is_help=True, help="Compare settings over several seeds, and say what is chance.")
for group, commands in ((app, COMMANDS), (studies, STUDIES)):
    for command, examples in commands.items():
        group.command(epilog=_epilog(examples))(command)
app.add_typer(studies, name="study")


def main() -> None:
    """Do what the command line asks for, and end at a signal as a stage does."""
    end_at_once()
    app()
