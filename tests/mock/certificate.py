"""A certificate for localhost, for tests of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Certificate:
    """A certificate and its key as files in a folder, and the authority behind them."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        leaf = self._authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.ECDSA)
        self.folder = folder
        self.cert, self.key = str(folder / "cert.pem"), str(folder / "key.pem")
        leaf.cert_chain_pems[0].write_to_path(self.cert)
        leaf.private_key_pem.write_to_path(self.key)

    @property
    def options(self) -> tuple[str, ...]:
        """What makes a mock server use it."""
        return "--tls-cert", self.cert, "--tls-key", self.key

    def trusting(self) -> ssl.SSLContext:
        """The context of a client that trusts the authority."""
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context
