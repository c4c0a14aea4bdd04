from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from safetensors import safe_open

import stages.train
from pipeline.dcgan.sampling import load_generator
from pipeline.errors import ParamsError, StageError
from pipeline.params import Params

OUTS = (
    "models/generator.safetensors",
    "models/generator_live.safetensors",
    "models/generator_best.safetensors",
    "models/discriminator.safetensors",
    "plots/losses.csv",
    "plots/losses.png",
    "plots/quick_kid.csv",
    "plots/training.gif",
)

# The stage without MLflow, which has tests of its own; it waits in its fifth step while the file PAUSE exists.
DRIVER = """
import os, sys, time
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import MagicMock
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
import pipeline.dcgan.trainer as trainer, stages, stages.train as stage

@contextmanager
def stage_run(name, params):
    yield MagicMock()

calls, update_ema = 0, trainer.update_ema

def slow(*of_step):
    global calls
    calls += 1
    if calls == 5 and "PAUSE" in os.environ:
        paused = Path(os.environ["PAUSE"])
        paused.touch()
        while paused.exists():
            time.sleep(0.02)
    update_ema(*of_step)

stage.stage_run, trainer.update_ema = stage_run, slow
stages.run_stage("train", stage.main)
"""


class FakeRun:
    """What a stage logs, kept."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.watched = 0
        self.images: list[tuple[str, int, tuple[int, ...]]] = []
        self.files: list[str] = []
        self.tags: dict[str, str] = {}
        self.parent: dict[str, float] = {}

    def log_rows(self, rows: Sequence[Mapping[str, float]]) -> None:
        self.rows += [dict(row) for row in rows]

    @contextmanager
    def watch_system(self) -> Iterator[None]:
        self.watched += 1
        yield

    def log_image(self, pixels: np.ndarray, key: str, step: int) -> None:
        self.images.append((key, step, pixels.shape))

    def log_file(self, path: Path, folder: str = "") -> None:
        self.files.append(f"{folder}/{path.name}")

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.tags |= tags

    def log_parent_metrics(self, metrics: Mapping[str, float]) -> None:
        self.parent |= metrics


def write_params(root: Path, **wanted: object) -> None:
    """Write params.yaml for a training of 14 faces, 3 steps an epoch; train__KEY is a key of its section."""
    yaml = YAML()
    content = yaml.load((root / "params.yaml").read_text())
    content |= {"image_size": 32, "ngf": 4, "ndf": 4, "nz": 5, "batch_size": 4, "num_epochs": 2, "ngpu": 0}
    content["train"] |= {"precision": "fp32", "log_steps": 2, "quick_kid_images": 4, "quick_kid_kimg": 0.016}
    for key, value in wanted.items():
        section, _, name = key.rpartition("__")
        (content[section] if section else content)[name] = value
    with Path("params.yaml").open("w") as file:
        yaml.dump(content, file)


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with dvc.yaml, params.yaml, the code that dvc.yaml lists, and 14 faces."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(root / "dvc.yaml", tmp_path)
    for package in ("pipeline", "stages"):
        shutil.copytree(root / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    write_params(root)
    Path("data/faces").mkdir(parents=True)
    np.save("data/faces/train.npy", np.random.default_rng(0).integers(0, 256, (14, 32, 32, 3), np.uint8))
    return tmp_path


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The number of threads changes the last bits, and DRIVER has one; nets as small as these are no faster on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    fake = FakeRun()

    @contextmanager
    def stage_run(stage: str, params: Params) -> Iterator[FakeRun]:
        yield fake

    monkeypatch.setattr(stages.train, "stage_run", stage_run)
    return fake


def outs() -> dict[str, bytes]:
    return {out: Path(out).read_bytes() for out in OUTS}


def test_what_the_stage_writes(project: Path, run: FakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    stages.train.main()

    figures = json.loads(Path("metrics/train.json").read_text())
    assert figures["kimg"] == 2 * 3 * 4 / 1000
    assert figures["lossD"] == pytest.approx(figures["lossD_real"] + figures["lossD_fake"])
    assert figures["seconds"] >= 0
    assert figures["img_per_s"] > 0

    rows = Path("plots/losses.csv").read_text().splitlines()
    assert [row.split(",")[:3] for row in rows[1:]] == [["2", "1", "0.008"], ["4", "2", "0.016"], ["6", "2", "0.024"]]
    with Image.open("plots/training.gif") as film:
        assert film.n_frames == 4  # before training, and after steps 2, 4 and 6

    netG = load_generator(Path("models/generator.safetensors"), torch.device("cpu"))
    assert (netG.nz, netG.ngf, netG.nc, netG.image_size) == (5, 4, 3, 32)
    with safe_open("models/discriminator.safetensors", "pt") as file:
        metadata = file.metadata()
    assert {key: metadata[key] for key in ("ndf", "nc", "image_size", "train.lr_ratio", "train.flip", "weights")} == {
        "ndf": "4",
        "nc": "3",
        "image_size": "32",
        "train.lr_ratio": "2.0",
        "train.flip": "True",
        "weights": "live",
    }
    assert len(metadata["data"]) == 64
    assert "img_per_s" not in metadata

    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("train: 6 steps in")
    assert "models/generator.safetensors" in last


def test_what_the_stage_logs(project: Path, run: FakeRun) -> None:
    stages.train.main()
    ticks = [row for row in run.rows if "lossG" in row]
    assert [row["step"] for row in ticks] == [2, 4, 6]
    wanted = {"lossD_real", "lossD_fake", "lossG", "D_x", "D_G_z1", "D_G_z2", "img_per_s", "kimg", "diversity"}
    assert all(wanted <= set(row) for row in ticks)
    assert [row["step"] for row in run.rows if "quick_kid" in row] == [4]
    assert run.watched == 1
    assert run.images == [("samples", 3, (274, 274, 3)), ("samples", 6, (274, 274, 3))]  # 8 · 32 + 9 · 2
    assert run.files == ["plots/losses.csv", "plots/losses.png", "plots/quick_kid.csv", "plots/training.gif"]
    assert run.tags == {"device": "cpu", "precision": "fp32"}
    assert set(run.parent) == {"kimg", "img_per_s", "lossD", "lossG"}


def test_once_dvc_has_stored_it_a_second_run_trains_afresh_and_writes_the_same_bytes(
    project: Path, run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--quiet", "--no-scm"], check=True)
    stages.train.main()
    first = outs()
    subprocess.run([*dvc, "commit", "--quiet", "--force", "train"], check=True)
    shutil.rmtree("models")
    stages.train.main()
    assert outs() == first
    assert capsys.readouterr().out.count("from step 0") == 2


def test_what_dvc_could_not_store_is_written_again_and_not_trained_again(
    project: Path, run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    stages.train.main()
    first = outs()
    shutil.rmtree("models")
    stages.train.main()
    assert outs() == first
    assert "from step 6 to 6" in capsys.readouterr().out


def test_more_epochs_go_on_and_repeat_no_step(
    project: Path, root: Path, run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(root, num_epochs=3)
    stages.train.main()
    whole = outs()
    shutil.rmtree(".pipeline")
    write_params(root, num_epochs=1)
    stages.train.main()
    run.rows.clear()
    write_params(root, num_epochs=3)
    stages.train.main()
    assert "from step 3" in capsys.readouterr().out
    assert outs() == whole
    assert [row["step"] for row in run.rows if "lossG" in row] == [2, 4, 6, 8, 9]
    assert [row["step"] for row in run.rows if "quick_kid" in row] == [4, 8]


def test_the_average_can_be_off(project: Path, root: Path, run: FakeRun) -> None:
    stages.train.main()
    assert Path("models/generator.safetensors").read_bytes() != Path("models/generator_live.safetensors").read_bytes()
    write_params(root, train__ema=False)
    stages.train.main()
    assert Path("models/generator.safetensors").read_bytes() == Path("models/generator_live.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("wanted", "fault", "words"),
    [
        pytest.param({"batch_size": 15}, StageError, "14 faces do not fill one batch of 15", id="too few faces"),
        pytest.param({"image_size": 64}, StageError, "run 'dvc repro resize' first", id="faces of another size"),
        pytest.param({"train__cpu_processes": 3}, ParamsError, "batch_size", id="a batch that can't be shared"),
        pytest.param({"train__ema_kimg": 0}, ParamsError, "train.ema_kimg", id="an impossible value"),
        pytest.param({"train__augment": True}, ParamsError, "train.augment", id="a wrong type"),
    ],
)
def test_refusals(
    wanted: dict[str, object], fault: type[Exception], words: str, project: Path, root: Path, run: FakeRun
) -> None:
    write_params(root, **wanted)
    with pytest.raises(fault, match=words):
        stages.train.main()
    assert not Path("models").exists()


def test_no_faces(project: Path, run: FakeRun) -> None:
    Path("data/faces/train.npy").unlink()
    with pytest.raises(StageError, match="run 'dvc repro resize' first"):
        stages.train.main()


def test_few_steps_are_warned_of(project: Path, run: FakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    stages.train.main()
    assert "2 epochs of 3 steps are 6 steps, fewer than 1000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("signum", "code", "resumed_at"),
    [
        pytest.param(signal.SIGKILL, -9, 4, id="kill -9: from the last checkpoint"),
        pytest.param(signal.SIGTERM, 143, 5, id="SIGTERM: from the step that it ended", marks=pytest.mark.long),
        pytest.param(signal.SIGINT, 130, 5, id="Ctrl-C: from the step that it ended"),
    ],
)
def test_killed_and_started_again(
    signum: int, code: int, resumed_at: int, project: Path, root: Path, run: FakeRun
) -> None:
    write_params(root, train__checkpoint_minutes=1e-9)
    stages.train.main()
    whole = outs()
    for written in ("models", "plots", ".pipeline"):
        shutil.rmtree(written)
    command = [sys.executable, "-c", DRIVER, project]
    pause = project / "paused"
    with subprocess.Popen(command, env={**os.environ, "PAUSE": str(pause)}, stderr=subprocess.DEVNULL) as process:
        while not pause.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signum)
        pause.unlink()
    assert process.returncode == code
    assert not Path("models").exists()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"from step {resumed_at}" in again.stdout
    assert outs() == whole
