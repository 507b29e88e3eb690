from __future__ import annotations

import threading
import tracemalloc
from typing import Any

import pytest

from fluxperf.fetch import Access, Answer, Cut
from fluxperf.watch.exposition import Scrape
from fluxperf.watch.figures import describe
from fluxperf.watch.page import ACCEPT, BORN, PageMetrics
from fluxperf.watch.promql import parse_selector
from fluxperf.watch.sampler import Look, Reading, Sampler, Time
from fluxperf.watch.series import RESET, Unavailable, Window
from tests.watch.monitored import TIMEOUT_S, pages

S = 1_000_000_000
ROUND = Window(10 * S, 20 * S)
URL = "http://user:secret@127.0.0.1:9/metrics?token=secret"
SHOWN = "http://127.0.0.1:9/metrics?token=****"


class Looks(Sampler):
    """What was seen at these seconds: a page, or a status. A third number is when it was asked for."""

    def __init__(self, page: PageMetrics, *seen: tuple[float, str | int] | tuple[float, str | int, float]) -> None:
        self.page = page
        self.seen = seen

    def begin(self) -> None:
        """Has been looked at already."""

    def end(self) -> tuple[Reading, ...]:
        return tuple(self.page.take(answer(*one)) for one in self.seen)


def answer(at_s: float, said: str | int, asked_s: float | None = None) -> Answer:
    asked_ns = round((at_s if asked_s is None else asked_s) * S)
    if isinstance(said, int):
        return Answer(said, asked_ns, round(at_s * S), b"out of order")
    return Answer(200, asked_ns, round(at_s * S), said.encode())


def seen(*those: tuple[float, str | int] | tuple[float, str | int, float], metric: str) -> dict[str, dict[str, Any]]:
    """The figures of a metric after a round in which this was seen."""
    selector = parse_selector(metric)
    page = PageMetrics(URL, [selector], Access(), make_sampler=lambda _: Looks(page, *those))
    page.begin()
    page.end()
    found = page.find(selector, ROUND)
    return {"": {"unavailable": found.why}} if isinstance(found, Unavailable) else describe(found, ROUND)


def test_a_gauge() -> None:
    texts = [f"# TYPE a gauge\na {value}\n" for value in (9, 1, 3, 9)]
    (gauge,) = seen(*zip((9, 12, 13, 21), texts, strict=True), metric="a").values()
    assert (gauge["kind"], gauge["avg"], gauge["samples"]) == ("gauge", 2, 2)
    assert "missed" not in gauge


def test_a_counter_by_another_spelling() -> None:
    (counter,) = seen((9, "a_total 5"), (12, "a_total 7"), (21, "a_total 8"), metric="a").values()
    assert (counter["kind"], counter["delta"], counter["rate_per_s"]) == ("counter", 3, 0.3)


def test_only_the_labels_that_are_asked_for() -> None:
    texts = [f'a_total{{e="0"}} {value}\na_total{{e="1"}} {value * 10}\n' for value in (1, 4)]
    looks = list(zip((9, 21), texts, strict=True))
    assert seen(*looks, metric='a_total{e="1"}')[""]["delta"] == 30
    both = seen(*looks, metric='a{e=~"0|1"}')
    assert list(both) == ["", 'a_total{e="0"}', 'a_total{e="1"}']
    assert [found["delta"] for found in both.values()] == [33, 3, 30]


def test_zero_absent_reset_and_unreadable_are_four_results() -> None:
    results = [
        seen((9, "a_total 5"), (21, "a_total 5"), metric="a_total")[""],
        seen((9, "b_total 5"), (21, "b_total 5"), metric="a_total")[""],
        seen((9, "a_total 5"), (21, "a_total 4"), metric="a_total")[""],
        seen((9, 500), (21, 500), metric="a_total")[""],
    ]
    assert results[0]["delta"] == 0
    assert [result["unavailable"] for result in results[1:]] == [
        "the page has no such metric; it has: b_total",
        RESET,
        f"{SHOWN} answered with status 500 (2 of 2 times)",
    ]


def test_a_restart_that_the_counter_does_not_show() -> None:
    def text(value: int, since: float) -> str:
        return f"a_total {value}\nprocess_start_time_seconds {since}\n"

    assert seen((9, text(5, 100.5)), (21, text(9, 200.5)), metric="a")[""] == {"unavailable": RESET}
    assert seen((9, text(5, 100.5)), (21, text(9, 100.5)), metric="a")[""]["delta"] == 4
    gauge = seen((9, text(5, 100.5)), (12, text(5, 100.5)), (21, text(9, 200.5)), metric="process_start_time_seconds")
    assert gauge[""]["avg"] == 100.5


def test_other_labels_only() -> None:
    assert seen((9, 'a{e="0"} 1'), (21, 'a{e="0"} 1'), metric='a{e="7"}')[""]["unavailable"] == (
        'the page has the metric, but not with these labels; it has: a{e="0"}'
    )


def test_an_empty_page_has_no_such_metric() -> None:
    assert "none of the 0" in seen((9, ""), (21, ""), metric="a")[""]["unavailable"]


@pytest.mark.parametrize("said", ["<html>a 1</html>", '{"a": 1}', "OK"])
def test_what_is_no_page(said: str) -> None:
    assert seen((9, said), (21, said), metric="a")[""] == {
        "unavailable": f"{SHOWN} is no page of metrics (2 of 2 times)"
    }


def test_some_looks_may_fail() -> None:
    looks: list[tuple[float, str | int]] = [(9, "a 1"), (12, 500), (13, "a 2"), (14, "Loading"), (21, "a 3")]
    gauge = seen(*looks, metric="a")[""]
    assert (gauge["avg"], gauge["samples"], gauge["missed"]) == (2, 1, 2)
    counter = seen((9, "a_total 1"), (12, 500), (13, "a_total 2"), (21, "a_total 3"), metric="a")[""]
    assert (counter["delta"], counter["missed"]) == (2, 1)


@pytest.mark.parametrize(
    ("looks", "why"),
    [
        ([(9, 503), (12, "a_total 1"), (21, "a_total 2")], "not known: before the round {} answered with status 503"),
        ([(9, "a_total 1"), (12, "a_total 2"), (21, 503)], "not known: after the round {} answered with status 503"),
        ([(9, "a_total 1"), (12, "a_total 2"), (21, "b 1")], "it was gone from the page after the round"),
    ],
)
def test_a_counter_needs_both_ends(looks: list[tuple[float, str | int]], why: str) -> None:
    assert seen(*looks, metric="a")[""] == {"unavailable": why.format(SHOWN)}


def test_a_counter_that_appears_was_zero() -> None:
    looks = [(9, 'a_total{e="0"} 5'), (12, 'a_total{e="0"} 5'), (21, 'a_total{e="0"} 6\na_total{e="1"} 3')]
    described = seen(*looks, metric="a")
    assert (described[""]["delta"], described[""]["note"]) == (4, BORN)
    assert described['a_total{e="1"}']["delta"] == 3
    gauge = seen(*[(at, text.replace("_total", "")) for at, text in looks], metric="a")[""]
    assert (gauge["samples"], gauge["avg"], "note" in gauge) == (1, 5, False)


def test_what_appears_after_a_page_that_could_not_be_read_may_have_been_there() -> None:
    assert "not known" in seen((9, 500), (12, "a_total 5"), (21, "a_total 6"), metric="a")[""]["unavailable"]


def test_what_was_asked_for_before_the_end_is_not_of_the_time_after_it() -> None:
    looks = [(9, "a_total 5", 9), (22, "a_total 6", 19.5), (23, "a_total 8", 22.5)]
    assert seen(*looks, metric="a")[""]["delta"] == 3


def test_no_number_is_not_zero() -> None:
    assert "no number" in seen((9, "a NaN"), (12, "a NaN"), (21, "a NaN"), metric="a")[""]["unavailable"]
    gauge = seen((9, "a NaN"), (12, "a NaN"), (13, "a 4"), (21, "a +Inf"), metric="a")[""]
    assert (gauge["avg"], gauge["samples"]) == (4, 1)


@pytest.mark.parametrize("value", ["1e300", "-1e308", "+Inf", "NaN"])
def test_what_is_beyond_reason_is_no_number_either(value: str) -> None:
    gauge = seen((9, "a 1"), (12, f"a {value}"), (13, "a 1"), (14, f"a {value}"), (21, "a 1"), metric="a")[""]
    assert (gauge["avg"], gauge["stddev"], gauge["samples"]) == (1, 0, 1)


def test_a_histogram() -> None:
    def text(count: int, total: float) -> str:
        return f'a_bucket{{le="1"}} {count}\na_bucket{{le="+Inf"}} {count}\na_sum {total}\na_count {count}\n'

    histogram = seen((9, text(1, 0.5)), (21, text(5, 2.5)), metric="a")[""]
    assert (histogram["kind"], histogram["delta"], histogram["avg"], histogram["p50"]) == ("histogram", 4, 0.5, 0.5)


def test_what_the_page_lacks_is_known_before_the_first_round() -> None:
    selectors = [parse_selector(text) for text in ("a", 'a{e="0"}', "b")]
    page = PageMetrics(URL, selectors, Access())
    page.take(answer(1, "a_total 5"))
    assert page.names() == ("a_total",)
    assert page.lacks(selectors[0]) is None
    assert "not with these labels" in (page.lacks(selectors[1]) or "")
    assert "no such metric" in (page.lacks(selectors[2]) or "")
    assert page.address == f"a page of metrics, {SHOWN}"


def test_the_text_format_is_asked_for_and_only_what_is_wanted_is_read() -> None:
    with pages(lambda _: (200, "a 1\nb 2\nprocess_start_time_seconds 3\n")) as server:
        page = PageMetrics(f"{server.url}/prometheus/metrics", [parse_selector("a")], Access({"x-key": "k"}))
        reading = page.look(TIMEOUT_S)
    (headers,) = server.headers
    assert (headers["accept"], headers["x-key"], headers["connection"]) == (ACCEPT, "k", "close")
    assert server.paths == ["/prometheus/metrics"]
    assert isinstance(reading.scrape, Scrape)
    assert [sample.name for sample in reading.scrape.samples] == ["a", "process_start_time_seconds"]


class Gate(threading.Event):
    """The first wait is over at once, the second one lasts."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        return super().wait(TIMEOUT_S if self.waits > 1 else 0)


def test_a_page_that_hangs_during_the_round_is_let_go() -> None:
    """With everything real but the seconds: one request is broken off, none is added, no thread is left."""
    before = set(threading.enumerate())

    def make_sampler(look: Look) -> Sampler:
        return Sampler(look, Time(pause=lambda _: None, stop=Gate()))

    with pages(lambda _: (200, "a_total 1\n")) as server:
        page = PageMetrics(f"{server.url}/metrics", [parse_selector("a")], Access(), make_sampler=make_sampler)
        page.begin()
        server.reply = server.hang
        # The look of the round, which may have come in time or not, and then nothing more until the end.
        assert server.asked.acquire(timeout=TIMEOUT_S)
        assert server.asked.acquire(timeout=TIMEOUT_S)
        server.reply = lambda _: (200, "a_total 4\n")
        page.end()
        assert not [thread for thread in threading.enumerate() if thread.name == "metrics"]
        assert len(server.paths) == 3
        found = page.find(parse_selector("a"), Window(0, 1))
        assert not isinstance(found, Unavailable)
        assert found.missed == 0
    assert set(threading.enumerate()) == before


def test_an_hour_of_looks_takes_little_memory() -> None:
    text = "".join(f'a_bucket{{engine="{number % 2}",le="{number}"}} {number}\n' for number in range(100))
    page = PageMetrics(URL, [parse_selector("a")], Access())
    page.take(answer(0, text))
    tracemalloc.start()
    try:
        kept = [page.take(answer(at, text)) for at in range(1, 21)]
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes / len(kept) < 3000


def test_a_round_that_broke_off_leaves_no_thread_to_the_next_one() -> None:
    before = set(threading.enumerate())
    calls: list[Cut | None] = []

    def ask(*_: object, cut: Cut | None, timeout_s: float) -> Answer:
        calls.append(cut)
        return answer(1, "a 1")

    page = PageMetrics(URL, [parse_selector("a")], Access(), ask=ask)
    page.begin()
    page.begin()
    page.end()
    page.end()
    assert set(threading.enumerate()) == before
    assert len(calls) == 4
