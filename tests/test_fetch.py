from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trustme

from fluxperf.fetch import Access, Answer, Cut, fetch, fetch_moved, fetch_unless
from tests.watch.monitored import TIMEOUT_S, pages, running_mock

SOON_S = 0.2
"""For what must run out of time."""


class Peer:
    """A server that talks to one connection as its script says; it knows when the client has gone."""

    def __init__(self, script: Callable[[socket.socket, Peer], None], context: ssl.SSLContext | None) -> None:
        self.script = script
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.listener.getsockname()[1]}/metrics"
        self.asked = threading.Event()
        self.left = threading.Event()
        self.request = b""

    def run(self) -> None:
        """One connection, until the client closes it."""
        connection, _ = self.listener.accept()
        connection.settimeout(TIMEOUT_S)
        try:
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            while b"\r\n\r\n" not in self.request:
                self.request += connection.recv(65536)
            self.asked.set()
            self.script(connection, self)
            while connection.recv(65536):
                pass
            self.left.set()
        except OSError:
            self.left.set()
        finally:
            connection.close()


@contextmanager
def peer(script: Callable[[socket.socket, Peer], None], context: ssl.SSLContext | None = None) -> Iterator[Peer]:
    server = Peer(script, context)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        thread.join(TIMEOUT_S)
        server.listener.close()
    assert not thread.is_alive()


def say_nothing(connection: socket.socket, server: Peer) -> None:
    """The client will go."""


def drip(connection: socket.socket, server: Peer) -> None:
    """A byte now and then, so that no single read takes long."""
    while not server.left.wait(0.01):
        try:
            connection.send(b"x")
        except OSError:
            server.left.set()


def drip_header(connection: socket.socket, server: Peer) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
    drip(connection, server)


def drip_body(connection: socket.socket, server: Peer) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n")
    drip(connection, server)


def drip_to_the_end(connection: socket.socket, server: Peer) -> None:
    """A body that ends with the connection, as old servers send them."""
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    drip(connection, server)


def test_a_whole_answer() -> None:
    with pages(lambda path: (200, f"you asked for {path}")) as server:
        answer = fetch(f"{server.url}/metrics?a=b", Access({"authorization": "Bearer x", "connection": "keep-alive"}))
    assert answer.ok
    assert (answer.status, answer.text) == (200, "you asked for /metrics?a=b")
    assert answer.asked_ns < answer.came_ns
    (headers,) = server.headers
    assert (headers["connection"], headers["accept-encoding"], headers["authorization"]) == (
        *("close", "identity", "Bearer x"),
    )


def test_the_connection_is_closed_at_once() -> None:
    def reply(connection: socket.socket, server: Peer) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

    with peer(reply) as server:
        assert fetch(server.url, Access()).text == "hi"
        assert server.left.wait(TIMEOUT_S)


def test_another_status_is_no_success() -> None:
    with pages(lambda _: (500, "out of order")) as server:
        answer = fetch(server.url, Access())
    assert not answer.ok
    assert (answer.trouble, answer.text) == ("answered with status 500", "out of order")


def test_redirects_are_not_followed() -> None:
    with pages(lambda _: (302, "/elsewhere")) as server:
        answer = fetch(server.url, Access())
    assert (answer.status, answer.headers["location"], server.paths) == (302, "/elsewhere", ["/"])


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert Answer(200, 0, 0, b"a\xff").text == "a\N{REPLACEMENT CHARACTER}"


def test_a_long_answer_is_cut() -> None:
    with pages(lambda _: (200, "x" * (3 << 20))) as server:
        answer = fetch(server.url, Access(), max_bytes=2 << 20)
    assert (answer.ok, answer.error) == (False, "is longer than 2 MiB")


@pytest.mark.parametrize("script", [say_nothing, drip_header, drip_body, drip_to_the_end])
def test_time_runs_out_for_the_whole(script: Callable[[socket.socket, Peer], None]) -> None:
    with peer(script) as server:
        answer = fetch(server.url, Access(), timeout_s=SOON_S)
    assert (answer.ok, answer.trouble) == (False, "gave no whole answer within 0.2 s")


def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server, and of who trusts it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("script", [say_nothing, drip_body, drip_to_the_end])
def test_another_thread_breaks_it_off(script: Callable[[socket.socket, Peer], None], *, encrypted: bool) -> None:
    server_context, context = tls() if encrypted else (None, None)
    cut = Cut()
    answers = []
    with peer(script, server_context) as server:
        thread = threading.Thread(
            target=lambda: answers.append(fetch(server.url, Access(context=context), timeout_s=TIMEOUT_S, cut=cut))
        )
        thread.start()
        assert server.asked.wait(TIMEOUT_S)
        cut.make()
        thread.join(TIMEOUT_S)
        assert server.left.wait(TIMEOUT_S)
    assert [answer.trouble for answer in answers] == ["was broken off"]


def test_what_is_broken_off_already_gets_no_answer() -> None:
    cut = Cut()
    cut.make()
    with pages(lambda _: (200, "hello")) as server:
        server.reply = server.hang
        assert fetch(server.url, Access(), cut=cut, timeout_s=TIMEOUT_S).trouble == "was broken off"


def test_a_certificate_is_not_trusted_without_a_context() -> None:
    server_context, context = tls()
    with peer(say_nothing, server_context) as server:
        assert "certificate" in fetch(server.url, Access()).trouble.lower()
    with peer(say_nothing, server_context) as server:
        assert "no whole answer" in fetch(server.url, Access(context=context), timeout_s=SOON_S).trouble


@pytest.mark.parametrize(
    "url",
    [
        *("nonsense", "ftp://127.0.0.1/", "http://[::1/", "http://nosuch.invalid/", f"http://{'a' * 70}.invalid/"),
        *("http://127.0.0.1:99999/", "http://\ud800/", "http://", ""),
    ],
)
def test_what_leads_nowhere_is_told_and_not_raised(url: str) -> None:
    answer = fetch(url, Access())
    assert answer.status is None
    assert answer.trouble.startswith("cannot be read: ")


def test_a_refused_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "refused" in fetch(f"http://127.0.0.1:{port}/", Access()).trouble


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    with pages(lambda _: (200, "hello")) as server:
        during = threading.active_count()
        fetch(server.url, Access())
        fetch("http://127.0.0.1:1/", Access())
        assert {thread.name for thread in threading.enumerate() if isinstance(thread, threading.Timer)} == set()
    assert threading.active_count() == before < during


def test_a_stop_breaks_it_off_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with peer(say_nothing) as server:
        answer = fetch_unless(server.asked.is_set, server.url, Access(), method="POST", timeout_s=TIMEOUT_S)
        assert server.left.wait(TIMEOUT_S)
    assert answer.trouble == "was broken off"
    assert server.request.startswith(b"POST")
    assert threading.active_count() == before


def test_who_raises_breaks_it_off_too() -> None:
    class Stopped(Exception): ...

    def stop() -> bool:
        if server.asked.is_set():
            raise Stopped
        return False

    before = threading.active_count()
    with peer(say_nothing) as server, pytest.raises(Stopped):
        fetch_unless(stop, server.url, Access(), method="GET", timeout_s=TIMEOUT_S)
    assert threading.active_count() == before


def test_a_stop_does_not_wait_for_what_cannot_be_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the search for a host: the thread ends when that does."""
    found, asked = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> Answer:
        asked.set()
        assert found.wait(TIMEOUT_S)
        return Answer(200, 0, 0)

    monkeypatch.setattr("fluxperf.fetch.fetch", hang)
    monkeypatch.setattr("fluxperf.fetch.STOP_JOIN_S", 0.01)
    answer = fetch_unless(asked.is_set, "http://h/", Access(), method="GET", timeout_s=TIMEOUT_S)
    assert (answer.ok, answer.trouble) == (False, "was broken off")
    found.set()


def test_after_a_stop_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("fluxperf.fetch.fetch", lambda *url, **_: asked.append(url))
    answer = fetch_unless(lambda: True, "http://h/", Access(), method="POST", timeout_s=TIMEOUT_S)
    assert (answer.trouble, asked) == ("was broken off", [])


def test_without_a_stop_it_is_the_answer() -> None:
    with pages(lambda _: (200, "hello")) as server:
        assert fetch_unless(lambda: False, server.url, Access(), method="GET", timeout_s=TIMEOUT_S).text == "hello"


def test_what_has_moved_on_its_server_is_followed() -> None:
    with pages(lambda path: (200, "hello") if path == "/c" else (302, {"/a": "/b", "/b": "/c"}[path])) as server:
        url, answer = fetch_moved(f"{server.url}/a", Access())
        assert (url, answer.text, server.paths) == (f"{server.url}/c", "hello", ["/a", "/b", "/c"])


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/", "http://[", "/for/ever", ""])
def test_no_other_server_is_followed_to_and_nobody_for_ever(target: str) -> None:
    with pages(lambda _: (302, target)) as server:
        assert fetch_moved(f"{server.url}/a", Access())[1].status == 302
        assert len(server.paths) <= 4


def test_http2() -> None:
    with running_mock() as url:
        answer = fetch(f"{url}/health", Access({"connection": "keep-alive"}, http2=True))
        assert answer.ok, answer.trouble
