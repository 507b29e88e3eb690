from __future__ import annotations

import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fluxperf.errors import Interrupted
from fluxperf.launch.signals import Signals

ROOT = Path(__file__).resolve().parents[2]


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


@pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_raises_where_the_program_stands(signum: int, exit_code: int) -> None:
    with Signals().installed() as signals:
        assert signals.received is None
        with pytest.raises(Interrupted) as caught:
            signal.raise_signal(signum)
    assert caught.value.exit_code == exit_code


def test_a_deferred_signal_is_only_noted_and_ends_a_wait() -> None:
    with Signals().installed() as signals:
        with signals.deferred():
            signals.check()
            assert not readable(signals.fd)
            signal.raise_signal(signal.SIGTERM)
            assert readable(signals.fd)
            assert signals.received == signal.SIGTERM
        with pytest.raises(Interrupted):
            signals.check()


def test_what_is_deferred_twice_stays_deferred_until_both_end() -> None:
    with Signals().installed() as signals, signals.deferred():
        with signals.deferred():
            pass
        signal.raise_signal(signal.SIGINT)
        assert signals.received == signal.SIGINT


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    with Signals().installed():
        assert signal.getsignal(signal.SIGINT) not in before
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1


SECOND = """
import signal
from fluxperf.launch.signals import Signals
with Signals().installed() as signals, signals.deferred():
    signals.at_once = lambda: print("at once", flush=True)
    signal.raise_signal(signal.SIGINT)
    print("noted", flush=True)
    signal.raise_signal(signal.{second})
    print("still here", flush=True)
"""


@pytest.mark.parametrize(("second", "exit_code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_the_second_signal_ends_the_process_at_once(second: str, exit_code: int) -> None:
    code = SECOND.format(second=second)
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (exit_code, "noted\nat once\n", "")
