"""The best generator so far, in MLflow's model registry under the alias `champion`."""

from __future__ import annotations

import logging
import math
import os
import warnings
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import torch
from filelock import FileLock

from pipeline import flavours, paths, serving
from pipeline.compare import cautions, differences
from pipeline.dcgan.sampling import load_generator
from pipeline.dcgan.weights import read_weights
from pipeline.errors import ParamsError, StageError, StoreError
from pipeline.mlflow_store import open_store, tracking_uri
from pipeline.reports.figure_table import rounded
from pipeline.results import Results, find_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL, CHAMPION = "anime-dcgan", "champion"
KID = "kid_lite0_raw"
NEEDS = ("mlflow", "numpy", "opencv-python-headless", "pandas", "pillow", "safetensors", "torch")


class Champion(NamedTuple):
    """The version that is served, and the results of its run; None where MLflow no longer has them.

    kid: as it was written onto the version when it was promoted.
    """

    version: str
    kid: str
    results: Results | None


def promote(name: str, most_faces: int) -> str:
    """Register an MLflow run's generator and make it the champion, if it beats the one that is; return what was done.

    A champion whose run is gone from MLflow can't be compared with, and gives way. most_faces: what a request to the
    served model may ask for. Raises StageError where it does not beat the champion, its weights are gone, or MLflow
    does not take it.
    """
    with open_store() as (client, experiment_id):
        pass
    # What another one promotes in the meantime would not have been compared with.
    with FileLock(paths.state_dir() / "promote.lock"):
        return _promote(name, most_faces, client, experiment_id)


def _promote(name: str, most_faces: int, client: MlflowClient, experiment_id: str) -> str:
    from mlflow.exceptions import MlflowException

    with TemporaryDirectory() as folder:
        try:
            candidate = find_run(name, Path(folder) / "candidate")
            if not _measured(candidate):
                raise StageError(f"{name} ({candidate.origin}) has no {KID} with its error")
            if candidate.generator is None:
                raise StageError(f"{name} ({candidate.origin}): its generator is not in DVC's cache; try 'dvc pull'")
            champion = _champion(client, Path(folder) / "champion")
            if champion and champion.results and (why_not := objection(champion.results, candidate)):
                raise StageError(f"{name} is not promoted: {why_not}; the champion stays version {champion.version}")
            serving.write_model(candidate.generator, most_faces, Path(folder) / "model")
            flavours.write_graph(load_generator(candidate.generator, torch.device("cpu")), Path(folder) / "model")
            number = _register(client, experiment_id, candidate, Path(folder) / "model")
            if (now := _alias(client)) and (champion is None or str(now.version) != champion.version):
                raise StageError(f"version {now.version} has become the champion meanwhile; promote {name} again")
            client.set_registered_model_alias(MODEL, CHAMPION, number)
        except MlflowException as fault:
            raise StageError(f"{name} is not promoted: the MLflow store {tracking_uri()} says: {fault}") from None
    return f"{name}, with {_kid(candidate)}, is version {number} of {MODEL} and its {CHAMPION}{_instead_of(champion)}"


def _measured(one: Results) -> bool:
    return all(math.isfinite(one.figures.get(key, math.nan)) for key in (KID, f"{KID}_se"))


def _instead_of(champion: Champion | None) -> str:
    if champion is None:
        return ""
    before = f", instead of version {champion.version} with KID×1000 {champion.kid}"
    return before if champion.results else f"{before}, whose run is gone from MLflow: the two were not compared"


def objection(champion: Results, candidate: Results) -> str | None:
    """Return why a candidate does not take the champion's place, None where it is better by more than the errors."""
    if champion.run_id == candidate.run_id:
        return "it is the champion"
    if _same_weights(champion, candidate) and champion.metrics_code != candidate.metrics_code:
        return None  # the champion's own, measured by newer code: what comes after can be compared with it
    if doubts := [caution.says for caution in cautions(champion, candidate) if not caution.filtered]:
        return doubts[0]
    kid = next(one for one in differences(champion, candidate) if one.name == KID)
    if kid.difference < 0 and kid.exceeds:
        return None
    how = "not lower than" if kid.difference >= 0 else "lower by no more than twice the error than"
    return f"its {_kid(candidate)} is {how} the champion's {kid.left} (difference {rounded(kid.difference, kid.error)})"


def _same_weights(one: Results, other: Results) -> bool:
    return bool(one.generator and other.generator and one.generator.read_bytes() == other.generator.read_bytes())


def _kid(one: Results) -> str:
    return f"KID×1000 {rounded(one.figures[KID], one.figures[f'{KID}_se'])}"


def _champion(client: MlflowClient, folder: Path) -> Champion | None:
    """Return the version under the alias and what it came to, None where there is none."""
    held = _alias(client)
    if held is None:
        return None
    try:
        found: Results | None = find_run(held.run_id or "", folder)
    except StoreError:  # which says nothing of the run
        raise
    except (ParamsError, StageError):  # the run was deleted, or its evaluation was
        found = None
    results = found if found and _measured(found) else None
    return Champion(str(held.version), held.tags.get(KID, "unknown"), results)


def _alias(client: MlflowClient) -> ModelVersion | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(MODEL, CHAMPION)
    except MlflowException as fault:
        if fault.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no such model; no such alias
            return None
        raise


def _register(client: MlflowClient, experiment_id: str, candidate: Results, folder: Path) -> str:
    """Return the number of a new version of the model in a folder, which the run's figures and settings go with."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow
    from mlflow.models import Model

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells each step of a registration
    mlflow.set_tracking_uri(tracking_uri())
    mlflow.set_experiment(experiment_id=experiment_id)
    metadata = read_weights(folder / serving.GENERATOR)[1]
    with warnings.catch_warnings():
        # The signature is written by hand, and to try it MLflow would load the model.
        warnings.filterwarnings("ignore", ".*An input example was not provided")  # which is coloured
        logged = Model.log(
            artifact_path=None,
            name="generator",
            flavor=flavours,
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
