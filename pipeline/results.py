"""What a run came to, found by its name: its settings, its figures, and what draws its faces.

Either what DVC knows (a revision of the project) or what MLflow knows (a run of the project's store).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline import paths
from pipeline.dvc_cache import cached_file
from pipeline.errors import ParamsError, StageError
from pipeline.faces import SUMS
from pipeline.lineage import METRICS_CODE_TAG, settings, stage_runs
from pipeline.mlflow_store import all_pages, open_store
from pipeline.params import flatten, read_yaml
from pipeline.recipe import RECIPES, recipe_settings

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem
    from mlflow import MlflowClient
    from mlflow.entities import Run

WORKSPACE = "workspace"
SHORTEST = 4  # letters of an id
DIGEST = 36  # letters of a SHA-256 that MLflow takes


class Results(NamedTuple):
    """A run's results.

    name: as it was asked for; origin: what that turned out to be. params: the settings that the results were made with,
    by dotted names, those of another file than params.yaml behind its name and a colon. figures: metrics/evaluate.json.
    generator: a copy of the weights that were evaluated; samples: the picture that was logged, where the weights are
    gone; holdout, clean: the start of the SHA-256 of the raw and of the clean holdout that they were measured against;
    imported: DVC's digest of data/raw, which holds them; run_id: of an MLflow run; metrics_code: DVC's digest of what
    the figures were measured by. None for what is not to be had. edited: settings of params.yaml that are others now.
    """

    name: str
    origin: str
    params: Mapping[str, str]
    figures: Mapping[str, float]
    generator: Path | None
    samples: Path | None
    holdout: str | None = None
    imported: str | None = None
    run_id: str | None = None
    clean: str | None = None
    metrics_code: str | None = None
    edited: Sequence[str] = ()


def find_results(name: str, folder: Path) -> Results:
    """Return the results of a revision of the project, or where there is none of that name of an MLflow run.

    folder takes the files; it is made. Raises ParamsError where nothing is called so, StageError where what is has no
    results.
    """
    folder.mkdir(parents=True)
    found = _of_revision(name, folder) or _of_run(name, folder)
    if found is None:
        raise ParamsError(
            f"{name} is neither a commit, branch, tag or DVC experiment ('dvc exp list --all' names these), nor the "
            "name or id of an MLflow run ('dcgan runs' names those)"
        )
    return found


def find_run(name: str, folder: Path) -> Results:
    """Return the results of the MLflow run of that name, id or start of an id; as find_results otherwise."""
    folder.mkdir(parents=True)
    found = _of_run(name, folder)
    if found is None:
        raise ParamsError(f"{name} is neither the name nor the id of an MLflow run; 'dcgan runs' names them")
    return found


def _of_revision(name: str, folder: Path) -> Results | None:
    """Return the results of a revision, with the settings of its dvc.lock: params.yaml may have changed since."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import NotDvcRepoError
    from dvc.scm import SCMError

    if not name:  # to DVC no revision is the workspace
        return None
    try:
        project = DVCFileSystem(rev=None if name == WORKSPACE else name)
        commit = project.repo.get_rev()
    except (NotDvcRepoError, SCMError, AttributeError):  # the last, because DVC takes HEAD:folder for a commit
        return None
    origin = "what is here now" if name == WORKSPACE else f"commit {commit[:7]}"
    evaluated, lock = paths.metrics_file("evaluate"), folder / "dvc.lock"
    try:
        project.get_file(str(paths.DVC_LOCK), str(lock))
        measured = project.read_bytes(str(evaluated))
    except FileNotFoundError as fault:
        raise StageError(f"{name} ({origin}) has no results: {fault.filename or fault} is missing there") from None
    stages = read_yaml(lock).get("stages") or {}
    if "evaluate" not in stages:
        raise StageError(f"{name} ({origin}) has no results: {paths.DVC_LOCK} lists none of evaluate")
    if stale := _stale(project, stages):
        raise StageError(
            f"{name} ({origin}) is half made: {stale} has not run since what it reads changed, so that settings and "
            "figures belong to different runs; 'dvc repro' makes the rest"
        )
    lists = [out for stage in stages.values() for out in stage.get("outs", []) if out["path"] == str(evaluated)]
    if lists and lists[0].get("md5") != hashlib.md5(measured, usedforsecurity=False).hexdigest():
        raise StageError(
            f"{name} ({origin}): {evaluated} is not what its dvc.lock lists, so that settings and figures belong to "
            "different runs; 'dvc repro' makes it again"
        )
    params = {
        key if file == str(paths.PARAMS) else f"{file}:{key}": str(value)
        for stage in stages.values()
        for file, values in stage.get("params", {}).items()
        for key, value in values.items()
    }
    params |= _recipe_settings(project, stages, params.get("dataroot", ""), folder)
    imported = {out["path"]: out.get("md5") for out in stages.get("crawl-import", {}).get("outs", [])}
    raw, clean = _holdouts(project)
    read = {dep["path"]: dep.get("md5") for dep in stages.get("evaluate", {}).get("deps", [])}
    code = read.get(str(paths.METRICS_CODE))
    now = flatten(read_yaml(paths.PARAMS)) if name == WORKSPACE else {}
    results = Results(
        name,
        origin,
        params,
        json.loads(measured),
        None,
        None,
        raw,
        imported.get(str(paths.RAW)),
        clean=clean,
        metrics_code=code,
        edited=[key for key, value in now.items() if not is_same(params.get(key, str(value)), str(value))],
    )
    generator, evaluated_one = folder / "generator.safetensors", str(_evaluated_generator(params))
    try:
        project.get_file(evaluated_one, str(generator))
    except Exception:  # DVC raises this and that where neither its cache nor a remote has the file
        return results
    with generator.open("rb") as file:
        if hashlib.file_digest(file, "md5").hexdigest() != read.get(evaluated_one):  # such as weights imported since
            raise StageError(
                f"{name} ({origin}): {evaluated_one} is not the one that the figures are of; "
                f"'dvc checkout --force {evaluated_one}' brings that one back"
            )
    return results._replace(generator=generator)


def _recipe_settings(project: DVCFileSystem, lock: Mapping[str, Any], dataroot: str, folder: Path) -> dict[str, str]:
    """Return the settings of the recipe that a revision's faces are of, where that is the one that its lock lists."""
    recipe = folder / Path(dataroot).name
    listed = {dep["path"]: dep.get("md5") for dep in lock.get("crawl-import", {}).get("deps", [])}.get(dataroot)
    if recipe.suffix in RECIPES:
        with suppress(OSError):  # not of this project, or of another machine
            project.get_file(dataroot, str(recipe))
            if hashlib.md5(recipe.read_bytes(), usedforsecurity=False).hexdigest() == listed:
                return {key: str(value) for key, value in recipe_settings(recipe).items()}
    return {}


def is_same(one: str, other: str) -> bool:
    """Whether two settings are equal: MLflow has 3.0 where dvc.lock has 3."""
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False


def _stale(project: DVCFileSystem, stages: Mapping[str, Any]) -> str | None:
    """Return a stage of dvc.lock that read another version of an output than is there, None where there is none."""
    made = {out["path"]: out.get("md5") for stage in stages.values() for out in stage.get("outs", [])}
    for name, stage in stages.items():
        for dep in stage.get("deps", []):
            digest = made.get(dep["path"]) or _digest_in_folder(project, dep["path"], made)
            if digest not in (None, dep.get("md5")):
                return str(name)
    return None


def _digest_in_folder(project: DVCFileSystem, path: str, outs: Iterable[str]) -> str | None:
    """Return DVC's digest of a file in an output that is a folder, of which dvc.lock has that of the whole alone.

    None for other files, and where DVC's cache no longer holds the folder's list.
    """
    if not any(Path(path).is_relative_to(out) for out in outs):
        return None
    try:
        digest: str = project.info(path)["dvc_info"]["md5"]
    except Exception:  # DVC raises this and that
        return None
    return digest


def _holdouts(project: DVCFileSystem) -> tuple[str | None, str | None]:
    """Return the digests of a revision's raw and clean holdouts, None where its checksums are no longer to be had."""
    try:
        sums = project.read_text(str(paths.FACES / SUMS))
    except Exception:  # DVC raises this and that where neither its cache nor a remote has the file
        return None, None
    known = {name: digest[:DIGEST] for digest, _, name in (line.partition("  ") for line in sums.splitlines())}
    return known.get(paths.HOLDOUT_RAW.name), known.get(paths.HOLDOUT_CLEAN.name)


def _evaluated_generator(params: Mapping[str, str]) -> Path:
    return paths.GENERATOR_BEST if params.get("evaluate.generator") == "best" else paths.GENERATOR


def _of_run(name: str, folder: Path) -> Results | None:
    """Return the results of an MLflow run: its weights from DVC's cache, by digest, or else the logged picture."""
    with open_store() as (client, experiment_id):
        parent = _find_run(client, experiment_id, name)
        if parent is None:
            return None
        origin = f"MLflow run {parent.info.run_id[:8]}"
        below = stage_runs(client, experiment_id, parent.info.run_id)
        done = [run for run in below if run.info.status == "FINISHED"]
        child = next((run for run in done if run.data.tags["stage"] == "evaluate"), None)
        if child is None:
            raise StageError(f"{name} ({origin}) evaluated nothing: it has no results to compare")
        params = settings(parent, reversed(done))
        generator = _cached(child, str(_evaluated_generator(params)))
        samples = None if generator else _logged_samples(client, child.info.run_id, folder)
        raw, clean = (_inputs(child).get(str(holdout)) for holdout in (paths.HOLDOUT_RAW, paths.HOLDOUT_CLEAN))
        figures, run_id, code = child.data.metrics, parent.info.run_id, child.data.tags.get(METRICS_CODE_TAG)
        return Results(
            name, origin, params, figures, generator, samples, raw, run_id=run_id, clean=clean, metrics_code=code
        )


def _find_run(client: MlflowClient, experiment_id: str, name: str) -> Run | None:
    """Return the invocation's run of that name or id; ParamsError where several fit."""
    runs = all_pages(lambda at: client.search_runs([experiment_id], "tags.kind = 'invocation'", page_token=at))
    fitting = [run for run in runs if run.info.run_name == name] or [
        run for run in runs if len(name) >= SHORTEST and run.info.run_id.startswith(name)
    ]
    if len(fitting) > 1:
        ids = ", ".join(run.info.run_id for run in fitting)
        raise ParamsError(f"{name} fits {len(fitting)} MLflow runs; say which by its id: {ids}")
    return fitting[0] if fitting else None


def _inputs(run: Run) -> dict[str, str]:
    """Return the digests of what a run read, by its path."""
    return {entry.dataset.name: entry.dataset.digest for entry in run.inputs.dataset_inputs} if run.inputs else {}


def _cached(run: Run, path: str) -> Path | None:
    """Return the file in DVC's cache that a run read at a path, or None where it is no longer there."""
    digests = _inputs(run)
    return cached_file(digests[path]) if path in digests else None


def _logged_samples(client: MlflowClient, run_id: str, folder: Path) -> Path | None:
    """Return a copy of the grid that evaluate logged, or None."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        for artifact in client.list_artifacts(run_id, "images"):
            name = Path(artifact.path).name
            if name.startswith("samples") and name.endswith(".png"):
                return Path(client.download_artifacts(run_id, artifact.path, str(folder)))
    except Exception:  # of whatever reaches the bucket that holds the files
        return None
    return None
