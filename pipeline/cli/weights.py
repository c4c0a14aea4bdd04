"""Weights in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline import paths
from pipeline.cli.draw import Weights
from pipeline.errors import StageError
from pipeline.faults import faults
from pipeline.registered import weights_file


def import_weights(
    file: Annotated[Path, typer.Argument(help="A state dict of the DCGAN tutorial's netG or netD, a .pth file.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The safetensors file.", show_default=f"{paths.GENERATOR} or {paths.DISCRIMINATOR}"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Take weights over from PyTorch's DCGAN tutorial."""
    from pipeline.dcgan.networks import Generator
    from pipeline.dcgan.travel import metadata_of, network_of, read_state_dict
    from pipeline.dcgan.weights import save_weights

    with faults():
        net = network_of(read_state_dict(file), file)
        place = out or (paths.GENERATOR if isinstance(net, Generator) else paths.DISCRIMINATOR)
        if place.exists() and not force:
            raise StageError(f"{place} is there already; --force replaces it")
        metadata = metadata_of(net)
        save_weights(place, net, metadata)
    typer.echo(f"{type(net).__name__}, {', '.join(f'{key} {value}' for key, value in metadata.items())}: {place}")


def export_weights(
    out: Annotated[Path, typer.Option(help="The .pth file.")],
    weights: Annotated[Path, typer.Option(help="The network, as the train stage writes it.")] = paths.GENERATOR,
) -> None:
    """Write weights as a state dict that PyTorch's DCGAN tutorial loads."""
    if out.suffix not in (".pth", ".pt"):
        raise typer.BadParameter("must be a .pth or .pt file", param_hint="--out")
    from pipeline.dcgan.travel import network_of, write_state_dict
    from pipeline.dcgan.weights import read_weights

    with faults():
        net = network_of(read_weights(weights)[0], weights)
        write_state_dict(out, net)
    typer.echo(f"{type(net).__name__}: {out}")


def export_onnx(
    out: Annotated[Path, typer.Option(help="The .onnx file.")],
    weights: Weights = str(paths.GENERATOR),
) -> None:
    """Write the generator as an ONNX model: noise (N, nz, 1, 1) from N(0, 1) to images in [-1, 1]."""
    if out.suffix != ".onnx":
        raise typer.BadParameter("must be a .onnx file", param_hint="--out")
    import torch

    from pipeline.dcgan.sampling import load_generator
    from pipeline.dcgan.weights import read_weights
    from pipeline.onnx_export import export_onnx as write_onnx

    with faults(), weights_file(weights) as file:
        netG = load_generator(file, torch.device("cpu"))
        write_onnx(netG, read_weights(file)[1], out)
    shape = f"(N, {netG.nc}, {netG.image_size}, {netG.image_size})"
    typer.echo(f"noise (N, {netG.nz}, 1, 1) to images {shape}: {out}")
