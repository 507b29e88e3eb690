"""TLS in memory: OpenSSL's client against the mock's side, with a certificate of the test's own."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from fluxperf.errors import UsageError
from fluxperf_mock.connection import Connection, Output
from fluxperf_mock.generation import Receipt
from fluxperf_mock.tls import TlsConnection, load_context
from tests.mock.certificate import Certificate


class Wire:
    """Takes everything at once; the write with index i is stamped i."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.finished = False

    def write(self, data: bytes, receipt: Receipt | None = None) -> None:
        assert not self.finished
        assert data
        if receipt is not None:
            receipt(len(self.writes))
        self.writes.append(data)

    def finish(self) -> None:
        self.finished = True


class Inner:
    """The connection within, which only remembers."""

    def __init__(self, output: Output, http2: bool) -> None:
        self.output = output
        self.http2 = http2
        self.received: list[tuple[bytes, int]] = []
        self.lost: list[int] = []

    def receive(self, data: bytes, at_ns: int) -> None:
        self.received.append((data, at_ns))

    def lose(self, at_ns: int) -> None:
        self.lost.append(at_ns)


class Bench:
    """Both ends of one TLS connection."""

    def __init__(self, certificate: Certificate, protocols: list[str], *, trusting: bool = True) -> None:
        self.wire = Wire()
        self.inners: list[Inner] = []
        self.server = TlsConnection(self.wire, load_context(certificate.cert, certificate.key), self.choose)
        context = certificate.trusting() if trusting else ssl.create_default_context()
        if protocols:
            context.set_alpn_protocols(protocols)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self._seen = 0

    @property
    def inner(self) -> Inner:
        (inner,) = self.inners
        return inner

    def choose(self, output: Output, http2: bool) -> Connection:
        self.inners.append(Inner(output, http2))
        return self.inners[-1]

    def deliver(self) -> None:
        """Gives the client what the server wrote."""
        for data in self.wire.writes[self._seen :]:
            self.incoming.write(data)
        self._seen = len(self.wire.writes)

    def shake_hands(self) -> None:
        for at_ns in range(10):
            try:
                self.client.do_handshake()
            except ssl.SSLWantReadError:
                self.server.receive(self.outgoing.read(), at_ns)
                self.deliver()
            else:
                self.server.receive(self.outgoing.read(), at_ns)
                self.deliver()
                return

    def encrypt(self, data: bytes) -> bytes:
        self.client.write(data)
        return self.outgoing.read()

    def read(self) -> bytes:
        """What the client can read."""
        self.deliver()
        data = b""
        while True:
            try:
                piece = self.client.read(1 << 20)
            except ssl.SSLWantReadError:
                return data
            if not piece:
                return data
            data += piece


@pytest.mark.parametrize(
    ("offered", "agreed", "http2"),
    [
        (["h2", "http/1.1"], "h2", True),
        (["http/1.1", "h2"], "h2", True),  # the server's preference counts
        (["http/1.1"], "http/1.1", False),
        (["spdy/3"], None, False),
        ([], None, False),
    ],
)
def test_the_protocol_is_agreed_on(
    certificate: Certificate, offered: list[str], agreed: str | None, http2: bool
) -> None:
    bench = Bench(certificate, offered)
    bench.shake_hands()
    assert bench.client.selected_alpn_protocol() == agreed
    assert bench.inner.http2 is http2


def test_bytes_have_the_stamp_of_the_segment_that_completed_their_record(certificate: Certificate) -> None:
    bench = Bench(certificate, [])
    bench.shake_hands()
    record = bench.encrypt(b"hello")
    bench.server.receive(record[:7], 100)
    assert bench.inner.received == []
    bench.server.receive(record[7:] + bench.encrypt(b"world"), 200)
    assert bench.inner.received == [(b"hello", 200), (b"world", 200)]


def test_a_write_is_one_record_in_one_write_with_its_receipt(certificate: Certificate) -> None:
    bench = Bench(certificate, [])
    bench.shake_hands()
    stamps: list[int] = []
    before = len(bench.wire.writes)
    bench.inner.output.write(b"token", stamps.append)
    assert stamps == [before]
    assert len(bench.wire.writes) == before + 1
    assert bench.read() == b"token"


def test_what_is_longer_than_a_record_is_sent_whole(certificate: Certificate) -> None:
    bench = Bench(certificate, [])
    bench.shake_hands()
    long = bytes(range(256)) * 1000
    stamps: list[int] = []
    bench.inner.output.write(long, stamps.append)
    assert len(stamps) == 1
    assert bench.read() == long


def test_a_finish_says_so_to_the_client(certificate: Certificate) -> None:
    bench = Bench(certificate, [])
    bench.shake_hands()
    bench.inner.output.write(b"bye")
    bench.inner.output.finish()
    assert bench.wire.finished
    assert bench.read() == b"bye"
    assert bench.client.read() == b""  # its end was said, not only cut
    bench.inner.output.write(b"too late")
    bench.server.receive(bench.outgoing.read() or b"x", 9)
    assert bench.inner.received == []


def test_a_client_that_says_goodbye_is_lost(certificate: Certificate) -> None:
    bench = Bench(certificate, [])
    bench.shake_hands()
    inner = bench.inner
    record = bench.encrypt(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        bench.client.unwrap()
    bench.server.receive(record + bench.outgoing.read(), 5)
    assert inner.received == [(b"last words", 5)]
    assert inner.lost == [5]
    assert bench.wire.finished


def test_a_client_that_goes_away_is_lost_once(certificate: Certificate) -> None:
    bench = Bench(certificate, [])
    bench.shake_hands()
    inner = bench.inner
    bench.server.lose(3)
    bench.server.lose(4)
    inner.output.write(b"too late")
    assert inner.lost == [3]


def test_a_client_that_does_not_trust_us_is_let_go(certificate: Certificate) -> None:
    bench = Bench(certificate, [], trusting=False)
    with pytest.raises(ssl.SSLCertVerificationError):
        bench.shake_hands()
    bench.server.receive(bench.outgoing.read(), 5)
    assert bench.wire.finished


def test_bytes_that_are_no_tls_end_the_connection_with_an_alert(certificate: Certificate) -> None:
    bench = Bench(certificate, [])
    bench.server.receive(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n", 1)
    assert bench.inners == []
    assert bench.wire.finished
    assert b"".join(bench.wire.writes)[:1] in (b"\x15", b"")  # an alert, where OpenSSL sends one
    bench.server.receive(b"more", 2)


def test_a_client_of_an_old_version_is_refused(certificate: Certificate) -> None:
    assert load_context(certificate.cert, certificate.key).minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("cert", "key", "message"),
    [
        ("missing.pem", "key.pem", "cannot read the TLS certificate .*missing.pem: No such file"),
        ("cert.pem", "missing.pem", "cannot read the TLS key .*missing.pem: No such file"),
        ("cert.pem", "cert.pem", "cannot use the TLS certificate .* with the key .*: both must be PEM"),
        ("cert.pem", "other.pem", "belong together"),
        ("key.pem", "key.pem", "both must be PEM"),
    ],
)
def test_files_that_do_not_serve_are_said(
    certificate: Certificate, tmp_path: Path, cert: str, key: str, message: str
) -> None:
    folder = certificate.folder
    Certificate(tmp_path)
    (folder / "other.pem").write_bytes((tmp_path / "key.pem").read_bytes())
    with pytest.raises(UsageError, match=message):
        load_context(str(folder / cert), str(folder / key))
