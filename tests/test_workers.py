import os
import signal
import struct
import subprocess
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import psutil
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import pipeline.workers
from pipeline.errors import StageError
from pipeline.workers import open_workers


def square(number: int) -> int:
    return number * number


def note_and_return(number: int, folder: Path) -> int:
    (folder / str(number)).touch()
    return number


def process_id(_: int) -> int:
    return os.getpid()


def thread_limits(_: int) -> set[int]:
    return {cv2.getNumThreads(), *(library["num_threads"] for library in threadpool_info())}


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


@pytest.mark.parametrize("processes", [0, 2])
def test_results_come_in_order(processes: int) -> None:
    with open_workers(processes) as workers:
        assert list(workers.map(square, range(20), label="test", sizes=[1] * 20)) == [n * n for n in range(20)]


def test_work_is_done_elsewhere_or_here() -> None:
    with open_workers(1) as workers:
        assert os.getpid() not in workers.map(process_id, range(3), label="test", sizes=[1] * 3)
    with open_workers(0) as workers:
        assert set(workers.map(process_id, range(3), label="test", sizes=[1] * 3)) == {os.getpid()}


@pytest.mark.parametrize("processes", [0, 1])
def test_the_libraries_have_one_thread_here_as_elsewhere(processes: int) -> None:
    with threadpool_limits(2):
        before = thread_limits(0)
        with open_workers(processes) as workers:
            for found in workers.map(thread_limits, range(2), label="test", sizes=[1] * 2):
                assert found == {1}
                assert thread_limits(0) == before != {1}


def test_a_slow_consumer_holds_the_work_back(tmp_path: Path) -> None:
    with open_workers(1) as workers:
        results = workers.map(partial(note_and_return, folder=tmp_path), range(50), label="test", sizes=[1] * 50)
        next(results)
        results.close()
    assert len(list(tmp_path.iterdir())) <= 3


@pytest.mark.parametrize("processes", [0, 1])
def test_a_fault_reaches_the_caller(processes: int) -> None:
    with open_workers(processes) as workers, pytest.raises(ValueError, match="three"):
        list(workers.map(fail_at_three, range(6), label="test", sizes=[1] * 6))


def send(signum: int) -> int:
    os.kill(os.getpid(), signum)
    return signum


def test_a_killed_worker_is_named() -> None:
    with pytest.raises(StageError, match="a worker process was killed"), open_workers(1) as workers:
        list(workers.map(send, [signal.SIGKILL], label="test", sizes=[1]))


def die_while_sending(_: int) -> bytes:
    """Have this worker killed when half of its result is in the pipe."""

    def send_half(connection: Connection, data: bytes) -> None:
        os.write(connection.fileno(), struct.pack("!i", len(data)) + bytes(data[: len(data) // 2]))
        os.kill(os.getpid(), signal.SIGKILL)

    Connection._send_bytes = send_half  # type: ignore[attr-defined]
    return bytes(10_000)


def leave_at_once(*_: object) -> None:
    pipeline.workers.PATIENCE = 0.2
    sys.exit(143)


def lose_a_worker(leave: bool) -> None:
    """Wait for the result of a worker that is killed while it sends it; or leave, as by SIGTERM, once it is dead."""
    pipeline.workers.PATIENCE = 0.2
    with open_workers(2) as workers:
        results = workers.map(die_while_sending, [0, 1, 2, 3], label="test", sizes=[1] * 4)
        if leave:
            pipeline.workers.PATIENCE = 60.0
            threading.Timer(8.0, os.kill, [os.getpid(), signal.SIGTERM]).start()
            signal.signal(signal.SIGTERM, leave_at_once)
        list(results)


@pytest.mark.parametrize(("leave", "says"), [(False, "StageError: a worker process was killed"), (True, "")])
def test_a_worker_that_is_killed_while_it_sends_its_result_holds_nobody_up(leave: bool, says: str, root: Path) -> None:
    """The pool itself would wait for the other half for ever."""
    code = f"import sys; sys.path[:0] = [r'{root}', r'{root}/tests']\nimport test_workers\n"
    code += f"if __name__ == '__main__':\n    test_workers.lose_a_worker({leave})\n"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert says in ended.stderr
    assert ended.returncode == (143 if leave else 1)


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_workers_that_take_their_time_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.workers, "PATIENCE", 0.1)
    with open_workers(2) as workers:
        assert list(workers.map(nap, [0.5, 0.6, 0.0], label="test", sizes=[1] * 3)) == [0.5, 0.6, 0.0]


def test_a_worker_leaves_ctrl_c_to_its_parent() -> None:
    with open_workers(1) as workers:
        assert list(workers.map(send, [signal.SIGINT], label="test", sizes=[1])) == [signal.SIGINT]


def start_and_wait(folder: Path) -> None:
    """Run two workers that take their time, and let one of them say that it has begun."""
    with open_workers(2) as workers:
        list(workers.map(partial(slow_note, folder=folder), range(40), label="test", sizes=[1] * 40))


def slow_note(number: int, folder: Path) -> None:
    (folder / f"begun{number}").touch()
    time.sleep(0.3)
    (folder / f"done{number}").touch()


def started(tmp_path: Path, root: Path) -> subprocess.Popen[bytes]:
    """Return a process that does start_and_wait."""
    code = f"import sys; sys.path[:0] = [r'{root}', r'{root}/tests']\nimport test_workers\nfrom pathlib import Path\n"
    code += f"if __name__ == '__main__':\n    test_workers.start_and_wait(Path(r'{tmp_path}'))\n"
    script = tmp_path / "start.py"
    script.write_text(code)
    return subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)


def test_workers_end_with_a_parent_that_is_killed_before_they_began(tmp_path: Path, root: Path) -> None:
    """The signal that a parent's end sends must be asked for, and by then it may have ended."""
    process = started(tmp_path, root)

    def workers() -> list[psutil.Process]:
        children = psutil.Process(process.pid).children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]

    while not (found := workers()):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert psutil.wait_procs(found, timeout=20)[1] == []
    assert list(tmp_path.glob("begun*")) == []


def test_workers_end_with_a_killed_parent(tmp_path: Path, root: Path) -> None:
    """Otherwise they would go on writing beside the next run's."""
    process = started(tmp_path, root)
    while not list(tmp_path.glob("done*")):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(0.1)
    done = len(list(tmp_path.glob("done*")))
    time.sleep(0.8)
    assert len(list(tmp_path.glob("done*"))) == done
