"""The generator as an ONNX file, for what runs no PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch

from pipeline.atomic import whole_file
from pipeline.dcgan.networks import Generator


def export_onnx(netG: Generator, metadata: Mapping[str, str], path: Path) -> None:
    """Write noise (N, nz, 1, 1) float32 → images (N, nc, image_size, image_size) float32 in [-1, 1], for any N.

    netG is on the CPU, in eval mode. metadata goes into the file's own.
    """
    import onnx  # no other command needs it

    with whole_file(path) as temporary:
        with warnings.catch_warnings():
            # Export by tracing is deprecated, but its successor needs the package onnxscript for the same graph.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                netG,
                (torch.zeros(1, netG.nz, 1, 1),),
                temporary,
                dynamo=False,
                input_names=["noise"],
                output_names=["images"],
                dynamic_axes={"noise": {0: "n"}, "images": {0: "n"}},
            )
        model = onnx.load(temporary)
        model.doc_string = "DCGAN generator: noise from N(0, 1) to images in [-1, 1], channels first"
        onnx.helper.set_model_props(model, dict(sorted(metadata.items())))  # safetensors gives them in any order
        onnx.save(model, temporary)
