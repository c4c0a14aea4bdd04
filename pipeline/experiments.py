"""DVC experiments in temporary checkouts: run under a name that says what they depend on, and found by it again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from pipeline import paths
from pipeline.digest import file_digest
from pipeline.errors import ParamsError, StageError
from pipeline.params import read_yaml
from pipeline.tracking import STUDY_VARIABLE

LOGS = Path("studies")  # in paths.state_dir()
PATIENCE = 30.0  # seconds for an experiment to begin, which may wait for dvc's lock
_DVC = (sys.executable, "-m", "pipeline.exp_run")

# What dvc says when it is done with the main checkout and at work in the temporary one.
_BEGUN = re.compile(r"(Running stage|Stage) '")


def experiment_name(title: str, settings: Mapping[str, str]) -> str:
    """Return title with a digest of all that decides an experiment's result.

    That is its settings, as for `-S`, the files that they change, the stages' code and definitions, and the libraries'
    versions, and what is taken down; not the number of threads, which changes the last digits.
    """
    changed = sorted({paths.PARAMS, *(Path(key.partition(":")[0]) for key in settings if ":" in key)})
    stages = read_yaml(paths.DVC_YAML)["stages"]
    code = {str(file): file_digest(file) for stage in stages.values() for file in _code(stage["deps"])}
    # Mappings keep their order, because a recipe's dirt depends on it.
    libraries = [file_digest(file) for file in (Path("requirements.lock"), paths.TAKEDOWN) if file.exists()]
    known = [dict(settings), {str(file): read_yaml(file) for file in changed}, stages, sorted(code.items()), libraries]
    return f"{title}-{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:8]}"


def _code(deps: Sequence[str]) -> Iterator[Path]:
    """Yield the files of a stage's own code: what it computes with, not what it computes on."""
    for dep in deps:
        if dep.startswith(("pipeline/", "stages/")):
            files = Path(dep).rglob("*") if Path(dep).is_dir() else [Path(dep)]
            yield from (file for file in files if file.is_file() and file.parent.name != "__pycache__")


def find_experiment(name: str) -> str | None:
    """Return the commit of the finished experiment of that name, whatever commit it started from; None without one."""
    refs = ["git", "for-each-ref", "--format=%(objectname)", "--sort=-committerdate", f"refs/exps/*/*/{name}"]
    found = subprocess.run(refs, capture_output=True, text=True, check=True).stdout.split()
    return found[0] if found else None


def figures_of(revision: str, stage: str) -> dict[str, float]:
    """Return the metrics file of a stage as an experiment left it."""
    figures: dict[str, float] = json.loads(_said(["git", "show", f"{revision}:{paths.metrics_file(stage)}"], revision))
    return figures


def digests_of(revision: str, folder: Path) -> dict[str, str]:
    """Return {file name: MD5} of a folder that is one of DVC's outs, as an experiment left it."""
    command = ["dvc", "list", ".", str(folder), "--rev", revision, "--json", "--show-hash"]
    return {file["path"]: file["md5"] for file in json.loads(_said(command, revision))}


def _said(command: Sequence[str], revision: str) -> bytes:
    """Return what git or dvc tells of an experiment; StageError where it has not what is asked for."""
    told = subprocess.run(command, capture_output=True, check=False, env=_environment())
    if told.returncode:
        fault = next(
            reversed(told.stderr.decode(errors="replace").strip().splitlines()), f"it ended with {told.returncode}"
        )
        raise StageError(
            f"the experiment of commit {revision[:7]} is there without what it made ({fault}); 'git for-each-ref "
            f"--points-at {revision[:7]} refs/exps' has its name, and after 'dvc exp remove NAME' it is run anew"
        )
    return told.stdout


class Experimenter:
    """Runs experiments of one study, side by side where several threads ask."""

    def __init__(self, study: str) -> None:
        """The MLflow runs get the tag `study`."""
        self._study = study
        self._starting = Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._beginning: subprocess.Popen[str] | None = None
        self._closed = False

    def close(self) -> None:
        """End what runs as Ctrl-C would, so that trainings save a checkpoint and dvc removes its checkouts.

        What is asked for after that fails.
        """
        self._closed = True
        at_work = self._running - {self._beginning}
        _interrupt(at_work)
        try:
            # One that begins is let begin: till then dvc has the user's changes in git's stash, and could leave them.
            if self._starting.acquire(timeout=PATIENCE):
                self._starting.release()
        finally:  # a second Ctrl-C ends the wait
            _interrupt(self._running - at_work)

    def run(self, name: str, settings: Mapping[str, str], threads: int, target: str | None = None) -> str:
        """Run an experiment, up to a stage or whole, on so many threads; return its commit.

        Raises StageError where it failed, after close(), and where what the name says is no longer what is there.
        """
        command = [*_DVC, "--wait-for-lock", "exp", "run", "--temp", "--name", name]
        for key, value in settings.items():
            command += ["--set-param", f"{key}={value}"]
        log = paths.state_dir() / LOGS / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        # One at a time begins: dvc stashes the user's changes meanwhile, and an experiment by its place in git's stash.
        with self._starting:
            if self._closed:  # and the log that an earlier failure left stays
                raise StageError("stopped")
            _require_named(name, settings)
            process = self._begin([*command, *([target] if target else [])], threads, log)
        with process, log.open("a", encoding="utf-8") as file:
            file.writelines(process.stdout or ())
        self._running.discard(process)
        # By what it left, not by dvc's exit code: at the very end dvc may fail to tidy up.
        revision = find_experiment(name)
        if revision is None:
            raise StageError(f"{name} failed ({_last_line(log)}); see {log}")
        return revision

    def _begin(self, command: Sequence[str], threads: int, log: Path) -> subprocess.Popen[str]:
        """Return a process of dvc that has begun with its first stage, or ended; log takes what it said till then."""
        process = subprocess.Popen(
            command,
            env={**_environment(), STUDY_VARIABLE: self._study, "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._beginning = process
        self._running.add(process)
        with log.open("w", encoding="utf-8") as file:
            for line in process.stdout or ():
                file.write(line)
                if _BEGUN.match(line):
                    break
        self._beginning = None
        return process


def _interrupt(processes: Iterable[subprocess.Popen[str]]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)


def _require_named(name: str, settings: Mapping[str, str]) -> None:
    """Raise StageError where an experiment would be another one than its name says; none may be beginning."""
    with suppress(ParamsError, OSError):  # half of a file that is being saved
        if experiment_name(name.rpartition("-")[0], settings) == name:
            return
    raise StageError(
        f"{name} was not begun: {paths.PARAMS}, the recipe or the code changed since the study did; put back what was "
        "there, or give the same command again to go by what is there now"
    )


def _environment() -> dict[str, str]:
    """Return the environment with this Python's dvc and python first, for who has not activated it."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    return lines[-1] if lines else "dvc said nothing"
