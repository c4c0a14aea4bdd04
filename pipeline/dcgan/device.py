"""Which device trains, and in which precision."""

from __future__ import annotations

import sys

import torch
from lightning_fabric import Fabric

from pipeline.errors import ParamsError


def open_fabric(ngpu: int, precision: str) -> Fabric:
    """Return the Lightning Fabric that holds the device and the precision.

    ngpu: 1 takes the CUDA device, or the CPU with a warning where there is none; 0 the CPU on purpose. precision: bf16
    and fp32 as they are named; auto is bf16 where the device multiplies it natively. Raises ParamsError for more GPUs
    than there are, or than one.
    """
    accelerator = choose_accelerator(ngpu, torch.cuda.device_count())
    if ngpu and accelerator == "cpu":
        print(
            "warning: ngpu is 1, but CUDA has no device: training on the CPU (set ngpu: 0 to mean it)", file=sys.stderr
        )
    kind = choose_precision(precision, accelerator)
    if accelerator == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.deterministic = True
    return Fabric(accelerator=accelerator, devices=1, precision="bf16-mixed" if kind == "bf16" else "32-true")


def choose_accelerator(ngpu: int, cuda_devices: int) -> str:
    """Return `cpu` or `cuda`; see open_fabric."""
    if ngpu > max(cuda_devices, 1):
        raise ParamsError(f"ngpu: {ngpu} GPUs wanted, and CUDA has {cuda_devices}; set 1, or 0 for the CPU")
    if ngpu > 1:
        raise ParamsError(f"ngpu: {ngpu} GPUs wanted, and training runs on one; set 1")
    return "cuda" if ngpu and cuda_devices else "cpu"


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


def precision_of(fabric: Fabric) -> str:
    """Return the precision that a Fabric computes in, `bf16` or `fp32`."""
    return "bf16" if fabric.strategy.precision.precision == "bf16-mixed" else "fp32"
