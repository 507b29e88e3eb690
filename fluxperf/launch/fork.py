"""`Team`: the workers of this machine, forked once, told of each round over a pipe, reaped by pid.

The parent is plain synchronous code on one thread. It waits on the pipes, on each child's pidfd and
on the descriptor that signals wake; nothing here knows what a round is about.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO

from fluxperf.clock import now_ns
from fluxperf.engine.orders import Client, RoundOrder, Shared
from fluxperf.errors import RunFailed, ServerUnreachable
from fluxperf.launch import messages
from fluxperf.launch.child import order_to, run_child
from fluxperf.launch.codec import WorkerReport, decode_report
from fluxperf.launch.limits import count_threads
from fluxperf.launch.messages import Message
from fluxperf.launch.signals import SIGNALS
from fluxperf.units import NS_PER_MS, NS_PER_S, ns_to_s

# From the last "ready" to the instant at which all workers let go: time enough for each to hear of it.
START_DELAY_NS = 50 * NS_PER_MS
TICK_NS = 250 * NS_PER_MS
STOP_TIMEOUT_NS = 5 * NS_PER_S
THREAD_END_NS = 200 * NS_PER_MS
MAX_LAST_WORDS_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that ended before its round did."""

    worker: int
    pid: int
    status: int
    last_words: str

    def __str__(self) -> str:
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            how = f"was killed by signal {number} ({signal.Signals(number).name})"
        else:
            how = f"ended with exit status {os.waitstatus_to_exitcode(self.status)}"
        words = f"; its last words:\n{self.last_words}" if self.last_words else ""
        return f"worker {self.worker} (pid {self.pid}) {how}{words}"


@dataclass(slots=True)
class Gathered:
    """What came of a round: a report of each worker that lived, the deaths, and whether it was stopped."""

    reports: dict[int, WorkerReport] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Watch:
    """What the parent does while a round runs: `tick` now and then; `stop_asked` then, and when `wake_fd` stirs.

    That is emptied. Of `others` each is listened to until it stirs for the first time; what it has to say is for
    somebody else to read.
    """

    tick: Callable[[], None]
    stop_asked: Callable[[], bool]
    wake_fd: int
    others: tuple[int, ...] = ()


class _Member:
    """One forked worker, as the parent sees it."""

    def __init__(self, number: int, pid: int, pipe: socket.socket, words: BinaryIO) -> None:
        self.number = number
        self.pid = pid
        self.pipe = pipe
        self.pidfd = os.pidfd_open(pid)
        self.unpacker = messages.Unpacker()
        self.alive = True
        self._words = words

    def tell(self, kind: str, value: object = None) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # its pidfd tells of its death
            self.pipe.sendall(messages.pack(Message(kind, value)))

    def hear(self) -> Iterator[Message]:
        try:
            data = self.pipe.recv(1 << 20)
        except ConnectionResetError:
            return
        yield from self.unpacker.feed(data)

    def reap(self) -> Death:
        """Collects the exit status of a process that has ended."""
        _, status = os.waitpid(self.pid, 0)
        self.alive = False
        return Death(self.number, self.pid, status, self.last_words())

    def last_words(self) -> str:
        size = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(size - MAX_LAST_WORDS_BYTES, 0))
        return self._words.read().decode("utf-8", "replace").strip()

    def close(self) -> None:
        self.pipe.close()
        os.close(self.pidfd)
        self._words.close()


class Team:
    """Workers that wait for rounds. Made by `forked`, which also ends them."""

    def __init__(self, members: Sequence[_Member], shared: Shared) -> None:
        self._members = list(members)
        self._shared = shared

    def run_round(self, orders: Mapping[int, RoundOrder], watch: Watch) -> Gathered:
        """Runs one round with the workers that have an order; returns what it gave.

        All of them start at one instant. If one dies, or a stop is asked for, the others are stopped
        and asked for what they have. Raises ServerUnreachable if one cannot connect.
        """
        gone = [member.number for member in self._members if member.number in orders and not member.alive]
        if gone:
            raise RunFailed(f"worker {gone[0]} is gone")
        round_ = _Round(self._shared, [member for member in self._members if member.number in orders], watch)
        for member in round_.members:
            member.tell(messages.ROUND, order_to(orders[member.number]))
        return round_.gather()

    def close(self) -> None:
        """Ends all workers: closing the pipe is how they are told, and those that do not hear it are killed."""
        for member in self._members:
            with suppress(OSError):
                member.pipe.shutdown(socket.SHUT_RDWR)
        deadline_ns = now_ns() + STOP_TIMEOUT_NS
        for member in self._members:
            if member.alive and not _ended(member.pidfd, deadline_ns):
                os.kill(member.pid, signal.SIGKILL)
            if member.alive:
                member.reap()
            member.close()

    def kill(self) -> None:
        """Ends all workers this instant."""
        for member in self._members:
            if member.alive:
                os.kill(member.pid, signal.SIGKILL)


class _Round:
    """The parent's side of one round."""

    def __init__(self, shared: Shared, members: list[_Member], watch: Watch) -> None:
        self.members = members
        self._shared = shared
        self._watch = watch
        self._ready = 0
        self._released = False
        self._given_up_ns: int | None = None
        self._unreachable: str | None = None
        self._waiting = {member.number for member in members}
        self._over: set[int] = set()
        self._encoded: dict[int, bytes] = {}
        self._result = Gathered()

    def gather(self) -> Gathered:
        with selectors.DefaultSelector() as selector:
            for member in self.members:
                selector.register(member.pipe, selectors.EVENT_READ, member)
                selector.register(member.pidfd, selectors.EVENT_READ, member)
            for fd in (self._watch.wake_fd, *self._watch.others):
                selector.register(fd, selectors.EVENT_READ, None)
            next_tick_ns = now_ns()
            while self._waiting:
                for key, _ in selector.select(max(ns_to_s(next_tick_ns - now_ns()), 0)):
                    self._handle(selector, key)
                if self._watch.stop_asked():
                    self.stop()
                if now_ns() >= next_tick_ns:
                    next_tick_ns = now_ns() + TICK_NS
                    self._watch.tick()
                self._enforce_stop()
        self._watch.tick()
        if self._unreachable is not None:
            heard = self._unreachable.startswith(("the server", "TLS"))  # so it is there
            hint = "" if heard else "; is the server up?"
            raise ServerUnreachable(f"cannot open the connections of the round: {self._unreachable}{hint}")
        for number in sorted(self._encoded):
            self._result.reports[number] = decode_report(self._encoded.pop(number))
        return self._result

    def stop(self) -> None:
        """Nobody draws another ticket; what is in flight is cut off."""
        if self._given_up_ns is None:
            self._given_up_ns = now_ns() + STOP_TIMEOUT_NS
            self._result.stopped = True
            self._shared.board.stop()
            for member in self.members:
                member.tell(messages.STOP)
            self._release()

    def _handle(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        member: _Member | None = key.data
        if member is None and key.fd != self._watch.wake_fd:
            selector.unregister(key.fd)
        elif member is None:
            with suppress(BlockingIOError):
                os.read(self._watch.wake_fd, 4096)
        elif key.fileobj is member.pipe:
            for message in member.hear():
                self._take(member, message)
        elif member.alive:
            # What it said before it died is still in the pipe.
            member.pipe.setblocking(False)
            with suppress(BlockingIOError):
                for message in member.hear():
                    self._take(member, message)
            selector.unregister(member.pipe)
            selector.unregister(member.pidfd)
            death = member.reap()
            # Also after its report: the next round would wait for it.
            self._waiting.discard(member.number)
            self._result.deaths.append(death)
            self.stop()
            self._let_count()

    def _take(self, member: _Member, message: Message) -> None:
        if message.kind == messages.READY:
            self._ready += 1
            if self._ready == len(self.members):
                self._release()
        elif message.kind == messages.UNREACHABLE:
            self._unreachable = self._unreachable or str(message.value)
            self._waiting.discard(member.number)
            self.stop()
            self._let_count()
        elif message.kind == messages.OVER:
            self._over.add(member.number)
            self._let_count()
        elif message.kind == messages.REPORT:
            self._encoded[member.number] = message.value
            self._waiting.discard(member.number)

    def _let_count(self) -> None:
        """Once no worker has a request left they may count tokens: it would take time from those that have."""
        if self._waiting <= self._over:
            for member in self.members:
                if member.number in self._waiting:
                    member.tell(messages.COUNT)

    def _release(self) -> None:
        if self._released:
            return
        self._released = True
        start_ns = now_ns() + START_DELAY_NS
        for member in self.members:
            member.tell(messages.GO, start_ns)

    def _enforce_stop(self) -> None:
        if self._given_up_ns is not None and now_ns() > self._given_up_ns:
            for member in self.members:
                if member.number in self._waiting and member.alive:
                    os.kill(member.pid, signal.SIGKILL)


@contextmanager
def forked(count: int, client: Client, shared: Shared) -> Iterator[Team]:
    """Forks `count` workers; they end with the block. Raises RunFailed if this process has more than one thread."""
    threads = count_threads(now_ns() + THREAD_END_NS)
    if threads != 1:
        raise RunFailed(f"internal error: {threads} threads before the fork, there must be one")
    members: list[_Member] = []
    team = Team(members, shared)
    try:
        for number in range(count):
            team._members.append(_fork_one(number, team._members, (client, shared)))
        yield team
    finally:
        team.close()


def _fork_one(number: int, elder: Sequence[_Member], parts: tuple[Client, Shared]) -> _Member:
    ours, theirs = socket.socketpair()
    words = tempfile.TemporaryFile(prefix="fluxperf-", suffix=".stderr")  # noqa: SIM115
    # A signal between the fork and the child's own handlers would run the parent's clean-up in the child.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        pid = os.fork()
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        raise RunFailed(f"cannot start worker {number}: {error.strerror}; use fewer --workers") from error
    if pid == 0:
        ours.close()
        for member in elder:  # or it would keep their pipes open when the parent is gone
            member.pipe.close()
        run_child(number, theirs, words.fileno(), parts)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    theirs.close()
    return _Member(number, pid, ours, words)


def _ended(pidfd: int, deadline_ns: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(pidfd, selectors.EVENT_READ)
        return bool(selector.select(max(ns_to_s(deadline_ns - now_ns()), 0)))
