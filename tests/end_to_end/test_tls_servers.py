"""TLS against nginx in front of the mock: both versions of HTTP, goodbyes in the middle, and whom to trust."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.command import Fluxperf
from tests.end_to_end.gateways import NGINX, nginx
from tests.end_to_end.servers import Mock
from tests.engine.certificates import Authority

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

SERVERS = {
    "both": "http2",
    "leaving": "http2; keepalive_requests 10",
    "old": "",
    "few": "http2; http2_max_concurrent_streams 3",
    "strict": "http2; ssl_verify_client on",
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def urls(
    authority: Authority, mock_process: Mock, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    cert, key = authority.server_files()
    folder = tmp_path_factory.mktemp("nginx")
    with nginx(folder, mock_process.url, SERVERS, cert=cert, key=key, ca_file=authority.ca_file) as urls:
        yield urls


@pytest.fixture
def trusting(fluxperf: Fluxperf, authority: Authority) -> str:
    """The option; and there are prompts."""
    fluxperf.write_prompts(240)
    return f"--ca-file {authority.ca_file}"


@pytest.mark.parametrize(
    ("name", "http", "spoken"),
    [("both", "auto", "2"), ("both", "1.1", "1.1"), ("both", "2", "2"), ("old", "auto", "1.1")],
)
def test_the_result_says_what_was_spoken(
    fluxperf: Fluxperf, urls: dict[str, str], mock: Mock, trusting: str, name: str, http: str, spoken: str
) -> None:
    options = f"{trusting} --http {http} --num-samples 20 --concurrency 10 --rounds 1"
    assert fluxperf.measure(urls[name], options).code == 0
    found = fluxperf.round(10, 1)
    assert (found["configuration"]["http_version"], found["configuration"]["tls"]) == (spoken, "TLSv1.3")
    assert found["summary"]["outcomes"] == {"ok": 20}
    assert found["summary"]["ttft_ms"]["min"] > 0
    assert mock.truth()["requests"] == 20


def test_many_requests_at_once_on_few_streams(
    fluxperf: Fluxperf, urls: dict[str, str], mock: Mock, trusting: str
) -> None:
    options = f"{trusting} --concurrency 120 --streams-per-connection 8"
    assert fluxperf.measure(urls["both"], options).code == 0
    for number in (1, 2):
        found = fluxperf.round(120, number)
        assert found["summary"]["outcomes"] == {"ok": 240}
        assert {(row["wait_ms"], row["connect_ms"], row["resent"]) for row in found["requests"]} == {(0, 0, 0)}
        assert all(row["output_events"] == row["output_tokens"] > 0 for row in found["requests"])
    assert mock.truth()["finished"] == 480


def test_a_server_that_says_goodbye_again_and_again_loses_no_request(
    fluxperf: Fluxperf, urls: dict[str, str], mock: Mock, trusting: str
) -> None:
    """Ten requests a connection: nginx then says GOAWAY and does not look at those that are on their way."""
    assert fluxperf.measure(urls["leaving"], f"{trusting} --concurrency 16 --workers 1 --rounds 1").code == 0
    found = fluxperf.round(16, 1)
    assert found["summary"]["outcomes"] == {"ok": 240}
    assert found["summary"]["audit"]["connections_reopened"] >= 20  # four had been opened before the round
    assert mock.truth()["requests"] == 240  # what was sent again had not been looked at


def test_a_server_that_allows_few_streams_gets_more_connections(
    fluxperf: Fluxperf, urls: dict[str, str], mock: Mock, trusting: str
) -> None:
    assert fluxperf.measure(urls["few"], f"{trusting} --concurrency 20 --num-samples 60 --rounds 1").code == 0
    found = fluxperf.round(20, 1)
    assert found["summary"]["outcomes"] == {"ok": 60}
    assert {(row["wait_ms"], row["connect_ms"], row["resent"]) for row in found["requests"]} == {(0, 0, 0)}


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_long_prompts(fluxperf: Fluxperf, urls: dict[str, str], mock: Mock, trusting: str, http: str) -> None:
    fluxperf.write_prompts(3, "long.jsonl", words=30_000)
    options = f"{trusting} --http {http} --concurrency 3 --rounds 1 --dataset long.jsonl"
    line = fluxperf.measuring(urls["both"], options).replace("--dataset prompts.jsonl ", "")
    assert fluxperf(line).code == 0
    assert fluxperf.round(3, 1)["summary"]["outcomes"] == {"ok": 3}
    assert mock.truth()["finished"] == 3


# Trust.


def test_a_server_that_is_not_trusted_is_not_spoken_to(
    fluxperf: Fluxperf, urls: dict[str, str], mock: Mock, trusting: str
) -> None:
    ended = fluxperf.measure(urls["both"])
    assert ended.code == 3
    assert "the server's certificate is not trusted" in ended.err
    assert "--ca-file" in ended.err
    assert mock.truth()["requests"] == 0
    assert not fluxperf.out.exists()


def test_a_host_that_the_certificate_does_not_name_is_not_spoken_to(
    fluxperf: Fluxperf, urls: dict[str, str], trusting: str
) -> None:
    ended = fluxperf.measure(urls["both"].replace("127.0.0.1", "localhost"), trusting)
    assert ended.code == 3
    assert "certificate is not valid for 'localhost'" in ended.err


def test_insecure_warns(fluxperf: Fluxperf, urls: dict[str, str], mock: Mock, trusting: str) -> None:
    ended = fluxperf.measure(urls["both"], "--insecure --num-samples 4 --concurrency 2 --rounds 1")
    assert ended.code == 0
    assert "--insecure: the server's certificate is not verified" in ended.err
    assert "--insecure" not in fluxperf.measure(urls["both"], f"{trusting} --num-samples 2 --concurrency 2").err


def test_a_client_certificate(
    fluxperf: Fluxperf, urls: dict[str, str], authority: Authority, mock: Mock, trusting: str
) -> None:
    cert, key, _ = authority.client_files()
    options = f"{trusting} --num-samples 4 --concurrency 2 --rounds 1"
    ended = fluxperf.measure(urls["strict"], options)
    assert ended.code == 3
    assert "No required SSL certificate was sent" in ended.err
    assert mock.truth()["requests"] == 0
    ended = fluxperf.measure(urls["strict"], f"{options} --client-cert {cert} --client-key {key} --overwrite")
    assert ended.code == 0
    assert fluxperf.round(2, 1)["summary"]["outcomes"] == {"ok": 4}


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--ca-file nowhere.pem", "--ca-file nowhere.pem cannot be read: No such file or directory"),
        ("--ca-file prompts.jsonl", "--ca-file prompts.jsonl holds no certificate in PEM form"),
        ("--client-cert prompts.jsonl", "--client-cert prompts.jsonl is no certificate with its private key"),
        ("--client-key prompts.jsonl", "--client-key needs --client-cert"),
    ],
)
def test_a_file_that_will_not_do_is_wrong_usage(
    fluxperf: Fluxperf, urls: dict[str, str], trusting: str, option: str, words: str
) -> None:
    ended = fluxperf.measure(urls["both"], option)
    assert ended.code == 2
    assert words in ended.err


# What goes wrong.


def test_http_2_that_is_not_there_is_named(fluxperf: Fluxperf, urls: dict[str, str], trusting: str) -> None:
    ended = fluxperf.measure(urls["old"], f"{trusting} --http 2")
    assert ended.code == 3
    assert "HTTP" in ended.err
    assert "--http" in ended.err


def test_a_server_without_tls_is_named(fluxperf: Fluxperf, mock: Mock, trusting: str) -> None:
    ended = fluxperf.measure(mock.url.replace("http://", "https://"), trusting)
    assert ended.code == 3
    assert "is it a server without TLS?" in ended.err


def test_tls_where_none_was_asked_for_is_told_by_the_server(
    fluxperf: Fluxperf, urls: dict[str, str], trusting: str
) -> None:
    ended = fluxperf.measure(urls["both"].replace("https://", "http://"), "--num-samples 4 --concurrency 2")
    assert ended.code == 3
    assert "plain HTTP request was sent to HTTPS port" in ended.err
