"""`Opening`: a plain connection whose first bytes are yet to tell its protocol (RFC 9113, 3.3)."""

from __future__ import annotations

from collections.abc import Callable

from fluxperf_mock.connection import Connection, Output
from fluxperf_mock.http2_frames import PREFACE


class Opening:
    """Holds a client's bytes until they are HTTP/2's preface or cannot become it; `choose` is told whether they are."""

    __slots__ = ("_choose", "_data", "_inner", "_output")

    def __init__(self, output: Output, choose: Callable[[Output, bool], Connection]) -> None:
        self._output = output
        self._choose = choose
        self._inner: Connection | None = None
        self._data = b""

    def receive(self, data: bytes, at_ns: int) -> None:
        """Takes bytes, the last of which came at `at_ns`."""
        if self._inner is None:
            data = self._data = self._data + data
            if len(data) < len(PREFACE) and PREFACE.startswith(data):
                return
            self._inner = self._choose(self._output, data.startswith(PREFACE))
        self._inner.receive(data, at_ns)

    def lose(self, at_ns: int) -> None:
        """Takes notice that the client is gone."""
        if self._inner is not None:
            self._inner.lose(at_ns)
