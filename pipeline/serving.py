"""The generator as MLflow serves it: a row of the request asks for faces, and the answer has a PNG a face.

MLflow loads a model of this project by this module's name, so that nothing is pickled.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.atomic import write_json
from pipeline.codec import encode_png
from pipeline.dcgan.networks import Generator
from pipeline.dcgan.sampling import generate, load_generator, sample_noise
from pipeline.faces import Faces
from pipeline.limits import LARGEST_SEED, LARGEST_TRUNCATION

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

BATCH_SIZE = 64
DEFAULTS = {"seed": 0, "truncation": 1.0}
GENERATOR, LIMITS = "generator.safetensors", "limits.json"  # what a model's folder holds


def signature() -> ModelSignature:
    """Return what a request's row may hold, and what a row of the answer does."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    asks: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.long, "n"),
        ColSpec(DataType.long, "seed", required=False),
        ColSpec(DataType.double, "truncation", required=False),
    ]
    return ModelSignature(inputs=Schema(asks), outputs=Schema([ColSpec(DataType.string, "png")]))


def write_model(generator: Path, most: int, folder: Path) -> None:
    """Write what _load_pyfunc reads: the weights, and how many faces a request may ask for.

    Not as MLflow's model_config, which would become a setting of the run that the weights are from.
    """
    folder.mkdir()
    shutil.copyfile(generator, folder / GENERATOR)
    write_json(folder / LIMITS, {"most_faces": most})


def _load_pyfunc(path: str) -> FaceServer:
    """Return the model of a folder; the name and the argument are MLflow's."""
    folder = Path(path)
    limits = json.loads((folder / LIMITS).read_text(encoding="utf-8"))
    return FaceServer(load_generator(folder / GENERATOR, torch.device("cpu")), limits["most_faces"])


class FaceServer:
    """Draws what is asked for, at most so many faces in one request."""

    def __init__(self, netG: Generator, most: int) -> None:
        self._netG, self._most = netG, most

    def predict(self, model_input: pd.DataFrame) -> list[dict[str, str]]:
        """Return the faces of all rows, in their order, as base64-encoded PNG files under the name `png`.

        The faces of a seed are those that `dcgan generate` draws. Raises MlflowException, which the server answers
        with status 400, where a row or all rows together ask for what is not to be had.
        """
        asked = [_read(row) for row in model_input.to_dict("records")]
        total = sum(n for n, _, _ in asked)
        if total > self._most:
            raise _refusal(f"{total} faces are asked for, at most {self._most} in a request are drawn")
        drawn = [
            generate(self._netG, sample_noise(n, self._netG.nz, seed) * truncation, BATCH_SIZE)
            for n, seed, truncation in asked
        ]
        return [{"png": _png(face)} for faces in drawn for face in faces]


def _read(row: Mapping[Hashable, Any]) -> tuple[int, int, float]:
    """Return n, seed and truncation of a row whose types MLflow has checked."""
    n, seed, truncation = int(row["n"]), *(row.get(key, default) for key, default in DEFAULTS.items())
    seed, truncation = int(seed), float(truncation)
    if n < 1:
        raise _refusal(f"n must be 1 or more, is {n}")
    if not 0 <= seed <= LARGEST_SEED:
        raise _refusal(f"seed must be 0 or more, is {seed}")
    if not 0 <= truncation <= LARGEST_TRUNCATION:  # which NaN is not
        raise _refusal(f"truncation must be a number from 0 to {LARGEST_TRUNCATION:g}, is {truncation}")
    return n, seed, truncation


def _refusal(message: str) -> Exception:
    from mlflow.exceptions import MlflowException

    return MlflowException.invalid_parameter_value(message)  # type: ignore[no-any-return, no-untyped-call, unused-ignore]


def _png(face: Faces) -> str:
    """Return a face uint8 (H, W, 1 or 3) as a PNG file in base64."""
    return base64.b64encode(encode_png(np.broadcast_to(face, (*face.shape[:2], 3)))).decode()
