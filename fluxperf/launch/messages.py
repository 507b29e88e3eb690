"""Messages between parent and worker: a length (4 bytes, big endian) and a msgpack list `[kind, value]`. No IO."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgpack

_LENGTH = struct.Struct(">I")


class Message(NamedTuple):
    """`kind` is one of the names below; what `value` is depends on it."""

    kind: str
    value: Any = None


# From the parent.
ROUND = "round"  # a RoundOrder: prepare it
GO = "go"  # let go at this instant, monotonic ns
STOP = "stop"  # end the round now
COUNT = "count"  # nobody has a request left: count what waits for that
# From a worker.
READY = "ready"  # the first wave is prepared
OVER = "over"  # the last request has ended; only where tokens are counted afterwards
UNREACHABLE = "unreachable"  # no connection, and why; the round will not take place
REPORT = "report"  # an encoded WorkerReport


def pack(message: Message) -> bytes:
    """The message as bytes."""
    data = msgpack.packb(list(message))
    return _LENGTH.pack(len(data)) + bytes(data)


class Unpacker:
    """Bytes in, whole messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Takes bytes; gives the messages that are now complete."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            with memoryview(self._buffer) as whole, whole[_LENGTH.size : end] as part:  # a report is large: no copies
                message = Message(*msgpack.unpackb(part))
            del self._buffer[:end]
            yield message
