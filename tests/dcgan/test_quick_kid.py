from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.dcgan.quick_kid import quick_judge
from pipeline.sources.builtin import draw

CPU = torch.device("cpu")


def test_faces_are_nearer_to_faces_than_noise_is_and_the_features_are_kept(tmp_path: Path) -> None:
    faces = np.stack([draw(0, face, 32) for face in range(24)])
    judge = quick_judge(faces[:16], 8, CPU, tmp_path)
    assert judge is not None
    noise = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    score = judge(faces[16:])
    assert score < judge(noise) / 2
    assert judge(faces[16:]) == score
    assert len(list(tmp_path.glob("*.npz"))) == 1


@pytest.mark.parametrize(("images", "count"), [pytest.param(0, 8, id="off"), pytest.param(8, 3, id="too few faces")])
def test_nothing_to_judge_by(images: int, count: int, tmp_path: Path) -> None:
    assert quick_judge(np.zeros((count, 32, 32, 3), np.uint8), images, CPU, tmp_path) is None
