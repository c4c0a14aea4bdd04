"""What all stages have in common: how they end, and that one works in a checkout at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from pipeline import paths


def heed_interrupts() -> None:
    """Take Ctrl-C as a program in the foreground does: a shell's background job, as CI may be one, ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def stage(folder: Path, main: str, name: str = "filter") -> subprocess.Popen[str]:
    """Start a stage in a folder, whose main is an expression."""
    code = f"import errno, os; from pipeline.errors import *; from stages import run_stage; run_stage({name!r}, {main})"
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(root)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_interrupts,
    )  # fmt: skip


def raising(fault: str) -> str:
    """Return an expression for a function that raises."""
    return f"lambda: (_ for _ in ()).throw({fault})"


@pytest.mark.parametrize(
    ("main", "code", "told"),
    [
        pytest.param("lambda: None", 0, "", id="done"),
        pytest.param(raising("ParamsError('lr: too odd')"), 2, "filter: lr: too odd\n", id="bad params"),
        pytest.param(raising("StageError('no faces')"), 1, "filter: no faces\n", id="failed"),
        pytest.param(
            raising("OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'data/x')"),
            1,
            "filter: data/x can't be read or written: No space left on device\n",
            id="disk full",
        ),
        pytest.param(raising("KeyboardInterrupt"), 130, "filter: interrupted\n", id="Ctrl-C"),
        pytest.param("lambda: os.kill(os.getpid(), 2)", 130, "filter: interrupted\n", id="Ctrl-C as a signal"),
        pytest.param("lambda: os.kill(os.getpid(), 15)", 143, "", id="SIGTERM"),
    ],
)
def test_how_a_stage_ends(main: str, code: int, told: str, tmp_path: Path) -> None:
    process = stage(tmp_path, main)
    assert process.communicate(timeout=60) == ("", told)
    assert process.returncode == code


@pytest.mark.parametrize("library", ["filelock", "pydantic", "numpy._core", "torch.nn", "scipy.linalg"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_stage_loads_its_libraries_is_no_traceback(
    library: str, signum: int, root: Path, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "stages.evaluate"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, text=True, stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    ) as process:  # fmt: skip
        assert process.stderr
        next(line for line in process.stderr if f" {library}." in line)
        process.send_signal(signum)
        told = [line for line in process.stderr if not line.startswith("import time:")]
    assert process.returncode == 128 + signum
    assert told == (["interrupted\n"] if signum == signal.SIGINT else [])


def test_a_fault_of_the_code_keeps_its_traceback_without_passwords(tmp_path: Path) -> None:
    process = stage(tmp_path, raising("RuntimeError('http://me:secret@host/x')"))
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert told.startswith("Traceback")
    assert "secret" not in told


def test_settings_without_a_dataroot_are_told_by_their_own_check(root: Path, tmp_path: Path) -> None:
    """The state of the stage's inputs is taken before that."""
    (tmp_path / "dvc.yaml").write_bytes((root / "dvc.yaml").read_bytes())
    lines = (root / "params.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "params.yaml").write_text("".join(line for line in lines if not line.startswith("dataroot:")))
    process = stage(tmp_path, "__import__('pipeline.params').params.load_params", name="crawl-import")
    _, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "params.yaml: dataroot: missing" in told


def test_a_second_stage_waits_for_the_first(tmp_path: Path) -> None:
    lock, begun = tmp_path / paths.STAGE_LOCK, tmp_path / "begun"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        process = stage(tmp_path, f"lambda: open({str(begun)!r}, 'x').close()")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(5)  # it has long come to the lock by then
        assert not begun.exists()
    told = "filter: another stage is still at work here; waiting for it\n"
    assert process.communicate(timeout=60) == ("", told)
    assert process.returncode == 0
    assert begun.exists()
