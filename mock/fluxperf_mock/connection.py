"""What stands between a socket and the service: bytes in at one side (`Connection`), bytes out at the other (`Output`).

An HTTP version is a `Connection` on an `Output`. A wire is an `Output` for the `Connection` that it reads for. TLS
is both, one on each side.
"""

from __future__ import annotations

from typing import Protocol

from fluxperf_mock.generation import Receipt


class Output(Protocol):
    """Where a connection's bytes go."""

    def write(self, data: bytes, receipt: Receipt | None = None) -> None:
        """Sends bytes after those before, now or as soon as there is room; `receipt` gets the last byte's stamp."""

    def finish(self) -> None:
        """Closes once everything is sent and the client has closed, or after a moment."""


class Connection(Protocol):
    """What a client's bytes are for."""

    def receive(self, data: bytes, at_ns: int) -> None:
        """Takes bytes, the last of which came at `at_ns`."""

    def lose(self, at_ns: int) -> None:
        """Takes notice that the client is gone."""
