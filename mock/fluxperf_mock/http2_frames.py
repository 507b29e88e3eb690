"""`FrameCutter`: an HTTP/2 client's bytes, cut where its frames end (RFC 9113, 4.1). Knows no frame's meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_HEAD_BYTES = 9


class FrameCutter:
    """Gives h2 one frame at a time, so that what it says of a stream is still so when it is acted upon.

    Of two frames taken at once the second might have closed what the first opened.
    """

    __slots__ = ("_begun", "_data")

    def __init__(self) -> None:
        self._data = bytearray()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The preface and the frames that these bytes complete."""
        self._data += data
        while len(self._data) >= (size := self._next_bytes()):
            piece = bytes(self._data[:size])
            del self._data[:size]
            self._begun = True
            yield piece

    def _next_bytes(self) -> int:
        if not self._begun:
            return len(PREFACE)
        if len(self._data) < _HEAD_BYTES:
            return _HEAD_BYTES
        return _HEAD_BYTES + int.from_bytes(self._data[:3], "big")
