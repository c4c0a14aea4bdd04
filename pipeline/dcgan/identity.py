"""What tells one training from another: everything that its steps depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline import paths
from pipeline.digest import file_digest
from pipeline.errors import StageError
from pipeline.params import Params, flatten, read_yaml


def training_key(params: Params, data_digest: str, device: str, processes: int, precision: str) -> str:
    """Return the fingerprint of the training that dvc.yaml's train stage describes; StageError where it has none.

    The code and the params that count are those that dvc.yaml lists: so DVC and the checkpoints can't disagree.
    """
    devices = f"{device} {processes}"
    runtime = {"data": data_digest, "device": devices, "precision": precision, "torch": torch.__version__}
    return fingerprint(code_digests(map(Path, _stage()["deps"])), train_params(params), runtime)


def train_params(params: Params) -> dict[str, Any]:
    """Return the params that dvc.yaml lists for train, with dotted keys; StageError where it has no such stage."""
    flat = flatten(params.model_dump())
    return {key: flat[key] for key in _stage()["params"]}


def out_digests() -> list[str]:
    """Return DVC's digests of the files that dvc.yaml lists as train's outs."""
    digests = []
    for out in _stage()["outs"]:
        with Path(out).open("rb") as file:
            digests.append(hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest())
    return digests


def _stage() -> dict[str, Any]:
    try:
        stage: dict[str, Any] = read_yaml(paths.DVC_YAML)["stages"]["train"]
    except KeyError:
        raise StageError(f"{paths.DVC_YAML} has no stage named train") from None
    return stage


def fingerprint(code: Mapping[str, str], params: Mapping[str, Any], runtime: Mapping[str, str]) -> str:
    """Return a SHA-256 over code, params and runtime, without num_epochs, which ends a training and changes no step."""
    steps = {key: value for key, value in params.items() if key != "num_epochs"}
    text = json.dumps([dict(code), steps, dict(runtime)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def code_digests(deps: Iterable[Path]) -> dict[str, str]:
    """Return {path: SHA-256} for the Python files among deps, which are files and folders."""
    files = [file for dep in deps for file in (sorted(dep.rglob("*.py")) if dep.is_dir() else [dep])]
    return {str(file): file_digest(file) for file in files if file.suffix == ".py"}
