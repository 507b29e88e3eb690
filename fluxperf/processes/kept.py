"""`Kept`: one command with its watchdog, as FluxPerf has it; keeper.py is the watchdog's own side.

Synchronous, without threads. An exception out of a signal's handler may come at any instant: whatever was begun by then
is ended by `stop`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxperf.clock import now_ns
from fluxperf.errors import RunFailed
from fluxperf.processes import keeper
from fluxperf.units import ns_to_s, s_to_ns

START_TIMEOUT_S = 30.0
# What the watchdog may take beyond the time that it gives the command, and beyond that for SIGKILL.
SPARE_S = 10.0
SESSION_TIMEOUT_S = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Python itself may need this one to start; everything else in our environment is not the watchdog's business.
_WATCHDOG_ENVIRONMENT = ("LD_LIBRARY_PATH",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to run: word by word, with which environment and where. `cwd` None: where we are.

    `stop_timeout_s`: from SIGTERM to SIGKILL.
    """

    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: str | None = None
    stop_timeout_s: float = 30.0


class Kept:
    """A command that runs in a process group of its own, and ends at the latest when this process does.

    `status` is how the command itself ended, and `last_status` how the last of its processes did (as from waitpid(2));
    None: not yet. `left`: when it ended, some that it had started lived on. `lost`: the watchdog was killed, and so
    was the command. `unended`: processes that do not even end by SIGKILL.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.pid: int | None = None
        self.status: int | None = None
        self.last_status: int | None = None
        self.left = False
        self.lost = False
        self.unended: list[int] = []
        self._failure: str | None = None
        self._over = False
        self._heard_all = False
        self._buffer = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    @property
    def fd(self) -> int | None:
        """Readable when there is news, and from the end on; None: closed."""
        return None if self._control is None else self._control.fileno()

    @property
    def keeper_pid(self) -> int | None:
        """The watchdog, from which all others descend; None: there is none any more."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    @property
    def ended(self) -> str | None:
        """How the command ended, in words; None: it runs."""
        return None if self.status is None else describe_status(self.status)

    def start(self, output: int) -> None:
        """Starts it; both its outputs go to the file with the descriptor `output`. Raises RunFailed if it cannot."""
        try:
            self._give_order(self._spawn(output))
            self._await_start()
        except BaseException:
            self.stop()
            raise

    def wait(self, timeout_s: float) -> bool:
        """Waits for news, and takes them in; False: there were none."""
        if self.fd is None:
            return False
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if not poll.poll(max(timeout_s, 0) * 1000):
            return False
        self.poll()
        return True

    def poll(self) -> None:
        """Takes in what there is of news."""
        while self._control is not None and not self._heard_all:
            try:
                data = self._control.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
            if not data:
                self._heard_all = True
                if not self._over and self._process is not None:
                    self.lost = True
                    self._end_session()

    def ask_to_stop(self) -> None:
        """Has everything ended, and does not wait for it."""
        if self._control is not None:
            with suppress(OSError):  # it has ended
                self._control.shutdown(socket.SHUT_WR)

    def hurry(self) -> None:
        """Once it is to end, everything that does not do so at once is killed."""
        pid = self.keeper_pid
        if pid is not None:  # nobody else can have its number before we reap it
            with suppress(ProcessLookupError):
                os.kill(pid, keeper.HURRY)

    def await_end(self, timeout_s: float) -> bool:
        """Waits until the watchdog has nothing more to say; False: it has not come to this in time."""
        deadline_ns = now_ns() + s_to_ns(timeout_s)
        while not self._heard_all and self.fd is not None:
            rest_s = ns_to_s(deadline_ns - now_ns())
            if rest_s <= 0:
                return False
            self.wait(rest_s)
        return True

    def stop(self) -> None:
        """Ends all that was started, and returns when it has ended; where this is interrupted, it goes on first."""
        try:
            self._end()
        except BaseException:
            self._end()
            raise

    def _spawn(self, output: int) -> socket.socket:
        """Starts the watchdog; the socket to it."""
        try:
            with _signals_blocked(), ExitStack() as stack:
                self._control, theirs = socket.socketpair()
                stack.callback(theirs.close)
                parent = os.pidfd_open(os.getpid())
                stack.callback(os.close, parent)
                self._process = subprocess.Popen(  # noqa: S603 - a program of our own
                    [sys.executable, "-I", "-S", keeper.__file__, str(theirs.fileno()), str(parent), *_who_we_are()],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env={name: os.environ[name] for name in _WATCHDOG_ENVIRONMENT if name in os.environ},
                    pass_fds=(theirs.fileno(), parent),
                    start_new_session=True,
                )
        except OSError as error:
            raise RunFailed(f"cannot start a watchdog process: {error.strerror}") from error
        return self._control

    def _give_order(self, control: socket.socket) -> None:
        order = {
            "command": [_characters(word) for word in self.order.command],
            "env": {_characters(name): _characters(text) for name, text in self.order.env.items()},
            "cwd": _characters(str(Path(self.order.cwd or ".").absolute())),
            "stop_timeout_s": self.order.stop_timeout_s,
        }
        control.settimeout(START_TIMEOUT_S)
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):  # what comes back tells
            control.sendall(json.dumps(order).encode() + b"\n")
        control.setblocking(False)

    def _await_start(self) -> None:
        deadline_ns = now_ns() + s_to_ns(START_TIMEOUT_S)
        while self.pid is None and self._failure is None and not self._heard_all:
            if now_ns() > deadline_ns:
                raise RunFailed(f"cannot start a watchdog process: it says nothing for {START_TIMEOUT_S:g} s")
            self.wait(ns_to_s(deadline_ns - now_ns()))
        if self._failure is not None:
            raise RunFailed(self._failure)
        if self.pid is None:
            raise RunFailed("cannot start a watchdog process: it ended at once")

    def _take(self, news: dict[str, Any]) -> None:
        kind = news["news"]
        if kind == "started":
            self.pid = news["pid"]
        elif kind == "exited":
            self.status, self.left = news["status"], news["left"]
        elif kind == "gone":
            self.last_status = news["status"]
        elif kind == "failed":
            self._failure = news["why"]
        elif kind == "stopped":
            self.unended = news["left"]
        self._over = self._over or kind in ("gone", "failed", "stopped")

    def _end(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            self.ask_to_stop()
            if not self.await_end(self.order.stop_timeout_s + keeper.KILL_TIMEOUT_S + SPARE_S):
                self.lost = True
            if self.lost or not self._over:
                self._end_session()
            process.wait(SESSION_TIMEOUT_S)
        if self._control is not None:
            self._control.close()
            self._control = None

    def _end_session(self) -> None:
        """Ends what the watchdog has left, which cannot tell any more: its session, whose number it holds until reaped.

        What has taken a session of its own is out of reach then.
        """
        process = self._process
        if process is None or process.returncode is not None:
            return
        os.kill(process.pid, signal.SIGKILL)
        deadline_ns = now_ns() + s_to_ns(SESSION_TIMEOUT_S)
        while now_ns() < deadline_ns:
            members = [one for one in keeper.all_processes() if one.session == process.pid and not one.ended]
            if not members:
                return
            for member in members:
                keeper.send(member, signal.SIGKILL)
            select.select([], [], [], keeper.TICK_S / 10)


def _who_we_are() -> tuple[str, str]:
    """Our own process by its number, and by when it was started."""
    ours = keeper.read_process(os.getpid())
    return str(os.getpid()), str(0 if ours is None else ours.started)


def describe_status(status: int) -> str:
    """What waitpid(2) says, in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"killed by signal {number} ({signal.Signals(number).name})"
        except ValueError:  # a real-time signal
            return f"killed by signal {number}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """What would raise waits until the end of the block, so that no process is started without our knowing."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _characters(text: str) -> str:
    """The bytes that the kernel is to get, a character each: the watchdog need not have our encoding."""
    return os.fsencode(text).decode("latin-1")
