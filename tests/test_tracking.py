"""Against a real MLflow store: a SQLite file in a temporary folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from mlflow.exceptions import MlflowException

from pipeline import mlflow_store, tracking
from pipeline.errors import ParamsError, StageError, StoreError
from pipeline.inputs import Inputs
from pipeline.invocation import is_gone, process_key
from pipeline.mlflow_store import open_store
from pipeline.params import Params
from pipeline.tracking import stage_run

# MLflow's own dependencies warn of each other's changes; that is not this project's to mend.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, root: Path):
    """A project folder with an empty store, made once: opening a new one takes seconds."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: x\n    deps:\n    - data/faces\n    - x.py\n"
        "    params:\n    - lr\n    - crawl.max_bytes\n"
    )
    (folder / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  resize:\n    cmd: x\n    outs:\n    - path: data/faces\n      hash: md5\n"
        "      md5: 0123456789abcdef0123456789abcdef.dir\n"
    )
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    with open_store():
        pass
    yield folder
    patch.undo()


def runs(where: str = "") -> list:
    with open_store() as (client, experiment_id):
        return list(client.search_runs([experiment_id], where))


def test_store_lies_in_the_main_checkout(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = project / ".dvc/tmp/exps/standalone/tmp1"
    temporary.mkdir(parents=True)
    monkeypatch.chdir(temporary)
    assert mlflow_store.tracking_uri() == f"sqlite:///{project}/mlflow.db"
    with open_store() as (client, experiment_id):
        assert client.get_experiment(experiment_id).artifact_location == (project / "mlartifacts").as_uri()
    for named, meant in (
        ("http://elsewhere:5000", "http://elsewhere:5000"),
        ("sqlite:///own.db", f"sqlite:///{project}/own.db"),  # DVC deletes the temporary checkout
        ("sqlite:////data/own.db", "sqlite:////data/own.db"),
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
        assert mlflow_store.tracking_uri() == meant


def test_what_a_store_says_later_is_a_line_too(project: Path) -> None:
    with pytest.raises(StoreError, match=r"^the MLflow store .* says: gone$"), open_store():
        raise MlflowException("gone")


def test_a_deleted_experiment_is_named_with_its_cure(project: Path) -> None:
    with open_store() as (client, experiment_id):
        client.delete_experiment(experiment_id)
    try:
        with pytest.raises(StoreError, match=f"restore --experiment-id {experiment_id}'"), open_store():
            pass
    finally:
        client.restore_experiment(experiment_id)


def test_a_stage_leaves_a_child_below_its_invocation(project: Path, params: Params, monkeypatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "brave-fox")
    (project / "page.html").write_text("page")
    with stage_run("train", params) as run:
        run.log_metrics({"lossG": 1.5}, step=7)
        run.log_image(np.zeros((4, 4, 3), np.uint8), "samples", 7)
        run.log_file(Path("page.html"), "pages")
        run.log_parent_metrics({"kid": 3.0})
        run.set_tags({"device": "cuda"})
    with open_store() as (client, _):
        child, parent = client.get_run(run.run_id), client.get_run(run.parent_id)
        assert [file.path for file in client.list_artifacts(run.run_id, "pages")] == ["pages/page.html"]
        assert len(client.list_artifacts(run.run_id, "images")) >= 1
        (point,) = client.get_metric_history(run.run_id, "lossG")
    assert (point.step, point.value) == (7, 1.5)
    assert child.data.params == {"lr": "0.0002", "crawl.max_bytes": "50000000"}
    assert (child.info.run_name, parent.info.run_name) == ("train", "brave-fox")
    assert (child.info.status, parent.info.status) == ("FINISHED", "FINISHED")
    assert child.data.tags["mlflow.parentRunId"] == run.parent_id
    assert (child.data.tags["stage"], child.data.tags["dvc_exp"], child.data.tags["device"]) == (
        "train",
        "brave-fox",
        "cuda",
    )
    assert parent.data.tags["device"] == "cuda"
    assert parent.data.params["lr"] == "0.0002"
    assert parent.data.params["crawl.holdout_fraction"] == "0.1"
    assert parent.data.metrics == {"kid": 3.0}
    (dataset,) = [entry.dataset for entry in child.inputs.dataset_inputs]
    assert (dataset.name, dataset.digest) == ("data/faces", "0123456789abcdef0123456789abcdef.dir")


def test_runs_of_a_study_are_tagged(project: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_STUDY", "cleaning")
    with stage_run("filter", params) as run:
        pass
    with open_store() as (client, _):
        assert client.get_run(run.run_id).data.tags["study"] == "cleaning"
    monkeypatch.delenv("PIPELINE_STUDY")
    with stage_run("filter", params) as run:
        pass
    with open_store() as (client, _):
        assert "study" not in client.get_run(run.run_id).data.tags


def test_stages_of_one_invocation_share_a_parent(project: Path, params: Params) -> None:
    with stage_run("filter", params) as first:
        pass
    with stage_run("resize", params) as second, open_store() as (client, _):
        assert client.get_run(first.parent_id).info.status == "RUNNING"
    assert first.parent_id == second.parent_id


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        pytest.param(StageError("no shards"), "FAILED", id="fault"),
        pytest.param(KeyboardInterrupt(), "KILLED", id="Ctrl-C"),
        pytest.param(SystemExit(143), "KILLED", id="SIGTERM"),
    ],
)
def test_a_stage_that_ends_badly_says_so(project: Path, params: Params, fault: BaseException, status: str) -> None:
    with pytest.raises(type(fault)), stage_run("filter", params) as run:
        raise fault
    with open_store() as (client, _):
        for run_id in (run.run_id, run.parent_id):
            found = client.get_run(run_id)
            assert found.info.status == status
            assert found.data.tags["error"].startswith(type(fault).__name__)


def test_a_killed_stage_is_marked_by_the_next(project: Path, params: Params, root: Path) -> None:
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom pipeline.params import load_params\n"
        "from pipeline.tracking import stage_run\n"
        f"with stage_run('train', load_params(Path('{root}/params.yaml'))) as run:\n"
        "    print(run.run_id, flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    died = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(root), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    run_id = died.stdout.strip()
    with open_store() as (client, _):
        assert client.get_run(run_id).info.status == "RUNNING"
    with stage_run("train", params):
        pass
    with open_store() as (client, _):
        assert client.get_run(run_id).info.status == "KILLED"
        assert "killed" in client.get_run(run_id).data.tags["error"]


def test_only_of_processes_that_ran_here_it_is_known_whether_they_are_gone() -> None:
    key = process_key(psutil.Process())
    where, pid, start = key.rsplit("/", 2)
    assert not is_gone(key)
    assert is_gone(f"{where}/{pid}/{int(start) - 1}")
    host = where.split(" ")[0]
    assert is_gone(f"{host}/{pid}/{int(start) - 1}"), "of a store from before"
    for elsewhere in (f"x{where}", f"{host} another"):
        assert not is_gone(f"{elsewhere}/{pid}/{int(start) - 1}")
    for odd in ("", "edited by hand", f"{host}/x/y", f"{host}/{pid}"):
        assert not is_gone(odd)


def test_a_store_that_fails_does_not_end_the_stage(project: Path, params: Params, capsys, monkeypatch) -> None:
    with stage_run("filter", params) as run:
        monkeypatch.setattr(run._client, "log_batch", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
        run.log_metrics({"kept": 1.0})
    assert "warning: MLflow did not take figures: disk full" in capsys.readouterr().err


def test_the_machine_is_watched(project: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "1")
    with stage_run("train", params) as run, run.watch_system():
        time.sleep(1)
    with open_store() as (client, _):
        watched = client.get_run(run.run_id).data.metrics
    assert 0 < watched["system/system_memory_usage_percentage"] < 100
    assert 0 <= watched["system/cpu_utilization_percentage"] <= 100


def test_three_first_contacts_at_once(tmp_path: Path, root: Path) -> None:
    """Without a lock the database is made three times over, and some of the processes die of it."""
    code = (
        f"import os\nos.chdir('{tmp_path}')\nfrom pipeline.params import load_params\nfrom pathlib import Path\n"
        "from pipeline.tracking import stage_run\n"
        f"with stage_run('train', load_params(Path('{root}/params.yaml'))) as run:\n    run.log_metrics({{'a': 1.0}})\n"
    )
    environment = {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}
    started = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]


def test_a_store_whose_making_was_killed_is_made_anew(tmp_path: Path, root: Path) -> None:
    """MLflow's tables are made in dozens of steps, and a file that has some of them is no store, now or ever."""
    code = f"import os\nos.chdir('{tmp_path}')\nfrom pipeline.mlflow_store import open_store\nwith open_store(): pass\n"
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}
    unfinished = tmp_path / ".pipeline" / "mlflow.db.new"
    (tmp_path / "dvc.yaml").touch()

    first = subprocess.Popen(command, env=environment)
    while not (unfinished.exists() and unfinished.stat().st_size):
        assert first.poll() is None
        time.sleep(0.01)
    first.kill()
    first.wait()
    assert not (tmp_path / "mlflow.db").exists()

    subprocess.run(command, env=environment, check=True)
    assert (tmp_path / "mlflow.db").exists()
    assert not [path for path in tmp_path.rglob("*mlflow.db*") if path.name != "mlflow.db"]


def test_a_store_that_another_checkout_has_made_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").touch()
    shared = tmp_path / "shared.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared}")
    link = os.link
    monkeypatch.setattr(os, "link", lambda *of: (shared.write_bytes(b"theirs"), link(*of)))
    with pytest.raises(StoreError, match="is damaged"), open_store():
        pass
    assert shared.read_bytes() == b"theirs"
    assert [path.name for path in tmp_path.glob("*shared*")] == ["shared.db"]


def test_it_stays_on_a_disk_without_hard_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared.db"

    def refuse(*of: Path) -> None:
        shared.write_bytes(b"theirs")
        raise PermissionError(1, "Operation not permitted", *of)

    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared}")
    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreError, match="is damaged"), open_store():
        pass
    assert shared.read_bytes() == b"theirs"


def test_a_disk_without_hard_links_takes_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*of: Path) -> None:
        raise PermissionError(1, "Operation not permitted", *of)  # as exFAT says it

    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")
    monkeypatch.setattr(os, "link", refuse)
    with open_store() as (client, experiment_id):
        assert client.get_experiment(experiment_id).name == "anime-dcgan"
    assert [path.name for path in tmp_path.glob("*shared*")] == ["shared.db"]


def test_a_databases_files_lie_in_the_main_checkout_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow would take the temporary checkout, which DVC deletes, for all runs to come."""
    temporary = tmp_path / ".dvc/tmp/exps/standalone/tmp1"
    temporary.mkdir(parents=True)
    (temporary / "params.yaml").touch()
    monkeypatch.chdir(temporary)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite+pysqlite:///{tmp_path}/team.db")
    with open_store() as (client, experiment_id):
        assert client.get_experiment(experiment_id).artifact_location == (tmp_path / "mlartifacts").as_uri()


@pytest.mark.parametrize(
    ("file", "named"), [("params.yaml", "lr"), ("x.py", "x.py")], ids=["a setting", "code that is not loaded again"]
)
def test_what_changes_while_a_stage_runs_fails_it(project: Path, params: Params, file: str, named: str) -> None:
    """DVC, which looks after the stage, would take what it made for the new one's."""
    Path("params.yaml").write_text("lr: 0.1\nbeta1: 0.5\n")
    Path("x.py").write_text("x = 1")
    with pytest.raises(StageError, match=f"^{named} changed while this ran"), stage_run("train", params):
        Path(file).write_text("lr: 0.2\nbeta1: 0.5\n")
    assert runs("tags.stage = 'train'")[0].info.status == "FAILED"
    with stage_run("train", params):  # of another stage's settings
        Path("params.yaml").write_text(Path("params.yaml").read_text().replace("0.5", "0.9"))
    for name in ("params.yaml", "x.py"):
        Path(name).unlink()


def test_the_state_of_a_dataroot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages:\n  crawl-import:\n    deps: ['${dataroot}', raw]\n    outs: [raw]\n")
    Path("params.yaml").write_text("dataroot: crawl\n")
    Path("crawl/below").mkdir(parents=True)
    states = []
    for name, text in (("a.png", "1"), ("below/b.png", "1"), ("a.png", "22"), (".a.png.swp", "1")):
        Path("crawl", name).write_text(text)
        states.append(Inputs("crawl-import").before)
    assert [list(state) for state in states] == [["crawl"]] * 4
    assert [state["crawl"] == states[2]["crawl"] for state in states] == [False, False, True, True]


def test_an_odd_dataroot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("dvc.yaml").write_text("stages:\n  crawl-import:\n    deps: ['${dataroot}']\n")
    Path("params.yaml").write_text("dataroot: loop\n")
    assert Inputs("crawl-import").before
    Path("params.yaml").write_text('dataroot: "a\\0b"\n')
    with pytest.raises(ParamsError, match="dataroot is no path"):
        Inputs("crawl-import")


def test_an_interrupt_before_a_stage_has_begun_ends_its_run(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tracking.StageRun, "show_skipped", interrupted)
    with pytest.raises(KeyboardInterrupt), stage_run("filter", params):
        pass
    newest = runs("tags.stage = 'filter'")[0]
    assert newest.info.status == "KILLED"
    assert runs(f"attributes.run_id = '{newest.data.tags['mlflow.parentRunId']}'")[0].info.status == "KILLED"


def test_experiments_of_one_process_have_a_parent_each(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = []
    for name in ("brave-fox", "shy-owl", "brave-fox"):
        monkeypatch.setenv("DVC_EXP_NAME", name)
        with stage_run("train", params) as run:
            parents.append(run.parent_id)
    assert parents[0] == parents[2] != parents[1]
    with open_store() as (client, _):
        assert [client.get_run(parent).info.run_name for parent in parents[:2]] == ["brave-fox", "shy-owl"]


def test_a_recipes_settings_are_the_invocations_too(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of `dvc exp run -S data/builtin.yaml:count=…` they are all that differs."""
    recipe = project / "faces.yaml"
    for name, text, told in (
        (
            "first",
            "kind: builtin\ndirt:\n  blur: 0.1\n'odd: key': 1\n",
            {"kind": "builtin", "dirt.blur": "0.1", "dirt": "0.1"},
        ),
        ("second", "kind: [", {}),
    ):
        recipe.write_text(text)
        monkeypatch.setenv("DVC_EXP_NAME", name)
        with stage_run("train", params.model_copy(update={"dataroot": str(recipe)})) as run:
            pass
        with open_store() as (client, _):
            found = client.get_run(run.parent_id).data.params
            assert client.get_run(run.run_id).data.params.keys() == {"lr", "crawl.max_bytes"}
        assert {key: value for key, value in found.items() if ":" in key} == {
            f"dataroot:{k}": v for k, v in told.items()
        }
        assert found["lr"] == "0.0002"
