from __future__ import annotations

import pytest
import torch

from pipeline.dcgan.device import choose_devices, choose_precision, open_fabric, warn_without_gpu
from pipeline.errors import ParamsError
from pipeline.params import Params


def with_train(params: Params, **wanted: object) -> Params:
    return params.model_copy(update={"ngpu": 0, "train": params.train.model_copy(update=wanted)})


@pytest.mark.parametrize(
    ("ngpu", "cuda_devices", "devices"),
    [
        pytest.param(0, 0, ("cpu", 3), id="the CPU on purpose"),
        pytest.param(0, 1, ("cpu", 3), id="the CPU on purpose, beside a GPU"),
        pytest.param(1, 1, ("cuda", 1), id="one GPU"),
        pytest.param(1, 4, ("cuda", 1), id="one GPU of four"),
        pytest.param(4, 4, ("cuda", 4), id="all four GPUs"),
        pytest.param(2, 0, ("cpu", 3), id="the CPU for want of a GPU"),
    ],
)
def test_devices(ngpu: int, cuda_devices: int, devices: tuple[str, int], params: Params) -> None:
    assert choose_devices(ngpu, with_train(params, cpu_processes=3).train, cuda_devices) == devices


@pytest.mark.parametrize(("ngpu", "lines"), [(0, 0), (1, 1), (2, 1)])
def test_no_gpu_is_warned_of_once(
    ngpu: int, lines: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    warn_without_gpu(ngpu)
    warning = capsys.readouterr().err
    assert warning.count("\n") == lines
    assert ("CUDA has no device" in warning) == bool(ngpu)


def test_gpus_that_cannot_be_had(params: Params) -> None:
    with pytest.raises(ParamsError, match="ngpu: 3 GPUs wanted, and CUDA has 2"):
        choose_devices(3, params.train, 2)


def test_batch_norm_over_cpu_processes_cannot_be_had(params: Params) -> None:
    with pytest.raises(ParamsError, match="sync_batchnorm"):
        choose_devices(0, with_train(params, cpu_processes=2, sync_batchnorm=True).train, 0)


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
def test_fabric_computes_in_what_was_chosen(precision: str, params: Params) -> None:
    fabric = open_fabric(with_train(params, precision=precision))
    net = fabric.setup(torch.nn.Linear(2, 2))
    seen = []
    net.module.register_forward_hook(lambda _net, _inputs, output: seen.append(output.dtype))
    assert net(torch.ones(1, 2)).dtype == torch.float32
    assert seen == [torch.bfloat16 if precision == "bf16" else torch.float32]
