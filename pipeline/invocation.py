"""What DVC knows of the stage that runs: which invocation started it, its params and the digests of its inputs."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from pipeline import paths
from pipeline.dvc_cache import cached_file
from pipeline.errors import ParamsError, StageError
from pipeline.params import flatten, read_yaml

DATAROOT = "${dataroot}"  # as dvc.yaml has it
MAX_TEXT = 10_000_000  # bytes of a dataroot that is read whole
LOOKS, LOOK_SECONDS = 5, 2.0


class Watched(NamedTuple):
    """What a stage is made from that no other stage writes: params by key, files and folders of code, the dataroot."""

    keys: Sequence[str]
    files: Sequence[str]
    has_dataroot: bool


def invocation() -> psutil.Process:
    """Return the process that all stages of one `dvc repro` or `dvc exp run` share: the nearest ancestor that is dvc.

    No environment variable does: under `dvc queue` it would come from the shell that started the queue, and reach
    every experiment. A stage that was started by hand is its own invocation.
    """
    this = psutil.Process()
    return next((process for process in this.parents() if _is_dvc(process)), this)


def _is_dvc(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()[:3]
    except psutil.Error:
        return False
    return any(Path(word).name in ("dvc", "dvc.exe") for word in words)


def process_key(process: psutil.Process) -> str:
    """Return what tells a process from every other: where it runs, pid, and start, because pids are used again."""
    return f"{_here()}/{process.pid}/{_start(process.pid)}"


def _here() -> str:
    """Return this machine's name and id: of a team's MLflow server two machines may share the name."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:  # a container may have none
        machine = ""
    return f"{socket.gethostname()} {machine}".rstrip()


def _start(pid: int) -> str:
    """Return when a process started, in clock ticks since the machine did: no set clock moves it. See man 5 proc."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]


def is_gone(key: str) -> bool:
    """Whether the process with that key has ended; False for one that ran elsewhere."""
    where, pid, started = key.rsplit("/", 2)
    if where not in (_here(), socket.gethostname()):  # the second, because the id was not always in it
        return False
    try:
        process = psutil.Process(int(pid))
        return process.status() == psutil.STATUS_ZOMBIE or _start(process.pid) != started
    except (psutil.NoSuchProcess, FileNotFoundError):
        return True


def experiment_name() -> str | None:
    """Return the name of the DVC experiment that this stage runs in, None under `dvc repro`."""
    return os.environ.get("DVC_EXP_NAME") or None


def git_commit() -> str:
    """Return the commit that the stage's code is based on, or `unknown` without git."""
    if revision := os.environ.get("DVC_EXP_BASELINE_REV"):
        return revision
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def stage_params(stage: str, flat_params: dict[str, Any]) -> dict[str, Any]:
    """Return the params that dvc.yaml lists for a stage: those, and only those, can change its result."""
    listed = _stage(stage).get("params", [])
    return {key: flat_params[key] for key in listed if key in flat_params}


def watched(stage: str) -> Watched:
    """Return what a stage is made from that no other stage writes, by dvc.yaml as it is now."""
    entry = _stage(stage)
    written = {path for each in _stages().values() for path in _outs(each)}
    deps = [dep for dep in entry.get("deps", []) if not any(Path(dep).is_relative_to(out) for out in written)]
    return Watched(entry.get("params", []), [dep for dep in deps if dep != DATAROOT], DATAROOT in deps)


def state_of(what: Watched) -> dict[str, str]:
    """Return the values of a stage's own params, by dotted key, and digests of its own deps, by path.

    A dataroot is told by its files' names and sizes, unless it is a list or a recipe.
    """
    listed = paths.PARAMS.exists() and (what.keys or what.has_dataroot)
    params = flatten(read_yaml(paths.PARAMS)) if listed else {}
    state = {key: str(params.get(key)) for key in what.keys}
    state |= {dep: _digest(Path(dep), _content) for dep in what.files}
    if what.has_dataroot:
        named = str(params.get("dataroot"))  # which load_params() has yet to check
        root = Path(named).resolve()
        is_text = root.is_file() and root.stat().st_size <= MAX_TEXT
        state[named] = _digest(root, _content if is_text else _size)
    return state


def require_unchanged(what: Watched, before: Mapping[str, str]) -> None:
    """Raise StageError where something is not as it was: DVC would take the result for what is there now.

    It looks again for some seconds: an editor may be saving, or DVC making ready an experiment.
    """
    changed = [str(paths.PARAMS)]
    for look in range(LOOKS):
        time.sleep(LOOK_SECONDS if look else 0)
        with suppress(ParamsError):  # half of params.yaml
            after = state_of(what)
            changed = [name for name in before if after.get(name) != before[name]]
            if not changed:
                return
    raise StageError(
        f"{', '.join(changed)} changed while this ran, so its result is not that of what is there now: run it again, "
        "or put back what was there before (a training that was through is not lost then)"
    )


def _digest(path: Path, look: Callable[[str], bytes]) -> str:
    """Return a digest of what look() gives of a file, or of each file in a folder; links in it are not followed.

    What editors and Python leave beside a file is none.
    """
    digest = hashlib.sha256()
    inside = sorted(f"{folder}/{name}" for folder, _, names in os.walk(path) for name in names if name[0] != ".")
    for file in inside or [str(path)]:
        if "__pycache__" not in file and not file.endswith("~"):
            with suppress(OSError):
                digest.update(os.fsencode(file) + look(file))
    return digest.hexdigest()


def _content(file: str) -> bytes:
    return Path(file).read_bytes()


def _size(file: str) -> bytes:
    return str(os.lstat(file).st_size).encode()


def input_digests(stage: str) -> dict[str, str]:
    """Return {path: DVC's md5} for the stage's deps that other stages write, as dvc.lock has them.

    A file in a folder that is one output has the folder's digest: DVC's lock has no other.
    """
    return {dep: md5 for dep, _, md5 in _made(stage)}


def read_digests(stage: str) -> dict[str, str]:
    """Return input_digests, but of a file in a folder its own, as DVC will note it once the stage is through.

    That of the folder where DVC's cache no longer lists it.
    """
    return {dep: _listed(md5, os.path.relpath(dep, out)) or md5 for dep, out, md5 in _made(stage)}


def _made(stage: str) -> Iterator[tuple[str, str, str]]:
    """Yield each dep that another stage writes, the output that holds it, and the digest of that."""
    written = {path: md5 for outs in _locked_outs().values() for path, md5 in outs.items()}
    for dep in _stage(stage).get("deps", []):
        yield from ((dep, out, md5) for out, md5 in written.items() if Path(dep).is_relative_to(out))


def _listed(md5: str, name: str) -> str | None:
    """Return the digest of a file in a folder, by the folder's list in DVC's cache."""
    held = cached_file(md5) if md5.endswith(".dir") else None
    entries = json.loads(held.read_text(encoding="utf-8")) if held else []
    return next((str(entry["md5"]) for entry in entries if entry["relpath"] == name), None)


def upstream(stage: str) -> list[str]:
    """Return the stages of dvc.lock whose outputs a stage is made from, directly or not, in dvc.lock's order."""
    locked, found, pending = _locked_outs(), set[str](), [stage]
    while pending:
        deps = _stage(pending.pop()).get("deps", [])
        makers = {
            name for name, outs in locked.items() if any(Path(dep).is_relative_to(out) for dep in deps for out in outs)
        }
        pending += makers - found
        found |= makers
    return [name for name in locked if name in found]


def locked_result(stage: str) -> str | None:
    """Return result_key of what dvc.lock holds of a stage, None where it holds no metrics file of it."""
    md5 = _locked_outs().get(stage, {}).get(str(paths.metrics_file(stage)))
    read = {dep["path"]: dep.get("md5") for dep in _locked().get(stage, {}).get("deps", [])}
    return result_key(stage, md5, {dep: str(read.get(dep)) for dep in input_digests(stage)}) if md5 else None


def result_key(stage: str, metrics_md5: str, inputs: Mapping[str, str]) -> str:
    """Return the digest that a stage's outputs are known by: of its metrics file, and of its inputs' digests.

    The metrics file holds wall times, so that it tells one run from another; a folder would take long to digest.
    """
    known = [stage, metrics_md5, *sorted(inputs.items())]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]


def _locked_outs() -> dict[str, dict[str, str]]:
    """Return {stage: {path: md5}} of the outputs in dvc.lock."""
    return {
        name: {out["path"]: out["md5"] for out in entry.get("outs", []) if "md5" in out}
        for name, entry in _locked().items()
    }


def _locked() -> dict[str, Any]:
    stages: dict[str, Any] = read_yaml(paths.DVC_LOCK).get("stages", {}) if paths.DVC_LOCK.exists() else {}
    return stages


def _stage(stage: str) -> dict[str, Any]:
    entry: dict[str, Any] = _stages().get(stage, {})
    return entry


def _stages() -> dict[str, Any]:
    stages: dict[str, Any] = read_yaml(paths.DVC_YAML)["stages"] if paths.DVC_YAML.exists() else {}
    return stages


def _outs(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths that a stage of dvc.yaml writes; one with options is a mapping of one key."""
    for kind in ("outs", "metrics", "plots"):
        yield from (str(next(iter(out))) if isinstance(out, Mapping) else out for out in entry.get(kind, []))
