"""Networks in safetensors files: equal networks and metadata give equal bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pipeline.atomic import whole_file
from pipeline.errors import StageError


def save_weights(path: Path, net: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write a network's state and metadata as a safetensors file, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    with whole_file(path) as temporary:
        temporary.write_bytes(_with_metadata(save(tensors), metadata))


def _with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file's bytes with sorted metadata in its header.

    The library's own writer puts the metadata in another order in every process. The format is a little-endian
    uint64 with the header's length, the header as JSON padded with spaces to a multiple of 8, and the tensors.
    """
    (length,) = struct.unpack_from("<Q", content)
    header = {"__metadata__": dict(sorted(metadata.items()))} | json.loads(content[8 : 8 + length])
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a safetensors file's tensors, on the CPU, and its metadata; StageError where there is no such file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise StageError(f"{path} is missing; run 'dvc repro train' first") from None
    except (SafetensorError, OSError) as error:
        raise StageError(f"{path} is no readable safetensors file ({error}); run 'dvc repro -f train'") from None


def load_weights(net: nn.Module, tensors: Mapping[str, Tensor], origin: Path) -> None:
    """Copy tensors into a network, which may be on the device `meta` and is on the CPU then.

    StageError where a name or a shape does not fit, or a weight is no finite number.
    """
    expected = {name: tensor.shape for name, tensor in net.state_dict().items()}
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise StageError(f"{origin} does not hold the network that its metadata names")
    net.to_empty(device="cpu").load_state_dict(tensors)
    if not all(tensor.isfinite().all() for tensor in net.state_dict().values()):
        raise StageError(f"{origin} holds weights that are no finite numbers")
