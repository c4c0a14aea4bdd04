"""Take images out for good: onto the takedown list, out of the crawl's store, and a report on where else they are."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import paths
from pipeline.errors import ParamsError, StageError, StoreError
from pipeline.lineage import PARENT_TAG
from pipeline.messages import HIDDEN, printable, without_credentials, without_secrets
from pipeline.mlflow_store import SERVERS, all_pages, open_store, tracking_uri
from pipeline.params import require_project
from pipeline.records import open_shard, read_rows, shard_paths
from pipeline.sources.crawler import open_store as open_crawl_store
from pipeline.sources.crawler import store_folder
from pipeline.sources.takedown import add_to_takedown, is_url
from pipeline.sources.urls import plain_url

if TYPE_CHECKING:
    from dvc.repo import Repo
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.entities.paged_list import PagedList

# By these inputs it is told whether a stage's pages, grids or weights may hold an image; the other stages log none.
READS = {"filter": "data/raw", "train": "data/faces/train.npy", "evaluate": "data/faces"}
INDEX = paths.FACES / "index.parquet"
DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")  # of DVC
UNSEEN = ": nothing trained is known to have seen them."
READABLE, TO_TRAIN_ON = pc.field("error").is_null(), pc.field("array") == "train"


@dataclass(frozen=True)
class Invocation:
    """An invocation that MLflow knows: its name and id, the ids of all its runs, and what they did with the images.

    deleted: those of these runs that are in MLflow's bin, where their pictures and models still are.
    learnt: whether a net that it trained or evaluated has seen them, False where there is none; met: whether they were
    among what any stage read, and so may be shown. None where DVC's cache no longer holds the list of what was read.
    """

    name: str
    run_ids: Sequence[str]
    deleted: Sequence[str]
    has_trained: bool
    learnt: bool | None
    met: bool | None


def forget(names: Sequence[str]) -> str:
    """Put images on the takedown list, remove them from the crawl's store, and return a report as text.

    names: URLs, or ids (SHA-256). A URL's bytes are taken down too, wherever else they lie, and so is every URL that
    gave them. ParamsError for any other name, and outside of the project's root.
    """
    require_project()
    repo = _repo()
    runs, versions, models, away = _known_to_mlflow()
    urls, ids = _whole(names, _read_by_filters(runs, repo))
    invocations = list(_invocations(runs, ids, repo))
    here = _has(INDEX, ids, TO_TRAIN_ON) if INDEX.exists() else None
    added = add_to_takedown(paths.TAKEDOWN, urls | ids)
    removed = 0
    if store_folder().exists():
        with open_crawl_store(store_folder()) as store:
            removed = store.forget(ids, urls)
    lines = [
        f"{len(added)} more in {paths.TAKEDOWN}; commit it. From the next import on they are out: dvc repro",
        *(f"  {printable(name)}" for name in added),
        f"{removed} files removed from {store_folder()}",
    ]
    if away:
        raise StoreError("\n".join([*lines, f"who has seen them is not known: {away}; run this again after that"]))
    if not ids:
        since = UNSEEN if urls <= set(added) else " any more; what was said when they were taken down may still hold."
        return "\n".join([*lines, f"No bytes are known under these URLs{since}"])
    learners = {run_id for one in invocations if one.learnt is not False for run_id in one.run_ids}
    # Models hold the files, whether a version names them still or not.
    held = [model.model_id for model in models if model.source_run_id in learners]
    named = [version for version in versions if version.run_id in learners]
    lines += _models(invocations, here)
    return "\n".join([*lines, "", *_copies(invocations, named, held, repo)])


def _whole(names: Sequence[str], cached: Sequence[Path]) -> tuple[set[str], set[str]]:
    """Return the URLs and ids that are meant: those named, the bytes behind the URLs, and all URLs of these bytes.

    With a face its whole picture and that one's other faces: cut out with another margin, it would be another id.
    """
    # One that was copied from where it is shown with its token hidden is no image's.
    urls = {url for url in map(plain_url, names) if is_url(url) and f"={HIDDEN}" not in url}
    ids = {name.lower() for name in names if re.fullmatch(r"[0-9a-fA-F]{64}", name)}
    if unknown := [name for name in names if plain_url(name) not in urls and name.lower() not in ids]:
        named = without_credentials(unknown[0])
        raise ParamsError(
            f"{named!r} is neither a URL nor an id of 64 hexadecimal digits; 'dcgan explain' tells an image's id"
        )
    known = set(_crawled(cached))
    ids |= {sha256 for url, sha256 in known if url in urls}
    faces = {(row["parent"], row["id"]) for row in _raw_rows(cached, ["parent", "id"]) if row["parent"] and row["id"]}
    ids |= {parent for parent, sha256 in faces if sha256 in ids}
    ids |= {sha256 for parent, sha256 in faces if parent in ids}
    urls |= {url for url, sha256 in known if sha256 in ids}
    return urls, ids


def _read_by_filters(runs: Sequence[Run], repo: Repo | None) -> list[Path]:
    """Return the shards of each version of data/raw that a filter read and DVC's cache still holds.

    What was taken down before has no id in the newest ones, and without crops they tell no face's whole picture.
    """
    tables: list[Path] = []
    read = [_read(run, "filter") for run in runs if run.data.tags.get("stage") == "filter"]
    for digest in filter(None, dict.fromkeys(read)):
        tables += _cached_tables(digest, repo) or []
    return list(dict.fromkeys(tables))


def _crawled(cached: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Yield (plain URL, id) of every crawled image that the store or the raw shards know, redirects' ends too."""
    if store_folder().exists():
        with open_crawl_store(store_folder()) as store:
            yield from ((plain_url(url), sha256) for url, sha256 in store.known())
    for row in _raw_rows(cached, ["url", "final_url", "id"]):
        yield from ((plain_url(url), row["id"]) for url in (row["url"], row["final_url"]) if url and row["id"])


def _raw_rows(cached: Sequence[Path], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield these columns of the rows of data/raw, None for those that it lacks, and of the cached shards.

    StageError where a shard here is damaged; one that the cache no longer gives back is no reason not to forget.
    """
    for shard in shard_paths(paths.RAW):
        yield from _rows(shard, names)
    for shard in cached:
        with suppress(StageError):
            yield from _rows(shard, names)


def _rows(shard: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    with open_shard(shard) as file:
        there = [name for name in names if name in file.schema_arrow.names]
    if there != ["id"]:
        yield from (dict.fromkeys(names) | row for row in read_rows(shard, there))


def _repo() -> Repo | None:
    from dvc.api import DVCFileSystem
    from dvc.exceptions import NotDvcRepoError

    try:
        return DVCFileSystem().repo
    except NotDvcRepoError:
        return None


def _known_to_mlflow() -> tuple[list[Run], list[ModelVersion], list[LoggedModel], StoreError | None]:
    """Return all runs, those in MLflow's bin too, registered versions and models; the fault where it tells none."""
    from mlflow.entities import ViewType

    try:
        with open_store() as (client, experiment_id):

            def runs(token: str | None) -> PagedList[Run]:
                return client.search_runs([experiment_id], run_view_type=ViewType.ALL, page_token=token)

            def models(token: str | None) -> PagedList[LoggedModel]:
                return client.search_logged_models([experiment_id], page_token=token)

            return all_pages(runs), list(client.search_model_versions()), all_pages(models), None
    except StoreError as fault:
        return [], [], [], fault


def _invocations(runs: Sequence[Run], ids: set[str], repo: Repo | None) -> Iterator[Invocation]:
    """Yield every invocation with a stage that READS names."""
    names = {run.info.run_id: str(run.info.run_name) for run in runs}
    families: dict[str, list[Run]] = {}
    for run in runs:
        families.setdefault(run.data.tags.get(PARENT_TAG, run.info.run_id), []).append(run)
    for parent, family in families.items():
        stages = [(run, stage) for run in family if (stage := run.data.tags.get("stage")) in READS]
        if stages:
            # Where DVC had no need to train, the generator that was evaluated is of the same faces.
            learnt = [_holds(run, stage, ids, repo, TO_TRAIN_ON) for run, stage in stages if stage != "filter"]
            met = [_holds(run, stage, ids, repo, READABLE if stage == "filter" else None) for run, stage in stages]
            told = f"{names.get(parent, parent)} ({parent[:8]})"
            run_ids = [run.info.run_id for run in family]
            deleted = [run.info.run_id for run in family if run.info.lifecycle_stage == "deleted"]
            has_trained = any(stage == "train" for _, stage in stages)
            yield Invocation(told, run_ids, deleted, has_trained, _any(learnt), _any(met))


def _any(found: Sequence[bool | None]) -> bool | None:
    """Whether one is true; None where none is and one is not known."""
    return True if True in found else None if None in found else False


def _holds(run: Run, stage: str, ids: set[str], repo: Repo | None, which: pc.Expression | None) -> bool | None:
    """Whether what a run read has rows of that kind with these images; None where that is gone from DVC's cache."""
    digest = _read(run, stage)
    tables = _cached_tables(digest, repo) if digest else None
    return None if tables is None else _any([_has_cached(table, ids, which) for table in tables])


def _has_cached(table: Path, ids: set[str], which: pc.Expression | None) -> bool | None:
    """Return what _has() does, None where DVC's cache no longer has the table whole."""
    try:
        return _has(table, ids, which)
    except StageError:
        return None


def _read(run: Run, stage: str) -> str | None:
    """Return DVC's digest of what a stage's run read, None where MLflow was not told."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return next((str(entry.dataset.digest) for entry in inputs if entry.dataset.name == READS[stage]), None)


def _cached_tables(digest: str, repo: Repo | None) -> list[Path] | None:
    """Return where DVC's cache has the Parquet files of a folder, or would; None where it has no list of them."""
    if repo is None or not DIGEST.fullmatch(digest):  # MLflow's server may say anything
        return None
    place = repo.cache.local.oid_to_path
    try:
        listed = json.loads(Path(place(digest)).read_text(encoding="utf-8"))
        return [Path(place(one["md5"])) for one in listed if one["relpath"].endswith(".parquet")]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # none, or one that is damaged
        return None


def _has(table: Path, ids: set[str], which: pc.Expression | None) -> bool:
    meant = pc.field("id").isin(pa.array(sorted(ids), pa.string()))  # typed where there are none, too
    with open_shard(table):  # which says so where it is damaged
        which = meant if which is None else meant & which
        return bool(pq.read_table(table, columns=["id"], filters=which, page_checksum_verification=True).num_rows)


def _models(invocations: Sequence[Invocation], here: bool | None) -> list[str]:
    """Return a line a trained net; here: whether data/faces has the images to train on, None where it is not there."""
    lines = ["", "Trained models"]
    if here is not None:
        lines.append(f"  {paths.FACES} here, and what was trained on it: {'had it' if here else 'never had it'}")
    said = {True: "has seen it", False: "has not", None: "not known: its data is no longer in DVC's cache"}
    return lines + [f"  {one.name}: {said[one.learnt]}" for one in invocations if one.has_trained]


def _copies(
    invocations: Sequence[Invocation], versions: Sequence[ModelVersion], models: Sequence[str], repo: Repo | None
) -> list[str]:
    """Return where copies may be, each with the command that removes it; none of them is run."""
    # Of a clone, DVC takes the cache of where it came from for a remote: to empty that is for its owner.
    remotes = sorted(set(repo.config["remote"]) - {"auto-generated-upstream"}) if repo else []
    suspects = [run_id for one in invocations if one.met is not False for run_id in one.run_ids]
    deleted = {run_id for one in invocations for run_id in one.deleted}
    held = paths.state_dir()
    lines = [
        "Copies, and what removes them, in this order",
        f"  {paths.RAW}, {paths.CLEAN}, {paths.FACES}, reports, plots and the models here are made anew without it:",
        "    dvc repro",
        "  what the filter has measured and mended, what evaluate has, and what trainings go on from:",
        "    rm -rf " + " ".join(shlex.quote(str(held / name)) for name in ("filter", "features", "checkpoints")),
        "  what an import or an experiment that was killed has left, where none runs now:",
        f"    rm -rf {shlex.quote(str(held))}/import-* {shlex.quote(str(held.parent))}/.dvc/tmp/exps/standalone/tmp*",
        "  DVC's cache, with every version and experiment that is not the one here:",
        "    dvc gc --workspace",
    ]
    for remote in remotes:
        lines += [f"  the remote {remote}, likewise:", f"    dvc gc --workspace --cloud --remote {remote}"]
    uri = tracking_uri()
    store = shlex.quote(without_secrets(uri))
    if versions or suspects:
        hidden = " (without its password here)" if without_secrets(uri) != uri else ""
        lines += [f"  what follows is in MLflow{hidden}:", f"    export MLFLOW_TRACKING_URI={store}"]
    if versions or models:
        client = "import mlflow; mlflow.MlflowClient()"
        lines += [
            "  registered models, which draw with what they may have learnt from it:",
            *(f"    python -c \"{client}.delete_model_version('{one.name}', '{one.version}')\"" for one in versions),
            *(f"    python -c \"{client}.delete_logged_model('{model}')\"" for model in models),
        ]
    if suspects:
        lines += [
            "  runs, whose pages and grids may show it:",
            *(f"    mlflow runs delete --run-id {run_id}" for run_id in suspects if run_id not in deleted),
        ]
        # MLflow's server has no way to do it from here.
        remote = uri.startswith(SERVERS)
        lines.append(f"  the files of these{', on the server, with the address of its database' if remote else ''}:")
        purged = f"--run-ids {','.join(suspects)}" + (f" --logged-model-ids {','.join(models)}" if models else "")
        lines.append(f"    mlflow gc --backend-store-uri {'DATABASE' if remote else store} {purged}")
    lines.append("  a folder or an archive of your own that it came from: delete it there.")
    return lines
