"""Mutated files against each reader of hostile files: python -m benchmarks.fuzz [TARGET ...] --runs 200000.

Atheris (libFuzzer) mutates odd good files, guided by which lines of the readers and of the Python libraries below them
each input reaches. Each target runs in a process of its own. A finding, which ends its target, is: an exception other
than what the reader documents, a crash, an input that takes over 5 seconds, more memory than the limit, anything
written outside the input and the project's .pipeline, a program started, or a connection opened.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fuzz_targets import ROOT, TARGETS, Target, listing, write_seeds

MEMORY_MB, SECONDS = 1024, 5
IN_MEMORY = "/dev/shm"  # noqa: S108 - a disk would take half of the time
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect")
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Outcome:
    """What came of a target: inputs tried, seconds, the most memory (MB), the input that was a finding, and why."""

    inputs: int
    seconds: float
    peak_mb: float
    finding: bytes | None
    report: str


def fuzz(name: str, runs: int, seed: int) -> Outcome:
    """Attack a target in a child with limits."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=IN_MEMORY) as made:
        folder = Path(made)
        (folder / "work").mkdir()
        (folder / "findings").mkdir()
        command = [sys.executable, "-m", "benchmarks.fuzz", name, "--child", "--runs", str(runs), "--seed", str(seed)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        started = time.monotonic()
        # By way of a shell that forks: Linux counts the memory of who starts a program as that program's own peak.
        child = subprocess.Popen(
            ["sh", "-c", '"$@"; exit $?', "sh", *command],
            cwd=folder / "work",
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert child.stdout is not None
        with child.stdout:
            report = child.stdout.read()
        child.wait()
        seconds = time.monotonic() - started
        found = sorted((folder / "findings").iterdir())
        finding = found[0].read_bytes() if found else (b"" if child.returncode else None)
    told = {name: int(number) for name, number in re.findall(r"stat::(\w+): *(\d+)", report)}
    return Outcome(told.get("number_of_executed_units", 0), seconds, told.get("peak_rss_mb", 0), finding, report)


def attack(target: Target, runs: int, seed: int) -> None:
    """Run the fuzzer in this process, which it ends."""
    import atheris

    with atheris.instrument_imports(include=list(target.watched)):
        write_seeds(target, Path("../seeds"))
        first = next(target.seeds())
        target.attack(first)
    test = guarded(target.attack)
    options = [
        *(f"-runs={runs}", f"-seed={seed}", f"-max_len={target.longest}", "-len_control=0"),
        *(f"-timeout={SECONDS}", f"-rss_limit_mb={MEMORY_MB}", "-artifact_prefix=../findings/", "-print_final_stats=1"),
    ]
    atheris.Setup([sys.argv[0], *options, "../seeds"], test)
    atheris.Fuzz()


def guarded(test: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Return a test that also fails where something was written elsewhere, started, or connected to."""
    here = os.getcwd()
    state, settings, own = (os.path.join(here, name) for name in (".pipeline", "params.yaml", "input."))
    strange: list[str] = []
    armed = False

    def outside(path: object, folder: object) -> bool:
        """Whether a path, relative to an open folder or else to this one, is none that a reader may change."""
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        base = os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) and folder >= 0 else here
        whole = os.path.normpath(os.path.join(base, os.fsdecode(path)))
        return whole not in (state, settings) and not whole.startswith((state + os.sep, own))

    def hook(event: str, details: tuple[Any, ...]) -> None:
        if not armed:
            return
        if event == "open":
            changed = [details[0]] if isinstance(details[2], int) and details[2] & WRITING else []
            folder = None
        else:
            changed, folder = (details[:2], details[-1]) if event in CHANGES else ([], None)
        if event in STARTS or any(outside(path, folder) for path in changed):
            strange.append(f"{event} {details}")

    sys.addaudithook(hook)
    before = listing() | {".pipeline"}

    def run(data: bytes) -> None:
        nonlocal armed
        armed = True
        try:
            test(data)
        finally:
            armed = False
        assert not strange, strange
        assert listing() <= before

    return run


def main() -> None:
    """Print a row a target; exit with 1 where there was a finding, which is written into --out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--runs", type=int, default=200_000, help="mutated inputs for each target")
    parser.add_argument("--seed", type=int, default=1, help="other mutations for another seed")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"), help="where findings go")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        attack(TARGETS[args.targets[0]], args.runs, args.seed)
        return
    print(f"{'target':8} {'inputs':>8} {'seconds':>8} {'inputs/s':>9} {'peak MB':>8}  findings")
    findings = {}
    for name in args.targets or TARGETS:
        outcome = fuzz(name, args.runs, args.seed)
        rate = outcome.inputs / outcome.seconds
        print(
            f"{name:8} {outcome.inputs:8,} {outcome.seconds:8.0f} {rate:9,.0f} {outcome.peak_mb:8,.0f}  "
            f"{'none' if outcome.finding is None else 'ONE'}",
            flush=True,
        )
        findings[name] = int(outcome.finding is not None)
        if outcome.finding is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / f"{name}.input").write_bytes(outcome.finding)
            (args.out / f"{name}.txt").write_text(outcome.report)
            print(f"  {args.out / name}.input, {args.out / name}.txt:\n{outcome.report[-2000:]}")
    print(json.dumps({"runs": args.runs, "seed": args.seed, "findings": findings}))
    sys.exit(1 if any(findings.values()) else 0)


if __name__ == "__main__":
    main()
