"""Kill a random process of a running pipeline at a random moment, and again, until a run completes by itself.

`python -m tests.e2e.chaos --rounds N` runs a miniature pipeline undisturbed, and then N times from a fresh copy with
kills: SIGKILL or SIGTERM to dvc, a stage or one of its workers, or Ctrl-C to all of them. Each round must end with the
same outputs, nothing left behind, and no hand's help. A seed makes the same choices again, as far as timing allows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from pipeline.digest import file_digest
from pipeline.params import read_yaml
from tests.conftest import ROOT
from tests.e2e.project import Project, make_project

PARAMS = {
    "workers": 2,
    "num_epochs": 4,
    "train": {"cpu_processes": 2, "checkpoint_minutes": 0.005, "log_steps": 10, "quick_kid_kimg": 1.0},
    "evaluate": {"n_generated": 64, "n_real": 64},
}
MOST_KILLS = 5  # in a round
AGAIN = 0.5  # how likely the next attempt is killed too
DVC = "dvc's start"
PYTHONS_START = re.compile(r"Fatal Python error: init_import_site.*?^KeyboardInterrupt$", re.DOTALL | re.MULTILINE)
PATIENCE = 400.0  # seconds that a command may take to end after a kill, or to complete

# What a run makes, and where it may leave something behind. DVC's caches hold what the metrics' digests name, which
# differ from run to run, as they hold wall times.
MADE = ("data", "models", "plots", "reports", "metrics", ".pipeline", ".dvc/tmp")
WALL_TIMES = {"seconds", "img_per_s"}


class Kill(NamedTuple):
    """What was killed, by what, in which stage, and after how many seconds."""

    victim: str
    signal: str
    stage: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.victim} by {self.signal} in {self.stage} at {self.seconds:.1f} s"


def new_project(root: Path, folder: Path, images: int) -> Project:
    """Return a project of so many images that has not run, in a folder of its own."""
    project = make_project(root, folder)
    project.edit("params.yaml", PARAMS)
    project.edit("data/builtin.yaml", {"count": images})
    project.run("git", "commit", "--quiet", "--all", "--message", "chaos")
    return project


def copied(project: Project, folder: Path) -> Project:
    """Return a copy of a project."""
    shutil.copytree(project.folder, folder, symlinks=True)
    return Project(folder)


def outputs(project: Project) -> dict[str, str]:
    """Return what the run made: DVC's digests, those of the files themselves, and the figures but for wall times."""
    stages = read_yaml(project.folder / "dvc.lock")["stages"]
    outs = [out for stage in stages.values() for out in stage["outs"] if not out["path"].startswith("metrics/")]
    found = {f"dvc.lock: {out['path']}": str(out["md5"]) for out in outs}
    for out in outs:
        path = project.folder / out["path"]
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            found[str(file.relative_to(project.folder))] = file_digest(file)
    for file in sorted((project.folder / "metrics").glob("*.json")):
        figures = json.loads(file.read_text()).items()
        found[file.name] = json.dumps({name: figure for name, figure in figures if name not in WALL_TIMES})
    return found


def files(project: Project) -> set[str]:
    """Return the files that are where a run makes some, but for DVC's notes of an experiment, whose names differ."""
    made = (path for folder in MADE for path in (project.folder / folder).rglob("*") if not path.is_dir())
    return {name for path in made if not (name := str(path.relative_to(project.folder))).startswith(".dvc/tmp/exps/")}


def members(process: subprocess.Popen[str]) -> dict[str, list[psutil.Process]]:
    """Return the processes of a running command by what they are: dvc, stage, worker."""
    found: dict[str, list[psutil.Process]] = {}
    try:
        dvc = psutil.Process(process.pid)
        for one in (dvc, *dvc.children(recursive=True)):
            found.setdefault("dvc" if one == dvc else kind(one), []).append(one)
    except psutil.Error:
        pass  # it ends just now
    return found


def kind(process: psutil.Process) -> str:
    """Return what a process below dvc is."""
    try:
        return "stage" if any(word.startswith("stages.") for word in process.cmdline()) else "worker"
    except psutil.Error:
        return "worker"


def strike(process: subprocess.Popen[str], chance: random.Random) -> tuple[str, str] | None:
    """Kill something of a running command; return what, and by which signal, or None where it has ended."""
    found = members(process)
    if process.poll() is not None or not found:
        return None
    name = chance.choice(["SIGKILL", "SIGTERM", "SIGINT"])
    if name == "SIGINT":
        os.killpg(process.pid, signal.SIGINT)
        return "all", "Ctrl-C"
    what = chance.choice(sorted(found))
    try:
        chance.choice(found[what]).send_signal(signal.Signals[name])
    except psutil.NoSuchProcess:
        return None
    return what, name


def attempt(
    project: Project, command: tuple[str, ...], log: Path, seconds: float | None, chance: random.Random
) -> tuple[int | None, Kill | None]:
    """Run a command, and kill something of it after so many seconds; return its exit code and what was killed.

    The code is None where the command had to be ended, as it did not by itself.
    """
    with log.open("w") as file:
        process = project.popen(*command, stdout=file)
    began, kill = time.monotonic(), None
    if seconds is not None and not has_ended(process, seconds) and (struck := strike(process, chance)):
        kill = Kill(*struck, stage_of(log), time.monotonic() - began)
    if not has_ended(process, PATIENCE):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None, kill
    return process.returncode, kill


def has_ended(process: subprocess.Popen[str], seconds: float) -> bool:
    """Wait so long for a process to end, and return whether it has."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def stage_of(log: Path) -> str:
    """Return the stage that a command was at, by what it has printed."""
    begun = [line.split("'")[1] for line in log.read_text().splitlines() if line.startswith("Running stage '")]
    return begun[-1] if begun else DVC


def open_runs(project: Project) -> list[str]:
    """Return the stages and invocations whose MLflow run is still said to be running."""
    return [run.info.run_name for run in project.runs() if run.info.status == "RUNNING"]


def still_running(project: Project) -> list[str]:
    """Return the processes that are at work in a project."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(project.folder):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def play(
    project: Project, command: tuple[str, ...], usual: float, chance: random.Random
) -> tuple[list[Kill], list[str]]:
    """Run a command, killed again and again, until it completes; return the kills, and what was wrong on the way.

    usual: the seconds of an undisturbed run.
    """
    kills: list[Kill] = []
    faults: list[str] = []
    seconds: float | None = chance.uniform(0.0, usual)
    for number in range(1, MOST_KILLS + 2):
        log = project.folder.with_suffix(f".{number}.log")
        code, kill = attempt(project, command, log, seconds, chance)
        kills += [kill] if kill else []
        printed = log.read_text()
        if code is None:
            faults.append(f"attempt {number} did not end")
        if code and not kill:
            faults.append(f"attempt {number} failed, and nothing was killed: {printed.splitlines()[-1:]}")
        if code and "ERROR: " not in printed and not (kill and kill.victim == "dvc"):
            faults.append(f"attempt {number} did not say that it failed")
        # Python's own start, some hundredths of a second, and dvc's hear Ctrl-C before any code of ours can.
        ours = PYTHONS_START.sub("", printed)
        if "Traceback" in ours and not (kill and kill.stage == DVC):
            faults.append(f"attempt {number} ended with a traceback: {ours[ours.rindex('Traceback') :]}")
        if not code:
            break
        go_on = number < MOST_KILLS and chance.random() < AGAIN
        seconds = chance.uniform(0.0, usual) if go_on else None
    else:
        faults.append("it did not complete")
    if left := open_runs(project):
        faults.append(f"MLflow has open runs: {left}")
    if left := still_running(project):
        faults.append(f"still running: {left}")
    return kills, faults


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return the names of what is not the same in both."""
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def chaos(root: Path, scratch: Path, rounds: int, seed: int, images: int) -> tuple[int, int]:
    """Play so many rounds in a scratch folder, print a line for each; return how many went wrong, and the kills."""
    fresh = new_project(root, scratch / "fresh", images)
    undisturbed = copied(fresh, scratch / "undisturbed")
    began = time.monotonic()
    undisturbed.run("dvc", "repro")
    usual = time.monotonic() - began
    expected, usual_files = outputs(undisturbed), files(undisturbed)
    print(f"undisturbed: {len(expected)} outputs and figures in {usual:.0f} s", flush=True)

    wrong, killed = 0, 0
    for number in range(1, rounds + 1):
        chance = random.Random(f"{seed} {number}")  # noqa: S311
        command = ("dvc", "exp", "run") if number % 2 == 0 else ("dvc", "repro")
        project = copied(fresh, scratch / f"round-{number}")
        began = time.monotonic()
        kills, faults = play(project, command, usual, chance)
        if changed := differences(expected, outputs(project)):
            faults.append(f"differ: {changed}")
        if left := files(project) - usual_files:
            faults.append(f"left behind: {sorted(left)}")
        wrong, killed = wrong + bool(faults), killed + len(kills)
        told = "; ".join(map(str, kills)) or "nothing was killed in time"
        took = f"{len(kills) + 1} attempts, {time.monotonic() - began:.0f} s"
        print(f"round {number}, {' '.join(command)}: {told}; {took}: {'; '.join(faults) or 'ok'}", flush=True)
        if not faults:
            shutil.rmtree(project.folder)
    print(f"{rounds} rounds, {killed} kills: {f'{wrong} went wrong; see {scratch}' if wrong else 'all ok'}")
    return wrong, killed


def main() -> None:
    """Play rounds; leave with 1 where one went wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--images", type=int, default=2000, help="drawn faces; 500 are a shard")
    told = options.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="chaos-"))
    wrong, _ = chaos(ROOT, scratch, told.rounds, told.seed, told.images)
    if not wrong:
        shutil.rmtree(scratch)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
