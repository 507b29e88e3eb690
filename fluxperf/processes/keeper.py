"""The watchdog of one command: a program of its own, which outlives FluxPerf just long enough to leave nothing behind.

It is started as `python -I -S keeper.py CONTROL PARENT PID STARTED` with two inherited descriptors: one end of a pair
of sockets, and a pidfd of FluxPerf; the last two say which process that is, for others who ask. What to run comes as
the first line of JSON through the socket (its command line, or its own environment, would show the secrets in it); it
answers with facts, each a line of JSON, and leaves it to the other side to judge them:

    {"news": "started", "pid": N}      or  {"news": "failed", "why": TEXT}, which is the last one
    {"news": "exited", "status": N, "left": BOOLEAN}   the command itself, as waitpid(2) says; are processes of it left?
    {"news": "gone", "status": N}      nothing of it is left; how the last one ended. The last line
    {"news": "stopped", "left": [N]}   as it was told to; what does not even end by SIGKILL. The last line

SIGUSR1 takes it its patience: what is told to end, and does not at once, is killed.
It stops everything once the socket's other end is shut or FluxPerf is gone: workers that FluxPerf has forked may hold
that end longer. As a subreaper (prctl(2)) it inherits whatever the command forks, so nothing can slip away by forking
twice or by a session of its own. It knows nothing of servers, and imports nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

TICK_S = 0.1
KILL_TIMEOUT_S = 10.0
# When FluxPerf is gone nobody gains from a clean end, and somebody may look whether anything was left.
ORPHAN_TIMEOUT_S = 5.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_WALL = 0x40000000  # children of every kind, however they were cloned (waitpid(2))
HURRY = signal.SIGUSR1
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class Process(NamedTuple):
    """A process as /proc/PID/stat shows it (proc(5)); `started` in ticks since the boot tells it from a later one."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int

    @property
    def ended(self) -> bool:
        """Whether it only waits to be reaped."""
        return self.state in "ZX"


def read_process(pid: int) -> Process | None:
    """The process; None: there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib takes as long to load as all the rest
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    state, parent, group, session = fields[:4]
    return Process(pid, state.decode(), int(parent), int(group), int(session), int(fields[19]))


def all_processes() -> list[Process]:
    """Every process there is."""
    found = (read_process(int(name)) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    return [process for process in found if process is not None]


def descendants(root: int) -> list[Process]:
    """The children of `root`, and theirs, and so on."""
    children: dict[int, list[Process]] = {}
    for process in all_processes():
        children.setdefault(process.parent, []).append(process)
    found = list(children.get(root, ()))
    for process in found:
        found += children.get(process.pid, ())
    return found


def send(process: Process, signum: int) -> None:
    """Signals a process, and never another one that has got its number meanwhile."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        now = read_process(process.pid)
        if now is not None and now.started == process.started:
            with suppress(OSError):  # it has just ended, or has become another user's
                signal.pidfd_send_signal(fd, signum)
    finally:
        os.close(fd)


class Keeper:
    """The life of one command and of all that comes from it."""

    def __init__(self, control: int, parent: int) -> None:
        self._control = control
        self._parent = parent
        self._wake, alarm = os.pipe()
        for fd in (self._wake, alarm):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(HURRY, self._hurry)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        self._pid = 0
        self._running = False
        self._any_left = True
        self._last_status = 0
        self._deadline_s = 0.0
        self._patient = self._watched = True

    def _hurry(self, *_: object) -> None:
        self._patient = False

    def keep(self) -> None:
        """Takes the order, carries it out, and sees to the end of everything."""
        order = self._read_order()
        if order is None:
            return
        self._pid, failure = start(order)
        if failure:
            self._tell(news="failed", why=failure)
            return
        self._running = True
        self._tell(news="started", pid=self._pid)
        while not self._hears((self._control, self._parent, self._wake), None) & {self._control, self._parent}:
            self._reap()
            if not self._any_left:
                self._tell(news="gone", status=self._last_status)
                return
        self._deadline_s = time.monotonic() + order["stop_timeout_s"]
        self._stop()

    def _read_order(self) -> dict[str, Any] | None:
        text = b""
        while not text.endswith(b"\n"):
            heard = self._hears((self._control, self._parent), None)
            data = b"" if self._parent in heard else os.read(self._control, 1 << 20)
            if not data:
                return None
            text += data
        order: dict[str, Any] = json.loads(text)
        return order

    def _tell(self, **news: Any) -> None:
        with suppress(OSError):  # nobody listens any more
            os.write(self._control, json.dumps(news).encode() + b"\n")

    def _hears(self, fds: tuple[int, ...], timeout_s: float | None) -> set[int]:
        """Waits for one of them; those that stir. Not by select(2): the numbers may be above 1023."""
        poll = select.poll()
        for fd in fds:
            poll.register(fd, select.POLLIN)
        heard = {fd for fd, _ in poll.poll(None if timeout_s is None else timeout_s * 1000)}
        if self._wake in heard:
            with suppress(BlockingIOError):
                os.read(self._wake, 4096)
        return heard

    def _reap(self) -> None:
        """Takes notice of all children that have ended."""
        exited = None
        try:
            while (ended := os.waitpid(-1, os.WNOHANG | _WALL))[0]:
                pid, self._last_status = ended
                if pid == self._pid and self._running:
                    self._running, exited = False, self._last_status
        except ChildProcessError:
            self._any_left = False
        if exited is not None:
            # What it leaves has become a child of ours before it could be reaped.
            self._tell(news="exited", status=exited, left=self._any_left)

    def _stop(self) -> None:
        """SIGTERM to the command's group; when that has ended, to the others; at the deadline SIGKILL to the rest."""
        if self._running:  # nobody else can have its number before it is reaped
            with suppress(OSError):
                os.killpg(self._pid, signal.SIGTERM)
        for process in [] if self._running else self._members():
            send(process, signal.SIGTERM)
        self._wait(lambda: self._running or bool(self._members()))
        for process in descendants(os.getpid()):
            if process.group != self._pid:
                send(process, signal.SIGTERM)
        self._wait(lambda: self._any_left)
        kill_until_s = time.monotonic() + KILL_TIMEOUT_S
        while self._any_left and time.monotonic() < kill_until_s:  # they may fork meanwhile
            for process in descendants(os.getpid()):
                send(process, signal.SIGKILL)
            self._pause()
        self._tell(news="stopped", left=[process.pid for process in descendants(os.getpid()) if not process.ended])

    def _members(self) -> list[Process]:
        """Those of the command's group that live."""
        return [one for one in descendants(os.getpid()) if one.group == self._pid and not one.ended]

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Waits while the condition holds, until the deadline. Only ends of our own children wake us by themselves."""
        self._reap()
        while condition() and self._patient and time.monotonic() < self._deadline_s:
            self._pause()

    def _pause(self) -> None:
        fds = (self._wake, self._parent) if self._watched else (self._wake,)
        if self._parent in self._hears(fds, TICK_S):
            self._watched = False
            self._deadline_s = min(self._deadline_s, time.monotonic() + ORPHAN_TIMEOUT_S)
        self._reap()


def start(order: dict[str, Any]) -> tuple[int, str]:
    """Starts the command in a process group of its own: its pid, and why it could not be started ("": it could)."""
    reader, writer = os.pipe()
    keeper = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        return 0, str(error.strerror)
    if pid == 0:
        become(order, writer, keeper)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:  # it ends with exec(2), or with the process
        why = pipe.read().decode("utf-8", "replace")
    if why:
        os.waitpid(pid, 0)
    return pid, why


def become(order: dict[str, Any], writer: int, keeper: int) -> NoReturn:
    """In the child: turns it into the command, or writes why it cannot."""
    what = order["command"][0]
    try:
        os.setpgid(0, 0)
        # If the watchdog itself is killed, the kernel sees to it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == keeper:
            for signum in (*_IGNORED, *_IGNORED_BY_PYTHON):
                signal.signal(signum, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            if order["cwd"] is not None:
                what = order["cwd"]
                os.chdir(to_bytes(what))
                what = order["command"][0]
            environment = {to_bytes(name): to_bytes(text) for name, text in order["env"].items()}
            os.execvpe(to_bytes(what), [to_bytes(word) for word in order["command"]], environment)  # noqa: S606 - its job
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        os.write(writer, f"{to_bytes(what).decode('utf-8', 'replace')}: {reason}".encode())
    finally:
        os._exit(127)


def to_bytes(text: str) -> bytes:
    """Bytes that came through JSON, a character each."""
    return text.encode("latin-1")


def main() -> None:
    """Runs as the program that the module's text tells of."""
    control, parent = int(sys.argv[1]), int(sys.argv[2])
    for fd in (control, parent):
        os.set_inheritable(fd, False)
    for signum in _IGNORED:
        signal.signal(signum, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    Keeper(control, parent).keep()


if __name__ == "__main__":
    main()
