"""Certificates for tests: an authority, servers that it vouches for, and those who talk TLS in memory."""

from __future__ import annotations

import datetime
import ssl
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import trustme

HOST = "127.0.0.1"
LONG_AGO = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Authority:
    """An authority whose files are in `folder`."""

    folder: Path

    @cached_property
    def _ca(self) -> trustme.CA:
        return trustme.CA()

    @cached_property
    def ca_file(self) -> str:
        """Its own certificate."""
        path = self.folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(path))
        return str(path)

    def server(
        self,
        host: str = HOST,
        *,
        alpn: tuple[str, ...] = (),
        version: ssl.TLSVersion | None = None,
        asks_for_client: bool = False,
        expired: bool = False,
    ) -> ssl.SSLContext:
        """A server's context."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert(host, not_after=LONG_AGO if expired else None).configure_cert(context)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if asks_for_client:
            context.verify_mode = ssl.CERT_REQUIRED
            self._ca.configure_trust(context)
        return context

    def client_files(self) -> tuple[str, str, str]:
        """A client's certificate, its key, and both in one file."""
        leaf = self._ca.issue_cert("client@example.org")
        cert, key, both = (str(self.folder / name) for name in ("client.pem", "client.key", "client_both.pem"))
        leaf.cert_chain_pems[0].write_to_path(cert)
        leaf.private_key_pem.write_to_path(key)
        leaf.private_key_and_cert_chain_pem.write_to_path(both)
        return cert, key, both

    def server_files(self, host: str = HOST) -> tuple[str, str]:
        """A server's certificate and its key, for servers that read files."""
        leaf = self._ca.issue_cert(host)
        cert, key = str(self.folder / "server.pem"), str(self.folder / "server.key")
        leaf.cert_chain_pems[0].write_to_path(cert)
        leaf.private_key_pem.write_to_path(key)
        return cert, key


class FarTls:
    """The server's end of TLS in memory: bytes in, bytes out, so that a test says how they are cut."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.is_open = False

    def shake(self, data: bytes) -> bytes:
        """Takes bytes of the handshake; gives those to be sent."""
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read()
        self.is_open = True
        return self._outgoing.read()

    def pending(self) -> bytes:
        """What is to be sent, such as an alert."""
        return self._outgoing.read()

    def seal(self, data: bytes) -> bytes:
        """A record with this in it."""
        self._tls.write(data)
        return self._outgoing.read()

    def unseal(self, data: bytes) -> bytes:
        """What is in the records that have come whole."""
        self._incoming.write(data)
        found = b""
        while True:
            try:
                piece = self._tls.read(65_536)
            except ssl.SSLWantReadError:
                return found
            if not piece:
                return found
            found += piece

    def close_notify(self) -> bytes:
        """The record that says that no more will come."""
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._outgoing.read()
