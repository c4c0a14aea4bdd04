"""The command `dcgan`: pictures from a trained generator, weights in and out, past runs, and what the filter does.

The commands' own modules import typer and little else, and each command imports what it needs when it is called: torch
and its like take seconds, which `dcgan --help` and completion have no use for.
"""

from __future__ import annotations

import typer

from pipeline.cli import draw, images, runs, study, weights

ABOUT = (__doc__ or "").partition("\n")[0]

EXAMPLES = """Examples:\n
\b
dcgan generate -n 64 --seed 7 faces.png
dcgan walk --truncation 0.8 --weights models:/anime-dcgan@champion
dcgan explain data/mine/face.jpg
dcgan compare main my-experiment
"""

app = typer.Typer(no_args_is_help=True, help=ABOUT, epilog=EXAMPLES, pretty_exceptions_enable=False)
for command in (
    draw.generate,
    draw.interpolate,
    draw.walk,
    weights.import_weights,
    weights.export_weights,
    weights.export_onnx,
    images.explain,
    images.forget,
    runs.runs,
    runs.compare,
    runs.promote,
    images.soil,
):
    app.command()(command)

studies = typer.Typer(no_args_is_help=True, help="Compare settings over several seeds, and say what is chance.")
studies.command()(study.cleaning)
app.add_typer(studies, name="study")
