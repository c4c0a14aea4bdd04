"""The best generator so far, in MLflow's model registry under the alias `champion`."""

from __future__ import annotations

import logging
import os
import warnings
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline import serving
from pipeline.compare import cautions, differences
from pipeline.dcgan.weights import read_weights
from pipeline.errors import StageError
from pipeline.reports.figure_table import rounded
from pipeline.results import Results, find_run
from pipeline.tracking import open_store, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL, CHAMPION = "anime-dcgan", "champion"
KID = "kid_lite0_raw"
NEEDS = ("mlflow", "numpy", "pandas", "pillow", "safetensors", "torch")


def promote(name: str, most_faces: int) -> str:
    """Register an MLflow run's generator and make it the champion, if it beats the one that is; return what was done.

    most_faces: what a request to the served model may ask for. Raises StageError where it does not beat the champion,
    or its weights are gone.
    """
    with open_store() as (client, experiment_id):
        pass
    with TemporaryDirectory() as folder:
        candidate, champion = find_run(name, Path(folder) / "candidate"), _champion(client, Path(folder) / "champion")
        if KID not in candidate.figures or f"{KID}_se" not in candidate.figures:
            raise StageError(f"{name} ({candidate.origin}) has no {KID} with its error")
        if candidate.generator is None:
            raise StageError(f"{name} ({candidate.origin}): its generator is not in DVC's cache; try 'dvc pull'")
        if champion and (why_not := objection(champion, candidate)):
            raise StageError(f"{name} is not promoted: {why_not}; the champion stays {champion.origin}")
        serving.write_model(candidate.generator, most_faces, Path(folder) / "model")
        number = _register(client, experiment_id, candidate, Path(folder) / "model")
    client.set_registered_model_alias(MODEL, CHAMPION, number)
    over = f", instead of {champion.origin} with {_kid(champion)}" if champion else ""
    return f"{name}, with {_kid(candidate)}, is version {number} of {MODEL} and its {CHAMPION}{over}"


def objection(champion: Results, candidate: Results) -> str | None:
    """Return why a candidate does not take the champion's place, None where it is better by more than the errors."""
    if champion.run_id == candidate.run_id:
        return "it is the champion"
    if doubts := [caution.says for caution in cautions(champion, candidate) if not caution.clean_only]:
        return doubts[0]
    kid = next(one for one in differences(champion, candidate) if one.name == KID)
    if kid.difference < 0 and kid.exceeds:
        return None
    how = "not lower than" if kid.difference >= 0 else "lower by no more than twice the error than"
    return f"its {_kid(candidate)} is {how} the champion's {kid.left} (difference {rounded(kid.difference, kid.error)})"


def _kid(one: Results) -> str:
    return f"KID×1000 {rounded(one.figures[KID], one.figures[f'{KID}_se'])}"


def _champion(client: MlflowClient, folder: Path) -> Results | None:
    """Return the results of the run that the champion is from."""
    from mlflow.exceptions import MlflowException

    try:
        held = client.get_model_version_by_alias(MODEL, CHAMPION)
    except MlflowException as fault:
        if fault.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no such model; no such alias
            return None
        raise
    found = find_run(str(held.run_id), folder)
    return found._replace(origin=f"version {held.version} ({found.origin})")


def _register(client: MlflowClient, experiment_id: str, candidate: Results, folder: Path) -> str:
    """Return the number of a new version of the model in a folder, which the run's figures and settings go with."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow
    import mlflow.pyfunc
    from mlflow.models import Model

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells each step of a registration
    mlflow.set_tracking_uri(tracking_uri())
    mlflow.set_experiment(experiment_id=experiment_id)
    metadata = read_weights(folder / serving.GENERATOR)[1]
    with warnings.catch_warnings():
        # The signature is written by hand, and to try it MLflow would load the model.
        warnings.filterwarnings("ignore", "An input example was not provided")
        logged = Model.log(
            artifact_path=None,
            name="generator",
            flavor=mlflow.pyfunc,
            run_id=candidate.run_id,
            registered_model_name=MODEL,
            loader_module=serving.__name__,
            data_path=str(folder),
            signature=serving.signature(),
            pip_requirements=[f"{package}=={version(package)}" for package in NEEDS],
            metadata=metadata,
        )
    number = str(logged.registered_model_version)
    tags = {"run": candidate.name, KID: rounded(candidate.figures[KID], candidate.figures[f"{KID}_se"])}
    tags |= {"data": metadata["data"]} if "data" in metadata else {}  # the SHA-256 of train.npy
    for key, value in tags.items():
        client.set_model_version_tag(MODEL, number, key, value)
    return number
