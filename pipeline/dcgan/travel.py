"""Weights that travel, in and out: what PyTorch's DCGAN tutorial saves with torch.save(netG.state_dict(), path)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import torch
from torch import Tensor

from pipeline.atomic import whole_file
from pipeline.dcgan.networks import Discriminator, Generator
from pipeline.errors import StageError

MOST_BYTES = 2**30  # the tutorial's netG takes 14 MB


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors that a .pth file holds by name, without the `module.` that DataParallel puts before a name.

    The file may be hostile: nothing in it is run, and StageError is raised where it holds anything else.
    """
    if not path.is_file():
        raise StageError(f"there is no file {path}")
    try:
        size = _unpacked_size(path)
        saved = _load(path) if size <= MOST_BYTES else None
    except Exception:  # a damaged file makes the unpickler raise anything, and torch's advice is to trust it and run it
        raise StageError(f"{path} is damaged or holds more than plain weights; nothing in it was run") from None
    if size > MOST_BYTES:
        raise StageError(f"{path} holds more than {MOST_BYTES:,} bytes")
    if not isinstance(saved, dict) or not all(isinstance(tensor, Tensor) for tensor in saved.values()):
        raise StageError(f"{path} is no state dict; save netG.state_dict() or netD.state_dict() by itself")
    if 4 * sum(tensor.numel() for tensor in saved.values()) > MOST_BYTES:  # one number may stand for many of a tensor
        raise StageError(f"{path} holds more than {MOST_BYTES:,} bytes")
    return {str(name).removeprefix("module."): tensor for name, tensor in saved.items()}


def _unpacked_size(path: Path) -> int:
    """Return a file's bytes in memory; torch.save writes zip files and packs nothing, but a hostile one is packed."""
    size = path.stat().st_size
    if not is_zipfile(path):
        return size
    with ZipFile(path) as archive:
        return max(size, sum(entry.file_size for entry in archive.infolist()))


def _load(path: Path) -> object:
    with warnings.catch_warnings(action="ignore"):  # of pickle protocols: whether it can be read shows anyway
        return torch.load(path, map_location="cpu", weights_only=True)


def network_of(state: Mapping[str, Tensor], origin: Path) -> Generator | Discriminator:
    """Return the network whose weights these are; StageError where they fit none, or are no finite numbers.

    `num_batches_tracked` may be missing, as it is from old files: nothing goes by it.
    """
    try:
        with torch.device("meta"):  # the sizes may be anything: here they take no memory
            plan = _empty_network(state)
        shapes = {name: tensor.shape for name, tensor in plan.state_dict().items()}
        counts = {name: shape for name, shape in shapes.items() if name.endswith("num_batches_tracked")}
        if plan.nc not in (1, 3) or counts | {name: tensor.shape for name, tensor in state.items()} != shapes:
            raise ValueError
        net = _empty_network(state)
        # A plain dict names no version, so that BatchNorm takes a missing count for an old file's.
        net.load_state_dict(dict(state))
    except (LookupError, ValueError, RuntimeError):
        raise StageError(f"{origin} does not fit the DCGAN tutorial's netG or netD for 32, 64 or 128 pixels") from None
    if not all(tensor.isfinite().all() for tensor in net.state_dict().values()):
        raise StageError(f"{origin} holds weights that are no finite numbers")
    return net


def _empty_network(state: Mapping[str, Tensor]) -> Generator | Discriminator:
    """Return a network of the kind and sizes that a state dict's shapes tell."""
    depth = sum(tensor.ndim == 4 for tensor in state.values())
    if not all(tensor.numel() for tensor in state.values()) or depth not in (4, 5, 6):
        raise ValueError
    image_size = 2 ** (depth + 1)
    first = state["main.0.weight"]
    if "main.1.weight" not in state:  # the discriminator has no BatchNorm after its first layer
        return Discriminator(ndf=first.shape[0], nc=first.shape[1], image_size=image_size)
    last = state[f"main.{3 * (depth - 1)}.weight"]
    return Generator(nz=first.shape[0], ngf=last.shape[0], nc=last.shape[1], image_size=image_size)


def metadata_of(net: Generator | Discriminator) -> dict[str, str]:
    """Return a safetensors file's metadata, of what the train stage writes all that the weights tell."""
    sizes = ("image_size", "nc", "nz", "ngf", "ndf")
    return {key: str(getattr(net, key)) for key in sizes if hasattr(net, key)} | {"weights": "imported"}


def write_state_dict(path: Path, net: Generator | Discriminator) -> None:
    """Write a network's state as the tutorial does, whole or not at all."""
    # Given a path, torch.save would put its name into the file, and it is the temporary one.
    with whole_file(path) as temporary, temporary.open("wb") as file:
        torch.save(net.state_dict(), file)
