"""`--replicas`: several processes behind one port, each a server of its own with a cache of its own.

The parent accepts, and hands the connections to the replicas in turn, so that a few of them spread evenly, which
SO_REUSEPORT's hash does not promise. What the replicas count is in memory that they have in common (`figures`). They
end when the parent does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import NoReturn

import uvloop

from fluxperf.errors import RunFailed
from fluxperf_mock.listener import Listener
from fluxperf_mock.server import Server, Site, open_site, serving
from fluxperf_mock.settings import MockSettings

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_READY = b"ready"
_CONNECTION = b"connection"
_MESSAGE_BYTES = 16
_PATIENCE_S = 5.0
_EXIT_INTERNAL = 70  # EX_SOFTWARE of sysexits(3)


class Replica:
    """A forked process, as its parent sees it. Connections go to it over a channel; it serves while that is open."""

    def __init__(self, number: int, pid: int, channel: socket.socket) -> None:
        self.number = number
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.channel = channel
        channel.settimeout(_PATIENCE_S)

    def pass_on(self, sock: socket.socket) -> bool:
        """Has it serve a connection, which is ours no more; False if it does not take it."""
        with sock:
            try:
                socket.send_fds(self.channel, [_CONNECTION], [sock.fileno()])
            except OSError:
                return False
        return True

    def end(self) -> int:
        """Ends it, if it has not ended yet, and returns its exit status as waitpid(2) gives it."""
        self.channel.close()
        watch = select.poll()
        watch.register(self.pidfd, select.POLLIN)
        if not watch.poll(_PATIENCE_S * 1000):
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.pidfd)
        return os.waitpid(self.pid, 0)[1]


class Entrance:
    """Hands each connection to the next replica, until a signal comes or a replica ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop, replicas: list[Replica]) -> None:
        self._loop = loop
        self._replicas = replicas
        self._turns = deque(replicas)
        self._stopped_by = 0
        self._lost: Replica | None = None
        for signum in _SIGNALS:
            loop.add_signal_handler(signum, self._stop, signum)
        for replica in replicas:
            loop.add_reader(replica.pidfd, self._lose, replica)

    def take(self, sock: socket.socket) -> None:
        """Hands on an accepted socket."""
        replica = self._turns[0]
        self._turns.rotate(-1)
        if not replica.pass_on(sock):
            self._lose(replica)

    def run(self) -> int:
        """Hands on what comes until a signal does, and returns that; raises RunFailed if a replica ended before."""
        self._loop.run_forever()
        for replica in self._replicas:
            self._loop.remove_reader(replica.pidfd)
        if self._lost is None:
            return self._stopped_by
        self._replicas.remove(self._lost)
        how = _describe(self._lost.end())
        raise RunFailed(f"replica {self._lost.number} (pid {self._lost.pid}) {how}; the others were ended too")

    def _stop(self, signum: int) -> None:
        self._stopped_by = signum
        self._loop.stop()

    def _lose(self, replica: Replica) -> None:
        self._lost = replica
        self._loop.stop()


def serve(settings: MockSettings, announce: Callable[[str], None]) -> int:
    """Serves in `settings.replicas` processes until SIGINT or SIGTERM, and returns that signal's number.

    Calls `announce` with the URL of chat completions once all serve. Raises UsageError or RunFailed if it cannot, and
    RunFailed if a replica ends by itself.
    """
    site = open_site(settings)
    with contextlib.closing(site.listener), _forked(site) as replicas:
        for replica in replicas:
            if replica.channel.recv(_MESSAGE_BYTES) != _READY:
                raise RunFailed(f"replica {replica.number} (pid {replica.pid}) did not start")
        with contextlib.closing(uvloop.new_event_loop()) as loop:
            entrance = Entrance(loop, replicas)
            with contextlib.closing(Listener(site.listener, loop, entrance.take)):
                loop.call_soon(announce, site.url)
                return entrance.run()


@contextlib.contextmanager
def _forked(site: Site) -> Iterator[list[Replica]]:
    """The replicas, which end with the block."""
    replicas: list[Replica] = []
    try:
        for number in range(site.settings.replicas):
            replicas.append(_fork(site, number, replicas))
        yield replicas
    finally:
        for replica in replicas:  # first all of them, so that none waits for another to end
            replica.channel.close()
        for replica in replicas:
            replica.end()


def _fork(site: Site, number: int, elder: list[Replica]) -> Replica:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # A signal between the fork and the child's own handlers would run the parent's clean-up in the child.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        pid = os.fork()
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        raise RunFailed(f"cannot start replica {number}: {error.strerror}; use fewer --replicas") from error
    if pid == 0:
        site.listener.close()
        for channel in (ours, *(replica.channel for replica in elder)):
            channel.close()  # or they would be open when the parent is gone
        _run_replica(site, number, theirs)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    theirs.close()
    return Replica(number, pid, ours)


def _run_replica(site: Site, number: int, channel: socket.socket) -> NoReturn:
    """What a forked process does until it ends; never returns."""
    status = _EXIT_INTERNAL
    try:
        # Ctrl-C and a TERM to the whole group reach the parent too, and it says when to stop.
        for signum in _SIGNALS:
            signal.signal(signum, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        _settle(number, site.settings.replicas)
        site.board.own = number
        with serving(site) as (server, loop):
            channel.setblocking(False)
            loop.add_reader(channel, _receive, channel, server)
            loop.call_soon(channel.send, _READY)
            server.run()
        status = 0
    except RunFailed:
        status = RunFailed.exit_code
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    finally:
        os._exit(status)


def _receive(channel: socket.socket, server: Server) -> None:
    """Takes connections from the parent; ends when it is gone, or wants us to."""
    try:
        message, descriptors, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 1)
    except BlockingIOError:
        return
    if not message:
        server.stop()
    for descriptor in descriptors:
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        server.take(sock)


def _settle(number: int, replicas: int) -> None:
    """Keeps to a core of its own, if there are enough."""
    cores = sorted(os.sched_getaffinity(0))
    if replicas <= len(cores):
        with contextlib.suppress(OSError):  # some sandboxes do not allow it
            os.sched_setaffinity(0, {cores[number]})


def _describe(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"was killed by signal {number} ({signal.Signals(number).name})"
    return f"ended with exit status {os.waitstatus_to_exitcode(status)}"
