"""What several tests need: small pictures, params, and the project's root."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.params import Params, load_params

ROOT = Path(__file__).parent.parent

# A developer's own cluster and MLflow server are none of the tests' business.
os.environ.pop("PIPELINE_SCHEDULER", None)
os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(autouse=True)
def no_store_of_an_earlier_test() -> Iterator[None]:
    """MLflow's set_tracking_uri writes its argument into the environment, where the next test would find it."""
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.fixture
def of_nobody() -> Iterator[Path]:
    """A folder whose rights hold: root, who may read all, is nobody while it is there."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # not tmp_path, whose parents are their owner's alone
    folder.chmod(0o755)
    yield folder
    os.seteuid(os.getuid())
    shutil.rmtree(folder)


@pytest.fixture
def picture() -> np.ndarray:
    """A smooth colour picture (40, 56, 3) uint8: lossy formats keep it, and no two of its sides look alike."""
    y, x = np.mgrid[0:40, 0:56]
    return np.stack([4 * x, 5 * y, 255 - 2 * x - 2 * y], axis=-1).astype(np.uint8)


@pytest.fixture(scope="session")
def save() -> Callable[..., bytes]:
    """Return a function that encodes an array or a Pillow image as file bytes."""

    def encode(image: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
        held = io.BytesIO()
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(held, kind, **options)
        return held.getvalue()

    return encode
