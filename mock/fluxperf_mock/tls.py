"""TLS between a wire and the connection of an HTTP version: records in, plain bytes out, and back. Knows no socket.

OpenSSL works in memory (`ssl.MemoryBIO`), so a handshake waits for nobody. Plain bytes have the stamp of the segment
that completed their record.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fluxperf.errors import UsageError
from fluxperf_mock.connection import Connection, Output
from fluxperf_mock.generation import Receipt

HTTP2: Final = "h2"
HTTP1: Final = "http/1.1"

_RECORD_BYTES = 16_384


def load_context(cert: str, key: str) -> ssl.SSLContext:
    """The server's side of TLS 1.2 and 1.3, which prefers HTTP/2 (RFC 7301). Raises UsageError."""
    for what, name in (("certificate", cert), ("key", key)):
        try:
            Path(name).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read the TLS {what} {name}: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([HTTP2, HTTP1])
    try:
        # Without a password at hand OpenSSL would ask for one on the terminal.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        raise UsageError(
            f"cannot use the TLS certificate {cert} with the key {key}: "
            "both must be PEM, belong together, and need no password"
        ) from error
    return context


class TlsConnection:
    """A wire's connection, and the output of the one within, which `choose` gives once the protocol is agreed on.

    `choose` is called with whether it is HTTP/2; a client that offers no protocol gets HTTP/1.1.
    """

    __slots__ = ("_choose", "_incoming", "_inner", "_outgoing", "_over", "_tls", "_wire")

    def __init__(self, wire: Output, context: ssl.SSLContext, choose: Callable[[Output, bool], Connection]) -> None:
        self._wire = wire
        self._choose = choose
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._inner: Connection | None = None
        self._over = False

    def receive(self, data: bytes, at_ns: int) -> None:
        """Takes a client's records, the last byte of which came at `at_ns`."""
        if self._over:
            return
        self._incoming.write(data)
        try:
            if self._inner is None:
                self._tls.do_handshake()
                self._inner = self._choose(self, self._tls.selected_alpn_protocol() == HTTP2)
            while not self._over:
                self._pass_on(self._tls.read(_RECORD_BYTES), at_ns)
        except ssl.SSLWantReadError:
            self._write_pending()
        except ssl.SSLError:
            self._end(at_ns)  # OpenSSL has an alert ready that says why

    def lose(self, at_ns: int) -> None:
        """Takes notice that the client is gone."""
        self._over = True
        if self._inner is not None:
            self._inner.lose(at_ns)
            self._inner = None

    def write(self, data: bytes, receipt: Receipt | None = None) -> None:
        """Sends plain bytes after those before; `receipt` gets the stamp of the last byte of their last record."""
        if self._over:
            return
        rest = memoryview(data)
        while rest:  # it may take a part only
            rest = rest[self._tls.write(rest) :]
        self._wire.write(self._outgoing.read(), receipt)

    def finish(self) -> None:
        """Says that no more comes, and closes once everything is sent."""
        self._over = True
        with contextlib.suppress(ssl.SSLError):  # it would wait for the client to say the same
            self._tls.unwrap()
        self._write_pending()
        self._wire.finish()

    def _pass_on(self, plain: bytes, at_ns: int) -> None:
        if not plain or self._inner is None:
            self._end(at_ns)
        else:
            self._inner.receive(plain, at_ns)

    def _end(self, at_ns: int) -> None:
        self.lose(at_ns)
        self.finish()

    def _write_pending(self) -> None:
        """Sends what OpenSSL has to say by itself."""
        if self._outgoing.pending:
            self._wire.write(self._outgoing.read())
