"""One flipped bit, or a lost end, in what the pipeline keeps: it is named with its cure, or harmless."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import paths
from pipeline.cleaning.cache import read_cached, write_cached
from pipeline.dcgan.checkpoint import Checkpoint
from pipeline.dcgan.networks import Generator
from pipeline.dcgan.state import new_state
from pipeline.dcgan.weights import read_weights, save_weights
from pipeline.errors import StageError
from pipeline.faces import SUMS, load_faces, sum_line
from pipeline.metrics.backbone import WIDTH
from pipeline.metrics.features import cached_features
from pipeline.params import load_params
from pipeline.records import RAW_SCHEMA, read_rows, shard_sizes, write_shard

FLIPS = 200
NOISE = np.random.default_rng(0)


def damaged(content: bytes) -> Iterator[bytes]:
    """Yield a file's content with a bit flipped here and there, one at a time, and cut off here and there."""
    places = random.Random(0)  # noqa: S311
    for _ in range(FLIPS):
        changed = bytearray(content)
        changed[places.randrange(len(content))] ^= 1 << places.randrange(8)
        yield bytes(changed)
    for _ in range(FLIPS // 10):
        yield content[: places.randrange(len(content))]


def outcomes(path: Path, read: Callable[[], object], cure: str) -> tuple[int, int]:
    """Damage a file again and again and read it; return how often that was named with its cure, and how often harmless.

    read returns what can be compared; a fault that is none of ours fails.
    """
    content, expected = path.read_bytes(), read()
    named = harmless = 0
    for changed in damaged(content):
        path.write_bytes(changed)
        try:
            found = read()
        except StageError as fault:
            told = str(fault)
            named += str(path) in told and cure in told
        else:
            assert found == expected, "damage went through in silence"
            harmless += 1
    assert named + harmless == FLIPS + FLIPS // 10, "a fault does not name the file and its cure"
    return named, harmless


def rows() -> Iterator[dict[str, object]]:
    for row in range(100):
        data = NOISE.bytes(2000)
        yield dict.fromkeys(RAW_SCHEMA.names) | {"row": row, "id": "0" * 64, "image": {"bytes": data, "path": "x.png"}}


def test_a_shard(tmp_path: Path) -> None:
    path = tmp_path / "00000.parquet"
    write_shard(path, rows(), RAW_SCHEMA)

    def read() -> object:
        return shard_sizes([path]), list(read_rows(path, RAW_SCHEMA.names))

    named, _ = outcomes(path, read, "remove it, and 'dvc repro' brings it back")
    assert named > 0.9 * FLIPS


def test_faces(tmp_path: Path) -> None:
    path = tmp_path / "train.npy"
    np.save(path, NOISE.integers(0, 256, (20, 32, 32, 3), np.uint8))
    (tmp_path / SUMS).write_text(f"{sum_line(path)}\n")
    named, harmless = outcomes(
        path, lambda: load_faces("train", tmp_path).tobytes(), "remove it, and 'dvc repro' brings it back"
    )
    assert (named, harmless) == (FLIPS + FLIPS // 10, 0)


def test_a_checkpoint(tmp_path: Path, root: Path) -> None:
    params = load_params(root / "params.yaml").model_copy(update={"image_size": 32, "ngf": 4, "ndf": 4, "nz": 5})
    checkpoint, state = Checkpoint(tmp_path), new_state(params, torch.device("cpu"))
    state.step = 6
    checkpoint.save(state)
    path = tmp_path / "state.pt"

    def read() -> object:
        taken = new_state(params, torch.device("cpu"))
        checkpoint.resume(taken, 12, bool)
        return taken.step, taken.netG.main[0].weight.tolist(), taken.netD.main[0].weight.tolist()

    named, _ = outcomes(path, read, "remove it to train afresh")
    assert named > 0.5 * FLIPS


def test_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = paths.GENERATOR
    save_weights(path, Generator(nz=5, ngf=4, nc=3, image_size=32), {"nz": "5", "ngf": "4"})

    def read() -> object:
        tensors, metadata = read_weights(path)
        return {name: tensor.tolist() for name, tensor in tensors.items()}, metadata

    named, _ = outcomes(path, read, "run 'dvc repro -f train'")
    assert named > 0.9 * FLIPS


def test_cached_measures_are_taken_again(tmp_path: Path) -> None:
    import pyarrow as pa

    table = pa.table({"row": list(range(500)), "blur": NOISE.random(500)})
    path = tmp_path / "measures.parquet"

    def read() -> object:
        found = read_cached(path, table.schema)
        return True if found is None or found.equals(table) else found

    write_cached(table, path)
    outcomes(path, read, "")
    path.write_bytes(path.read_bytes()[:100])
    assert read_cached(path, table.schema) is None
    write_cached(table, path)
    assert read_cached(path, pa.schema([("row", pa.int64()), ("blur", pa.binary())])) is None


class Counting:
    """A network that counts the faces that it is shown."""

    device, batch, threads = "cpu", 8, 1

    def __init__(self) -> None:
        self.seen = 0

    def extract(self, faces: np.ndarray) -> np.ndarray:
        self.seen += len(faces)
        return np.repeat(faces.reshape(len(faces), -1)[:, :1], WIDTH, 1).astype(np.float32)


def test_cached_features_are_computed_again(tmp_path: Path) -> None:
    faces, network = NOISE.integers(0, 256, (4, 32, 32, 3), np.uint8), Counting()

    def read() -> object:
        return cached_features(faces, network, "faces", tmp_path).tobytes()  # type: ignore[arg-type]

    read()
    (path,) = tmp_path.iterdir()
    outcomes(path, read, "")
    assert network.seen > 0.9 * FLIPS * len(faces), "what is damaged is not used"
