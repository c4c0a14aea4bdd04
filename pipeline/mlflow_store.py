"""MLflow's store: where it is, how it is made, and what it says when something is wrong."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock

from pipeline import paths
from pipeline.errors import StoreError
from pipeline.messages import shown
from pipeline.params import require_project

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.entities.paged_list import PagedList

Entry = TypeVar("Entry")

EXPERIMENT = "anime-dcgan"

SQLITE = "sqlite:///"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # as MLflow knows them, by how their addresses begin
SERVERS = ("http://", "https://")
UNFINISHED = "mlflow.db.new"

# What SQLite and MLflow say of a file that no try again will mend; the last of one whose making was cut off.
DAMAGED = ("file is not a database", "database disk image is malformed", "_alembic_tmp_")


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the main checkout's store: a temporary checkout's would vanish with it.

    So would one that a relative path names there.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    return f"{SQLITE}{paths.main_checkout(Path.cwd()) / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri


def _database() -> Path | None:
    """Return the file that holds the store, None where a server does."""
    uri = tracking_uri()
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


def _artifacts() -> str:
    """Return the URI of where a store on this machine keeps its files, whoever ran first, and where."""
    return (paths.main_checkout(Path.cwd()) / "mlartifacts").as_uri()


def _make_whole(database: Path) -> None:
    """Make an empty store where there is none, whole or not at all.

    MLflow makes its tables in dozens of steps. Killed between two of them, it would leave a file that no later process
    can finish: nothing would ever be logged again.
    """
    if database.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    unfinished = paths.state_dir() / UNFINISHED
    for left in unfinished.parent.glob(f"{UNFINISHED}*"):  # by a process that was killed; SQLite's journal too
        left.unlink()
    store = SqlAlchemyStore(f"sqlite:///{unfinished}", _artifacts())  # type: ignore[no-untyped-call]
    store.engine.dispose()
    beside = database.with_name(f".{database.name}.{secrets.token_hex(4)}")
    shutil.move(unfinished, beside)  # which may be on another disk
    try:
        os.link(beside, database)  # a rename would take the place of what another checkout has made in the meantime
    except FileExistsError:
        pass
    except OSError:  # exFAT, among others, has no hard links
        if not database.exists():
            beside.rename(database)
    finally:
        beside.unlink(missing_ok=True)


def _experiment_id(client: MlflowClient) -> str:
    if found := client.get_experiment_by_name(EXPERIMENT):
        if found.lifecycle_stage == "deleted":
            raise StoreError(
                f"the experiment {EXPERIMENT} was deleted in MLflow; 'mlflow experiments restore --experiment-id "
                f"{found.experiment_id}' brings it back"
            )
        return str(found.experiment_id)
    # Of a server, the artifact store is the server's choice. For a database MLflow would take the working directory,
    # which may be a temporary checkout's.
    uri = tracking_uri()
    location = _artifacts() if uri.startswith(DATABASES) else None
    return str(client.create_experiment(EXPERIMENT, artifact_location=location))


def explain(fault: Exception) -> str:
    """Return what a fault of the store says, in a line, and the cure where the store is a damaged file."""
    said = shown(next(iter(str(fault).splitlines()), "") or type(fault).__name__)
    if any(sign in said for sign in DAMAGED):
        return f"{_database()} is damaged ({said}); put a backup in its place, or move it away and a new one is made"
    return said


@contextmanager
def open_store() -> Iterator[tuple[MlflowClient, str]]:
    """Yield a client and the experiment's id, under a lock between this machine's processes.

    The lock, because a first use makes the database: of three processes that did so at once, one or none lived.
    StoreError where the store does not answer, then or within the block, or the experiment was deleted.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow's own patience with a server that is away is minutes for each call.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    state, database = paths.state_dir(), _database()
    if not state.exists():
        require_project()
    state.mkdir(exist_ok=True)
    with FileLock(state / "mlflow.lock"):
        try:
            if database:
                _make_whole(database)
            client = MlflowClient(tracking_uri())
            experiment_id = _experiment_id(client)
        except StoreError:
            raise
        except Exception as fault:  # of requests, of MLflow, of SQLAlchemy
            store = shown(tracking_uri())
            raise StoreError(f"the MLflow store {store} does not answer: {explain(fault)}") from None
        try:
            yield client, experiment_id
        except MlflowException as fault:
            raise StoreError(f"the MLflow store {shown(tracking_uri())} says: {explain(fault)}") from None


def all_pages(page_of: Callable[[str | None], PagedList[Entry]]) -> list[Entry]:
    """Return all that a search of MLflow finds; page_of: the search, by the token of a page, None for the first."""
    found: list[Entry] = []
    token: str | None = ""
    while token is not None:
        page = page_of(token or None)
        found, token = found + list(page), page.token or None
    return found
