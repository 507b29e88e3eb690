"""`Sink`: where a response goes as it arrives. The seam between protocols and those who look at answers."""

from __future__ import annotations

Headers = list[tuple[bytes, bytes]]


class Sink:
    """Is told, synchronously and in this order, what happens to one request. All stamps are CLOCK_MONOTONIC, ns.

    `opened` comes before `sent`; both come once more if the request is sent again on a new connection
    (see `resent`). A response that breaks off has no `end`. What a subclass does not care for passes by.
    """

    __slots__ = ()

    def opened(self, wait_ns: int, connect_ns: int) -> None:
        """A connection is ready; waiting for a free one and opening it took this long."""

    def sent(self, at_ns: int) -> None:
        """The instant before the first byte of the request is written."""

    def resent(self) -> None:
        """The reused connection turned out to be closed before any byte of the response: it is sent once more."""

    def head(self, status: int, headers: Headers, at_ns: int) -> None:
        """The head of the final response (1xx ones are skipped), whose first byte came then; names in lower case."""

    def body(self, data: bytes, at_ns: int) -> None:
        """A piece of the body, without its transfer coding."""

    def end(self, at_ns: int) -> None:
        """The response is complete."""


class Collector(Sink):
    """A sink for answers that are not measured: it keeps the body, up to a limit."""

    __slots__ = ("_max_bytes", "data")

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        self.data = bytearray()
        self._max_bytes = max_bytes

    def body(self, data: bytes, at_ns: int) -> None:
        """Keeps what fits."""
        self.data += data[: self._max_bytes - len(self.data)]
