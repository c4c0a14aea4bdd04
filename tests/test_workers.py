import os
from functools import partial
from pathlib import Path

import pytest

from pipeline.workers import open_workers


def square(number: int) -> int:
    return number * number


def note_and_return(number: int, folder: Path) -> int:
    (folder / str(number)).touch()
    return number


def process_id(_: int) -> int:
    return os.getpid()


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
