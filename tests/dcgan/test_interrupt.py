from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from pipeline.dcgan.interrupt import held_signals


@pytest.fixture(autouse=True)
def ctrl_c_raises() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C, and so would these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_no_signal() -> None:
    with held_signals() as signals:
        assert signals.received is None


def test_the_first_is_held_and_the_second_acts_as_before() -> None:
    with held_signals() as signals, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("signum", "raised", "code"),
    [
        pytest.param(signal.SIGINT, KeyboardInterrupt, None, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, SystemExit, 143, id="SIGTERM"),
    ],
)
def test_leave_raises_what_the_signal_stands_for(signum: int, raised: type[BaseException], code: int | None) -> None:
    with held_signals() as signals:
        os.kill(os.getpid(), signum)
        with pytest.raises(raised) as left:
            signals.leave()
    assert getattr(left.value, "code", None) == code


def test_handlers_are_put_back_also_after_an_error() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ZeroDivisionError), held_signals():
        raise ZeroDivisionError
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before
