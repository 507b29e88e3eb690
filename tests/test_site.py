from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

import fluxperf
from fluxperf.engine.connection import Address
from fluxperf.engine.dial import Route
from fluxperf.engine.preflight import Found
from fluxperf.engine.tls import Trust
from fluxperf.errors import ServerUnreachable, UsageError
from fluxperf.fetch import fetch
from fluxperf.plan.settings import Settings
from fluxperf.site import DEFAULT_MODEL, KEY_VARIABLES, PROXY_VARIABLES, Site, find_key, find_site, make_headers

KEY = "sk-secret"


def asked(**changes: Any) -> Settings:
    return Settings(dataset="d", **changes)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEY_VARIABLES, *PROXY_VARIABLES, *map(str.upper, PROXY_VARIABLES)):
        monkeypatch.delenv(name, raising=False)


# The key.


def test_without_a_key_there_is_none() -> None:
    assert find_key(asked()) is None


def test_the_key_is_from_the_option_else_the_named_variable_else_the_known_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "third")
    assert find_key(asked()) == "third"
    monkeypatch.setenv("FLUXPERF_API_KEY", "second")
    assert find_key(asked()) == "second"
    monkeypatch.setenv("MY_KEY", " first\n")
    assert find_key(asked(api_key_env="MY_KEY")) == "first"
    assert find_key(asked(api_key_env="MY_KEY", api_key=KEY)) == KEY


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXPERF_API_KEY", " ")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert find_key(asked()) == KEY


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_a_variable_that_was_named_must_hold_a_key(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(UsageError, match="--api-key-env MY_KEY: there is no such environment variable, or it is empty"):
        find_key(asked(api_key_env="MY_KEY"))


def test_a_key_that_no_header_can_carry_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\r\nX-Evil: 1")
    with pytest.raises(UsageError, match="environment variable OPENAI_API_KEY cannot be used: the key holds") as caught:
        find_key(asked())
    assert KEY not in str(caught.value)


# The headers.


def test_what_every_request_carries() -> None:
    assert make_headers(asked(), None) == {
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "keep-alive",
        "user-agent": f"fluxperf/{fluxperf.__version__}",
        "content-type": "application/json",
    }


def test_the_key_is_a_bearer_token() -> None:
    assert make_headers(asked(), KEY)["authorization"] == f"Bearer {KEY}"


def test_a_header_of_the_users_replaces_ours_of_that_name() -> None:
    given = (("Authorization", "Basic abc"), ("USER-AGENT", "mine"), ("X-A", "1"), ("x-a", "2"))
    headers = make_headers(asked(header=given), KEY)
    assert headers["authorization"] == "Basic abc"
    assert headers["user-agent"] == "mine"
    assert headers["x-a"] == "2"
    assert all(name.islower() for name in headers)


# The server.


class Server:
    """Answers every GET alike and keeps what was asked for."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.requests: list[tuple[str, dict[str, str]]] = []
        server = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append((self.path, {name.lower(): text for name, text in self.headers.items()}))
                self.send_response(server.status)
                self.send_header("Content-Length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.http = HTTPServer(("127.0.0.1", 0), Answer)

    def lists(self, *models: str) -> None:
        self.body = json.dumps({"object": "list", "data": [{"id": model} for model in models]}).encode()

    def url(self, path: str = "/v1/chat/completions", user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.http.server_port}{path}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def look(endpoint: str, say: Callable[[str], None] = lambda _: None, **changes: Any) -> Site:
    return find_site(endpoint, asked(endpoint=endpoint, **changes), say)


def test_the_one_model_that_is_listed_is_used(server: Server) -> None:
    server.lists("org/model")
    site = look(server.url())
    assert (site.model, site.model_from) == ("org/model", "listed by the server")
    assert (site.url, str(site.found.route.address)) == (server.url(), f"127.0.0.1:{server.http.server_port}")


def test_a_model_that_is_given_is_used_and_nothing_asked(server: Server) -> None:
    server.lists("a", "b")
    site = look(server.url(), model="c")
    assert (site.model, site.model_from) == ("c", "given")
    assert server.requests == []


def test_of_several_models_one_must_be_chosen(server: Server) -> None:
    server.lists("a", "b")
    with pytest.raises(UsageError, match=r"--model is missing and the server lists several; choose one: a, b$"):
        look(server.url())
    server.lists(*(f"m{number}" for number in range(30)))
    with pytest.raises(UsageError, match=r": m0, .*, m19, \.\.\.$"):
        look(server.url())


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"detail": "Not Found"}'),
        (200, b""),
        (200, b"<html>"),
        (200, b"\xff"),
        (200, b"[]"),
        (200, b"null"),
        (200, b"[" * 100_000),
        (200, b'{"data": []}'),
        (200, b'{"data": null}'),
        (200, b'{"data": ["a"]}'),
        (200, b'{"data": [{"name": "a"}]}'),
        (200, b'{"data": [{"id": 5}]}'),
    ],
)
def test_where_there_is_no_list_the_usual_name_serves(server: Server, status: int, body: bytes) -> None:
    server.status, server.body = status, body
    site = look(server.url())
    assert (site.model, site.model_from) == (DEFAULT_MODEL, "default: the server lists none")


@pytest.mark.parametrize(
    ("endpoint", "models"),
    [
        ("/v1/chat/completions", "/v1/models"),
        ("/v1/chat/completions/", "/v1/models"),
        ("/deep/api/v3/chat/completions", "/deep/api/v3/models"),
        ("/chat/completions", "/models"),
        ("/v1/chat/completions?api-version=1&b=%20", "/v1/models?api-version=1&b=%20"),
    ],
)
def test_models_are_looked_for_beside_the_endpoint(server: Server, endpoint: str, models: str) -> None:
    look(server.url(endpoint))
    assert [path for path, _ in server.requests] == [models]


def test_the_question_carries_what_requests_carry_and_closes_its_connection(server: Server) -> None:
    look(server.url(), api_key=KEY, header=(("X-A", "1"),))
    ((_, headers),) = server.requests
    assert (headers["authorization"], headers["x-a"], headers["connection"]) == (f"Bearer {KEY}", "1", "close")


def test_proxies_are_ignored_and_said_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    server.lists("m")
    said: list[str] = []
    assert look(server.url(), said.append).model == "m"
    assert said == ["proxy variables are ignored: http_proxy, https_proxy"]


def test_nothing_is_said_where_nothing_is_ignored(server: Server) -> None:
    said: list[str] = []
    look(server.url(), said.append, model="m")
    assert said == []


def test_insecure_is_said_where_there_is_a_certificate_to_verify(server: Server) -> None:
    said: list[str] = []
    look(server.url(), said.append, model="m", insecure=True)
    assert said == ["the endpoint is http://, without TLS: --ca-file, --client-cert and --insecure do nothing"]
    said.clear()
    with pytest.raises(ServerUnreachable, match=r"is it a server without TLS\?"):
        look(server.url().replace("http://", "https://"), said.append, model="m", insecure=True)
    assert said == ["--insecure: the server's certificate is not verified, so it may be anybody"]


def test_the_version_of_http_and_of_tls_is_part_of_what_is_found(server: Server) -> None:
    site = look(server.url(), model="m", streams_per_connection=3)
    assert (site.found.http_version, site.found.tls) == ("1.1", None)
    assert (site.found.route.streams_per_connection, site.found.route.context) == (3, None)


def test_secrets_are_the_key_and_the_password_as_written_as_meant_and_as_sent(server: Server) -> None:
    site = look(server.url(user="me:p%40ss@"), api_key=KEY)
    assert set(site.secrets) == {KEY, "p%40ss", "p@ss", "bWU6cEBzcw=="}
    assert site.shown_url == server.url()
    assert look(server.url()).secrets == ()


def test_secrets_are_also_those_of_the_other_urls(server: Server) -> None:
    site = look(
        server.url(), model="m", reset_cache_url="http://h/reset?token=first", prometheus_url="http://me:second@h/"
    )
    assert set(site.secrets) == {"first", "second", "bWU6c2Vjb25k"}


# What is asked for beside a run.


def site_at(url: str, **changes: Any) -> Site:
    """A site of which nothing but the URL was looked for."""
    route = Route(Address(socket.AF_INET, ("127.0.0.1", 80)))
    found = Found(route, changes.pop("http_version", "1.1"), "TLSv1.3" if url.startswith("https") else None)
    settings = asked(endpoint=url, header=(("X-Tenant", "a"),))
    facts = {"model": "m", "model_from": "given", "secrets": (), "trust": Trust(), **changes}
    return Site(url, found, make_headers(settings, KEY), **facts)


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("/v1/chat/completions", ""),
        ("/v1/chat/completions/", ""),
        ("/v1/completions", ""),
        ("/chat/completions?api-version=1", ""),
        ("/deep/api/v1/chat/completions", "/deep/api"),
        ("/api/v3/chat/completions", "/api/v3"),
        ("/generate", "/generate"),
        ("", ""),
        ("/", ""),
    ],
)
def test_the_base_is_what_stands_before_the_path_of_the_api(path: str, base: str) -> None:
    assert site_at(f"http://h:8000{path}").base == f"http://h:8000{base}"


def test_the_base_keeps_who_one_is() -> None:
    assert site_at("http://me:pass@[::1]:8000/v1/chat/completions#top").base == "http://me:pass@[::1]:8000"


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://h:8000/v1/chat/completions", "http://h:8000/metrics"),
        ("http://H:8000/v1/chat/completions", "HTTP://h:8000/"),
        ("http://h/v1/chat/completions", "http://h:80/metrics"),
        ("https://h:443/v1/chat/completions", "https://h/metrics?a=b"),
        ("http://me:pass@h/v1/chat/completions", "http://h/reset"),
    ],
)
def test_the_server_itself_is_asked_with_what_requests_carry(endpoint: str, url: str) -> None:
    assert dict(site_at(endpoint).access_to(url).headers) == {
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": f"fluxperf/{fluxperf.__version__}",
        "authorization": f"Bearer {KEY}",
        "x-tenant": "a",
    }


@pytest.mark.parametrize(
    "url",
    [
        "http://h:9090/metrics",
        "http://other:8000/metrics",
        "https://h:8000/metrics",
        "http://h/metrics",
        "http://h.evil:8000/metrics",
        "http://h:8000@evil/metrics",
    ],
)
def test_nobody_else_gets_the_key(url: str) -> None:
    access = site_at("http://h:8000/v1/chat/completions").access_to(url)
    assert access.headers == {}
    assert not access.http2
    assert (access.context is not None) is url.startswith("https")


def test_the_server_itself_is_spoken_to_as_it_speaks() -> None:
    url = "https://h/v1/chat/completions"
    access = site_at(url, http_version="2").access_to("https://h/metrics")
    assert access.http2
    assert access.context is not None
    assert not site_at(url).access_to("https://h/metrics").http2


@pytest.mark.parametrize("url", ["https://h/metrics", "https://other/metrics"])
def test_whoever_is_asked_certificates_are_verified_as_the_user_wants(url: str) -> None:
    endpoint = "https://h/v1/chat/completions"
    verified, unverified = (
        site_at(endpoint, trust=trust).access_to(url).context for trust in (Trust(), Trust(insecure=True))
    )
    assert verified is not None
    assert verified.verify_mode is ssl.CERT_REQUIRED
    assert unverified is not None
    assert unverified.verify_mode is ssl.CERT_NONE


def test_the_key_reaches_the_server_and_no_other(server: Server) -> None:
    site = look(server.url(), model="m", api_key=KEY)
    fetch(server.url("/metrics"), site.access_to(server.url("/metrics")))
    fetch(server.url("/metrics"), site.access_to("http://127.0.0.1:1/metrics"))
    assert [headers.get("authorization") for _, headers in server.requests] == [f"Bearer {KEY}", None]
    assert all(headers["connection"] == "close" for _, headers in server.requests)
    assert all("content-type" not in headers for _, headers in server.requests)


def test_nobody_there_is_named_with_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(
        ServerUnreachable, match=rf"cannot connect to 127\.0\.0\.1:{port} .*connection refused"
    ) as caught:
        look(f"http://127.0.0.1:{port}/v1/chat/completions", model="m")
    assert caught.value.exit_code == 3


def test_a_host_without_an_address_is_named() -> None:
    with pytest.raises(ServerUnreachable, match=r"cannot find the host '.*' \(DNS\): "):
        look(
            f"http://{'x' * 64}.invalid/v1/chat/completions", model="m"
        )  # a label is at most 63 long, so none is asked


def test_a_name_may_lead_to_either_family(server: Server) -> None:
    endpoint = f"http://localhost:{server.http.server_port}/v1/chat/completions"
    assert str(look(endpoint, model="m").found.route.address) == f"127.0.0.1:{server.http.server_port}"
