from __future__ import annotations

import pytest
import torch

from pipeline.dcgan.device import choose_accelerator, choose_precision, open_fabric, precision_of
from pipeline.errors import ParamsError


@pytest.mark.parametrize(
    ("ngpu", "cuda_devices", "accelerator"),
    [
        pytest.param(0, 0, "cpu", id="the CPU on purpose"),
        pytest.param(0, 1, "cpu", id="the CPU on purpose, beside a GPU"),
        pytest.param(1, 1, "cuda", id="one GPU"),
        pytest.param(1, 4, "cuda", id="one GPU of four"),
    ],
)
def test_accelerator(ngpu: int, cuda_devices: int, accelerator: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert choose_accelerator(ngpu, cuda_devices) == accelerator
    assert capsys.readouterr().err == ""


def test_no_gpu_falls_back_with_one_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    open_fabric(1, "fp32")
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert "CUDA has no device" in warning


@pytest.mark.parametrize(
    ("ngpu", "cuda_devices", "words"),
    [
        pytest.param(2, 0, "CUDA has 0", id="two of none"),
        pytest.param(3, 2, "CUDA has 2", id="three of two"),
        pytest.param(2, 2, "training runs on one", id="more than one comes later"),
    ],
)
def test_gpus_that_cannot_be_had(ngpu: int, cuda_devices: int, words: str) -> None:
    with pytest.raises(ParamsError, match=f"ngpu.*{words}"):
        choose_accelerator(ngpu, cuda_devices)


@pytest.mark.parametrize(
    ("wanted", "flags", "precision"),
    [
        pytest.param("auto", {"amx_bf16": True}, "bf16", id="AMX"),
        pytest.param("auto", {"avx512_bf16": True}, "bf16", id="AVX512-BF16"),
        pytest.param("auto", {"bf16": True}, "bf16", id="Arm BF16"),
        pytest.param("auto", {"avx512_f": True, "amx_bf16": False}, "fp32", id="a CPU that would emulate it"),
        pytest.param("bf16", {}, "bf16", id="bf16 as it is named"),
        pytest.param("fp32", {"amx_bf16": True}, "fp32", id="fp32 as it is named"),
    ],
)
def test_precision(wanted: str, flags: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    assert choose_precision(wanted, "cpu") == precision


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_fabric_computes_in_what_was_chosen(precision: str) -> None:
    fabric = open_fabric(0, precision)
    assert precision_of(fabric) == precision
    net = fabric.setup(torch.nn.Linear(2, 2))
    seen = []
    net.module.register_forward_hook(lambda _net, _inputs, output: seen.append(output.dtype))
    assert net(torch.ones(1, 2)).dtype == torch.float32
    assert seen == [torch.bfloat16 if precision == "bf16" else torch.float32]
