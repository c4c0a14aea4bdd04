from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from pipeline.dcgan.interrupt import held_signals


@pytest.fixture(autouse=True)
def signals_are_heeded() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C, and under nohup SIGHUP; so would these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for signum, handler in zip((signal.SIGINT, signal.SIGHUP), before, strict=True):
        signal.signal(signum, handler)


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
        pytest.param(signal.SIGHUP, SystemExit, 129, id="a closed terminal"),
    ],
)
def test_leave_raises_what_the_signal_stands_for(signum: int, raised: type[BaseException], code: int | None) -> None:
    with held_signals() as signals:
        os.kill(os.getpid(), signum)
        with pytest.raises(raised) as left:
            signals.leave()
    assert getattr(left.value, "code", None) == code


def test_nohup_is_respected() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with held_signals() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.received is None
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_handlers_are_put_back_also_after_an_error() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(ZeroDivisionError), held_signals():
        raise ZeroDivisionError
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
