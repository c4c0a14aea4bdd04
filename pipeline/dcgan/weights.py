"""Networks in safetensors files: equal networks and metadata give equal bytes."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pipeline import paths
from pipeline.atomic import whole_file
from pipeline.errors import StageError

DIGEST = "sha256"  # its key in the metadata


def save_weights(path: Path, net: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write a network's state and metadata, with a digest of both, as a safetensors file, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    told = {**metadata, DIGEST: weights_digest(tensors, metadata)}
    with whole_file(path) as temporary:
        temporary.write_bytes(_with_metadata(save(tensors), told))


def weights_digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return a SHA-256 over tensors and metadata: safetensors has no checksums."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
    """Return a safetensors file's tensors, on the CPU, and its metadata; StageError where it is missing or damaged."""
    is_own = path.parent == paths.GENERATOR.parent
    try:
        with safe_open(path, framework="pt") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        cure = (
            "run 'dvc repro train' first, from the project's root" if is_own else "give the path of a file, or a model"
        )
        raise StageError(f"{path} is missing; {cure}") from None
    except (SafetensorError, OSError) as error:
        cure = "run 'dvc repro -f train'" if is_own else "'dcgan import-weights' makes one of a .pth"
        raise StageError(f"{path} is no readable safetensors file ({error}); {cure}") from None
    # Networks from before there were digests, and from elsewhere, have none.
    written = metadata.pop(DIGEST, None)
    if written is not None and written != weights_digest(tensors, metadata):
        cure = "run 'dvc repro -f train'" if is_own else "get it once more"
        raise StageError(f"{path} is damaged: its weights are not those that were written; {cure}")
    return tensors, metadata


def load_weights(net: nn.Module, tensors: Mapping[str, Tensor], origin: Path) -> None:
    """Copy tensors into a network, which may be on the device `meta` and is on the CPU then.

    StageError where a name or a shape does not fit, or a weight is no finite number.
    """
    expected = {name: tensor.shape for name, tensor in net.state_dict().items()}
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise StageError(f"{origin} holds no {type(net).__name__} of the sizes that its metadata names")
    net.to_empty(device="cpu").load_state_dict(tensors)
    if not all(tensor.isfinite().all() for tensor in net.state_dict().values()):
        raise StageError(f"{origin} holds weights that are no finite numbers")
