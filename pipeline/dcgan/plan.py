"""Whether a training can work and is long enough, said before it starts."""

from __future__ import annotations

import math

from pipeline.errors import ParamsError, StageError
from pipeline.faces import Faces
from pipeline.params import Params


def plan_epoch(faces: Faces, params: Params, processes: int) -> int:
    """Return the steps in an epoch over faces (N, H, W, C); StageError where they don't fit params or fill no batch.

    Raises ParamsError for a batch_size that so many processes can't share, at least two faces each.
    """
    if params.batch_size % processes or params.batch_size < 2 * processes:
        raise ParamsError(
            f"batch_size: {params.batch_size} can't be shared by {processes} processes, equally and at least 2 faces "
            f"each; set a multiple of {processes}"
        )
    found, wanted = (
        "×".join(map(str, shape)) for shape in (faces.shape[1:], (params.image_size, params.image_size, params.nc))
    )
    if found != wanted:
        raise StageError(f"the faces are {found}, and params.yaml wants {wanted}; run 'dvc repro resize' first")
    if len(faces) < params.batch_size:
        raise StageError(
            f"{len(faces)} faces do not fill one batch of {params.batch_size}; "
            "give the pipeline more images, or set batch_size lower"
        )
    return len(faces) // params.batch_size


def shortness(epoch_steps: int, params: Params) -> str | None:
    """Return a warning where the planned steps are fewer than train.min_steps, with the num_epochs that would do."""
    steps = epoch_steps * params.num_epochs
    if steps >= params.train.min_steps:
        return None
    enough = math.ceil(params.train.min_steps / epoch_steps)
    return (
        f"{params.num_epochs} epochs of {epoch_steps} steps are {steps} steps, fewer than {params.train.min_steps}: "
        f"expect mush; set num_epochs to {enough} or more, or batch_size lower"
    )
