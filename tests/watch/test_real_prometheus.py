"""Against a real Prometheus that scrapes the mock server each second."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from fluxperf.clock import now_ns
from fluxperf.fetch import Access
from fluxperf.watch.figures import interpolate
from fluxperf.watch.prometheus import open_monitor
from fluxperf.watch.queries import Api
from fluxperf.watch.series import Unavailable
from fluxperf.watch.server import POLL_S
from tests.watch.monitored import TIMEOUT_S, running_mock, running_prometheus, send_many

METRICS = [
    *("vllm:prompt_tokens", 'vllm:request_success_total{finished_reason="length"}', "vllm:num_requests_running"),
    *("vllm:time_to_first_token_seconds", "vllm:no_such_thing", 'vllm:prompt_tokens{engine="7"}'),
]
S = 1_000_000_000


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with running_mock("--replicas", "2", "--decode-ms", "10") as url:
        yield url


@pytest.fixture(scope="module")
def prometheus(mock: str) -> Iterator[str]:
    with running_prometheus(urlsplit(mock).netloc) as url:
        wait_for(Api(url, {}, Access()), "up == 1")
        yield url


def wait_for(api: Api, query: str) -> None:
    """Until it gives something; nobody tells when Prometheus has scraped."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not api.rows(query):
        assert time.monotonic() < deadline_s, f"{query} gives nothing"
        threading.Event().wait(POLL_S)


def rounds(mock: str, url: str, count: int = 1) -> list[dict[str, dict[str, Any]]]:
    """The figures of rounds of six requests that take two seconds each, one right after the other."""
    monitor = open_monitor(url, METRICS, Access(), lambda _: None)
    figures = []
    for _ in range(count):
        monitor.begin()
        began_ns = now_ns()
        send_many(mock, [f"{began_ns} {number} " + "word " * 50 for number in range(6)], tokens=200)
        ended_ns = now_ns()
        monitor.end()
        figures.append(monitor.figures(began_ns, ended_ns))
    return figures


def check(figures: dict[str, dict[str, Any]]) -> None:
    """What any way of watching must find of such a round."""
    tokens, success, running, ttft, nothing, no_engine = (figures[name] for name in METRICS)
    assert tokens["kind"] == success["kind"] == "counter"
    assert success["delta"] == 6
    assert success["rate_per_s"] == pytest.approx(3, rel=0.5)
    assert tokens["delta"] > 6 * 50
    assert tokens["series"] == success["series"] == running["series"] == 2
    assert not {"approximate", "unavailable", "note"} & tokens.keys()
    assert (ttft["kind"], ttft["delta"]) == ("histogram", 6)
    assert 0.005 < ttft["avg"] < 1
    assert ttft["p50"] <= ttft["p90"] <= ttft["p99"]
    assert running["samples"] >= 1
    assert 0 < running["max"] <= 6 / 2
    assert "no such metric" in nothing["unavailable"]
    assert "not with these labels" in no_engine["unavailable"]
    of_engines = [name for name in figures if name.startswith('vllm:prompt_tokens_total{engine="')]
    assert sum(figures[name]["delta"] for name in of_engines) == tokens["delta"]
    assert len(of_engines) == 2


def test_it_finds_what_the_page_tells(mock: str, prometheus: str) -> None:
    by_server = rounds(mock, prometheus, 2)
    by_page = rounds(mock, f"{mock}/metrics", 2)
    for figures in (*by_server, *by_page):
        check(figures)
    assert by_server[0]["vllm:prompt_tokens"]["delta"] == by_page[0]["vllm:prompt_tokens"]["delta"]


def test_its_own_page_is_a_page(prometheus: str) -> None:
    said: list[str] = []
    monitor = open_monitor(f"{prometheus}/metrics", ["prometheus_build_info", "up"], Access(), said.append)
    assert monitor.address == f"a page of metrics, {prometheus}/metrics"
    assert len(said) == 1
    assert said[0].startswith("--prometheus-metrics up: the page has no such metric")


@pytest.mark.parametrize("path", ["", "/", "/graph", "/api/v1/query", "/api/v1/query_range?query=up"])
def test_its_addresses(prometheus: str, path: str) -> None:
    assert open_monitor(prometheus + path, ["up"], Access(), pytest.fail).address == (
        f"a Prometheus server, {prometheus}"
    )


def test_below_a_path(mock: str) -> None:
    with running_prometheus(urlsplit(mock).netloc, "--web.route-prefix=/a/b") as url:
        assert open_monitor(f"{url}/a/b/", [], Access(), pytest.fail).address == f"a Prometheus server, {url}/a/b"


def test_odd_labels_are_no_danger(prometheus: str) -> None:
    odd = r"""up{job!="it's \"odd\" \\ {},|é
",instance=~"127\\.0.*",a!~`\d+ "x"`}"""
    assert open_monitor(prometheus, [odd.replace("\n", r"\n")], Access(), pytest.fail).complaints() == []


def test_histogram_quantile_is_what_prometheus_makes_it(mock: str, prometheus: str) -> None:
    """Of everything so far: the buckets as they stand."""
    send_many(mock, [f"{number} of some" for number in range(8)], tokens=2)
    api = Api(prometheus, {}, Access())
    name = "vllm:time_to_first_token_seconds_bucket"
    wait_for(api, f'sum({name}{{le="+Inf"}}) > 7')
    read = api.clock(TIMEOUT_S)
    assert not isinstance(read, Unavailable)
    at_ns, _ = read
    rows = api.rows(f"sum by (le) ({name})", at_ns)
    assert not isinstance(rows, Unavailable)
    buckets = sorted((float(row.labels["le"]), row.points[0][1]) for row in rows)
    for quantile in (0.1, 0.5, 0.9, 0.95, 0.99, 1):
        theirs = api.rows(f"histogram_quantile({quantile}, sum by (le) ({name}))", at_ns)
        assert not isinstance(theirs, Unavailable)
        assert interpolate(quantile, buckets) == pytest.approx(theirs[0].points[0][1])


def test_rare_samples(mock: str) -> None:
    """Prometheus scrapes every 3 s, rounds take 2 s: what is not known is an estimate, or is said not to be known."""
    with running_prometheus(urlsplit(mock).netloc, interval="3s") as url:
        wait_for(Api(url, {}, Access()), "count_over_time(up[1m]) > 1")
        (figures,) = rounds(mock, url)
    tokens, success, running = (figures[name] for name in METRICS[:3])
    assert success["delta"] == 6  # it waited for the sample after the round
    for found in (tokens, running):
        assert "Prometheus has few samples: it scrapes every 3 s" in found["note"]
    assert running["samples"] in (1, 2)


def test_a_restart() -> None:
    """The server that is watched ends during the round, and another one begins at its place."""
    with running_mock() as first:
        port = urlsplit(first).port or 0
        monitor = open_monitor(f"{first}/metrics", ["vllm:prompt_tokens", "vllm:num_requests_running"], Access(), print)
        monitor.begin()
        began_ns = now_ns()
        send_many(first, ["hello"], tokens=2)
    with running_mock(port=port) as second:
        send_many(second, ["hello", "and a longer prompt than the one before"], tokens=2)
        ended_ns = now_ns()
        monitor.end()
    counter, gauge = monitor.figures(began_ns, ended_ns).values()
    assert "began again during the round" in counter["unavailable"]
    assert gauge["kind"] == "gauge"
