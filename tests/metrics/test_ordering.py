"""KID on these features must rise with damage to real faces, where they are present."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipeline.codec import decode
from pipeline.faces import Faces
from pipeline.metrics.backbone import Backbone, Features, open_backbone
from pipeline.metrics.distances import kid
from pipeline.metrics.features import extract_features

REAL_FACES = Path(__file__).parents[3] / "shared" / "data" / "anime-faces-8k.zip"


def blurred(faces: Faces, sigma: float) -> Faces:
    return np.stack([cv2.GaussianBlur(face, (0, 0), sigma) for face in faces]).astype(np.uint8)


def noisy(faces: Faces, sigma: float) -> Faces:
    noise = np.random.default_rng(0).normal(0, sigma, faces.shape)
    return np.clip(faces + noise, 0, 255).astype(np.uint8)


def blocky(faces: Faces, quality: float) -> Faces:
    encoded = [cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1] for face in faces]
    return np.stack([cv2.imdecode(data, cv2.IMREAD_COLOR) for data in encoded]).astype(np.uint8)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return open_backbone(torch.device("cpu"), 64, 3)


@pytest.fixture(scope="module")
def real_faces() -> Faces:
    if not REAL_FACES.exists():
        pytest.skip("shared/data/anime-faces-8k.zip is not on this machine")
    with zipfile.ZipFile(REAL_FACES) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[:240]
        pictures = [decode(archive.read(name), 10**6) for name in names]
    return np.stack([cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA) for picture in pictures])


@pytest.fixture(scope="module")
def reference(real_faces: Faces, backbone: Backbone) -> Features:
    return extract_features(real_faces[:120], backbone, "reference")


@pytest.mark.parametrize(
    ("damage", "strengths"),
    [
        pytest.param(blurred, (1.0, 2.0), id="blur"),
        pytest.param(noisy, (10.0, 30.0), id="noise"),
        pytest.param(blocky, (40.0, 10.0), id="JPEG"),
    ],
)
def test_kid_rises_with_damage_to_real_faces(
    real_faces: Faces, reference: Features, backbone: Backbone, damage: object, strengths: tuple[float, ...]
) -> None:
    unseen = real_faces[120:]
    sets = [unseen, *(damage(unseen, strength) for strength in strengths)]
    clean, weak, strong = (kid(reference, extract_features(faces, backbone, "set"), 20, 0) for faces in sets)
    assert abs(clean[0]) < 3 * clean[1]
    assert weak[0] > clean[0] + 3 * weak[1]
    assert strong[0] > weak[0] + 3 * strong[1]
