"""TLS in memory: whom a context trusts, what it offers, handshakes and records however cut, errors in words."""

from __future__ import annotations

import errno
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.engine.tls import ALPN_HTTP1, ALPN_HTTP2, OFFERED, Tls, Trust, describe, make_context
from fluxperf.errors import UsageError
from tests.engine.certificates import HOST, Authority, FarTls
from tests.engine.scripted import cut

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
BIG = bytes(range(256)) * 2000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def meet(tls: Tls, far: FarTls, *, step: int | None = None) -> bytes:
    """A handshake, in pieces of so many bytes; gives what the server has said after it and the client has not read."""
    data, over = b"", False
    while not (over and far.is_open):
        pieces = [data] if step is None else [data[at : at + step] for at in range(0, len(data), step)] or [b""]
        for place, piece in enumerate(pieces):
            over = tls.shake(piece)
            if over:
                data = far.shake(tls.pending())
                return b"".join(pieces[place + 1 :]) + data
        data = far.shake(tls.pending())
    return b""


def connected(
    authority: Authority, version: ssl.TLSVersion | None = None, alpn: tuple[str, ...] = ()
) -> tuple[Tls, FarTls]:
    """The two ends of a connection, everything read."""
    tls = Tls(make_context(Trust(ca_file=authority.ca_file), "auto"), HOST)
    far = FarTls(authority.server(version=version, alpn=alpn))
    assert tls.unseal(meet(tls, far)) == b""
    return tls, far


@pytest.fixture(scope="module")
def connection(authority: Authority) -> tuple[Tls, FarTls]:
    """A connection that examples share: they follow each other on it."""
    return connected(authority)


# Contexts.


def test_certificates_are_verified_by_default() -> None:
    context = make_context(Trust(), "auto")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_insecure_trusts_anybody() -> None:
    context = make_context(Trust(insecure=True), "auto")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_a_ca_file_takes_the_place_of_the_authorities_of_the_system(authority: Authority) -> None:
    context = make_context(Trust(ca_file=authority.ca_file), "auto")
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nhello\n-----END CERTIFICATE-----\n"])
def test_a_ca_file_without_a_certificate_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"--ca-file {path} holds no certificate in PEM form"):
        make_context(Trust(ca_file=str(path)), "auto")


def test_a_ca_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--ca-file .*nowhere\.pem cannot be read: No such file"):
        make_context(Trust(ca_file=str(tmp_path / "nowhere.pem")), "auto")
    with pytest.raises(UsageError, match=r"--ca-file .* cannot be read: Is a directory"):
        make_context(Trust(ca_file=str(tmp_path)), "auto")


def test_a_client_certificate_with_its_key_in_the_same_file_or_another(authority: Authority) -> None:
    cert, key, both = authority.client_files()
    make_context(Trust(client_cert=cert, client_key=key), "auto")
    make_context(Trust(client_cert=both), "auto")


def test_a_client_certificate_that_will_not_do_is_named(authority: Authority, tmp_path: Path) -> None:
    cert, key, _ = authority.client_files()
    with pytest.raises(UsageError, match=r"--client-cert .* is no certificate with its private key .* --client-key"):
        make_context(Trust(client_cert=cert), "auto")
    with pytest.raises(UsageError, match=r"--client-cert .*ca\.pem with --client-key .* in PEM form$"):
        make_context(Trust(client_cert=authority.ca_file, client_key=key), "auto")
    with pytest.raises(UsageError, match=r"--client-cert .*nowhere\.pem cannot be read: No such file"):
        make_context(Trust(client_cert=str(tmp_path / "nowhere.pem")), "auto")


def test_a_key_that_is_locked_is_not_asked_for(authority: Authority, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    cert, key, _ = authority.client_files()
    plain = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(UsageError, match="is locked by a password"):
        make_context(Trust(client_cert=cert, client_key=str(locked)), "auto")


# What is agreed on.


@pytest.mark.parametrize(
    ("http", "offered", "agreed"),
    [
        ("auto", (ALPN_HTTP2, ALPN_HTTP1), ALPN_HTTP2),
        ("auto", (ALPN_HTTP1, ALPN_HTTP2), ALPN_HTTP1),  # the server picks
        ("auto", (ALPN_HTTP1,), ALPN_HTTP1),
        ("auto", (), None),
        ("1.1", (ALPN_HTTP2, ALPN_HTTP1), ALPN_HTTP1),
        ("1.1", (ALPN_HTTP2,), None),
        ("2", (ALPN_HTTP1, ALPN_HTTP2), ALPN_HTTP2),
        ("2", (ALPN_HTTP1,), None),
    ],
)
def test_the_version_of_http_is_agreed_on(
    authority: Authority, http: str, offered: tuple[str, ...], agreed: str | None
) -> None:
    tls = Tls(make_context(Trust(ca_file=authority.ca_file), http), HOST)
    meet(tls, FarTls(authority.server(alpn=offered)))
    assert tls.protocol == agreed


def test_what_is_offered() -> None:
    assert OFFERED == {"auto": ("h2", "http/1.1"), "1.1": ("http/1.1",), "2": ("h2",)}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_version_of_tls(authority: Authority, version: ssl.TLSVersion) -> None:
    tls, _ = connected(authority, version)
    assert tls.version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("step", [1, 7, 100])
def test_a_handshake_in_pieces(authority: Authority, version: ssl.TLSVersion, step: int) -> None:
    tls = Tls(make_context(Trust(ca_file=authority.ca_file), "auto"), HOST)
    far = FarTls(authority.server(version=version))
    assert tls.unseal(meet(tls, far, step=step)) == b""
    assert tls.unseal(far.seal(b"hello")) == b"hello"


@pytest.mark.parametrize(
    ("trusted", "host", "expired", "words", "remedy"),
    [
        (False, HOST, False, "unable to get local issuer certificate", "--ca-file"),
        (True, "127.0.0.2", False, "IP address mismatch", "it must name the address"),
        (True, "example.org", False, "certificate is not valid for '127.0.0.1'", "it must name the address"),
        (True, HOST, True, "certificate has expired", "it must be renewed"),
    ],
    ids=["unknown authority", "another address", "another host", "expired"],
)
def test_a_server_that_is_not_trusted_is_named_and_told(
    authority: Authority, trusted: bool, host: str, expired: bool, words: str, remedy: str
) -> None:
    trust = Trust(ca_file=authority.ca_file) if trusted else Trust()
    tls = Tls(make_context(trust, "auto"), HOST)
    far = FarTls(authority.server(host, expired=expired))
    with pytest.raises(ssl.SSLError) as caught:
        meet(tls, far)
    assert describe(caught.value).startswith("TLS: the server's certificate is not trusted: ")
    assert words in describe(caught.value)
    assert f"({remedy}" in describe(caught.value)
    with pytest.raises(ssl.SSLError, match="alert"):
        far.shake(tls.pending())


@pytest.mark.parametrize(("host", "expired"), [("example.org", False), (HOST, True)])
def test_insecure_takes_whatever_certificate_there_is(authority: Authority, host: str, expired: bool) -> None:
    tls = Tls(make_context(Trust(insecure=True), "auto"), HOST)
    far = FarTls(authority.server(host, expired=expired))
    tls.unseal(meet(tls, far))
    assert tls.unseal(far.seal(b"hello")) == b"hello"


# Records.


@pytest.mark.parametrize("version", VERSIONS)
def test_records_cut_at_every_byte(authority: Authority, version: ssl.TLSVersion) -> None:
    tls, far = connected(authority, version)
    for number in range(2):  # the second record is at another place in the stream
        record = far.seal(b"number %d" % number)
        found = [tls.unseal(record[at : at + 1]) for at in range(len(record))]
        assert found == [b""] * (len(record) - 1) + [b"number %d" % number]
    for at in range(1, len(record)):
        one, two = far.seal(b"number 1"), far.seal(b"number 2")
        assert [tls.unseal(piece) for piece in cut(one + two, [at, len(one) + at])] == [b"", b"number 1", b"number 2"]


def test_several_records_in_one_piece(authority: Authority) -> None:
    tls, far = connected(authority)
    assert tls.unseal(b"".join(far.seal(b"%d," % number) for number in range(50))) == b"".join(
        b"%d," % number for number in range(50)
    )


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=8), places=st.lists(st.integers(1, 3000))
)
def test_any_records_cut_anywhere(connection: tuple[Tls, FarTls], pieces: list[bytes], places: list[int]) -> None:
    tls, far = connection
    sealed = b"".join(map(far.seal, pieces))
    assert b"".join(tls.unseal(piece) for piece in cut(sealed, places)) == b"".join(pieces)
    assert far.unseal(tls.seal(b"".join(pieces))) == b"".join(pieces)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_large_goes_both_ways(authority: Authority, version: ssl.TLSVersion) -> None:
    tls, far = connected(authority, version)
    assert far.unseal(tls.seal(BIG)) == BIG
    assert tls.unseal(far.seal(BIG)) == BIG
    assert tls.seal(b"") == b""


@pytest.mark.parametrize("version", VERSIONS)
def test_the_end_is_noticed_after_what_came_before_it(authority: Authority, version: ssl.TLSVersion) -> None:
    for together in (True, False):
        tls, far = connected(authority, version)
        last, notice = far.seal(b"last words"), far.close_notify()
        found = [tls.unseal(piece) for piece in ([last + notice] if together else [last, notice])]
        assert b"".join(found) == b"last words"
        assert tls.ended


def test_tickets_are_no_data_and_no_end(authority: Authority) -> None:
    tls = Tls(make_context(Trust(ca_file=authority.ca_file), "auto"), HOST)
    far = FarTls(authority.server(version=ssl.TLSVersion.TLSv1_3))
    tickets = meet(tls, far)
    assert len(tickets) > 100
    assert [tls.unseal(tickets[at : at + 1]) for at in range(len(tickets))] == [b""] * len(tickets)
    assert not tls.ended
    assert tls.unseal(far.seal(b"hello")) == b"hello"


def test_what_the_server_says_with_its_last_word_of_the_handshake_is_kept(authority: Authority) -> None:
    """In TLS 1.2 it may have the last word, and speak on at once."""
    tls = Tls(make_context(Trust(ca_file=authority.ca_file), "auto"), HOST)
    far = FarTls(authority.server(version=ssl.TLSVersion.TLSv1_2))
    assert not tls.shake(b"")
    assert not tls.shake(far.shake(tls.pending()))
    last = far.shake(tls.pending())
    assert far.is_open
    assert tls.shake(last + far.seal(b"settings") + far.seal(b" and more"))
    assert tls.unseal(b"") == b"settings and more"


@pytest.mark.parametrize("place", [5, 20, -1])
def test_a_record_that_was_changed_is_an_error(authority: Authority, place: int) -> None:
    tls, far = connected(authority)
    record = bytearray(far.seal(b"hello"))
    record[place] ^= 1
    with pytest.raises(ssl.SSLError) as caught:
        tls.unseal(bytes(record))
    assert describe(caught.value) == "TLS: decryption failed or bad record mac"
    assert tls.pending()  # an alert


# Errors in words.


ERRORS: list[tuple[OSError, str]] = [
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "connection refused"),
    (OSError(errno.ENETUNREACH, "Network is unreachable"), "network is unreachable"),
    (TimeoutError("timed out"), "no answer in time"),
    (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "no answer in time"),
    (ConnectionError("the server answers in HTTP/1.1"), "the server answers in HTTP/1.1"),
]


@pytest.mark.parametrize(("error", "words"), ERRORS)
def test_an_error_in_words(error: OSError, words: str) -> None:
    assert describe(error) == words


def test_a_server_without_tls_is_named(authority: Authority) -> None:
    tls = Tls(make_context(Trust(ca_file=authority.ca_file), "auto"), HOST)
    tls.shake(b"")
    with pytest.raises(ssl.SSLError) as caught:
        tls.shake(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert describe(caught.value) == "TLS: wrong version number (is it a server without TLS?)"


def test_an_alert_without_a_name_is_told_in_words() -> None:
    """As nginx sends it."""
    tls = Tls(make_context(Trust(insecure=True), "2"), HOST)
    tls.shake(b"")
    with pytest.raises(ssl.SSLError) as caught:
        tls.shake(b"\x15\x03\x03\x00\x02\x02\x78")
    assert describe(caught.value) == (
        "TLS: tlsv1 alert no application protocol (the server does not speak the version of HTTP that --http asks for)"
    )


def test_a_handshake_that_the_server_refuses_is_named(authority: Authority) -> None:
    context = make_context(Trust(ca_file=authority.ca_file), "auto")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    tls, far = Tls(context, HOST), FarTls(authority.server(version=ssl.TLSVersion.TLSv1_2))
    tls.shake(b"")
    with pytest.raises(ssl.SSLError):
        far.shake(tls.pending())
    with pytest.raises(ssl.SSLError) as caught:
        tls.shake(far.pending())
    assert describe(caught.value) == "TLS: tlsv1 alert protocol version"


def test_no_second_handshake_is_agreed_to() -> None:
    """A HelloRequest (TLS 1.2) in the middle of a round would make the next write wait for a read."""
    assert make_context(Trust(), "auto").options & ssl.OP_NO_RENEGOTIATION
