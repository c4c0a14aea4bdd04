"""The fuzzer of benchmarks/fuzz.py in short, and that it would see harm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris")

from benchmarks.fuzz import fuzz
from benchmarks.fuzz_targets import TARGETS, odd_pictures
from pipeline.codec import decode

RUNS = {"decoder": 5000, "archive": 5000, "urls": 5000, "params": 3000, "weights": 1000}


@pytest.mark.long
@pytest.mark.parametrize("name", TARGETS)
def test_mutated_input_gives_only_what_is_documented(name: str) -> None:
    outcome = fuzz(name, RUNS[name], seed=0)
    assert outcome.finding is None, outcome.report[-4000:]
    assert outcome.inputs >= RUNS[name]


def test_the_pictures_that_mutations_start_from_are_good() -> None:
    assert len([decode(data, 1000) for data in odd_pictures()]) == 41


HARM = {
    "a file elsewhere": "open('other', 'w')",
    "a file above": "open('../input.zip', 'w')",
    "a link": "os.symlink('/etc', 'link')",
    "a folder, whose fault is swallowed": "contextlib.suppress(Exception).__enter__() or os.mkdir('../harm')",
    "a program": "subprocess.run(['true'])",
    "a connection": "socket.socket().connect_ex(('127.0.0.1', 9))",
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_harm_is_seen(harm: str, tmp_path: Path, root: Path) -> None:
    code = f"""
import contextlib, os, socket, subprocess, sys
sys.path.insert(0, {str(root)!r})
from benchmarks.fuzz import guarded
guarded(lambda data: open("input.zip", "wb").close())(b"")
try:
    guarded(lambda data: {harm})(b"")
except AssertionError:
    print("seen")
"""
    (tmp_path / "work").mkdir()
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, cwd=tmp_path / "work", text=True) == "seen\n"
