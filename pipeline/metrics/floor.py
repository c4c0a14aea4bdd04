"""What real training faces reach in generated ones' place: the same for every training on the same faces, so kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy

from pipeline.atomic import whole_file
from pipeline.digest import file_digest
from pipeline.metrics.backbone import Features
from pipeline.metrics.scores import all_figures
from pipeline.params import EvaluateParams


def cached_floor(
    faces: Features, rulers: Mapping[str, Features], knobs: EvaluateParams, seed: int, folder: Path
) -> dict[str, float]:
    """Return all_figures() of training faces, from a file in the folder where the same were compared before.

    The file is named by all that they depend on: features, settings, the code beside this file, and the libraries that
    compute. forget_features forgets it with the others. faces, rulers: see all_figures().
    """
    settings = [knobs.kid_subsets, knobs.nearest_k, seed, sorted(rulers), np.__version__, scipy.__version__]
    code = [file_digest(file) for file in sorted(Path(__file__).parent.glob("*.py"))]
    digest = hashlib.sha256(json.dumps([settings, code]).encode())
    for features in (faces, *(rulers[name] for name in sorted(rulers))):
        digest.update(str(features.shape).encode())
        digest.update(np.ascontiguousarray(features).data)
    path = folder / f"floor-{digest.hexdigest()}.npz"
    if (cached := _read(path)) is not None:
        return cached
    figures = all_figures({"floor": faces}, rulers, knobs, seed)
    with whole_file(path) as temporary:
        np.savez(temporary, names=np.array([*figures]), values=np.array([*figures.values()]))
    return figures


def _read(path: Path) -> dict[str, float] | None:
    """Return cached figures, None where there are none or they are damaged."""
    try:
        os.utime(path)
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return dict(zip(file["names"].tolist(), file["values"].tolist(), strict=True))
    except Exception:  # damage makes the readers raise anything
        return None
