"""TLS without IO: `ssl` over memory, so that the reactor's stamps stay those of the segments that completed a record.

`make_context` says whom to trust and what to offer; `Tls` is one connection's record layer.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass

from fluxperf.errors import UsageError

ALPN_HTTP1, ALPN_HTTP2 = "http/1.1", "h2"
# What is offered for each value of --http, the favourite first (RFC 7301; RFC 9113 3.2).
OFFERED: dict[str, tuple[str, ...]] = {
    "auto": (ALPN_HTTP2, ALPN_HTTP1),
    "1.1": (ALPN_HTTP1,),
    "2": (ALPN_HTTP2,),
}
_RECORD_BYTES = 1 << 14  # RFC 8446 5.1
_HINTS = {
    "wrong version number": "is it a server without TLS?",
    "record layer failure": "is it a server without TLS?",
    "no application protocol": "the server does not speak the version of HTTP that --http asks for",
}


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificates are believed, and who we are. Paths of PEM files; `client_key` None: in `client_cert` too."""

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    insecure: bool = False


def make_context(trust: Trust, http: str) -> ssl.SSLContext:
    """A client's context: certificates are verified unless `insecure`. Raises UsageError for files that will not do."""
    if trust.ca_file is None:
        context = ssl.create_default_context()
    else:
        try:
            context = ssl.create_default_context(cafile=trust.ca_file)
        except ssl.SSLError as error:
            raise UsageError(f"--ca-file {trust.ca_file} holds no certificate in PEM form") from error
        except OSError as error:
            raise UsageError(f"--ca-file {trust.ca_file} cannot be read: {error.strerror}") from error
    if trust.client_cert is not None:
        _load_identity(context, trust.client_cert, trust.client_key)
    context.options |= ssl.OP_NO_RENEGOTIATION  # a handshake in the middle of a round would be its noise
    if trust.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(OFFERED[http]))
    return context


def _load_identity(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    where = f"--client-cert {cert}" + (f" with --client-key {key}" if key else "")
    try:
        context.load_cert_chain(cert, key, password=_refuse_password)
    except ssl.SSLError as error:
        hint = "" if key else "; is the key in a file of its own? Name it with --client-key"
        raise UsageError(f"{where} is no certificate with its private key in PEM form{hint}") from error
    except OSError as error:
        raise UsageError(f"{where} cannot be read: {error.strerror}") from error


def _refuse_password() -> str:
    raise UsageError("the key of --client-cert is locked by a password: give one that is not")


# What helps, by the code of what was wrong with a certificate (x509_vfy.h of OpenSSL).
_REMEDIES = {
    9: "it is not valid yet: are the clocks right?",
    10: "it must be renewed",
    62: "the name in --endpoint must be one of those it is for",
    64: "it must name the address, or --endpoint a name that it is for",
}


def describe(error: OSError) -> str:
    """What went wrong with a connection, in words that help; certificates most of all."""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = _REMEDIES.get(error.verify_code, "--ca-file names an authority to trust")
        what = (error.verify_message or error.reason or "").rstrip(".")
        return f"TLS: the server's certificate is not trusted: {what} ({remedy}, --insecure trusts anybody)"
    if isinstance(error, ssl.SSLError):
        # Some alerts have no name in `ssl`, and look like this: [SSL] tlsv1 alert no application protocol (_ssl.c:1006)
        reason = error.reason or re.sub(r"^\[\w+\] | \(_ssl\.c:\d+\)$", "", str(error))
        reason = reason.replace("_", " ").lower()
        return f"TLS: {reason}" + next((f" ({hint})" for end, hint in _HINTS.items() if reason.endswith(end)), "")
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror.lower() if error.strerror else str(error)


class Tls:
    """One connection's record layer: a handshake, then plain bytes in and out. Raises ssl.SSLError."""

    __slots__ = ("_incoming", "_outgoing", "_tls", "ended")

    def __init__(self, context: ssl.SSLContext, hostname: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        self.ended = False  # the server has said that it will send no more (close_notify)

    def shake(self, data: bytes) -> bool:
        """Takes bytes of the handshake; True once it is over. What is to be sent is `pending`."""
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    @property
    def protocol(self) -> str | None:
        """What was agreed on by ALPN."""
        return self._tls.selected_alpn_protocol()

    @property
    def version(self) -> str | None:
        """Of TLS, such as TLSv1.3."""
        return self._tls.version()

    def pending(self) -> bytes:
        """What is to be sent as it stands."""
        return self._outgoing.read()

    def seal(self, data: bytes) -> bytes:
        """The bytes as records to be sent, after whatever is `pending`."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        return self._outgoing.read()

    def unseal(self, data: bytes) -> bytes:
        """What the records that these bytes completed hold; afterwards something may be `pending`."""
        self._incoming.write(data)
        pieces = []
        try:
            while piece := self._tls.read(_RECORD_BYTES):
                pieces.append(piece)
                if not self._incoming.pending and not self._tls.pending():
                    break
            else:
                self.ended = True
        except ssl.SSLWantReadError:
            pass
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
