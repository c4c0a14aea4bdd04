"""The stage with two processes that share each batch, over gloo on the CPU."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.stages.test_train import DRIVER, outs, project, write_params

__all__ = ["project"]  # the fixture

pytestmark = pytest.mark.long

# Of nine seeds with one process, two differ in a mean loss by up to 0.15, by other noise and augmentation. Two
# processes have that too, and a BatchNorm over half a batch each.
TOLERANCE = 0.2

RECORD = """
            torch.save((batch, batch[mine], rng.initial_seed()), f"seen.{fabric.global_rank}.{state.step}")
"""


@contextmanager
def paused(project: Path) -> Iterator[subprocess.Popen]:
    """Yield the stage at rest in its fifth step; it goes on when the block ends, and is waited for."""
    pause = project / "paused"
    with (
        (project / "stderr").open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", DRIVER, project], env={**os.environ, "PAUSE": str(pause)}, stderr=stderr
        ) as stage,
    ):
        while not pause.exists():
            assert stage.poll() is None
            time.sleep(0.02)
        yield stage
        pause.unlink()
        stage.wait(60)


def companions(stage: subprocess.Popen) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(stage.pid).children(recursive=True)
        if "pipeline.dcgan.processes" in child.cmdline()
    ]


def run(project: Path) -> str:
    done = subprocess.run([sys.executable, "-c", DRIVER, project], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def mean_losses() -> np.ndarray:
    rows = list(csv.DictReader(Path("plots/losses.csv").read_text().splitlines()))
    return np.array([[float(row[name]) for name in ("lossD_real", "lossD_fake", "lossG")] for row in rows]).mean(axis=0)


def test_two_processes_learn_what_one_does(project: Path, root: Path) -> None:
    np.save("data/faces/train.npy", np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8))
    found = []
    for count in (1, 2):
        write_params(root, batch_size=16, num_epochs=3, train__cpu_processes=count)
        assert "from step 0 to 12" in run(project)
        found.append(mean_losses())
    assert found[0] != pytest.approx(found[1], abs=1e-6)  # other noise, other statistics
    assert found[0] == pytest.approx(found[1], abs=TOLERANCE)


def test_two_processes_share_each_batch_of_one(project: Path, root: Path) -> None:
    """batch_size is of both together; of a wrong share the losses, which are means, would tell little."""
    code = project / "pipeline/dcgan/trainer.py"
    text, start = code.read_text(), "            real = to_images(data[batch[mine]])\n"
    assert start in text
    code.write_text(text.replace(start, RECORD.lstrip("\n") + start))
    write_params(root, batch_size=4, num_epochs=2, train__cpu_processes=2)
    run(project)
    steps = len(list(project.glob("seen.0.*")))
    assert steps > 0
    for step in range(steps):
        (batch, first, seed), (other, second, other_seed) = (
            torch.load(project / f"seen.{rank}.{step}", weights_only=True) for rank in range(2)
        )
        assert torch.equal(batch, other)
        assert torch.equal(torch.cat([first, second]), batch)
        assert len(first) == len(second) == 2
        assert len(batch.unique()) == 4
        assert seed != other_seed, "the same noise"


def test_two_processes_have_the_same_weights(project: Path, root: Path) -> None:
    """They see other faces and other noise, so only averaged gradients keep them together."""
    write_params(root, train__cpu_processes=2)
    code = project / "pipeline/dcgan/processes.py"
    text = code.read_text()
    end = "save=lambda _: None)  # type: ignore[arg-type]\n"
    assert end in text
    code.write_text(
        text.replace(end, f'{end}    torch.save([state.netG.state_dict(), state.netD.state_dict()], "other")\n')
    )
    run(project)
    other = torch.load("other", weights_only=True)
    for name, found in zip(("generator_live", "discriminator"), other, strict=True):
        for key, weight in load_file(f"models/{name}.safetensors").items():
            if "running" not in key:  # BatchNorm's statistics are each process's own
                assert torch.equal(weight, found[key]), (name, key)


@pytest.mark.parametrize("count", [2, 3])
def test_killed_and_started_again(count: int, project: Path, root: Path) -> None:
    write_params(root, batch_size=6, num_epochs=3, train__cpu_processes=count, train__checkpoint_minutes=1e-9)
    run(project)
    whole = outs()
    for written in ("models", "plots", ".pipeline"):
        shutil.rmtree(written)
    with paused(project) as stage:
        others = companions(stage)
        assert len(others) == count - 1
        stage.send_signal(signal.SIGKILL)
    for other in others:
        other.wait(20)  # it must not outlive the first
    assert "from step 4" in run(project)
    assert outs() == whole


def test_a_process_that_never_begins_ends_the_training(project: Path, root: Path) -> None:
    write_params(root, train__cpu_processes=2)
    code = project / "pipeline/dcgan/processes.py"
    code.write_text(
        code.read_text().replace('if __name__ == "__main__":', 'if __name__ == "__main__":\n    sys.exit(3)')
    )
    done = subprocess.run([sys.executable, "-c", DRIVER, project], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "process 2 of 2 ended before it began" in done.stderr


def test_a_process_that_dies_ends_the_training(project: Path, root: Path) -> None:
    write_params(root, train__cpu_processes=2, train__checkpoint_minutes=1e-9)
    with paused(project) as stage:
        companions(stage)[0].kill()
    assert stage.returncode == 1
    last = (project / "stderr").read_text().splitlines()[-1]
    assert last.startswith("train: process 2 of 2 ended with -9, and training can't go on without it")
    assert not Path("models").exists()
    assert "from step 4" in run(project)


def test_a_dead_process_ends_one_that_waits_for_it_for_ever(project: Path, root: Path) -> None:
    """As under NCCL, where no connection breaks."""
    write_params(root, train__cpu_processes=2)
    changes = {
        "stages/train.py": (
            "                fabric = launch(params)\n",
            '                __import__("pathlib").Path("waits").touch(); __import__("time").sleep(100)\n',
        ),
        "pipeline/dcgan/processes.py": ("HANG = 120.0", "HANG = 0.5"),
    }
    for name, (before, after) in changes.items():
        text = (project / name).read_text()
        assert before in text
        (project / name).write_text(text.replace(before, after))
    with subprocess.Popen([sys.executable, "-c", DRIVER, project], stderr=subprocess.PIPE, text=True) as stage:
        while not (project / "waits").exists():
            assert stage.poll() is None
            time.sleep(0.1)
        companions(stage)[0].kill()
        said = stage.communicate(timeout=60)[1]
    assert stage.returncode == 1
    assert said.splitlines()[-1].startswith("train: process 2 of 2 ended with -9, and training can't go on without it")
