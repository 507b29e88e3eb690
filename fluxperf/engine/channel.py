"""`Channel`: what the reactor moves bytes for."""

from __future__ import annotations

import socket
from typing import Any, Protocol


class Channel(Protocol):
    """A connected socket and those who care for it. A parcel is what it calls one of its sends."""

    @property
    def sock(self) -> socket.socket:
        """The non-blocking socket."""

    def wants(self, parcel: Any) -> bool:
        """Whether what was handed to `Reactor.send` is still to be sent."""

    def seal(self, data: bytes) -> bytes:
        """The data as it goes over the wire; called in the order of writing."""

    def sent(self, parcel: Any, at_ns: int) -> None:
        """The first byte of what was handed to `Reactor.send` was written right after `at_ns`."""

    def receive(self, data: bytes, at_ns: int) -> None:
        """Takes bytes that the kernel had at `at_ns`; empty: the peer has closed."""

    def fail(self, error: OSError, at_ns: int) -> None:
        """The connection is broken."""
