from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fluxperf.fetch import Access
from fluxperf.model.cache import CacheReset, Reading
from fluxperf.watch.counters import CounterWatch
from fluxperf.watch.course import Course
from fluxperf.watch.engines import ENGINES
from fluxperf.watch.identity import Known, Page
from fluxperf.watch.lookout import Lookout, Wishes, describe, open_lookout
from fluxperf.watch.readings import Identity, Pages
from tests.watch.answering import Reply, Script, Server, answering, reading, vllm_page

RESET = CacheReset(url="http://h/reset", accepted=True, status=200, answer="", attempts=1)
KEY = "sk-1234567890"


class Notes:
    """A monitor, a server's counters and its reset, which note what is asked of them, in its order."""

    def __init__(self) -> None:
        self.happened: list[object] = []
        self.pages = [vllm_page(0, 100)]
        self.courses: dict[str, Course] = {}

    def begin(self) -> None:
        self.happened.append("monitor begins")

    def end(self) -> None:
        self.happened.append("monitor ends")

    def figures(self, began_ns: int, ended_ns: int) -> Mapping[str, Mapping[str, Any]]:
        self.happened.append((began_ns, ended_ns))
        return {"a": {"avg": 1.0}}

    def reset(self) -> CacheReset:
        self.happened.append("reset")
        return RESET

    def read(self) -> Pages:
        self.happened.append("look")
        return reading(self.pages.pop(0) if len(self.pages) > 1 else self.pages[0])

    def counters(self, engine: str | None = "vllm") -> CounterWatch:
        identity = Identity(None if engine is None else ENGINES[engine])
        return CounterWatch(identity, self.read, pause=lambda _: None, clock=lambda: 0)


# Around rounds.


def test_the_monitor_begins_when_the_server_is_quiet_and_ends_after_the_counters() -> None:
    notes = Notes()
    lookout = Lookout(notes.counters(), notes)
    lookout.begin()
    notes.pages = [vllm_page(30, 150)]
    found = lookout.end(50)
    assert (found.hits, found.queries) == (30, 50)
    assert lookout.figures(5, 9) == {"a": {"avg": 1.0}}
    assert notes.happened == ["look", "look", "monitor begins", "look", "look", "monitor ends", (5, 9)]


def test_without_a_monitor_there_are_no_figures() -> None:
    notes = Notes()
    lookout = Lookout(notes.counters())
    lookout.begin()
    assert lookout.end(0).reading is Reading.OK
    assert lookout.figures(5, 9) == {}


def test_the_cache_is_emptied_once_nothing_runs() -> None:
    notes = Notes()
    notes.pages = [vllm_page(0, 100, running=1), vllm_page(0, 150, running=1), vllm_page(0, 200), vllm_page(0, 200)]
    assert Lookout(notes.counters(), reset=notes.reset).reset() == RESET
    assert notes.happened == ["look"] * 4 + ["reset"]


def test_a_server_that_nobody_knows_is_asked_at_once() -> None:
    notes = Notes()
    assert Lookout(notes.counters(None), reset=notes.reset).reset() == RESET
    assert notes.happened == ["reset"]


def test_a_reset_is_announced_before_anything_is_waited_for() -> None:
    notes = Notes()
    Lookout(notes.counters(), reset=notes.reset, announce=lambda: notes.happened.append("said")).reset()
    assert notes.happened == ["said", "look", "look", "reset"]


def test_nothing_is_emptied_that_nobody_said_how() -> None:
    notes = Notes()
    assert Lookout(notes.counters()).reset() is None
    assert notes.happened == []


# What is found out, and said.


def opened(server: Server, engine: str = "auto", **wishes: Any) -> tuple[Lookout, list[str]]:
    """The lookout, and what was said on the way."""
    said: list[str] = []
    asked = Wishes(base=server.url, engine=engine, **wishes)
    return open_lookout(asked, lambda url: Access({"authorization": url}), said.append), said


def test_it_says_whose_counters_are_read_and_where() -> None:
    script: Script = {"GET /metrics": Reply(body=vllm_page(1, 2)), "GET /version": Reply(body='{"version": "0.33.0"}')}
    with answering(script) as server:
        _, said = opened(server)
        assert said == [f"cache counters of vLLM 0.33.0: {server.url}/metrics"]
    assert {headers["authorization"] for headers in server.headers} == {server.url}


PAGE = Page("http://me:secret@h/metrics?token=secret", Access())


@pytest.mark.parametrize(
    ("identity", "named", "said"),
    [
        (Identity(ENGINES["sglang"]), False, "cache counters of SGLang: http://h/metrics?token=****"),
        (Identity(ENGINES["sglang"], note="no such page"), True, "no such page"),
        (Identity(None, note="it shows none"), False, None),
        (Identity(None, note="start it otherwise", looks_like=ENGINES["llamacpp"]), False, "start it otherwise"),
    ],
)
def test_what_is_worth_saying(identity: Identity, said: str | None, *, named: bool) -> None:
    assert describe(Known(identity, (PAGE,)), named=named) == said


def test_a_server_without_counters_is_nothing_to_speak_of() -> None:
    with answering({}) as server:
        assert opened(server)[1] == []
        assert opened(server, "none")[1] == []
        assert opened(server, "vllm")[1] == [
            f"the server shows no counters: {server.url}/metrics answered with status 404"
        ]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(302, headers={"location": "/login"}), " answered with status 302"),
        (Reply(403), " answered with status 403"),
        (Reply(503), " answered with status 503"),
        (Reply(body="<html>"), " is no page of Prometheus metrics"),
    ],
)
def test_an_answer_where_counters_would_be_is_worth_a_word(reply: Reply, said: str) -> None:
    login = {"GET /login": Reply(302, headers={"location": "http://127.0.0.1:1/"})}
    with answering({"GET /metrics": reply, **login}) as server:
        place = f"{server.url}/{'login' if reply.status == 302 else 'metrics'}"
        assert opened(server)[1] == [f"the server shows no counters: {place}{said}"]
        assert opened(server, "none")[1] == []


@pytest.mark.parametrize("status", [404, 405, 410, 501])
def test_a_server_that_has_no_such_page_is_nothing_to_speak_of(status: int) -> None:
    with answering({"GET /metrics": Reply(status)}) as server:
        assert opened(server)[1] == []


def test_a_page_that_has_moved_is_followed_once_and_for_all() -> None:
    moved: Script = {"GET /metrics": Reply(307, headers={"location": "/metrics/"})}
    with answering({**moved, "GET /metrics/": Reply(body=vllm_page(1, 2))}) as server:
        lookout, said = opened(server)
        assert said == [f"cache counters of vLLM: {server.url}/metrics/"]
        lookout.begin()
        assert lookout.end(0).reading is Reading.OK
        assert server.asked.count("GET /metrics") == 1


def test_a_stop_ends_a_reset_that_hangs() -> None:
    with answering({"POST /reset": Reply(hangs=True)}) as server:
        wishes = Wishes(base=server.url, engine="none", reset_url=f"{server.url}/reset")
        lookout = open_lookout(wishes, lambda _: Access(), lambda _: None, lambda: bool(server.asked))
        found = lookout.reset()
    assert found is not None
    assert found.answer == "it was broken off"


def test_llamacpp_without_metrics_is_told_what_to_do() -> None:
    with answering({"GET /metrics": Reply(501, headers={"server": "llama.cpp"})}) as server:
        (said,) = opened(server)[1]
    assert said.endswith("; start it with --metrics")


def test_the_reset_is_asked_as_its_url_wants_and_its_answer_hides_secrets() -> None:
    with answering({"POST /reset": Reply(404, f"no such key: {KEY}")}) as server:
        url = f"{server.url}/reset"
        lookout, said = opened(server, "none", reset_url=url, secrets=[KEY])
        assert server.asked == []
        found = lookout.reset()
        assert said == [f"emptying the cache: {url}"]
    assert found == CacheReset(url=url, accepted=False, status=404, answer="no such key: ****", attempts=1)
    assert [headers["authorization"] for headers in server.headers] == [url]


def test_metrics_that_are_named_are_watched() -> None:
    with answering({"GET /m": Reply(body="# TYPE a gauge\na 5\n")}) as server:
        lookout, _ = opened(server, "none", prometheus_url=f"{server.url}/m", metrics=("a",))
        lookout.begin()
        lookout.end(0)
        figures = lookout.figures(0, 2**62)
    assert list(figures) == ["a"]
    assert figures["a"]["avg"] == 5


def test_a_page_without_metrics_that_are_named_may_have_counters() -> None:
    with answering({"GET /m": Reply(body=vllm_page(1, 2))}) as server:
        lookout, said = opened(server, prometheus_url=f"{server.url}/m")
        assert said == [f"cache counters of vLLM: {server.url}/m"]
    assert lookout.figures(0, 1) == {}
