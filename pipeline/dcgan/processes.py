"""The other processes of a training that takes several: one a GPU, or train.cpu_processes of them.

They are `python -m pipeline.dcgan.processes` in the same folder. Each loads the same params and faces, takes over the
first one's state, and runs the same loop on its share of every batch; Lightning Fabric averages the gradients. Only the
first process, which is the stage itself, tracks, prints, saves and writes. An end of the first ends the others, and the
other way round: gloo raises where a peer is gone, and NCCL waits for it.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric

from pipeline.dcgan.device import open_fabric
from pipeline.dcgan.state import TrainState, new_state
from pipeline.dcgan.trainer import train
from pipeline.errors import StageError
from pipeline.faces import load_faces
from pipeline.params import Params, load_params

PATIENCE = 5.0  # seconds for another process to be gone after the connection to it is
HANG = 120.0  # seconds after which a process that another's end has not ended waits for it in vain
VARIABLES = ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what Fabric's LightningEnvironment goes by


@contextmanager
def companions(count: int) -> Iterator[None]:
    """Run the other count - 1 processes while the block lasts; StageError where one of them ends before it.

    Within the block launch() connects to them.
    """
    if count == 1:
        yield
        return
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ |= {"LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    # A session of their own: Ctrl-C reaches the first process, which then ends them. stdin tells them when it is gone.
    others, ready, over = [], [], threading.Event()
    try:
        for rank in range(1, count):
            here, there = os.pipe()
            ready.append(here)
            try:
                others.append(
                    subprocess.Popen(
                        [sys.executable, "-m", __spec__.name, str(there)],
                        env={**os.environ, "LOCAL_RANK": str(rank)},
                        stdin=subprocess.PIPE,
                        pass_fds=[there],
                        start_new_session=True,
                    )
                )
            finally:
                os.close(there)
            threading.Thread(target=_end_without, args=(rank, count, others[-1], over), daemon=True).start()
        # The wait for a connection hears no signal, so what can go wrong before it is waited for here.
        for rank, end in enumerate(ready, 1):
            if not os.read(end, 1):
                raise StageError(f"process {rank + 1} of {count} ended before it began; what it printed says why")
        # Told now, and not when they were started: it could be another program's by now.
        os.environ["MASTER_PORT"] = str(_free_port())
        for other in others:
            os.write(other.stdin.fileno(), os.environ["MASTER_PORT"].encode())  # type: ignore[union-attr]  # a pipe
        yield
        _disconnect()  # as the others do now: NCCL waits for all
    except (RuntimeError, BrokenPipeError) as fault:  # torch.distributed raises the first when a connection is gone
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and all(other.poll() is None for other in others):
            time.sleep(0.05)
        for rank, other in enumerate(others, 1):
            if other.poll() is not None:
                raise StageError(_gone(rank, count, other.returncode)) from fault
        raise
    finally:
        for end in ready:
            os.close(end)
        for other in others:
            other.kill()
            other.communicate()
        _disconnect()
        over.set()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _disconnect() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _gone(rank: int, count: int, code: int) -> str:
    return (
        f"process {rank + 1} of {count} ended with {code}, and training can't go on without it; what it printed says "
        "why. Run again to go on from the last checkpoint"
    )


def _end_without(rank: int, count: int, other: subprocess.Popen[bytes], over: threading.Event) -> None:
    """End this process, too, after another one that failed or was ended, unless all is over by then."""
    code = other.wait()
    if code and not over.wait(HANG):
        print(f"train: {_gone(rank, count, code)}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def launch(params: Params) -> Fabric:
    """Return the Fabric of this process, connected to the others; on the CPU the processes split the cores."""
    fabric = open_fabric(params)
    fabric.launch()
    if fabric.world_size > 1 and fabric.device.type == "cpu":
        # With more threads than cores they would wait for each other.
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // fabric.world_size))
    return fabric


def join(state: TrainState, fabric: Fabric, params: Params) -> None:
    """Take over the first process's state, and BatchNorm over all of them where train.sync_batchnorm is on.

    Every process of a training calls this before train().
    """
    if fabric.world_size == 1:
        return
    whole = io.BytesIO()
    torch.save(state.state_dict(), whole)
    received = io.BytesIO(fabric.broadcast(whole.getvalue(), src=0))
    state.load_state_dict(torch.load(received, map_location="cpu", weights_only=True))
    if params.train.sync_batchnorm:
        state.netG, state.netD = (
            torch.nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
            for net in (state.netG, state.netD)
        )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class _Silent:
    """The report of a process that has nothing to tell."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"only the first process reports, and this one called {name}")


def follow(params: Params, ready: int) -> None:
    """Train as one of the other processes, from the state of the first to the end; ready: what to tell that it is."""
    faces = load_faces("train")
    try:
        os.write(ready, b"!")
    except BrokenPipeError:  # the first is gone; it may also be before it tells the port
        sys.exit(1)
    os.environ["MASTER_PORT"] = os.read(sys.stdin.fileno(), 5).decode() or sys.exit(1)
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    fabric = launch(params)
    state = new_state(params, fabric.device)
    join(state, fabric, params)
    train(state, faces, params, fabric, report=_Silent(), save=lambda _: None)  # type: ignore[arg-type]
    _disconnect()


def _end_with_the_first() -> None:
    os.read(sys.stdin.fileno(), 1)  # returns when the other end is closed
    os._exit(1)


if __name__ == "__main__":
    follow(load_params(), int(sys.argv[1]))
