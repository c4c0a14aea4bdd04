"""What DVC knows of the stage that runs: which invocation started it, its params and the digests of its inputs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from pipeline import paths
from pipeline.dvc_cache import cached_file
from pipeline.params import read_yaml


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
    return any(Path(word).name in ("dvc", "dvc.exe", "pipeline.exp_run") for word in words)


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
    """Whether the process with that key has ended; False for one that ran elsewhere, and for what is no key."""
    if not (parts := re.fullmatch(r"(.*)/(\d{1,10})/(\d+)", key, re.DOTALL)):
        return False
    where, pid, started = parts.groups()
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
    stages: dict[str, Any] | None = read_yaml(paths.DVC_LOCK).get("stages") if paths.DVC_LOCK.exists() else None
    return stages or {}


def _stage(stage: str) -> dict[str, Any]:
    entry: dict[str, Any] = dvc_stages().get(stage, {})
    return entry


def dvc_stages() -> dict[str, Any]:
    """Return the stages of dvc.yaml, by name; none where there is no such file."""
    stages: dict[str, Any] = read_yaml(paths.DVC_YAML)["stages"] if paths.DVC_YAML.exists() else {}
    return stages
