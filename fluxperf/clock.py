"""Time as the measurement sees it: one monotonic clock, kernel receive stamps on it, and a timer that does not round.

Stamps that the kernel gives with `SO_TIMESTAMPNS` (socket(7)) are CLOCK_REALTIME; `StampClock` puts
them on CLOCK_MONOTONIC. `TimerFd` is timerfd_create(2): epoll and event loops round up to whole
milliseconds, a timerfd does not.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import os
import socket
import struct
import time

from fluxperf.units import NS_PER_S, NS_PER_US

now_ns = time.monotonic_ns

SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the socket module does not name it
STAMP_SPACE = socket.CMSG_SPACE(16)
_timespec = struct.Struct("qq").unpack_from

STAMP_TRIES = 50
STAMP_RETRY_S = 0.005

_CERTAIN_NS = 5 * NS_PER_US
_STEP_NS = 50 * NS_PER_US


def stamp_receives(sock: socket.socket) -> None:
    """Asks the kernel to stamp what `sock` receives; raises OSError where it cannot."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def realtime_stamp_ns(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The kernel's stamp (CLOCK_REALTIME, ns) in what `recvmsg` gave beside the data; None: it gave none."""
    for level, kind, data in ancillary:
        if kind == SO_TIMESTAMPNS and level == socket.SOL_SOCKET:
            seconds, nanoseconds = _timespec(data)
            stamp_ns: int = seconds * NS_PER_S + nanoseconds
            return stamp_ns
    return None


class StampClock:
    """Converts kernel stamps to the monotonic clock, with an offset that is sampled anew for each batch of reads.

    The two clocks are slewed alike, so the offset moves only when somebody sets the wall clock.
    A batch during which it moved cannot be converted: `sample` then says so, and counts it in `steps`.
    """

    __slots__ = ("offset_ns", "steps")

    def __init__(self) -> None:
        self.steps = 0
        samples = (self._measure() for _ in range(1000))
        self.offset_ns = next((sample for sample in samples if sample is not None), now_ns() - time.time_ns())

    def _measure(self) -> int | None:
        """The offset now; None if the process was interrupted between the two clocks, so that it is not known."""
        before = time.monotonic_ns()
        realtime = time.time_ns()
        after = time.monotonic_ns()
        return (before + after) // 2 - realtime if after - before <= _CERTAIN_NS else None

    def sample(self) -> bool:
        """Samples the offset; False if the wall clock was set since the last sample (stamps between are void)."""
        offset_ns = self._measure()
        if offset_ns is None:
            return True
        stepped = abs(offset_ns - self.offset_ns) > _STEP_NS
        self.steps += stepped
        self.offset_ns = offset_ns
        return not stepped


def kernel_stamps_work() -> bool:
    """Whether this kernel stamps received TCP segments (some sandboxes do not), tried on a loopback connection."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=1) as client,
    ):
        try:
            stamp_receives(client)
        except OSError:
            return False
        peer, _ = server.accept()
        with peer:
            # The kernel switches stamping on a moment after the first socket has asked for it.
            for _ in range(STAMP_TRIES):
                peer.sendall(b"x")
                _, ancillary, _, _ = client.recvmsg(1, STAMP_SPACE)
                if realtime_stamp_ns(ancillary) is not None:
                    return True
                time.sleep(STAMP_RETRY_S)
    return False


def timestamp() -> str:
    """Now, as people tell the time: UTC, to the second (RFC 3339)."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def stamped_socket() -> socket.socket:
    """A socket that does nothing but keep the kernel stamping, so that no later one misses its first stamps."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stamp_receives(sock)
    return sock


class TimerFd:
    """A one-shot timer on CLOCK_MONOTONIC that is a file descriptor: readable once its deadline has passed.

    The os module has these calls from Python 3.13 on; before, they are reached through libc.
    """

    __slots__ = ("_fd",)

    def __init__(self) -> None:
        self._fd = _timerfd_create()

    def fileno(self) -> int:
        """The descriptor, for epoll."""
        return self._fd

    def arm(self, deadline_ns: int | None) -> None:
        """Makes it fire at `deadline_ns` on the monotonic clock (at once, if that is past); None: never."""
        # An absolute time of zero would disarm it, so the past is at least 1 ns.
        _timerfd_settime(self._fd, 0 if deadline_ns is None else max(deadline_ns, 1))

    def clear(self) -> None:
        """Takes notice of an expiry, so that it is no longer readable."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self._fd)


_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1
_CLOCK_MONOTONIC = 1
_libc = ctypes.CDLL(None, use_errno=True)
_ITIMERSPEC = struct.Struct("qqqq")


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _timerfd_create() -> int:
    return _checked(_libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_FLAGS))


def _timerfd_settime(fd: int, deadline_ns: int) -> None:
    spec = _ITIMERSPEC.pack(0, 0, deadline_ns // NS_PER_S, deadline_ns % NS_PER_S)
    _checked(_libc.timerfd_settime(fd, _TFD_TIMER_ABSTIME, spec, None))
