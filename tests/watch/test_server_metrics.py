from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fluxperf.fetch import Access, Answer
from fluxperf.watch.figures import APPROXIMATE, describe
from fluxperf.watch.promql import Selector, name_series, parse_selector
from fluxperf.watch.queries import Api
from fluxperf.watch.series import RESET, Unavailable, Window
from fluxperf.watch.server import LOOKBACK_NS, NATIVE, NO_SAMPLE, POLL_S, WAIT_S, ServerMetrics

S = 1_000_000_000
MS = 1_000_000
AHEAD_S = 1_700_000_000
"""The server's clock is Unix time, ours counts from a start."""
PLACE = {"instance": "h:1", "job": "j"}
KEPT_S = 300
_SELECTOR = re.compile(r"\{__name__=~?\"([^\"]*)\"(?:,((?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*))?\}")


class FakePrometheus:
    """Answers just the queries that are needed, from points by seconds on our clock. It shares our clock's pace."""

    def __init__(self) -> None:
        self.now_ns = 22 * S
        self.series: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[float, float]]] = {}
        self.kinds: dict[str, str] = {}
        self.native: set[str] = set()
        self.broken: dict[str, tuple[int, str]] = {}
        self.silent = False
        self.asked: list[str] = []
        self.paused: list[float] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def add(self, name: str, *points: tuple[float, float], **labels: str) -> None:
        self.series[name, tuple(sorted((PLACE | labels).items()))] = list(points)

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.now_ns += round(seconds * S)
        self.meanwhile()

    def ask(self, url: str, access: Access, *, timeout_s: float) -> Answer:
        asked_ns = self.now_ns
        self.now_ns += 2 * MS
        parts = urlsplit(url)
        path, parameters = parts.path.removeprefix("/prom/api/v1/"), parse_qs(parts.query)
        self.asked.append(parameters["query"][0] if path == "query" else path)
        if self.silent:
            return Answer(None, asked_ns, self.now_ns, error="gave no whole answer within 2 s")
        if path in self.broken:
            status, body = self.broken[path]
            return Answer(status, asked_ns, self.now_ns, body.encode())
        if path == "query":
            at = float(parameters["time"][0]) - AHEAD_S if "time" in parameters else (asked_ns + MS) / S
            kind, result = self.evaluate(parameters["query"][0], at)
            data: Any = {"resultType": kind, "result": result}
        elif path == "metadata":
            kind = self.kinds.get(parameters["metric"][0], "")
            data = {parameters["metric"][0]: [{"type": kind, "help": "", "unit": ""}]} if kind else {}
        elif path == "label/__name__/values":
            data = sorted({name for name, _ in self.series} | self.native)
        else:
            assert path == "series"
            data = [{"__name__": name, **dict(labels)} for name, labels in self.select(parameters["match[]"][0])]
        return Answer(200, asked_ns, self.now_ns, json.dumps({"status": "success", "data": data}).encode())

    def select(self, selector: str) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
        found = _SELECTOR.fullmatch(selector)
        assert found, selector
        wanted = parse_selector(f"x{{{found[2] or ''}}}")
        return [one for one in self.series if one[0] in found[1].split("|") and wanted.accepts(dict(one[1]))]

    def evaluate(self, query: str, at: float) -> tuple[str, Any]:
        if query == "time()":
            return "scalar", [at + AHEAD_S, str(at + AHEAD_S)]
        if query.startswith("min("):
            newest: dict[Any, float] = {}
            for selector in re.findall(r"timestamp\((\{.*?\})\)", query):
                for name, labels in self.select(selector):
                    stamps = [stamp for stamp, _ in self.series[name, labels] if at - KEPT_S < stamp <= at]
                    if stamps:
                        newest.setdefault(labels, max(stamps) + AHEAD_S)
            return self.vector([({}, min(newest.values()))] if newest else [], at)
        if query.startswith("count by (__name__) ("):
            chosen = [one for one in self.select(query[21:-1]) if any(stamp <= at for stamp, _ in self.series[one])]
            return self.vector([({"__name__": name}, 1) for name in sorted({name for name, _ in chosen})], at)
        estimate = query.startswith("increase(")
        found = re.fullmatch(r"(\{.*\})\[(\d+)ms\]", query[9:-1] if estimate else query)
        assert found, query
        inside = {
            one: [point for point in self.series[one] if at - int(found[2]) / 1000 <= point[0] <= at]
            for one in self.select(found[1])
        }
        if estimate:  # without Prometheus' extrapolation, and a little more, so that it is known again
            return self.vector(
                [(dict(labels), of[-1][1] - of[0][1] + 0.5) for (_, labels), of in inside.items() if len(of) > 1], at
            )
        rows = [
            {"metric": {"__name__": name, **dict(labels)}, "values": [[at + AHEAD_S, str(value)] for at, value in of]}
            for (name, labels), of in inside.items()
            if of
        ]
        rows += [{"metric": {"__name__": name}, "histograms": [[1, {}]]} for name in self.native if name in found[1]]
        return "matrix", rows

    def vector(self, rows: list[tuple[dict[str, str], float]], at: float) -> tuple[str, Any]:
        return "vector", [{"metric": labels, "value": [at + AHEAD_S, repr(value)]} for labels, value in rows]


@pytest.fixture
def fake() -> FakePrometheus:
    return FakePrometheus()


def metrics(fake: FakePrometheus, *selectors: Selector) -> ServerMetrics:
    api = Api("http://u:p@h:9090/prom", {}, Access(), fake.ask)
    return ServerMetrics(api, selectors, clock=lambda: fake.now_ns, pause=fake.pause)


def seen(fake: FakePrometheus, metric: str, window: Window | None = None) -> dict[str, dict[str, Any]]:
    """The figures of a metric after a round from 10 to 20 s that is over at 22 s."""
    window = window or Window(10 * S, 20 * S)
    selector = parse_selector(metric)
    server = metrics(fake, selector)
    server.begin()
    server.end()
    found = server.find(selector, window)
    return {"": {"unavailable": found.why}} if isinstance(found, Unavailable) else describe(found, window)


def each_second(*values: float, since: float = 9.5) -> list[tuple[float, float]]:
    return [(since + place, value) for place, value in enumerate(values)]


def test_a_gauge(fake: FakePrometheus) -> None:
    fake.add("level", *each_second(99, *range(10), 99, 99, 99))
    gauge = seen(fake, "level")[""]
    assert (gauge["kind"], gauge["min"], gauge["max"], gauge["samples"]) == ("gauge", 0, 9, 10)
    assert (gauge["p50"], gauge["p90"], gauge["avg"]) == (4, 8, 4.5)
    assert "note" not in gauge


def test_a_counter_by_both_ends_of_the_round(fake: FakePrometheus) -> None:
    fake.add("hits_total", *each_second(*range(100, 112), 112, 112, since=9.9))
    counter = seen(fake, "hits")[""]
    assert (counter["kind"], counter["delta"], counter["rate_per_s"]) == ("counter", 11, 1.1)
    assert "approximate" not in counter
    assert not [query for query in fake.asked if query.startswith("increase")]


def test_the_type_is_believed(fake: FakePrometheus) -> None:
    fake.add("seats_total", *each_second(*[3] * 14))
    fake.add("steps", *each_second(*range(14)))
    fake.kinds = {"seats_total": "gauge", "steps": "counter"}
    assert seen(fake, "seats_total")[""]["kind"] == "gauge"
    assert seen(fake, "steps")[""]["kind"] == "counter"


def test_a_type_is_asked_for_once(fake: FakePrometheus) -> None:
    fake.add("level", *each_second(*[3] * 14))
    selector = parse_selector("level")
    server = metrics(fake, selector)
    for _ in range(2):
        server.end()
        server.find(selector, Window(10 * S, 20 * S))
    assert fake.asked.count("metadata") == 2  # by each spelling


def test_a_histogram(fake: FakePrometheus) -> None:
    for part, before, after in (("_count", 100, 140), ("_sum", 50, 58)):
        fake.add(f"ttft{part}", (9.5, before), (21.5, after))
    for le, count in {"0.1": 10, "0.2": 30, "0.5": 40, "+Inf": 40}.items():
        fake.add("ttft_bucket", (9.5, 100), (21.5, 100 + count), le=le)
    histogram = seen(fake, "ttft")[""]
    assert (histogram["kind"], histogram["delta"], histogram["avg"]) == ("histogram", 40, 0.2)
    assert (histogram["p50"], histogram["p90"]) == (pytest.approx(0.15), pytest.approx(0.38))


def test_several_series_and_labels(fake: FakePrometheus) -> None:
    fake.add("hits_total", *each_second(*range(14)), engine="0")
    fake.add("hits_total", *each_second(*range(0, 28, 2)), engine='1"')
    described = seen(fake, "hits_total")
    assert [figures["delta"] for figures in described.values()] == [33, 11, 22]
    assert list(described)[2] == name_series("hits_total", sorted((PLACE | {"engine": '1"'}).items()))
    assert seen(fake, r'hits_total{engine="1\""}')[""]["delta"] == 22
    assert seen(fake, 'hits_total{engine!="0"}')[""]["delta"] == 22


def test_zero_absent_reset_and_unreadable_are_four_results(fake: FakePrometheus) -> None:
    fake.add("hits_total", *each_second(*[7] * 14))
    fake.add("lost_total", *each_second(*[7] * 5, *[0] * 9))
    results = [seen(fake, metric)[""] for metric in ("hits_total", "misses_total", "lost_total")]
    fake.silent = True
    results.append(seen(fake, "hits_total")[""])
    assert results[0]["delta"] == 0
    assert [result["unavailable"] for result in results[1:]] == [
        "Prometheus has no such metric; it has: hits_total, lost_total",
        RESET,
        "http://h:9090/prom gave no whole answer within 2 s",
    ]


def test_a_restart_that_the_counter_does_not_show(fake: FakePrometheus) -> None:
    fake.add("hits_total", *each_second(*range(14)))
    fake.add("process_start_time_seconds", *each_second(*[100] * 5, *[200] * 9))
    assert seen(fake, "hits")[""] == {"unavailable": RESET}
    fake.add("process_start_time_seconds", *each_second(*[100] * 5, *[200] * 9), instance="another")
    fake.add("process_start_time_seconds", *each_second(*[100] * 14))
    assert seen(fake, "hits")[""]["delta"] == 11


def test_a_restart_before_the_round_is_no_matter(fake: FakePrometheus) -> None:
    fake.add("hits_total", *each_second(90, 91, 0, 1, *range(2, 20), since=3.5))
    fake.add("process_start_time_seconds", *each_second(100, 100, *[200] * 18, since=3.5))
    assert seen(fake, "hits")[""]["delta"] == 11


def test_other_labels_only(fake: FakePrometheus) -> None:
    fake.add("hits_total", *each_second(*range(14)), engine="0")
    why = seen(fake, 'hits{engine="7"}')[""]["unavailable"]
    assert "not with these labels; it has: hits_total{engine=" in why


def test_a_target_that_is_down(fake: FakePrometheus) -> None:
    fake.add("hits_total", *each_second(1, 2, 3, since=-60))
    fake.add("level", *each_second(1, 2, 3, since=-400))
    assert seen(fake, "hits")[""] == seen(fake, "level")[""] == {"unavailable": NO_SAMPLE}


def test_a_target_that_goes_down_during_the_round(fake: FakePrometheus) -> None:
    fake.add("hits_total", *each_second(1, 2, 3))
    fake.add("level", *each_second(1, 2, 3))
    counter, gauge = seen(fake, "hits")[""], seen(fake, "level")[""]
    assert "no sample from within" in counter["unavailable"]
    assert (gauge["avg"], gauge["samples"]) == (2.5, 2)


def test_it_waits_until_the_server_has_scraped_after_the_round(fake: FakePrometheus) -> None:
    fake.add("hits_total", (9.9, 1), (19.9, 5))
    points = fake.series["hits_total", tuple(sorted(PLACE.items()))]

    def scrape() -> None:
        if fake.now_ns > 22.9 * S and len(points) == 2:
            points.append((22.9, 7))

    fake.meanwhile = scrape
    assert seen(fake, "hits")[""]["delta"] == 6
    assert fake.paused == [POLL_S] * 4


def test_a_scrape_in_the_instant_of_the_end_is_too_early(fake: FakePrometheus) -> None:
    fake.add("hits_total", (9.9, 1), (22.003, 5))
    points = fake.series["hits_total", tuple(sorted(PLACE.items()))]
    fake.meanwhile = lambda: points.append((fake.now_ns / S, 6))
    assert seen(fake, "hits", Window(10 * S, 22 * S))[""]["delta"] == 5
    assert fake.paused == [POLL_S]


def test_it_does_not_wait_for_what_is_not_there(fake: FakePrometheus) -> None:
    seen(fake, "nothing")
    metrics(fake).end()
    assert fake.paused == []


def test_its_patience_ends(fake: FakePrometheus) -> None:
    fake.add("hits_total", *each_second(*range(13), since=8.9))
    counter = seen(fake, "hits")[""]
    assert sum(fake.paused) == pytest.approx(WAIT_S, abs=0.5)
    assert counter["delta"] == 11  # the sample at 20.9 s will do


def test_it_waits_in_vain_only_once(fake: FakePrometheus) -> None:
    """It has learned by then how often the server scrapes."""
    fake.add("hits_total", (-5, 1), (10, 2), (25, 3))
    fake.now_ns = 26 * S
    selector = parse_selector("hits")
    server = metrics(fake, selector)
    server.end()
    assert sum(fake.paused) == pytest.approx(WAIT_S, abs=0.5)
    found = server.find(selector, Window(10 * S, 26 * S))
    assert not isinstance(found, Unavailable)
    fake.paused.clear()
    fake.now_ns = 33 * S
    server.end()  # the next sample comes at 40 s, more than 5 s away
    assert fake.paused == []
    fake.now_ns = 36 * S
    server.end()
    assert fake.paused != []


def test_few_samples_are_an_estimate_and_said_so(fake: FakePrometheus) -> None:
    fake.add("hits_total", (5, 1), (10.5, 10), (16, 30))
    counter = seen(fake, "hits")[""]
    assert (counter["delta"], counter["approximate"], counter["samples"]) == (20.5, True, 2)
    assert counter["note"] == f"{APPROXIMATE}; Prometheus has few samples: it scrapes every 5.5 s"


def test_too_few_samples(fake: FakePrometheus) -> None:
    fake.add("hits_total", (0, 1), (15, 10))
    fake.add("level", (0, 1), (8, 3), (24, 10))
    assert seen(fake, "hits")[""]["unavailable"] == (
        "Prometheus has no sample from within 5 s after the round; it scrapes every 15 s; "
        "a longer round, or more frequent scraping, would give a figure"
    )
    gauge = seen(fake, "level")[""]
    assert (gauge["avg"], gauge["samples"]) == (6.5, 2)
    assert "no sample fell into the round" in gauge["note"]
    assert "it scrapes every 12 s" in gauge["note"]


def test_the_round_before_does_not_count(fake: FakePrometheus) -> None:
    fake.add("hits_total", *each_second(*range(14)))
    assert seen(fake, "hits", Window(10 * S, 20 * S, quiet_ns=9 * S))[""]["delta"] == 11
    assert seen(fake, "hits", Window(10 * S, 20 * S, quiet_ns=round(9.6 * S)))[""]["approximate"] is True


def test_the_clocks_need_not_agree(fake: FakePrometheus) -> None:
    """Which is so in all of these tests; but nothing older than some minutes is asked for either."""
    fake.add("level", *each_second(*range(14)))
    seen(fake, "level")
    (length,) = {int(found[1]) for query in fake.asked if (found := re.search(r"level.*\[(\d+)ms\]", query))}
    assert length == pytest.approx((LOOKBACK_NS + 12 * S) / MS, abs=1000)


def test_a_native_histogram(fake: FakePrometheus) -> None:
    fake.native = {"ttft"}
    assert seen(fake, "ttft")[""] == {"unavailable": NATIVE}


def test_what_the_server_lacks_is_known_before_the_first_round(fake: FakePrometheus) -> None:
    fake.add("hits_total", *each_second(*range(14)))
    server = metrics(fake)
    assert server.names() == ["hits_total"]
    assert server.lacks(parse_selector("hits")) is None
    assert "not with these labels" in (server.lacks(parse_selector('hits{job="other"}')) or "")
    assert "no such metric" in (server.lacks(parse_selector("nothing")) or "")
    fake.silent = True
    assert "no whole answer" in (server.lacks(parse_selector("hits")) or "")
    assert server.names() == ()
    assert server.address == "a Prometheus server, http://h:9090/prom"


def test_many_metrics_do_not_wait_for_a_silent_server_one_after_the_other(fake: FakePrometheus) -> None:
    selectors = [parse_selector(name) for name in ("a", "b", "c")]
    server = metrics(fake, *selectors)
    server.end()
    fake.silent = True
    before = len(fake.asked)
    for selector in selectors:
        found = server.find(selector, Window(10 * S, 20 * S))
        assert isinstance(found, Unavailable)
        assert "no whole answer" in found.why
    assert len(fake.asked) == before + 1
    fake.silent = False
    server.end()
    assert len(fake.asked) > before + 2


ODD: list[dict[str, Any]] = [
    {},
    {"values": []},
    *({"value": [AHEAD_S + 22, value]} for value in ("NaN", "+Inf", "-Inf", "1e300", "-1e300")),
    {"value": [1e308, "1"]},
    {"values": [[AHEAD_S + 15, "1"], [AHEAD_S + 16, "1e300"], [AHEAD_S + 17, "-Inf"]]},
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["hits_total", "level"])
def test_an_odd_answer_is_no_failure_of_ours(name: str, odd: dict[str, Any]) -> None:
    """To each query: for the stamps, for the samples and for the estimate."""
    waits_s: list[float] = []

    def ask(url: str, access: Access, *, timeout_s: float) -> Answer:
        query = parse_qs(urlsplit(url).query).get("query", [""])[0]
        result = [AHEAD_S + 22, "0"] if query == "time()" else [{"metric": {"__name__": name}, **odd}]
        data: Any = {"result": result} if query else [name] if "values" in url else {}
        return Answer(200, 22 * S, 22 * S, json.dumps({"status": "success", "data": data}).encode())

    selector = parse_selector(name)
    server = ServerMetrics(
        Api("http://h", {}, Access(), ask),
        [selector],
        clock=lambda: round((22 + sum(waits_s)) * S),
        pause=waits_s.append,
    )
    server.end()
    found = server.find(selector, Window(10 * S, 20 * S))
    figures = (
        {"unavailable": found.why} if isinstance(found, Unavailable) else describe(found, Window(10 * S, 20 * S))[""]
    )
    assert figures.get("unavailable") or figures["max"] == 1


@pytest.mark.parametrize("estimate", [{}, {"value": [AHEAD_S + 20, "NaN"]}, {"value": [AHEAD_S + 20, "1e300"]}])
def test_an_odd_estimate_is_none(fake: FakePrometheus, estimate: dict[str, Any]) -> None:
    fake.add("hits_total", (12, 1), (15, 10))
    evaluate = fake.evaluate

    def answer(query: str, at: float) -> tuple[str, Any]:
        odd = ("vector", [{"metric": PLACE, **estimate}])
        return odd if query.startswith("increase") else evaluate(query, at)

    fake.evaluate = answer  # type: ignore[method-assign]
    assert "no sample from before the round" in seen(fake, "hits")[""]["unavailable"]


@pytest.mark.parametrize("path", ["label/__name__/values", "series", "metadata"])
def test_a_part_of_the_api_may_be_missing(fake: FakePrometheus, path: str) -> None:
    """As behind gateways that let only queries pass."""
    fake.add("hits_total", *each_second(*range(14)))
    fake.broken[path] = (404, "no such page")
    assert seen(fake, "hits")[""]["delta"] == 11
    assert "unavailable" in seen(fake, 'hits{job="other"}')[""]
