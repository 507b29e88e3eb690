from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from fluxperf.fetch import Access
from fluxperf.watch.meaning import Kind
from fluxperf.watch.page import PageMetrics
from fluxperf.watch.prometheus import Monitor, Source, find_source, open_monitor
from fluxperf.watch.promql import Selector, parse_selector
from fluxperf.watch.series import Found, Series, Unavailable, Window
from fluxperf.watch.server import ServerMetrics
from tests.watch.monitored import Reply, pages

S = 1_000_000_000
PAGE = "# TYPE a gauge\na 1\nb_total 2\n"
TIME = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [1700000000.5, "1700000000.5"]}})


def prometheus(path: str) -> Reply:
    """As Prometheus 2 answers: it has a page of its own metrics, and leads browsers to its graphs."""
    replies = {
        "/": (302, "/graph"),
        "/graph": (200, "<!DOCTYPE html>"),
        "/metrics": (200, "prometheus_build_info 1\n"),
        "/api/v1/query?query=time%28%29": (200, TIME),
    }
    return replies.get(path, (404, "404 page not found"))


def below(prefix: str, path: str) -> Reply:
    """The same with a path before everything."""
    return prometheus(path.removeprefix(prefix)) if path.startswith(prefix) else (404, "")


def found(url: str) -> Source | Unavailable:
    return find_source(url, [parse_selector("a")], Access())


@pytest.mark.parametrize(
    "path", ["", "/", "/graph", "/graph?g0.expr=up&g0.tab=1", "/api/v1/query", "/api/v1/query_range", "/api/v1/"]
)
def test_a_prometheus_server(path: str) -> None:
    with pages(prometheus) as server:
        source = found(server.url + path)
        assert isinstance(source, ServerMetrics)
        assert source.address == f"a Prometheus server, {server.url}"


@pytest.mark.parametrize("path", ["/a/b", "/a/b/", "/a/b/graph", "/a/b/api/v1/query"])
def test_a_prometheus_server_below_a_path(path: str) -> None:
    with pages(lambda asked: below("/a/b", asked)) as server:
        source = found(server.url + path)
        assert isinstance(source, ServerMetrics)
        assert source.address == f"a Prometheus server, {server.url}/a/b"


def test_parameters_of_a_server_are_kept() -> None:
    with pages(lambda path: (200, TIME) if "tenant=x" in path and "query" in path else (404, "")) as server:
        assert isinstance(found(f"{server.url}?tenant=x"), ServerMetrics)


@pytest.mark.parametrize("path", ["/metrics", "/prometheus/metrics", "/stats?format=prometheus", "/"])
def test_a_page_at_any_path(path: str) -> None:
    with pages(lambda asked: (200, PAGE) if asked == path else (404, "")) as server:
        source = found(server.url + path)
        assert isinstance(source, PageMetrics)
        assert source.url == server.url + path
        assert server.paths == [path]


def test_the_page_of_a_prometheus_server_is_that_page() -> None:
    with pages(prometheus) as server:
        assert isinstance(found(f"{server.url}/metrics"), PageMetrics)


def test_a_page_that_has_moved_on_the_same_server() -> None:
    with pages(lambda path: (200, PAGE) if path == "/metrics/" else (307, "/metrics/")) as server:
        source = found(f"{server.url}/metrics")
        assert isinstance(source, PageMetrics)
        assert source.url == f"{server.url}/metrics/"


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/metrics", "http://[", "/metrics", ""])
def test_no_other_server_is_followed_to_and_nobody_for_ever(target: str) -> None:
    with pages(lambda path: (302, target)) as server:
        source = found(f"{server.url}/metrics")
        assert isinstance(source, Unavailable)
        assert "answered with status 302" in source.why


def test_a_page_below_what_was_given() -> None:
    said: list[str] = []
    with pages(lambda path: (200, PAGE) if path == "/metrics" else (404, "")) as server:
        monitor = open_monitor(server.url, ["a"], Access(), said.append)
    assert monitor.address == f"a page of metrics, {server.url}/metrics"
    assert said == [f"--prometheus-url: the page of metrics is {server.url}/metrics"]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ((404, ""), "answered with status 404, and no Prometheus server is there"),
        ((500, PAGE), "answered with status 500, and no Prometheus server is there"),
        ((200, "<html>"), "is no page of metrics, and no Prometheus server is there"),
        ((200, json.dumps({"status": "ok"})), "is no page of metrics, and no Prometheus server is there"),
        ((200, ""), "has no metrics (yet), and no Prometheus server is there"),
    ],
)
def test_what_is_neither(reply: Reply, why: str) -> None:
    with pages(lambda _: reply) as server:
        source = found(f"{server.url}/x")
    assert isinstance(source, Unavailable)
    assert source.why == f"{server.url}/x {why}"


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    source = found(f"http://user:secret@127.0.0.1:{port}/metrics")
    assert isinstance(source, Unavailable)
    assert source.why.startswith(f"http://127.0.0.1:{port}/metrics cannot be read: ")


@pytest.mark.parametrize("url", ["", "nonsense", "http://[", "http://[::1", "ftp://h/metrics", "http://h:port/"])
def test_what_is_no_url_is_told(url: str) -> None:
    assert isinstance(found(url), Unavailable)


def test_a_metric_that_is_none_is_the_users_mistake() -> None:
    with pytest.raises(ValueError, match=r"'rate\(b\)' is an expression"):
        open_monitor("http://127.0.0.1:1/metrics", ["a", "rate(b)"], Access(), lambda _: None)


def test_nobody_there_is_said_once_and_asked_again_before_each_round() -> None:
    said: list[str] = []
    up = False
    with pages(lambda _: (200, PAGE) if up else (503, "loading")) as server:
        monitor = open_monitor(f"{server.url}/metrics", ["a", "b"], Access(), said.append)
        monitor.begin()
        monitor.end()
        assert monitor.figures(1, 2) == {
            name: {"unavailable": f"{server.url}/metrics answered with status 503, and no Prometheus server is there"}
            for name in ("a", "b")
        }
        up = True
        monitor.begin()
        monitor.end()
    assert monitor.figures(1, 2)["a"]["avg"] == 1
    (complaint,) = said
    assert complaint.startswith("--prometheus-url: ")
    assert complaint.endswith("the run goes on, and it is asked again before each round")


def test_metrics_that_are_not_there_are_said_before_the_first_round() -> None:
    said: list[str] = []
    with pages(lambda _: (200, PAGE)) as server:
        open_monitor(server.url, ["a", "aa", 'b{c="d"}', "aa"], Access(), said.append)
    assert said == [
        "--prometheus-metrics aa: the page has no such metric; it has: a",
        '--prometheus-metrics b{c="d"}: the page has the metric, but not with these labels; it has: b_total',
    ]


class Told:
    """A source that notes what it is asked for."""

    address = "told"

    def __init__(self, *series: Series) -> None:
        self.series = series
        self.calls: list[Any] = []

    def begin(self) -> None:
        self.calls.append("begin")

    def end(self) -> None:
        self.calls.append("end")

    def names(self) -> Sequence[str]:
        return ["a"]

    def lacks(self, selector: Selector) -> str | None:
        return None

    def find(self, selector: Selector, window: Window) -> Found | Unavailable:
        self.calls.append(window)
        chosen = [one for one in self.series if selector.accepts(dict(one.labels))]
        if not chosen:
            return Unavailable("nothing")
        return Found(Kind.GAUGE, "a", chosen, no_before="", no_after="")


def monitor(source: Source, metrics: Sequence[str], clock: int = 0) -> Monitor:
    return Monitor([parse_selector(text) for text in metrics], lambda: source, lambda: clock)


def test_metrics_go_by_the_words_of_the_user_and_series_by_their_names() -> None:
    engines = [Series("a", (("e", number),), [(5, value)]) for number, value in (("0", 1.0), ("1", 3.0))]
    figures = monitor(Told(*engines), ["a", ' a{ e = "1" }', 'a{e="7"}']).figures(1, 10)
    assert list(figures) == ["a", 'a{e="0"}', 'a{e="1"}', ' a{ e = "1" }', 'a{e="7"}']
    assert [found.get("avg") for found in figures.values()] == [2, 1, 3, 3, None]
    assert figures['a{e="7"}'] == {"unavailable": "nothing"}


def test_a_series_that_was_asked_for_stands_once() -> None:
    engines = [Series("a", (("e", number),), [(5, 1.0)]) for number in "01"]
    assert list(monitor(Told(*engines), ['a{e="1"}', "a"]).figures(1, 10)) == ['a{e="1"}', "a", 'a{e="0"}']


@pytest.mark.parametrize("broken", ["begin", "end", "find"])
def test_what_goes_wrong_inside_costs_figures_and_no_run(broken: str) -> None:
    class Odd(Told):
        def fail(self, *_: object) -> Any:
            raise OverflowError("too large")

    source = Odd(Series("a", (), [(5, 1.0)]))
    setattr(source, broken, source.fail)
    watch = monitor(source, ["a", "b"])
    watch.begin()
    watch.end()
    failure = {"unavailable": "internal error: OverflowError: too large"}
    assert watch.figures(1, 10) == {"a": failure, "b": failure}
    delattr(source, broken)
    watch.begin()
    watch.end()
    assert watch.figures(1, 10)["a"]["avg"] == 1


def test_a_round_knows_when_the_one_before_ended() -> None:
    source = Told()
    watch = monitor(source, ["a"], clock=7)
    for _ in range(2):
        watch.begin()
        watch.end()
        watch.figures(1, 2)
        watch.figures(1, 2)
    first, second = Window(1, 2), Window(1, 2, quiet_ns=7)
    assert source.calls == ["begin", "end", first, first, "begin", "end", second, second]
    assert watch.address == "told"
