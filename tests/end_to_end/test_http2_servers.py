"""HTTP/2 against hypercorn, with and without TLS: nothing is lost or mixed up, and the result says what was spoken."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.command import TIMEOUT_S, Fluxperf
from tests.end_to_end.gateways import hypercorn
from tests.end_to_end.servers import PATH, Mock, Serve
from tests.engine.certificates import Authority


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with hypercorn() as url:
        yield url


def kept_requests(fluxperf: Fluxperf, concurrency: int, number: int) -> dict[str, str]:
    """The answers by prompt."""
    path = fluxperf.out / f"requests_concurrency_{concurrency}_round_{number}.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {line["body"]["messages"][-1]["content"]: line["text"] for line in lines}


def test_many_requests_at_once_on_few_streams(fluxperf: Fluxperf, url: str) -> None:
    fluxperf.write_prompts(240)
    options = "--http 2 --concurrency 120 --streams-per-connection 8 --workers 2 --save-requests"
    assert fluxperf.measure(url, options).code == 0
    for number in (1, 2):
        found = fluxperf.round(120, number)
        assert found["summary"]["outcomes"] == {"ok": 240}
        assert (found["configuration"]["http_version"], found["configuration"]["tls"]) == ("2", None)
        assert (found["configuration"]["streams_per_connection"], found["configuration"]["insecure"]) == (8, False)
        rows = found["requests"]
        assert {(row["wait_ms"], row["connect_ms"], row["resent"]) for row in rows} == {(0, 0, 0)}
        said = kept_requests(fluxperf, 120, number)
        assert len(said) == 240
        assert all(text == f"{prompt} " for prompt, text in said.items())


def test_a_server_that_allows_few_streams_gets_more_connections(fluxperf: Fluxperf) -> None:
    (fluxperf.place / "hypercorn.toml").write_text("h2_max_concurrent_streams = 3\n")
    fluxperf.write_prompts(60)
    with hypercorn(config=str(fluxperf.place / "hypercorn.toml")) as url:
        assert fluxperf.measure(url, "--http 2 --concurrency 30 --rounds 1").code == 0
    found = fluxperf.round(30, 1)
    assert found["summary"]["outcomes"] == {"ok": 60}
    assert {(row["wait_ms"], row["connect_ms"]) for row in found["requests"]} == {(0, 0)}


def test_without_tls_auto_is_http_1(fluxperf: Fluxperf, url: str) -> None:
    fluxperf.write_prompts(4)
    assert fluxperf.measure(url, "--rounds 1").code == 0
    configuration = fluxperf.round(10, 1)["configuration"]
    assert (configuration["http_version"], configuration["tls"]) == ("1.1", None)
    assert configuration["streams_per_connection"] is None


def test_models_are_listed_over_the_protocol_of_the_run(fluxperf: Fluxperf, url: str) -> None:
    fluxperf.write_prompts(4)
    run = f"--endpoint {url} --dataset prompts.jsonl --output-dir out --rounds 1"
    for http in ("2", "1.1"):
        assert fluxperf(f"{run} --http {http} --overwrite").code == 0
        assert fluxperf.round(10, 1)["configuration"]["model"] == f"model of HTTP/{http}"


def test_with_tls_auto_is_what_the_server_picks(fluxperf: Fluxperf, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.server_files()
    fluxperf.write_prompts(12)
    with hypercorn("--certfile", cert, "--keyfile", key) as url:
        assert url.startswith("https://")
        assert fluxperf.measure(url, f"--ca-file {authority.ca_file} --rounds 1 --concurrency 6").code == 0
    found = fluxperf.round(6, 1)
    assert (found["configuration"]["http_version"], found["configuration"]["tls"]) == ("2", "TLSv1.3")
    assert found["summary"]["outcomes"] == {"ok": 12}


def test_an_interrupt_cuts_off_what_is_in_flight(fluxperf: Fluxperf, url: str) -> None:
    prompts = [*(f"quick {number}" for number in range(6)), *(f"hang {number}" for number in range(6))]
    (fluxperf.place / "prompts.jsonl").write_text("".join(f"{json.dumps({'text': text})}\n" for text in prompts))
    running = fluxperf.start(fluxperf.measuring(url, "--http 2 --concurrency 7 --workers 1"))
    running.wait_until(lambda: hanging(url) == 6)
    running.press_ctrl_c()
    assert running.end().code == 130
    summary = fluxperf.round(7, 1)["summary"]
    assert summary["outcomes"] == {"ok": 6, "cut_off": 6}
    assert summary["partial"] is True


def hanging(url: str) -> int:
    """How many requests the server does not end."""
    with urllib.request.urlopen(url.removesuffix(PATH) + "/hanging", timeout=TIMEOUT_S) as answer:
        return int(answer.read())


@pytest.mark.parametrize("words", [3, 30_000])
def test_prompts_of_any_length(fluxperf: Fluxperf, mock: Mock, words: int) -> None:
    fluxperf.write_prompts(4, words=words)
    assert fluxperf.measure(mock.url, "--http 2 --concurrency 2 --rounds 1").code == 0
    assert fluxperf.round(2, 1)["summary"]["successful_requests"] == 4
    assert mock.truth()["requests"] == 4


def test_a_server_of_http_1_alone_is_named(fluxperf: Fluxperf, serve: Serve) -> None:
    server = serve(lambda exchange: exchange.stream("a"))
    fluxperf.write_prompts(3)
    ended = fluxperf.measure(server.url, "--http 2")
    assert ended.code == 3
    assert "HTTP/2" in ended.err
    assert "use --http 1.1" in ended.err
    assert server.bodies == []
