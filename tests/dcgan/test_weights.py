from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import nn

from pipeline.dcgan.weights import load_weights, read_weights, save_weights
from pipeline.errors import StageError

METADATA = {"nz": "0", "ngf": "1", "ndf": "2", "nc": "3", "image_size": "4", "seed": "5", "kimg": "6", "data": "7"}

WRITE = """
import sys, torch
from pathlib import Path
from pipeline.dcgan.weights import save_weights
net = torch.nn.Linear(2, 1)
torch.nn.init.constant_(net.weight, 2.0)
torch.nn.init.constant_(net.bias, 3.0)
metadata = {"nz": "0", "ngf": "1", "ndf": "2", "nc": "3", "image_size": "4", "seed": "5", "kimg": "6", "data": "7"}
save_weights(Path(sys.argv[1]), net, metadata)
"""


def linear() -> nn.Linear:
    net = nn.Linear(2, 1)
    nn.init.constant_(net.weight, 2.0)
    nn.init.constant_(net.bias, 3.0)
    return net


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_weights(path, linear(), METADATA)
    assert safetensors.torch.load_file(path)["weight"].tolist() == [[2.0, 2.0]]
    with safe_open(path, framework="pt") as file:
        assert file.metadata().items() > METADATA.items()
    tensors, metadata = read_weights(path)
    assert metadata == METADATA
    assert tensors["bias"].tolist() == [3.0]


def test_another_process_writes_the_same_bytes(tmp_path: Path, root: Path) -> None:
    save_weights(tmp_path / "here", linear(), dict(reversed(METADATA.items())))
    subprocess.run([sys.executable, "-c", WRITE, tmp_path / "there"], cwd=root, check=True)
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_layout_does_not_show(tmp_path: Path) -> None:
    net = nn.Conv2d(2, 3, 4)
    save_weights(tmp_path / "contiguous", net, METADATA)
    save_weights(tmp_path / "channels_last", net.to(memory_format=torch.channels_last), METADATA)  # type: ignore[call-overload]
    assert (tmp_path / "contiguous").read_bytes() == (tmp_path / "channels_last").read_bytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "is missing; give the path of a file, or a model", id="missing"),
        pytest.param(b"", "is no readable safetensors file", id="empty"),
        pytest.param(b"\x80\x02}q\x00.", "is no readable safetensors file", id="a pickle"),
    ],
)
def test_files_that_are_none(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StageError, match=words):
        read_weights(path)


def lying(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a safetensors file of any header, which says that it is so long."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def told(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lying({"a": told([4], 0, 16)}, bytes(8)), id="offsets outside"),
        pytest.param(lying({"a": told([2], 0, 8), "b": told([2], 0, 8)}, bytes(8)), id="overlapping"),
        pytest.param(lying({"a": told([1], 0, 4), "b": told([1], 8, 12)}, bytes(12)), id="a hole"),
        pytest.param(lying({"a": told([1], 8, 4)}, bytes(12)), id="backwards"),
        pytest.param(lying({}, length=2**63), id="a header of 2^63 bytes"),
        pytest.param(lying({}, length=10**8), id="a header of 100 MB"),
        pytest.param(lying({"a": told([1], 0, 4, "F33")}, bytes(4)), id="no such type"),
        pytest.param(lying({"a": told([1], 0, 4, "F64")}, bytes(4)), id="another type"),
        pytest.param(lying({"a": told([2**60, 2**60], 0, 4)}, bytes(4)), id="a shape beyond 64 bits"),
        pytest.param(lying({"a": told([-1], 0, 4)}, bytes(4)), id="less than none"),
        pytest.param(lying(b"[" * 10**6), id="nested deep"),
        pytest.param(lying({"__metadata__": {"a": 1}}), id="metadata that is no text"),
        pytest.param(pickle.dumps(os.system), id="a pickle"),
    ],
)
def test_headers_that_lie(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(content)
    with pytest.raises(StageError, match=r"net.safetensors is no readable safetensors file"):
        read_weights(tmp_path / "net.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(value: float) -> None:
    state = linear().state_dict() | {"bias": torch.tensor([value])}
    with pytest.raises(StageError, match=r"net.safetensors holds weights that are no finite numbers"):
        load_weights(linear(), state, Path("net.safetensors"))


def test_weights_of_another_network() -> None:
    with pytest.raises(StageError, match=r"net.safetensors holds no \w+ of the sizes"):
        load_weights(nn.Linear(3, 1), linear().state_dict(), Path("net.safetensors"))
