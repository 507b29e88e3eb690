"""Connections over TLS on real sockets: opened and refused, stamped, ended, and with either version of HTTP in them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from fluxperf.clock import kernel_stamps_work, now_ns
from fluxperf.engine import dial as dial_module
from fluxperf.engine import pool as pool_module
from fluxperf.engine import preflight as preflight_module
from fluxperf.engine import transport as transport_module
from fluxperf.engine.preflight import Found, Wishes, find_route
from fluxperf.engine.tls import Trust, make_context
from fluxperf.errors import ServerUnreachable
from tests.engine.certificates import HOST, Authority, FarTls
from tests.engine.far_end import FarEnd, answering, http2, listen
from tests.engine.scripted import (
    STREAM_HEAD,
    Loopback,
    Notes,
    Peer,
    Script,
    chunk,
    head,
    in_trio,
    in_turn,
    loopback,
    replying,
    response,
    serving,
    stall,
    until,
)

OK = response(b"ok")
BIG = b"x" * 8_000_000
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
BOTH = ("h2", "http/1.1")
# What the conversion between the two clocks may be wrong by.
OFFSET_ERROR_NS = 20_000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def route(authority: Authority, http: str = "auto", **trust: Any) -> dict[str, Any]:
    """A route that trusts the authority."""
    return {
        "http": http,
        "context": make_context(Trust(**{"ca_file": authority.ca_file, **trust}), http),
        "hostname": HOST,
    }


async def ask(there: Loopback, **extensions: object) -> Notes:
    """One request; what its sink was told."""
    notes = Notes()
    await there.get(sink=notes, **extensions)
    return notes


# Which HTTP is spoken.


def either(talk: Script, http2_talk: Script) -> Script:
    """The first over HTTP/1.1, the other over HTTP/2, as was agreed on."""

    async def script(peer: Peer) -> None:
        assert isinstance(peer.stream, trio.SSLStream)
        await peer.stream.do_handshake()
        await (http2_talk if peer.stream.selected_alpn_protocol() == "h2" else talk)(peer)

    return script


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("http", "offered", "spoken"),
    [
        ("auto", BOTH, "2"),
        ("auto", ("http/1.1",), "1.1"),
        ("auto", (), "1.1"),
        ("1.1", BOTH, "1.1"),
        ("1.1", ("h2",), "1.1"),
        ("2", BOTH, "2"),
    ],
)
@in_trio
async def test_the_server_picks_among_what_is_wanted(
    authority: Authority, http: str, offered: tuple[str, ...], spoken: str, version: ssl.TLSVersion
) -> None:
    script = either(replying(response(b"1.1")), http2(answering(b"2")))
    server = authority.server(alpn=offered, version=version)
    async with loopback(script, tls=server, **route(authority, http)) as there:
        for _ in range(3):
            assert (await ask(there)).data == spoken.encode()
        assert [connection.version for connection in there.pool.idle] == [spoken]
        assert there.server.connections == 1


@in_trio
async def test_http_2_that_is_not_offered_is_named(authority: Authority) -> None:
    async with loopback(stall, tls=authority.server(alpn=("http/1.1",)), **route(authority, "2")) as there:
        with pytest.raises(httpx.ConnectError, match=r"the server does not offer HTTP/2 \(ALPN\): use --http 1.1"):
            await there.get()
        await until(lambda: there.server.open_connections == 0)


# Who is trusted.

UNTRUSTED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "unknown authority": ({}, {"ca_file": None}, "unable to get local issuer certificate"),
    "another host": ({"host": "example.org"}, {}, "certificate is not valid for '127.0.0.1'"),
    "expired": ({"expired": True}, {}, "certificate has expired"),
}


@pytest.mark.parametrize("name", UNTRUSTED)
@in_trio
async def test_a_server_that_is_not_trusted_is_named(authority: Authority, name: str) -> None:
    server, trust, words = UNTRUSTED[name]
    async with loopback(replying(OK), tls=authority.server(**server), **route(authority, **trust)) as there:
        with pytest.raises(httpx.ConnectError, match="the server's certificate is not trusted") as caught:
            await there.get()
        assert words in str(caught.value)
        with pytest.raises(ssl.SSLCertVerificationError):
            await there.pool.warm(3)
        assert there.server.requests == []
        await until(lambda: there.server.open_connections == 0)


@in_trio
async def test_a_connection_that_comes_to_nothing_leaves_no_descriptor(authority: Authority) -> None:
    async with loopback(replying(OK), tls=authority.server(), **route(authority, ca_file=None)) as there:
        before = count_descriptors()
        for _ in range(5):
            with pytest.raises(httpx.ConnectError):
                await there.get()
        await until(lambda: there.server.connections == 5 and there.server.open_connections == 0)
        assert count_descriptors() == before


def count_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("name", UNTRUSTED)
@in_trio
async def test_insecure_trusts_anybody(authority: Authority, name: str) -> None:
    server, trust, _ = UNTRUSTED[name]
    options = route(authority, **trust, insecure=True)
    async with loopback(replying(OK), tls=authority.server(**server), **options) as there:
        assert (await ask(there)).data == b"ok"


@pytest.mark.parametrize("version", VERSIONS)
@in_trio
async def test_a_client_certificate_that_is_asked_for(authority: Authority, version: ssl.TLSVersion) -> None:
    cert, key, _ = authority.client_files()
    server = authority.server(asks_for_client=True, version=version)
    async with loopback(replying(OK), tls=server, **route(authority, client_cert=cert, client_key=key)) as there:
        assert (await ask(there)).data == b"ok"


# Handshakes that come to nothing.


@in_trio
async def test_a_handshake_that_is_not_answered_is_given_up(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (dial_module, pool_module, transport_module):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 0.01)

    async def say_nothing(peer: Peer) -> None:
        while await peer.connection.receive_some():
            pass

    async with loopback(say_nothing, **route(authority)) as there:
        with pytest.raises(httpx.ConnectTimeout, match=r"no connection within 0\.01 s"):
            await there.http.get(f"https://{there.server.address}/")
        await until(lambda: there.server.connections == 1 and there.server.open_connections == 0)


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@in_trio
async def test_a_server_that_leaves_in_the_middle_of_the_handshake_is_named(authority: Authority, reset: bool) -> None:
    async def leave(peer: Peer) -> None:
        far = FarTls(authority.server())
        await peer.connection.send_all(far.shake(await peer.connection.receive_some())[:100])
        if reset:
            peer.reset()

    async with loopback(leave, **route(authority)) as there:
        words = "reset by peer" if reset else "the server closed the connection during the TLS handshake"
        with pytest.raises(httpx.ConnectError, match=words):
            await there.http.get(f"https://{there.server.address}/")


@in_trio
async def test_a_server_without_tls_is_named(authority: Authority) -> None:
    async def answer_plainly(peer: Peer) -> None:
        await peer.connection.receive_some()
        await peer.connection.send_all(response(b"no", status="400 Bad Request"))

    async with loopback(answer_plainly, **route(authority)) as there:
        with pytest.raises(httpx.ConnectError, match=r"is it a server without TLS\?"):
            await there.http.get(f"https://{there.server.address}/")


# The server's end by hand, so that a test says which bytes are in which segment.


class Sealed:
    """A connection whose TLS is done by hand."""

    def __init__(self, peer: Peer, context: ssl.SSLContext) -> None:
        self.peer = peer
        self.tls = FarTls(context)

    async def shake(self, *, keep_last: bool = False) -> bytes:
        """The handshake; its last bytes are given back instead of being sent, if asked for."""
        while not self.tls.is_open:
            data = self.tls.shake(await self.peer.connection.receive_some())
            if self.tls.is_open and keep_last:
                return data
            await self.peer.connection.send_all(data)
        return b""

    async def request(self) -> bytes:
        """What the client says, up to the end of a head."""
        said = b""
        while not said.endswith(b"\r\n\r\n"):
            data = await self.peer.connection.receive_some()
            if not data:
                break
            said += self.tls.unseal(data)
        return said

    def seal(self, *pieces: bytes) -> list[bytes]:
        """A record of each."""
        return [self.tls.seal(piece) for piece in pieces]


def by_hand(talk: Callable[[Sealed], Any], context: ssl.SSLContext) -> Script:
    """A script that shakes hands and then talks records."""

    async def script(peer: Peer) -> None:
        sealed = Sealed(peer, context)
        await sealed.shake()
        await talk(sealed)
        while await peer.connection.receive_some():
            pass

    return script


async def get(there: Loopback, notes: Notes) -> None:
    """A request over TLS to a server whose TLS is done by hand."""
    await there.http.get(f"https://{there.server.address}/", extensions={"sink": notes})


@pytest.mark.skipif(not kernel_stamps_work(), reason="this kernel does not stamp received segments")
@pytest.mark.parametrize("version", VERSIONS)
@in_trio
async def test_a_record_has_the_stamp_of_the_segment_that_completed_it(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    borders: list[int] = []

    async def talk(it: Sealed) -> None:
        await it.request()
        start, one, two, three, rest = it.seal(STREAM_HEAD, chunk(b"one"), chunk(b"two"), chunk(b"three"), b"0\r\n\r\n")
        for piece in (start, one + two[:10], two[10:-1], two[-1:] + three, rest):
            borders.append(now_ns())
            await it.peer.connection.send_all(piece)
            reads = len(borders)
            await until(lambda: there.reactor.receiver.reads >= before + reads)  # noqa: B023
            assert there.reactor.receiver.reads == before + reads

    notes = Notes()
    async with loopback(by_hand(talk, authority.server(version=version)), **route(authority)) as there:
        await there.pool.warm(1)
        await until(lambda: there.server.connections == 1)
        before = there.reactor.receiver.reads
        if version is ssl.TLSVersion.TLSv1_3:  # its tickets come in a read of their own
            await until(lambda: there.reactor.receiver.reads == 1)
            before = 1
        await get(there, notes)
    stamps = dict(notes.told("body"))
    for data, first in ((b"one", 1), (b"two", 3), (b"three", 3)):
        assert borders[first] - OFFSET_ERROR_NS <= stamps[data] <= borders[first + 1] + OFFSET_ERROR_NS
    assert stamps[b"two"] == stamps[b"three"]


@pytest.mark.parametrize("version", VERSIONS)
@in_trio
async def test_records_cut_at_every_byte(authority: Authority, version: ssl.TLSVersion) -> None:
    async def talk(it: Sealed) -> None:
        await it.request()
        for record in it.seal(STREAM_HEAD, chunk(b"hello"), chunk(b" there"), b"0\r\n\r\n"):
            for at in range(len(record)):
                reads = there.reactor.receiver.reads
                await it.peer.connection.send_all(record[at : at + 1])
                await until(lambda: there.reactor.receiver.reads > reads)  # noqa: B023

    notes = Notes()
    async with loopback(by_hand(talk, authority.server(version=version)), **route(authority)) as there:
        await get(there, notes)
    assert notes.data == b"hello there"


@in_trio
async def test_several_records_in_one_segment(authority: Authority) -> None:
    async def talk(it: Sealed) -> None:
        await it.request()
        await it.peer.connection.send_all(b"".join(it.seal(STREAM_HEAD, *[chunk(b"x")] * 100, b"0\r\n\r\n")))

    notes = Notes()
    async with loopback(by_hand(talk, authority.server()), **route(authority)) as there:
        await get(there, notes)
    assert notes.data == b"x" * 100
    assert notes.names.count("body") == 100


@in_trio
async def test_what_the_server_says_in_the_same_breath_as_its_handshake_is_heard(authority: Authority) -> None:
    """Settings of HTTP/2 in one segment with the server's Finished: nothing more comes, but the connection is ready."""
    context = authority.server(alpn=("h2",), version=ssl.TLSVersion.TLSv1_2)

    async def script(peer: Peer) -> None:
        it, far = Sealed(peer, context), FarEnd(peer, {})
        last = await it.shake(keep_last=True)
        far.h2.initiate_connection()
        await peer.connection.send_all(last + it.tls.seal(far.h2.data_to_send()))
        while data := await peer.connection.receive_some():
            far.h2.receive_data(it.tls.unseal(data))

    async with loopback(script, **route(authority)) as there:
        await there.pool.warm(1)
        assert [connection.version for connection in there.pool.idle] == ["2"]


@in_trio
async def test_tickets_on_an_idle_connection_do_not_close_it(authority: Authority) -> None:
    idle, proceed = trio.Event(), trio.Event()
    context = authority.server(version=ssl.TLSVersion.TLSv1_3)

    async def script(peer: Peer) -> None:
        it = Sealed(peer, context)
        tickets = await it.shake(keep_last=True)
        await idle.wait()
        reads = there.reactor.receiver.reads
        await peer.connection.send_all(tickets)
        await until(lambda: there.reactor.receiver.reads > reads)
        proceed.set()
        await it.request()
        await peer.connection.send_all(it.tls.seal(OK))
        await it.request()

    async with loopback(script, **route(authority)) as there:
        await there.pool.warm(1)
        idle.set()
        await proceed.wait()
        assert there.pool.free == 1
        notes = Notes()
        await get(there, notes)
        assert (notes.data, there.server.connections) == (b"ok", 1)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("offered", [("http/1.1",), ("h2",)], ids=["HTTP/1.1", "HTTP/2"])
@in_trio
async def test_a_client_certificate_that_is_missing_is_named(
    authority: Authority, version: ssl.TLSVersion, offered: tuple[str, ...]
) -> None:
    """In TLS 1.3 the server says so after what is for us the end of the handshake."""
    context = authority.server(asks_for_client=True, version=version, alpn=offered)
    async with loopback(refusing(context), **route(authority)) as there:
        with pytest.raises((httpx.ConnectError, httpx.ReadError)) as caught:
            await get(there, Notes())
    assert ("certificate required" if version is ssl.TLSVersion.TLSv1_3 else "handshake failure") in str(caught.value)
    assert str(caught.value).startswith("TLS: ")


def refusing(context: ssl.SSLContext) -> Script:
    """A script that says why it takes no part in a handshake."""

    async def script(peer: Peer) -> None:
        it = Sealed(peer, context)
        with pytest.raises(ssl.SSLError):
            await it.shake()
        await peer.connection.send_all(it.tls.pending())
        while await peer.connection.receive_some():
            pass

    return script


# Ends.


@pytest.mark.parametrize("notified", [False, True], ids=["cut off", "closed"])
@pytest.mark.parametrize("begun", [b"", STREAM_HEAD + chunk(b"half"), head("Content-Length: 9") + b"half"])
@in_trio
async def test_a_connection_that_ends_in_the_middle_breaks_the_answer(
    authority: Authority, begun: bytes, notified: bool
) -> None:
    async def talk(it: Sealed) -> None:
        await it.request()
        data = it.tls.seal(begun) if begun else b""
        await it.peer.connection.send_all(data + it.tls.close_notify() if notified else data)
        if not notified:
            await it.peer.connection.send_eof()

    notes = Notes()
    async with loopback(by_hand(talk, authority.server()), **route(authority)) as there:
        where = "in the middle of the response" if begun else "before the response began"
        with pytest.raises(httpx.ReadError, match=f"the server closed the connection {where}"):
            await get(there, notes)
        assert notes.data == (b"half" if begun else b"")
        await until(lambda: there.server.open_connections == 0)


@pytest.mark.parametrize("together", [False, True])
@in_trio
async def test_an_answer_that_the_end_ends_is_complete_at_the_notice(authority: Authority, together: bool) -> None:
    """The server then waits for our end: nothing more comes from it."""

    async def talk(it: Sealed) -> None:
        await it.request()
        answer, notice = it.tls.seal(head("Content-Type: text/plain") + b"hello"), it.tls.close_notify()
        if together:
            await it.peer.connection.send_all(answer + notice)
        else:
            reads = there.reactor.receiver.reads
            await it.peer.connection.send_all(answer)
            await until(lambda: there.reactor.receiver.reads > reads)
            await it.peer.connection.send_all(notice)

    notes = Notes()
    async with loopback(by_hand(talk, authority.server()), **route(authority)) as there:
        await get(there, notes)
        assert notes.data == b"hello"
        assert there.pool.free == 0
        await until(lambda: there.server.open_connections == 0)


@in_trio
async def test_a_broken_record_breaks_the_answer(authority: Authority) -> None:
    async def talk(it: Sealed) -> None:
        await it.request()
        record = bytearray(it.tls.seal(chunk(b"half")))
        record[9] ^= 1
        await it.peer.connection.send_all(it.tls.seal(STREAM_HEAD))
        await it.peer.connection.send_all(bytes(record))

    async with loopback(by_hand(talk, authority.server()), **route(authority)) as there:
        with pytest.raises(httpx.ReadError, match="TLS: decryption failed or bad record mac"):
            await get(there, Notes())
        assert there.pool.free == 0


@in_trio
async def test_a_reused_connection_that_ends_before_any_answer_is_our_race(authority: Authority) -> None:
    async def close_at_second(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()

    script = in_turn(close_at_second, replying(OK))
    async with loopback(script, tls=authority.server(), **route(authority)) as there:
        await ask(there)
        notes = await ask(there)
        assert notes.names == ["opened", "sent", "resent", "opened", "sent", "head", "body", "end"]


# Large ones.


@pytest.mark.parametrize("offered", [("http/1.1",), ("h2",)], ids=["HTTP/1.1", "HTTP/2"])
@in_trio
async def test_a_large_request_and_a_large_answer(authority: Authority, offered: tuple[str, ...]) -> None:
    async def send_back(far: FarEnd) -> None:
        asked = await far.request()
        assert asked is not None
        await far.begin(asked)
        for at in range(0, 2_000_000, 16_384):
            far.h2.send_data(asked.number, BIG[at : min(at + 16_384, 2_000_000)])
        await far.end(asked)
        await listen(far)

    script = either(replying(response(BIG[:2_000_000])), http2(send_back))
    async with loopback(script, tls=authority.server(alpn=offered), **route(authority)) as there:
        notes = Notes()
        await there.http.post(there.server.url, content=BIG, extensions={"sink": notes})
        assert there.server.requests[0].body == BIG
        assert notes.data == BIG[:2_000_000]


# Before the run.


async def find(url: str, wishes: Wishes) -> Found:
    """The way to a server that is served by this very loop."""
    return await trio.to_thread.run_sync(find_route, url, wishes)


@pytest.mark.parametrize(
    ("http", "offered", "spoken"),
    [("auto", BOTH, "2"), ("auto", ("http/1.1",), "1.1"), ("auto", (), "1.1"), ("1.1", BOTH, "1.1"), ("2", BOTH, "2")],
)
@in_trio
async def test_the_way_to_a_server_says_what_was_agreed_on(
    authority: Authority, http: str, offered: tuple[str, ...], spoken: str
) -> None:
    trust = Trust(ca_file=authority.ca_file)
    async with serving(stall, tls=authority.server(alpn=offered)) as server:
        found = await find(server.url, Wishes(http, trust, 5))
    assert (found.http_version, found.tls) == (spoken, "TLSv1.3")
    assert (found.route.address, found.route.hostname, found.route.http) == (server.address, HOST, http)
    assert found.route.streams_per_connection == 5
    assert found.route.context is not None


@pytest.mark.parametrize(
    ("server", "wishes", "words"),
    [
        ({}, {"trust": Trust()}, "the server's certificate is not trusted"),
        ({"host": "example.org"}, {}, "is not valid for '127.0.0.1'"),
        ({"alpn": ("http/1.1",)}, {"http": "2"}, r"does not offer HTTP/2 \(ALPN\): use --http 1.1"),
    ],
    ids=["unknown authority", "another host", "no HTTP/2"],
)
@in_trio
async def test_what_keeps_a_server_from_being_reached_is_named(
    authority: Authority, server: dict[str, Any], wishes: dict[str, Any], words: str
) -> None:
    wanted = {"trust": Trust(ca_file=authority.ca_file), **wishes}
    async with serving(stall, tls=authority.server(**server)) as there:
        with pytest.raises(ServerUnreachable, match=words) as caught:
            await find(there.url, Wishes(**wanted))
    assert str(caught.value).startswith(f"cannot connect to {there.address} ({there.address}: ")
    assert "is the server up" not in str(caught.value)


@in_trio
async def test_a_handshake_that_the_server_refuses_is_named(authority: Authority) -> None:
    context = authority.server(asks_for_client=True, version=ssl.TLSVersion.TLSv1_2)
    async with serving(refusing(context)) as server:
        with pytest.raises(ServerUnreachable, match=r"TLS: .*handshake failure"):
            await find(f"https://{server.address}/", Wishes(trust=Trust(ca_file=authority.ca_file)))


@in_trio
async def test_a_greeting_that_is_not_answered_is_given_up(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight_module, "CONNECT_TIMEOUT_S", 0.01)

    async def say_nothing(peer: Peer) -> None:
        while await peer.connection.receive_some():
            pass

    async with serving(say_nothing) as server:
        for url, wishes in (
            (f"https://{server.address}/", Wishes(trust=Trust(ca_file=authority.ca_file))),
            (server.url, Wishes("2")),
        ):
            with pytest.raises(ServerUnreachable, match=r"no answer within 0\.01 s"):
                await find(url, wishes)


@in_trio
async def test_http_2_without_tls_is_found_or_named() -> None:
    async with serving(http2(listen)) as server:
        found = await find(server.url, Wishes("2"))
        assert (found.http_version, found.tls, found.route.context) == ("2", None, None)
        assert (await find(server.url, Wishes("auto"))).http_version == "1.1"
    async with serving(replying(response(b"no", status="400 Bad Request"))) as server:
        with pytest.raises(ServerUnreachable, match=r"HTTP/1\.1: use --http 1.1"):
            await find(server.url, Wishes("2"))
