from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow.entities import Dataset, DatasetInput

from pipeline import paths
from pipeline.errors import ParamsError, StageError, StoreError
from pipeline.forget import READS, forget
from pipeline.mlflow_store import open_store
from pipeline.packing import INDEX_SCHEMA
from pipeline.records import RAW_SCHEMA, write_shard
from pipeline.sources.crawler import store_folder
from pipeline.sources.crop import with_faces
from pipeline.sources.provenance import CRAWLED_SCHEMA
from pipeline.sources.store import Fetched, Store
from pipeline.sources.takedown import read_takedown
from pipeline.sources.urls import Wanted

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)

URLS = [f"http://a.example/{number}.png" for number in range(3)]


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two images in the store of a project, the first of them under two URLs; return the three URLs' ids."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").touch()
    store = Store(store_folder())
    store.begin("key", [Wanted(url) for url in URLS], "policy")
    digests = [hashlib.sha256(data).hexdigest() for data in (b"one", b"one", b"two")]
    for data, digest in zip((b"one", b"one", b"two"), digests, strict=True):
        store.keep(data, digest)
    for url, digest in zip(URLS, digests, strict=True):
        store.record("key", url, "policy", Fetched(1.0, sha256=digest, size=3), passing=False)
    store.close()
    return digests


def put_in_cache(tmp_path: Path, ids: list[str], array: str = "train") -> str:
    """Put a version of data/faces with these in an array into DVC's cache, and return its digest."""
    table = pa.table(
        {"array": [array] * len(ids), "index": range(len(ids)), "row": range(len(ids)), "id": ids},
        schema=INDEX_SCHEMA,
    )
    paths.FACES.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, paths.FACES / "index.parquet")
    return cached(tmp_path, "data/faces")


def cached(tmp_path: Path, folder: str) -> str:
    """Put a folder into DVC's cache, and return its digest."""
    subprocess.run(["dvc", "add", "--quiet", folder], cwd=tmp_path, check=True)
    return next(line.split()[-1] for line in Path(f"{folder}.dvc").read_text().splitlines() if "md5:" in line)


def test_the_bytes_and_all_their_urls_go(ids: list[str]) -> None:
    told = forget([URLS[0]])
    takedown = read_takedown(paths.TAKEDOWN)
    assert (takedown.urls, takedown.ids) == (set(URLS[:2]), {ids[0]})
    assert "3 more in" in told
    assert "1 files removed" in told
    assert [path.read_bytes() for path in Path(".pipeline/crawl/objects").rglob("*") if path.is_file()] == [b"two"]
    assert "0 more in" in forget([ids[0].upper()])


def test_a_url_is_known_by_what_it_asks_for_and_no_password_is_written(ids: list[str]) -> None:
    forget([URLS[0].replace("http://", "HTTP://me:it's@").replace("a.example", "A.example:80") + "#top"])
    assert ids[0] in read_takedown(paths.TAKEDOWN).ids
    assert "me:" not in paths.TAKEDOWN.read_text()


def test_which_models_have_seen_it(ids: list[str], tmp_path: Path) -> None:
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], cwd=tmp_path, check=True)
    subprocess.run(["dvc", "remote", "add", "--quiet", "shelf", str(tmp_path / "shelf")], cwd=tmp_path, check=True)
    digests = {
        "with": put_in_cache(tmp_path, ids),
        "without": put_in_cache(tmp_path, ids[2:]),
        "lost": "0" * 32 + ".dir",
    }
    with open_store() as (client, experiment_id):
        for name, digest in digests.items():
            parent = client.create_run(experiment_id, run_name=name, tags={"kind": "invocation"})
            tags = {"stage": "train", "mlflow.parentRunId": parent.info.run_id}
            run = client.create_run(experiment_id, run_name="train", tags=tags)
            entry = DatasetInput(Dataset("data/faces/train.npy", digest, "local", "x"))
            client.log_inputs(run.info.run_id, datasets=[entry])
    told = forget([ids[0]])
    said = {
        line.split()[0]: line.rpartition(": ")[2] for line in told.splitlines() if line.startswith("  ") and ")" in line
    }
    assert said == {
        "with": "has seen it",
        "without": "has not",
        "lost": "its data is no longer in DVC's cache",
    }
    assert "data/faces here, and what was trained on it: never had it" in told
    assert "dvc gc --workspace --cloud --remote shelf" in told
    assert told.count("mlflow runs delete --run-id") == 4


def test_copies_in_pages_and_models_are_named(ids: list[str], tmp_path: Path, monkeypatch) -> None:
    """A holdout's picture is on pages, and one that was rejected too, but no model has learnt from it."""
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], cwd=tmp_path, check=True)
    faces = {name: put_in_cache(tmp_path, [ids[0]], name) for name in ("train", "holdout_raw")}
    raw = {}
    for name, error in (("kept", None), ("taken down", "taken down")):
        write_shard(paths.RAW / "00000.parquet", iter([{"row": 0, "id": ids[0], "error": error}]), RAW_SCHEMA)
        raw[name] = cached(tmp_path, "data/raw")
    stages = {
        "filtered": ("filter", "data/raw", raw["kept"]),
        "filtered since": ("filter", "data/raw", raw["taken down"]),
        "evaluated": ("evaluate", "data/faces", faces["holdout_raw"]),
        "trained": ("train", "data/faces/train.npy", faces["train"]),
        "evaluated again": ("evaluate", "data/faces", faces["train"]),
        "held out": ("train", "data/faces/train.npy", faces["holdout_raw"]),
        "imported": ("crawl-import", "x", "0" * 32),
    }
    runs = {}
    with open_store() as (client, experiment_id):
        for name, (stage, read, digest) in stages.items():
            run = client.create_run(experiment_id, run_name=name, tags={"stage": stage})
            client.log_inputs(run.info.run_id, datasets=[DatasetInput(Dataset(read, digest, "local", "x"))])
            runs[name] = run.info.run_id
        client.create_registered_model("anime-dcgan")
        for name in ("held out", "trained", "evaluated again"):
            client.create_model_version("anime-dcgan", str(tmp_path / "model"), runs[name])
        model, _ = (
            client.create_logged_model(experiment_id, name="generator", source_run_id=runs[name]).model_id
            for name in ("trained", "held out")
        )
        client.delete_run(runs["evaluated again"])  # into MLflow's bin, where its pictures and its model still are
    told = forget([ids[0]])
    deleted = re.findall(r"mlflow runs delete --run-id (\w+)", told)
    suspects = {runs[name] for name in stages.keys() - {"filtered since", "imported"}}
    assert set(deleted) == suspects - {runs["evaluated again"]}
    (purged,) = re.findall(r"mlflow gc --backend-store-uri sqlite:\S+ --run-ids (\S+) --logged-model-ids (\S+)\n", told)
    assert (set(purged[0].split(",")), purged[1]) == (suspects, model)
    assert f"delete_logged_model('{model}')" in told
    monkeypatch.setattr("pipeline.forget.tracking_uri", lambda: "http://server:5000")
    assert "mlflow gc --backend-store-uri DATABASE" in forget([ids[0]]), "a server can not be asked for it"
    assert sorted(re.findall(r"delete_model_version\((.*)\)", told)) == ["'anime-dcgan', '2'", "'anime-dcgan', '3'"]
    assert {line.split("(")[0].strip() for line in told.splitlines() if line.endswith(("has not", "seen it"))} == {
        "held out",
        "trained",
    }


@pytest.mark.parametrize("named", ["parent", "face"])
def test_a_face_and_its_whole_picture_go_together(ids: list[str], named: str) -> None:
    face, other, foreign = "a" * 64, "b" * 64, "c" * 64
    rows = [{"parent": ids[0], "id": face}, {"parent": ids[0], "id": other}, {"parent": ids[2], "id": foreign}]
    write_shard(paths.RAW / "00000.parquet", iter([*rows, {"parent": ids[0], "id": None}]), with_faces(RAW_SCHEMA))
    forget([ids[0] if named == "parent" else face])
    takedown = read_takedown(paths.TAKEDOWN)
    assert (takedown.urls, takedown.ids) == (set(URLS[:2]), {ids[0], face, other})


@pytest.mark.parametrize("named", ["url", "picture"])
@pytest.mark.parametrize("since", ["taken down and made anew", "without crops"])
def test_what_was_trained_before_is_told_by_what_the_filter_read(
    ids: list[str], tmp_path: Path, named: str, since: str
) -> None:
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], cwd=tmp_path, check=True)
    face = "f" * 64
    row = {"id": face, "parent": ids[2], "url": URLS[2]}
    write_shard(paths.RAW / "00000.parquet", iter([row]), with_faces(CRAWLED_SCHEMA))
    digests = {"filter": cached(tmp_path, "data/raw"), "train": put_in_cache(tmp_path, [face])}
    with open_store() as (client, experiment_id):
        parent = client.create_run(experiment_id, run_name="cropped", tags={"kind": "invocation"}).info.run_id
        for stage, digest in digests.items():
            run = client.create_run(experiment_id, tags={"stage": stage, "mlflow.parentRunId": parent})
            entry = DatasetInput(Dataset(READS[stage], digest, "local", "x"))
            client.log_inputs(run.info.run_id, datasets=[entry])
    if since == "without crops":
        now = {"id": ids[2], "url": URLS[2]}
    else:
        forget([URLS[2]])
        now = {"id": None, "url": URLS[2], "error": "taken down"}
    write_shard(paths.RAW / "00000.parquet", iter([now]), CRAWLED_SCHEMA)
    told = forget([URLS[2] if named == "url" else ids[2]])
    assert re.search(r"cropped \(\w+\): has seen it\n", told)
    assert f"mlflow runs delete --run-id {parent}" in told
    assert face in read_takedown(paths.TAKEDOWN).ids


def filtered(tmp_path: Path, ids: list[str]) -> Path:
    """Have MLflow know of a filter that read these ids; return where DVC's cache has the one shard."""
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], cwd=tmp_path, check=True)
    write_shard(paths.RAW / "00000.parquet", iter([{"id": one} for one in ids]), RAW_SCHEMA)
    digest = cached(tmp_path, "data/raw")
    with open_store() as (client, experiment_id):
        run = client.create_run(experiment_id, run_name="filtered", tags={"stage": "filter"})
        entry = DatasetInput(Dataset("data/raw", digest, "local", "x"))
        client.log_inputs(run.info.run_id, datasets=[entry])
    cache = tmp_path / ".dvc/cache/files/md5"
    (shard,) = (file for file in cache.rglob("*") if file.is_file() and not file.name.endswith(".dir"))
    return shard


def test_a_url_that_nothing_is_known_of(ids: list[str], tmp_path: Path) -> None:
    """In a project in which much is known of others."""
    filtered(tmp_path, ids)
    put_in_cache(tmp_path, ids)
    name, other = "http://b.example/never.png", "http://b.example/nor.png"
    assert forget([name]).endswith("known under these URLs: nothing trained is known to have seen them.")
    assert read_takedown(paths.TAKEDOWN).urls == {name}
    for again in ([name], [name, other]):
        assert "any more; what was said when they were taken down may still hold" in forget(again)


@pytest.mark.parametrize("damaged", ["shard", "a bit of an id", "list", "list of other things", "gone"])
def test_what_dvcs_cache_has_damaged_is_not_known_and_keeps_nothing_in(
    ids: list[str], tmp_path: Path, damaged: str
) -> None:
    shard = filtered(tmp_path, ids * 40)
    write_shard(paths.RAW / "00000.parquet", iter([{"id": ids[2]}]), RAW_SCHEMA)
    (listed,) = tmp_path.glob(".dvc/cache/files/md5/*/*.dir")
    for file in (shard, listed):
        file.chmod(0o600)
    if damaged == "shard":
        shard.write_bytes(b"PAR1" * 9)
    elif damaged == "a bit of an id":  # of all of them
        shard.write_bytes(shard.read_bytes().replace(ids[0].encode(), b"x" + ids[0].encode()[1:]))
    elif damaged == "list of other things":
        listed.write_text('[{"relpath": null}]')
    elif damaged == "list":
        listed.write_text('[{"relpath": "0.parquet"}]')
    else:
        shard.unlink()
    told = forget([ids[0]])
    assert ids[0] in read_takedown(paths.TAKEDOWN).ids
    assert "mlflow runs delete --run-id" in told, "it may have met them"


def test_with_mlflow_away_images_are_out_all_the_same(ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"(?s)3 more in .*who has seen them is not known: .*does not answer"):
        forget([URLS[0]])
    assert read_takedown(paths.TAKEDOWN).ids == {ids[0]}
    assert not (store_folder() / "objects" / ids[0][:2] / ids[0]).exists()


def test_a_damaged_index_is_named_and_nothing_written(ids: list[str]) -> None:
    paths.FACES.mkdir(parents=True)
    (paths.FACES / "index.parquet").write_bytes(b"PAR1" * 9)
    with pytest.raises(StageError, match=r"data/faces/index\.parquet is damaged"):
        forget([ids[0]])
    assert not paths.TAKEDOWN.exists()


def test_what_goes_where_a_server_or_a_database_has_the_runs(
    ids: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store() as (client, experiment_id):
        client.create_run(experiment_id, tags={"stage": "train"})
    for uri, purged in (
        ("http://[::1]:5000", "DATABASE"),
        (
            "postgresql://db.example/runs?user=me&password=HUNTER2",
            "'postgresql://db.example/runs?user=me&password=***'",
        ),
    ):
        monkeypatch.setattr("pipeline.forget.tracking_uri", lambda uri=uri: uri)
        told = forget([ids[0]])
        assert f"mlflow gc --backend-store-uri {purged} --run-ids" in told
        assert "HUNTER2" not in told


def test_a_damaged_shard_is_named_and_nothing_written(ids: list[str]) -> None:
    paths.RAW.mkdir(parents=True)
    (paths.RAW / "00000.parquet").write_bytes(b"PAR1" * 9)
    with pytest.raises(StageError, match=r"data/raw/00000\.parquet is damaged"):
        forget([ids[0]])
    assert not paths.TAKEDOWN.exists()


def test_elsewhere_nothing_is_written(ids: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    with pytest.raises(ParamsError, match="run from the project's root"):
        forget([URLS[0]])
    assert list(Path().iterdir()) == []


def test_where_a_url_led_is_known_without_the_store(ids: list[str]) -> None:
    row = {"url": "http://b.example/old.png", "final_url": "http://b.example/new.png", "id": ids[2]}
    write_shard(paths.RAW / "00000.parquet", iter([row]), CRAWLED_SCHEMA)
    shutil.rmtree(store_folder())
    forget([row["final_url"]])
    takedown = read_takedown(paths.TAKEDOWN)
    assert (takedown.urls, takedown.ids) == ({row["url"], row["final_url"]}, {ids[2]})


@pytest.mark.parametrize("name", ["face.png", "abcdef", "ftp://a/b", "https://a.example/1.png?token=***"])
def test_any_other_name_is_refused_and_nothing_written(ids: list[str], name: str) -> None:
    with pytest.raises(ParamsError, match="neither a URL nor an id"):
        forget([URLS[0], name])
    assert not paths.TAKEDOWN.exists()
