"""A generator out of MLflow's model registry."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.errors import ParamsError, StageError

SCHEME = "models:/"


@contextmanager
def weights_file(source: str) -> Iterator[Path]:
    """Yield the file of weights that a path names, or a registry's URI: models:/NAME@ALIAS or models:/NAME/VERSION.

    Of a URI it is a copy that lasts as long as the block. Raises ParamsError where the registry has no such model,
    StageError where that holds no weights of this project or MLflow does not answer.
    """
    if source.startswith("models:") and not source.startswith(SCHEME):
        raise ParamsError(f"{source} is no model; they are written models:/NAME@ALIAS or models:/NAME/VERSION")
    if not source.startswith(SCHEME):
        yield Path(source)
        return
    from pipeline.serving import GENERATOR

    with TemporaryDirectory() as folder:
        found = sorted(download(source, Path(folder)).rglob(GENERATOR))
        if not found:
            raise StageError(
                f"{source} holds no {GENERATOR}: its files are gone, or 'dcgan promote' did not register it"
            )
        yield found[0]


def download(uri: str, folder: Path) -> Path:
    """Copy a model of the registry into a folder, and return where it is.

    Raises ParamsError where the registry has no such model, StageError where MLflow does not answer.
    """
    from pipeline.mlflow_store import open_store, tracking_uri

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with open_store():  # which makes the store, or says that it does not answer
        pass
    from mlflow import set_tracking_uri
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from pipeline.messages import shown

    set_tracking_uri(tracking_uri())
    try:
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder)))
    except MlflowException as fault:
        raise ParamsError(
            f"{uri} is not to be had from the registry of {tracking_uri()}, where 'dcgan promote' puts them: {fault}"
        ) from None
    except Exception as fault:  # of whatever reaches the bucket that holds the files
        raise StageError(f"the files of {uri} are not to be had: {type(fault).__name__}: {shown(fault)}") from None
