from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from pipeline.dcgan.figures import Row
from pipeline.dcgan.reporting import reporting


class FakeRun:
    """What a training logs, kept."""

    def __init__(self) -> None:
        self.points: list[tuple[str, float]] = []
        self.tags: dict[str, str] = {}

    def log_rows(self, rows: Sequence[Mapping[str, float]]) -> None:
        self.points += [(name, row["step"]) for row in rows for name in row if name != "step"]

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.tags |= tags

    @contextmanager
    def watch_system(self) -> Iterator[None]:
        yield


def tick(step: int) -> Row:
    names = ("kimg", "lossD", "lossG", "D_x", "D_G_z1", "D_G_z2")
    return {"step": step, **dict.fromkeys(names, 0.5), "img_per_s": 100.0}


QUALITY = {"step": 4, "kimg": 0.5, "quick_kid": 300.0}


def test_every_point_is_logged_once() -> None:
    run = FakeRun()
    with reporting(run, [], [], total_kimg=1.0) as report:  # type: ignore[arg-type]
        for step in (2, 4):
            report.tick(tick(step))
        report.quality(QUALITY)
        report.tick(tick(6))
    assert sorted(run.points) == sorted(
        [(name, step) for step in (2, 4, 6) for name in tick(step) if name != "step"] + [("quick_kid", 4)]
    )


def test_what_a_resumed_training_noted_before_comes_first() -> None:
    run = FakeRun()
    with reporting(run, [tick(4)], [QUALITY], total_kimg=1.0):  # type: ignore[arg-type]
        assert ("lossG", 4) in run.points
        assert run.points.count(("kimg", 4)) == 1
        assert ("quick_kid", 4) in run.points


def test_the_last_points_are_logged_of_a_training_that_fails() -> None:
    run = FakeRun()
    with pytest.raises(ZeroDivisionError), reporting(run, [], [], total_kimg=1.0) as report:  # type: ignore[arg-type]
        report.tick(tick(2))
        report.tick(tick(4))
        raise ZeroDivisionError
    assert ("lossG", 4) in run.points


def test_lines_are_seconds_apart_and_hold_the_newest_quick_kid(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(FakeRun(), [], [], total_kimg=1.0) as report:  # type: ignore[arg-type]
        report.quality(QUALITY)
        for step in (2, 4, 6):
            report.tick(tick(step))
    (line,) = capsys.readouterr().out.splitlines()
    assert "quick KID 300" in line


def test_a_collapse_is_printed_and_tagged(capsys: pytest.CaptureFixture[str]) -> None:
    run = FakeRun()
    with reporting(run, [], [], total_kimg=1.0) as report:  # type: ignore[arg-type]
        report.collapsed("netD wins", 7)
    assert capsys.readouterr().err == "warning: at step 7 netD wins\n"
    assert run.tags == {"collapse": "step 7: netD wins"}


def test_a_terminal_that_was_closed_ends_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last lines come before the checkpoint that SIGHUP asks for."""
    run, (ours, theirs) = FakeRun(), os.openpty()
    with os.fdopen(theirs, "w", buffering=1) as terminal:
        os.close(ours)
        monkeypatch.setattr("sys.stdout", terminal)
        monkeypatch.setattr("sys.stderr", terminal)
        with reporting(run, [], [], total_kimg=1.0) as report:  # type: ignore[arg-type]
            report.tick(tick(7))
            report.collapsed("netD wins", 7)
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), theirs)  # which can be closed
    assert run.tags == {"collapse": "step 7: netD wins"}
