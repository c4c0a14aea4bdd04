"""The same work on a Dask cluster: a real scheduler and two worker processes, started elsewhere, on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from threadpoolctl import threadpool_info

from pipeline import workers as under_test
from pipeline.cleaning.run import filter_shards
from pipeline.errors import ParamsError, StageError
from pipeline.packing import pack_faces
from pipeline.params import Params
from pipeline.sources import items
from pipeline.sources.importing import import_source
from pipeline.workers import Workers, open_workers

pytestmark = pytest.mark.long

RECIPE = """\
kind: builtin
seed: 3
count: 160
size: 64
dirt: {exact_duplicate: 0.1, reencoded_duplicate: 0.05, blur: 0.1, gaussian_noise: 0.1, dark: 0.1, unreadable: 0.05}
"""

# Dies with the test run, even one that is killed.
START = """\
import ctypes, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
from distributed.cli.{command} import main
main()
"""


class Cluster(NamedTuple):
    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@contextmanager
def start(command: str, folder: Path, root: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Dask command with another working directory than the tests, and kill it at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [sys.executable, "-c", START.format(command=command), "--no-dashboard", "--host", "127.0.0.1", *options]
    with (folder / f"{command}.log").open("ab") as log:
        process = subprocess.Popen(
            arguments, cwd=folder, env=os.environ | {"PYTHONPATH": str(root)}, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def start_cluster(folder: Path, root: Path, size: int) -> Iterator[Cluster]:
    meeting = folder / "scheduler.json"
    worker = ["--scheduler-file", str(meeting), "--no-nanny", "--nthreads", "1", "--local-directory", str(folder)]
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            start("dask_scheduler", folder, root, "--port", "0", "--scheduler-file", str(meeting))
        )
        # It is there before it is written.
        wait_until(lambda: meeting.exists() and meeting.read_text().rstrip().endswith("}"))
        workers = [stack.enter_context(start("dask_worker", folder, root, *worker)) for _ in range(size)]
        address = json.loads(meeting.read_text())["address"]
        if size:
            with open_workers(0, address) as ready:
                wait_until(lambda: ready._threads() == size)
        yield Cluster(address, scheduler, workers)


def wait_until(happened: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Cluster]:
    with start_cluster(tmp_path_factory.mktemp("cluster"), root, size=2) as running:
        yield running


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "SHARD_IMAGES", 40)


def run_stages(dataroot: str, params: Params, workers: Workers) -> None:
    """Import, filter and resize below the working directory, as the stages do, by relative paths."""
    crawl = params.crawl.model_copy(update={"holdout_fraction": 0.4})
    import_source(Path(dataroot), crawl, Path("raw"), workers)
    verdicts = filter_shards(Path("raw"), Path("clean"), Path("cache"), 64, 3, params.filter, workers)
    pq.write_table(verdicts, "verdicts.parquet")
    pack_faces(Path("raw"), Path("clean"), Path("faces"), 64, 3, workers)


def outputs() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that goes to a new folder with a recipe in it."""

    def go(name: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        Path("recipe.yaml").write_text(RECIPE)

    return go


@pytest.fixture
def local(in_folder: Callable[[str], None], params: Params) -> dict[str, bytes]:
    """What local work makes of the recipe, file by file."""
    in_folder("local")
    run_stages("recipe.yaml", params, Workers())
    made = outputs()
    assert len([name for name in made if name.startswith("raw/")]) == 4
    return made


def test_same_bytes_as_local_work(cluster: Cluster, local: dict[str, bytes], in_folder, params: Params) -> None:
    in_folder("cluster")
    with open_workers(0, cluster.address) as workers:
        run_stages("recipe.yaml", params, workers)
    assert outputs() == local


def test_a_killed_worker_loses_nothing(
    tmp_path: Path, root: Path, local: dict[str, bytes], in_folder, params: Params
) -> None:
    in_folder("cluster")
    cut_off: list[Path] = []

    def kill_in_the_middle(victim: subprocess.Popen[bytes]) -> None:
        wait_until(lambda: list(Path("raw").glob(f".*.{victim.pid}-*")))
        victim.kill()
        victim.wait()
        cut_off.extend(Path("raw").glob(f".*.{victim.pid}-*"))

    with start_cluster(tmp_path / "dask", root, size=2) as mortal, open_workers(0, mortal.address) as workers:
        killer = threading.Thread(target=kill_in_the_middle, args=mortal.workers[:1])
        killer.start()
        run_stages("recipe.yaml", params, workers)
        killer.join()
    assert len(cut_off) == 1
    assert outputs() == local


@pytest.mark.parametrize("dataroot", ["crawl", "crawl.tar.gz"])
def test_dataroot_is_recorded_as_it_was_named(
    cluster: Cluster, in_folder, params: Params, picture: np.ndarray, save, dataroot: str
) -> None:
    in_folder("here")
    Path("crawl").mkdir()
    for shade in range(60):
        Path(f"crawl/{shade}.png").write_bytes(save(picture // (shade + 1), "PNG"))
    with tarfile.open("crawl.tar.gz", "w:gz") as archive:
        archive.add("crawl", arcname=".")
    import_source(Path(dataroot), params.crawl, Path("local"), Workers())
    with open_workers(0, cluster.address) as workers:
        import_source(Path(dataroot), params.crawl, Path("raw"), workers)
    made = {path.name: path.read_bytes() for path in Path("raw").iterdir()}
    assert made == {path.name: path.read_bytes() for path in Path("local").iterdir()}
    assert len(made) == 2
    assert set(pq.read_table("raw")["source"].to_pylist()) == {dataroot}


def process_id(_: int) -> int:
    return os.getpid()


def thread_limits(_: int) -> set[int]:
    return {cv2.getNumThreads(), *(library["num_threads"] for library in threadpool_info())}


def note_and_wait(number: int, folder: Path) -> None:
    (folder / str(number)).touch()
    time.sleep(0.2)


def test_work_is_done_by_the_workers_in_order(cluster: Cluster) -> None:
    with open_workers(0, cluster.address) as workers:
        assert list(workers.map(abs, range(-20, 0), label="test", sizes=[1] * 20)) == list(range(20, 0, -1))
        done_by = set(workers.map(process_id, range(20), label="test", sizes=[1] * 20))
    assert done_by == {process.pid for process in cluster.workers}


def test_libraries_are_kept_to_one_thread(cluster: Cluster) -> None:
    with open_workers(0, cluster.address) as workers:
        assert list(workers.map(thread_limits, range(4), label="test", sizes=[1] * 4)) == [{1}] * 4


def test_a_fault_reaches_the_caller(cluster: Cluster) -> None:
    with open_workers(0, cluster.address) as workers, pytest.raises(ValueError, match="invalid literal for int"):
        list(workers.map(int, ["1", "2", "three", "4"], label="test", sizes=[1] * 4))


def test_results_are_not_held_and_early_exit_takes_work_back(cluster: Cluster, tmp_path: Path) -> None:
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client, open_workers(0, cluster.address) as workers:
        list(workers.map(bytes, range(50), label="test", sizes=[1] * 50))
        wait_until(lambda: not client.who_has())
        results = workers.map(partial(note_and_wait, folder=tmp_path), range(50), label="test", sizes=[1] * 50)
        next(results)
        results.close()
        wait_until(lambda: not any(client.processing().values()))
        time.sleep(0.3)
        assert len(list(tmp_path.iterdir())) <= 5
        wait_until(lambda: not client.who_has())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "PATIENCE", 1.0)


@pytest.fixture
def nobody() -> str:
    """An address that nothing listens at."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{held.getsockname()[1]}"


def test_unreachable_scheduler(impatient: None, nobody: str) -> None:
    with pytest.raises(StageError, match=f"scheduler {nobody} can't be reached"), open_workers(2, nobody):
        pass


def test_tls_without_certificates(nobody: str) -> None:
    with pytest.raises(StageError, match="needs certificates"), open_workers(2, nobody.replace("tcp", "tls")):
        pass


def test_scheduler_without_workers(impatient: None, tmp_path: Path, root: Path) -> None:
    with (
        start_cluster(tmp_path, root, size=0) as idle,
        pytest.raises(StageError, match="has no workers; start some with `dask worker"),
        open_workers(2, idle.address),
    ):
        pass


def test_lost_scheduler(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = partial(note_and_wait, folder=tmp_path)
    with start_cluster(tmp_path / "dask", root, size=1) as mortal:
        monkeypatch.setattr(under_test, "PATIENCE", 1.0)  # a worker may take longer to come
        with pytest.raises(StageError, match="was lost on the way"), open_workers(0, mortal.address) as workers:
            for _ in workers.map(work, range(50), label="test", sizes=[1] * 50):
                mortal.scheduler.kill()


def test_lost_workers(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = partial(note_and_wait, folder=tmp_path)
    with start_cluster(tmp_path / "dask", root, size=1) as mortal:
        monkeypatch.setattr(under_test, "PATIENCE", 1.0)  # a worker may take longer to come
        with pytest.raises(StageError, match="has no workers"), open_workers(0, mortal.address) as workers:
            for _ in workers.map(work, range(50), label="test", sizes=[1] * 50):
                for process in mortal.workers:
                    process.kill()


def test_the_variable_wins_over_the_param(cluster: Cluster, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_SCHEDULER", cluster.address)
    with open_workers(0, nobody) as workers:
        assert os.getpid() not in workers.map(process_id, range(3), label="test", sizes=[1] * 3)
    monkeypatch.setenv("PIPELINE_SCHEDULER", "")
    with open_workers(0, nobody) as workers:
        assert set(workers.map(process_id, range(3), label="test", sizes=[1] * 3)) == {os.getpid()}
    monkeypatch.setenv("PIPELINE_SCHEDULER", "here:80")
    with pytest.raises(ParamsError, match="PIPELINE_SCHEDULER: must be tcp://host:port"), open_workers(0):
        pass


def test_missing_extra(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    message = r"Dask is not installed; run `pip install -e '\.\[cluster\]'`"
    with pytest.raises(StageError, match=message), open_workers(2, nobody):
        pass
