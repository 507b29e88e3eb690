from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from fluxperf.engine import preflight
from fluxperf.engine.connection import Address
from fluxperf.engine.dial import Route
from fluxperf.engine.preflight import Found, Wishes, find_route, list_models
from fluxperf.engine.tls import Trust
from fluxperf.errors import ServerUnreachable
from tests.engine.scripted import has_ipv6, response

PATIENCE_S = 10
IPV4, IPV6 = "127.0.0.1", "::1"
PLAIN = Found(Route(Address(socket.AF_INET, (IPV4, 0))), "1.1", None)


def find_address(url: str) -> Address:
    """Where the server is."""
    return find_route(url, Wishes()).route.address


@contextlib.contextmanager
def listening(host: str) -> Iterator[int]:
    """A socket that takes connections, on this address alone; gives its port."""
    with socket.create_server((host, 0), family=family_of(host)) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that is taken, but on which nobody listens."""
    with socket.socket() as taken:
        taken.bind((IPV4, 0))
        yield taken.getsockname()[1]


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses that names stand for; a name that is not in it is not known."""
    known: dict[str, list[str]] = {}
    look_up = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [found for address in known[host] for found in look_up(address, *arguments, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


# Addresses.


@pytest.mark.parametrize("host", [IPV4, pytest.param(IPV6, marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6"))])
@pytest.mark.parametrize("order", [[IPV4, IPV6], [IPV6, IPV4]], ids=["IPv4 first", "IPv6 first"])
def test_a_name_with_two_addresses_is_the_one_that_answers(
    name_server: dict[str, list[str]], order: list[str], host: str
) -> None:
    name_server["localhost"] = order
    with listening(host) as port:
        found = find_address(f"http://localhost:{port}/v1/chat/completions")
    assert found.family is family_of(host)
    assert str(found) == (f"{host}:{port}" if host == IPV4 else f"[{host}]:{port}")


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6")
def test_an_address_of_ipv6_in_the_url() -> None:
    with listening(IPV6) as port:
        assert str(find_address(f"http://[::1]:{port}/v1/chat/completions")) == f"[::1]:{port}"


def test_localhost_is_found() -> None:
    with listening(IPV4) as port:
        assert str(find_address(f"http://localhost:{port}/")) == f"127.0.0.1:{port}"


def test_the_first_that_answers_is_taken(name_server: dict[str, list[str]]) -> None:
    name_server["host"] = [IPV4, "127.0.0.2"]
    with listening(IPV4) as port:
        assert find_address(f"http://host:{port}/") == Address(socket.AF_INET, (IPV4, port))


def test_a_refused_connection_is_named_for_each_address(name_server: dict[str, list[str]]) -> None:
    name_server["host"] = [IPV4, "127.0.0.2"]
    with closed_port() as port, pytest.raises(ServerUnreachable) as caught:
        find_address(f"http://host:{port}/v1/chat/completions")
    assert str(caught.value) == (
        f"cannot connect to host:{port} (127.0.0.1:{port}: connection refused; 127.0.0.2:{port}: connection refused): "
        "is the server up?"
    )


def test_an_unknown_host_is_named(name_server: dict[str, list[str]]) -> None:
    with pytest.raises(
        ServerUnreachable, match=r"cannot find the host 'nowhere\.test' \(DNS\): Name or service not known"
    ):
        find_address("http://nowhere.test/v1/chat/completions")
    assert name_server == {}


@pytest.mark.parametrize(("url", "port"), [("http://host/v1", 80), ("http://host:8000/v1", 8000)])
def test_the_port_is_that_of_the_url(monkeypatch: pytest.MonkeyPatch, url: str, port: int) -> None:
    asked: list[tuple[str, int]] = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append((host, port))
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(ServerUnreachable, match="cannot connect to host"):
        find_address(url)
    assert asked == [("host", port)]


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "CONNECT_TIMEOUT_S", 0.01)
    with socket.create_server((IPV4, 0), backlog=0) as full, contextlib.ExitStack() as stack:
        for _ in range(2):  # more than the kernel lets wait
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with pytest.raises(ServerUnreachable, match=r"no answer within 0\.01 s"):
            find_address(f"http://127.0.0.1:{full.getsockname()[1]}/")


# Models.


@dataclass
class Visit:
    """One connection to a server: its port, what the client sent, and whether the client closed it."""

    port: int
    request: bytes = b""
    closed: bool = False

    @property
    def line(self) -> str:
        return self.request.split(b"\r\n")[0].decode()


@contextlib.contextmanager
def visited(answer: bytes, *, hang_up: bool = False) -> Iterator[Visit]:
    """A server that gives one answer and waits for the client to close, unless it hangs up itself."""
    with socket.create_server((IPV4, 0)) as server:
        server.settimeout(PATIENCE_S)
        visit = Visit(server.getsockname()[1])

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(PATIENCE_S)
                while b"\r\n\r\n" not in visit.request:
                    visit.request += connection.recv(65_536)
                connection.sendall(answer)
                visit.closed = not hang_up and connection.recv(1) == b""

        thread = threading.Thread(target=serve)
        thread.start()
        yield visit
        thread.join()


def listing(value: object) -> bytes:
    return response(json.dumps(value).encode(), "Content-Type: application/json")


def ask(visit: Visit, path: str = "/v1/chat/completions", **headers: str) -> list[str] | None:
    return list_models(f"http://127.0.0.1:{visit.port}{path}", headers, PLAIN, Trust())


@pytest.mark.parametrize(
    ("value", "models"),
    [
        ({"object": "list", "data": [{"id": "llama", "object": "model"}]}, ["llama"]),
        ({"data": [{"id": "a"}, {"id": "b", "extra": None}]}, ["a", "b"]),
        ({"data": []}, []),
        ({"data": [{"id": None}, {"id": 7}, {"id": "a"}]}, ["a"]),
        ({"data": None}, None),
        ({"data": [{"name": "a"}]}, None),
        ({"data": ["a"]}, None),
        ({"models": ["a"]}, None),
        ([{"id": "a"}], None),
        ("a", None),
        (None, None),
    ],
)
def test_the_models_of_a_list(value: object, models: list[str] | None) -> None:
    with visited(listing(value)) as visit:
        assert ask(visit) == models


@pytest.mark.parametrize(
    "answer",
    [
        response(b"<html></html>", "Content-Type: text/html"),
        response(b'{"detail": "Not Found"}', status="404 Not Found"),
        response(b"", status="500 Internal Server Error"),
        response(b"", "Location: /elsewhere", status="307 Temporary Redirect"),
        response(b"\xff\xfe"),
        response(b"[" * 100_000),
        response(b"not gzip", "Content-Encoding: gzip"),
        response(b"cut short")[:-3],
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ],
    ids=["HTML", "404", "500", "redirect", "not UTF-8", "too deep", "not gzip", "cut short", "no HTTP", "nothing"],
)
def test_any_other_answer_is_no_list(answer: bytes) -> None:
    with visited(answer, hang_up=True) as visit:
        assert ask(visit) is None


def test_a_server_that_is_not_there_has_no_list() -> None:
    with closed_port() as port:
        assert list_models(f"http://127.0.0.1:{port}/v1/chat/completions", {}, PLAIN, Trust()) is None


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v1/chat/completions", "/v1/models"),
        ("/v1/chat/completions/", "/v1/models"),
        ("/v1/completions", "/v1/models"),
        ("/openai/v1/chat/completions", "/openai/v1/models"),
        ("/v1/chat/completions?api-version=1&key=a%20b", "/v1/models?api-version=1&key=a%20b"),
        ("/a%2Fb/chat/completions", "/a%2Fb/models"),
        ("/chat/completions", "/models"),
        ("/generate", "/generate/models"),
        ("", "/models"),
    ],
)
def test_the_list_stands_beside_the_endpoint(path: str, target: str) -> None:
    with visited(listing({"data": []})) as visit:
        ask(visit, path)
    assert visit.line == f"GET {target} HTTP/1.1"


def test_the_question_has_the_headers_of_the_run_and_its_connection_is_closed() -> None:
    with visited(listing({"data": []})) as visit:
        ask(visit, **{"authorization": "Bearer key", "x-tenant": "a", "connection": "keep-alive"})
    lines = visit.request.decode().lower().split("\r\n")
    assert {"authorization: bearer key", "x-tenant: a", "connection: close"} <= set(lines)
    assert "connection: keep-alive" not in lines
    assert visit.closed


def test_proxy_variables_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as port, visited(listing({"data": [{"id": "a"}]})) as visit:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert ask(visit) == ["a"]
