"""Names and what they depend on; dvc itself is in tests/e2e/test_study.py, and acted here."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import experiments
from pipeline.errors import StageError
from pipeline.experiments import Experimenter, experiment_name, figures_of, find_experiment

SETTINGS = {"lr": "0.1", "data/builtin.yaml:count": "10"}
DVC_YAML = "stages:\n  train:\n    cmd: x\n    deps:\n    - stages/train.py\n    - pipeline/dcgan\n    - data/faces\n"


def commit(message: str) -> str:
    who = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    subprocess.run(["git", *who, "commit", "--quiet", "--allow-empty", "--message", message], check=True)
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git project with the files that a name depends on, and a dvc whose deeds each test writes."""
    for name, text in {
        "params.yaml": "lr: 0.1\n",
        "dvc.yaml": DVC_YAML,
        "data/builtin.yaml": "count: 10\ndirt:\n  blur: 0.1\n  dark: 0.1\n",
        "stages/train.py": "",
        "pipeline/dcgan/nets.py": "",
        "pipeline/cli.py": "",
        "requirements.lock": "torch==2.0\n",
        "metrics/train.json": '{"kimg": 7.5}',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run(["git", "add", "--all"], check=True)
    commit("start")
    return tmp_path


def act(project: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    dvc = project / "dvc"
    dvc.write_text(f"#!/bin/bash\n{script}\n")
    dvc.chmod(0o755)
    monkeypatch.setattr(experiments, "_DVC", (str(dvc),))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("params.yaml", "lr: 0.2\n"),
        ("data/builtin.yaml", "count: 10\ndirt:\n  dark: 0.1\n  blur: 0.1\n"),
        ("stages/train.py", "x = 1\n"),
        ("pipeline/dcgan/nets.py", "x = 1\n"),
        ("pipeline/dcgan/weights.bin", "x"),
        ("dvc.yaml", DVC_YAML.replace("cmd: x", "cmd: y")),
        ("requirements.lock", "torch==2.1\n"),
        ("data/takedown.txt", "https://host/1.png\n"),
    ],
    ids=[
        *("params", "the order of the recipe's dirt", "stage", "module", "data beside code", "stages", "libraries"),
        "what is taken down",
    ],
)
def test_a_name_changes_with_what_decides_the_result(project: Path, path: str, text: str) -> None:
    before = experiment_name("cleaning-raw", SETTINGS)
    (project / path).write_text(text)
    assert experiment_name("cleaning-raw", SETTINGS) != before


def test_a_name_changes_with_nothing_else(project: Path) -> None:
    before = experiment_name("cleaning-raw", SETTINGS)
    assert before.startswith("cleaning-raw-")
    for path, text in {
        "params.yaml": "# said otherwise\nlr:  0.1\n",
        "pipeline/cli.py": "x = 1\n",
        "pipeline/dcgan/__pycache__/nets.pyc": "x",
        "data/faces/train.npy": "x",
    }.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    assert experiment_name("cleaning-raw", SETTINGS) == before
    assert experiment_name("cleaning-raw", {**SETTINGS, "lr": "0.2"}) != before


def test_an_experiment_is_found_whatever_it_started_from(project: Path) -> None:
    assert find_experiment("brave-fox") is None
    revision = commit("an experiment")
    subprocess.run(["git", "update-ref", f"refs/exps/ab/{'c' * 38}/brave-fox", revision], check=True)
    commit("the work goes on")
    assert find_experiment("brave-fox") == revision
    assert find_experiment("brave") is None
    assert figures_of(revision, "train") == {"kimg": 7.5}


def test_an_experiment_without_what_it_made_is_told(project: Path) -> None:
    revision = commit("no evaluation")
    with pytest.raises(StageError, match=rf"commit {revision[:7]} is there without what it made .*dvc exp remove"):
        figures_of(revision, "evaluate")


RECORD = 'echo "Reproducing"; git update-ref refs/exps/ab/x/"$6" HEAD'


def test_an_experiment_is_run_and_known_by_what_it_leaves(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    act(project, monkeypatch, f'echo "$@" "$PIPELINE_STUDY" "$OMP_NUM_THREADS"; {RECORD}; exit 1')
    name = experiment_name("brave-fox", SETTINGS)
    revision = Experimenter("cleaning").run(name, SETTINGS, threads=3, target="resize")
    assert revision == find_experiment(name)
    said = (project / f".pipeline/studies/{name}.log").read_text().splitlines()[0]
    assert said == (
        f"--wait-for-lock exp run --temp --name {name} --set-param lr=0.1 "
        "--set-param data/builtin.yaml:count=10 resize cleaning 3"
    )


def test_a_failure_says_where_to_look(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    act(project, monkeypatch, "echo \"Running stage 'train':\"; echo 'train: no faces'; echo; exit 0")
    with pytest.raises(StageError, match=r"brave-fox-\w+ failed \(train: no faces\); see .*brave-fox-\w+.log"):
        Experimenter("cleaning").run(experiment_name("brave-fox", {}), {}, threads=1)


def test_nothing_is_begun_under_the_name_of_other_settings(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    act(project, monkeypatch, f"touch begun; {RECORD}")
    name = experiment_name("brave-fox", {})
    (project / "params.yaml").write_text("lr: 0.9\n")
    with pytest.raises(StageError, match=r"was not begun: params\.yaml, the recipe or the code changed"):
        Experimenter("cleaning").run(name, {}, threads=1)
    assert not (project / "begun").exists()


def test_one_begins_after_another_and_then_they_run_side_by_side(project: Path, monkeypatch) -> None:
    """Each waits, once it has begun, for the other to begin; and none may begin while another does."""
    begin = (
        'mkdir beginning || exit 1; sleep 0.2; rmdir beginning; touch "${6%-*}.begun"; echo "Running stage \'train\':"'
    )
    both = "while ! [ -e a.begun -a -e b.begun ]; do sleep 0.05; done"
    act(project, monkeypatch, f"{begin}; {both}; {RECORD}")
    experimenter, found = Experimenter("cleaning"), []
    threads = [
        threading.Thread(target=lambda name: found.append(experimenter.run(name, {}, 1)), args=(name,))
        for name in (experiment_name(title, {}) for title in "ab")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(found) == 2


def test_a_failure_before_the_beginning_leaves_the_log_of_the_one_before(project: Path) -> None:
    name = experiment_name("brave-fox", {})
    log = project / f".pipeline/studies/{name}.log"
    log.parent.mkdir(parents=True)
    log.write_text("what failed before")
    (project / "params.yaml").write_text("lr: [0.9\n")  # half of what is being saved
    with pytest.raises(StageError, match="was not begun"):
        Experimenter("cleaning").run(name, {}, 1)
    assert log.read_text() == "what failed before"


@pytest.fixture
def heeded_interrupts() -> Iterator[None]:
    """Tests that run in the background ignore Ctrl-C, and so would what they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded_interrupts")
def test_closing_ends_what_runs_and_starts_nothing_more(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    act(
        project,
        monkeypatch,
        "trap 'touch hurt; exit 1' INT; touch begun; sleep 0.5; trap 'touch interrupted; exit 1' INT;"
        "echo \"Running stage 'train':\"; sleep 30 >/dev/null 2>&1 & wait",
    )
    experimenter, faults = Experimenter("cleaning"), []

    def run() -> None:
        with pytest.raises(StageError) as fault:
            experimenter.run(experiment_name("brave-fox", {}), {}, 1)
        faults.append(fault)

    thread = threading.Thread(target=run)
    thread.start()
    while not (project / "begun").exists():
        assert thread.is_alive()
        time.sleep(0.02)
    experimenter.close()
    thread.join(timeout=20)
    assert faults
    assert (project / "interrupted").exists()
    assert not (project / "hurt").exists(), "while dvc had the user's changes in git's stash"
    (project / ".pipeline/studies/shy-fox.log").write_text("what failed before")
    with pytest.raises(StageError, match="stopped"):
        experimenter.run("shy-fox", {}, 1)
    assert (project / ".pipeline/studies/shy-fox.log").read_text() == "what failed before"


@pytest.mark.usefixtures("heeded_interrupts")
def test_a_second_ctrl_c_waits_for_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    act(project, monkeypatch, "trap 'touch interrupted; exit 1' INT; touch begun; sleep 30 >/dev/null 2>&1 & wait")
    experimenter = Experimenter("cleaning")

    def run() -> None:
        with pytest.raises(StageError):
            experimenter.run(experiment_name("brave-fox", {}), {}, 1)

    thread = threading.Thread(target=run)
    thread.start()
    while not (project / "begun").exists():
        time.sleep(0.02)
    threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        experimenter.close()
    thread.join(timeout=20)
    assert (project / "interrupted").exists()
