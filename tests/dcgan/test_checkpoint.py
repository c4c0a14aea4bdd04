from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from pipeline.dcgan.checkpoint import Checkpoint, open_checkpoint
from pipeline.dcgan.state import TrainState, new_state
from pipeline.errors import StageError
from pipeline.params import Params

HOLD = """
import sys, time, pathlib, filelock
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(0.5)
    pathlib.Path(sys.argv[2]).touch()
"""

CPU = torch.device("cpu")


def always(outs: list[str]) -> bool:
    return True


def never(outs: list[str]) -> bool:
    return False


@pytest.fixture
def saved(small: Callable[..., Params], tmp_path: Path) -> Checkpoint:
    """A checkpoint after step 6."""
    checkpoint, state = Checkpoint(tmp_path), new_state(small(), CPU)
    state.step = 6
    checkpoint.save(state)
    return checkpoint


@pytest.fixture
def fresh(small: Callable[..., Params]) -> TrainState:
    return new_state(small(), CPU)


@pytest.mark.parametrize(
    ("finished", "are_stored", "total_steps", "step"),
    [
        pytest.param(False, always, 12, 6, id="cut off: goes on"),
        pytest.param(False, always, 6, 6, id="cut off before its outs were written: writes them"),
        pytest.param(True, always, 12, 6, id="finished, more wanted: goes on"),
        pytest.param(True, always, 6, 0, id="finished, the same wanted again: afresh"),
        pytest.param(True, never, 6, 6, id="finished, and DVC could not store its outs: writes them"),
        pytest.param(True, always, 3, 0, id="finished, less wanted: afresh"),
        pytest.param(False, always, 3, 0, id="cut off beyond what is wanted: afresh"),
    ],
)
def test_resume(
    saved: Checkpoint,
    fresh: TrainState,
    finished: bool,
    are_stored: Callable[[list[str]], bool],
    total_steps: int,
    step: int,
) -> None:
    if finished:
        saved.finish(["one", "two"])
    saved.resume(fresh, total_steps, are_stored)
    assert fresh.step == step


def test_the_outs_that_are_asked_for_are_those_that_were_written(saved: Checkpoint, fresh: TrainState) -> None:
    asked: list[list[str]] = []
    saved.finish(["one", "two"])
    saved.resume(fresh, 6, lambda outs: bool(asked.append(outs)))
    assert asked == [["one", "two"]]


def test_a_longer_training_that_was_cut_off_waits_until_it_is_wanted_again(
    saved: Checkpoint, small: Callable[..., Params], capsys: pytest.CaptureFixture[str]
) -> None:
    def resumed(total_steps: int) -> int:
        state = new_state(small(), CPU)
        saved.resume(state, total_steps, always)
        return state.step

    assert resumed(3) == 0
    assert "a longer training with these settings was cut off at step 6; it stays in" in capsys.readouterr().err
    short = new_state(small(), CPU)
    short.step = 3
    saved.save(short)
    saved.finish(["one", "two"])
    assert resumed(5) == 3, "the short one goes on"
    saved.finish(["one", "two"])
    assert resumed(12) == 6, "the long one goes on"
    assert resumed(12) == 6


def test_of_two_that_were_cut_off_the_longer_one_waits(saved: Checkpoint, small: Callable[..., Params]) -> None:
    def resumed(total_steps: int) -> int:
        state = new_state(small(), CPU)
        saved.resume(state, total_steps, always)
        return state.step

    assert resumed(5) == 0  # of 6 steps
    shorter = new_state(small(), CPU)
    shorter.step = 4
    saved.save(shorter)
    assert resumed(2) == 0
    assert resumed(12) == 6


def test_what_is_trained_afresh_is_not_resumed_from_the_old_one_later(saved: Checkpoint, fresh: TrainState) -> None:
    saved.finish(["one", "two"])
    saved.resume(fresh, 6, always)
    saved.resume(fresh, 6, always)  # killed before its first save, and started again
    assert fresh.step == 0


def test_what_another_process_finished_meanwhile_is_not_trained_again(
    saved: Checkpoint, fresh: TrainState, tmp_path: Path
) -> None:
    saved.finish(["one", "two"])
    Checkpoint(tmp_path, is_anothers=True).resume(fresh, 6, always)
    assert fresh.step == 6


def test_a_mark_without_its_state_is_of_no_later_training(saved: Checkpoint, fresh: TrainState, tmp_path: Path) -> None:
    saved.finish(["one", "two"])
    (tmp_path / "state.pt").unlink()  # as a kill in the middle of resume() leaves it
    saved.resume(fresh, 6, always)
    fresh.step = 6
    saved.save(fresh)  # and killed before its outs are written
    saved.resume(fresh, 6, always)
    assert (tmp_path / "state.pt").exists()


def test_a_resumed_training_is_not_finished_by_the_old_mark(saved: Checkpoint, fresh: TrainState) -> None:
    saved.finish(["one", "two"])
    saved.resume(fresh, 12, always)
    saved.resume(fresh, 6, always)
    assert fresh.step == 6


def test_a_damaged_checkpoint_is_named(saved: Checkpoint, fresh: TrainState, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:1000])
    with pytest.raises(StageError, match=r"state.pt is damaged; remove it to train afresh"):
        saved.resume(fresh, 12, always)


def test_a_save_that_fails_leaves_the_one_before(
    saved: Checkpoint, fresh: TrainState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space"):
        saved.save(fresh)
    saved.resume(fresh, 12, always)
    assert fresh.step == 6


def test_a_second_process_waits_says_so_and_takes_what_it_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], small: Callable[..., Params], fresh: TrainState
) -> None:
    (tmp_path / "key").mkdir()
    trained = new_state(small(), CPU)
    trained.step = 6
    Checkpoint(tmp_path / "key").save(trained)
    Checkpoint(tmp_path / "key").finish(["one", "two"])
    command = [sys.executable, "-c", HOLD, tmp_path / "key" / "lock", tmp_path / "released"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with open_checkpoint(tmp_path, "key", keep=1) as checkpoint:
            assert (tmp_path / "released").exists()
            checkpoint.resume(fresh, 6, never)
            assert fresh.step == 6
    assert "waiting for it" in capsys.readouterr().err


def test_a_free_folder_is_opened_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with open_checkpoint(tmp_path, "key", keep=1):
            pass
    assert capsys.readouterr().err == ""


def test_the_oldest_are_pruned_but_not_the_held(tmp_path: Path) -> None:
    keys = ["newest", "newer", "old", "held", "oldest"]
    for key in keys:
        (tmp_path / key).mkdir()
        (tmp_path / key / "state.pt").touch()
    with FileLock(tmp_path / "held" / "lock"):
        for age, key in enumerate(keys):
            os.utime(tmp_path / key, (1000 - age, 1000 - age))
        with open_checkpoint(tmp_path, "this", keep=3):
            pass
        assert {folder.name for folder in tmp_path.iterdir() if folder.is_dir()} == {"this", "newest", "newer", "held"}


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / ".state.123.pt").touch()
    with open_checkpoint(tmp_path, "key", keep=1):
        assert {file.name for file in (tmp_path / "key").iterdir()} == {"lock"}
