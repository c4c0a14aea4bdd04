"""The exported file in ONNX Runtime, beside PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.dcgan.networks import Generator
from pipeline.dcgan.sampling import sample_noise
from pipeline.dcgan.weights import save_weights


@pytest.mark.parametrize(("image_size", "nc"), [(32, 1), (64, 3), (128, 3)])
def test_the_same_images_for_any_number(
    image_size: int, nc: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    netG = Generator(nz=7, ngf=4, nc=nc, image_size=image_size)
    for module in netG.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        netG(sample_noise(16, 7, 1))  # for BatchNorm's statistics, without which a new network draws next to nothing
    sizes = {"nz": "7", "ngf": "4", "nc": str(nc), "image_size": str(image_size), "lr": "0.0002", "data": "ab" * 32}
    save_weights(Path("models/generator.safetensors"), netG.eval(), sizes)

    told = f"noise (N, 7, 1, 1) to images (N, {nc}, {image_size}, {image_size}): out/netG.onnx\n"
    result = CliRunner().invoke(app, ["export-onnx", "--out", "out/netG.onnx"])
    assert (result.exit_code, result.output) == (0, told)

    session = onnxruntime.InferenceSession("out/netG.onnx", providers=["CPUExecutionProvider"])
    (takes,), (gives,) = session.get_inputs(), session.get_outputs()
    assert (takes.name, takes.type, takes.shape) == ("noise", "tensor(float)", ["n", 7, 1, 1])
    assert (gives.name, gives.type, gives.shape) == ("images", "tensor(float)", ["n", nc, image_size, image_size])
    assert session.get_modelmeta().custom_metadata_map == sizes
    for n in (1, 2, 17):
        z = sample_noise(n, 7, n)
        (images,) = session.run(None, {"noise": z.numpy()})
        with torch.inference_mode():
            expected = netG(z).numpy()
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(images, expected, rtol=0, atol=1e-4)
