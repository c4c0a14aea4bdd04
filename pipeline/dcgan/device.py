"""Which devices train, and in which precision."""

from __future__ import annotations

import sys

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from pipeline.errors import ParamsError
from pipeline.params import Params, TrainParams


def open_fabric(params: Params) -> Fabric:
    """Return the Lightning Fabric that holds the devices and the precision of params.

    ngpu: that many CUDA devices, or the CPU where there is none; 0 the CPU on purpose, with train.cpu_processes.
    train.precision: bf16 and fp32 as they are named, of which CUDA multiplies fp32 as TF32, with 10 bits of the 23;
    auto is bf16 where the device multiplies it natively. Raises
    ParamsError for more GPUs than there are. Where it takes several processes, each calls this within
    processes.companions().
    """
    accelerator, count = choose_devices(params.ngpu, params.train, torch.cuda.device_count())
    kind = choose_precision(params.train.precision, accelerator)
    if accelerator == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.deterministic = True
    # netD sees real and fake images before it learns from both: buffers broadcast in between would break the gradients.
    # A search for unused parameters finds none, but keeps DDP from ordering its buckets anew after the first step: a
    # training that is taken up would add up three processes' gradients in another order than one that was not cut off.
    data_parallel = DDPStrategy(
        cluster_environment=LightningEnvironment(), forward_sync_buffers=False, find_unused_parameters=True
    )
    return Fabric(
        accelerator=accelerator,
        devices=count,
        strategy=data_parallel if count > 1 else "auto",
        precision="bf16-mixed" if kind == "bf16" else "32-true",
    )


def choose_devices(ngpu: int, knobs: TrainParams, cuda_devices: int) -> tuple[str, int]:
    """Return `cuda` and the number of GPUs, or `cpu` and the number of processes; see open_fabric."""
    if ngpu > cuda_devices > 0:
        raise ParamsError(f"ngpu: {ngpu} GPUs wanted, and CUDA has {cuda_devices}; set that, or 0 for the CPU")
    if ngpu and cuda_devices:
        return "cuda", ngpu
    if knobs.sync_batchnorm and knobs.cpu_processes > 1:
        raise ParamsError("train.sync_batchnorm: torch has it for GPUs alone; set false, or train.cpu_processes: 1")
    return "cpu", knobs.cpu_processes


def warn_without_gpu(ngpu: int) -> None:
    """Say so where GPUs are wanted and there is none."""
    if ngpu and not torch.cuda.device_count():
        print(
            f"warning: ngpu is {ngpu}, but CUDA has no device: training on the CPU (set ngpu: 0 to mean it)",
            file=sys.stderr,
        )


def choose_precision(precision: str, accelerator: str) -> str:
    """Return `bf16` or `fp32`; see open_fabric."""
    if precision != "auto":
        return precision
    native = torch.cuda.is_bf16_supported(False) if accelerator == "cuda" else has_native_bf16()
    return "bf16" if native else "fp32"


def has_native_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 itself (AMX, AVX512-BF16, Arm BF16); elsewhere float32 is faster."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))
