from __future__ import annotations

import json

import pytest

from fluxperf.fetch import Access
from fluxperf.model.cache import Reading
from fluxperf.watch import identity
from fluxperf.watch.engines import ENGINES
from fluxperf.watch.identity import Known, Page, identify, read_version
from fluxperf.watch.readings import subtract
from tests.watch.answering import (
    Reply,
    Script,
    Server,
    answering,
    closed_url,
    llamacpp_page,
    page,
    sglang_page,
    trtllm_page,
    vllm_page,
)

MINE = Access({"authorization": "Bearer key"})
VERSION = Reply(body=json.dumps({"version": "0.33.0"}))
HTML = Reply(body="<!DOCTYPE html>\n<title>Welcome</title>\n", headers={"content-type": "text/html"})
PAGES = {
    "vllm": ("/metrics", vllm_page(1, 2)),
    "sglang": ("/metrics", sglang_page(1, 2)),
    "llamacpp": ("/metrics", llamacpp_page(1, 2)),
    "lmcache": ("/metrics", vllm_page(1, 2) + page(lmcache__num_hit_tokens=1)),
    "trtllm": ("/prometheus/metrics", trtllm_page(1, 2)),
}


def look(server: Server, wanted: str = "auto", further: tuple[Page, ...] = ()) -> Known:
    return identify(wanted, server.url, MINE, further)


def urls(known: Known) -> list[str]:
    return [page.url for page in known.pages]


# Engines that show their counters.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("named", [False, True])
def test_each_engine_is_found_by_its_page(engine: str, *, named: bool) -> None:
    path, text = PAGES[engine]
    with answering({f"GET {path}": Reply(body=text)}) as server:
        known = look(server, engine if named else "auto")
        assert known.identity.engine is ENGINES[engine]
        assert (known.identity.note, urls(known)) == (None, [server.url + path])
        reading = known.read()
    assert subtract(known.identity, reading, reading).reading is Reading.OK


def test_trtllm_has_json_where_others_have_metrics() -> None:
    script: Script = {"GET /metrics": Reply(body="[]"), "GET /prometheus/metrics": Reply(body=trtllm_page(1, 2))}
    with answering(script) as server:
        known = look(server)
    assert known.identity.engine is ENGINES["trtllm"]


def test_an_engine_says_its_version() -> None:
    with answering({"GET /metrics": Reply(body=vllm_page(1, 2)), "GET /version": VERSION}) as server:
        assert look(server).identity.version == "0.33.0"


def test_a_page_found_is_the_last_asked_for() -> None:
    with answering({"GET /metrics": Reply(body=sglang_page(1, 2))}) as server:
        look(server)
    assert server.asked == ["GET /metrics", "GET /version"]


def test_the_server_gets_what_its_requests_carry() -> None:
    with answering({}) as server:
        look(server)
    assert {headers["authorization"] for headers in server.headers} == {"Bearer key"}


def test_a_server_before_its_first_request_is_known_by_its_gauges() -> None:
    with answering({"GET /metrics": Reply(body="sglang:num_running_reqs 0\n")}) as server:
        known = look(server)
    assert (known.identity.engine, known.identity.note) == (ENGINES["sglang"], None)


def test_nothing_is_asked_for_none() -> None:
    with answering({}) as server:
        known = look(server, "none", (Page(f"{server.url}/further", Access()),))
    assert server.asked == []
    assert (known.pages, known.identity.engine, known.identity.reading) == ((), None, Reading.ABSENT)
    assert known.identity.note == "nobody asked the server for its counters (--engine none)"


@pytest.mark.parametrize("started", ["1061819448", "1061819449"])
def test_llamacpp_tells_of_a_restart_in_a_header(started: str) -> None:
    pages = [
        Reply(body=llamacpp_page(5, 5), headers={"Process-Start-Time-Unix": began})
        for began in ("1061819448", "1061819448", started)
    ]
    with answering({"GET /metrics": pages}) as server:
        known = look(server)
        found = subtract(known.identity, known.read(), known.read())
    assert found.reading is (Reading.OK if started == "1061819448" else Reading.RESET)


# Engines that are named.


def test_a_page_of_another_engine_than_the_one_that_was_named() -> None:
    with answering({"GET /metrics": Reply(body=sglang_page(1, 2))}) as server:
        known = look(server, "vllm")
        found = subtract(known.identity, known.read(), known.read())
    assert known.identity.note == "--engine vllm was given, but the server has the counters of SGLang"
    assert (found.engine, found.reading, found.why) == ("vllm", Reading.ABSENT, known.identity.note)


def test_lmcache_is_named_and_only_vllm_is_there() -> None:
    with answering({"GET /metrics": Reply(body=vllm_page(1, 2))}) as server:
        assert look(server, "lmcache").identity.note == (
            "--engine lmcache was given, but the server has the counters of vLLM"
        )


def test_vllm_is_named_and_lmcache_is_there_too() -> None:
    with answering({"GET /metrics": Reply(body=PAGES["lmcache"][1])}) as server:
        known = look(server, "vllm")
        found = subtract(known.identity, known.read(), known.read())
    assert (known.identity.engine, known.identity.note, found.reading) == (ENGINES["vllm"], None, Reading.OK)


@pytest.mark.parametrize(
    ("reply", "reading", "why"),
    [
        (Reply(404), Reading.ABSENT, "answered with status 404"),
        (Reply(501), Reading.ABSENT, "answered with status 501"),
        (Reply(500), Reading.UNREADABLE, "answered with status 500"),
        (Reply(401), Reading.UNREADABLE, "answered with status 401"),
        (HTML, Reading.UNREADABLE, "is no page of Prometheus metrics"),
    ],
)
def test_a_named_engine_without_a_page(reply: Reply, reading: Reading, why: str) -> None:
    with answering({"GET /metrics": reply}) as server:
        known = look(server, "llamacpp")
        found = subtract(known.identity, known.read(), known.read())
        assert urls(known) == [f"{server.url}/metrics"]
        assert found.why == f"the server shows no counters: {server.url}/metrics {why}; start it with --metrics"
    assert (found.engine, found.reading) == ("llamacpp", reading)


def test_an_engine_is_missed_where_it_has_its_page() -> None:
    with answering({"GET /metrics": Reply(body="[]")}) as server:
        known = look(server, "trtllm")
        url = f"{server.url}/prometheus/metrics"
        assert urls(known) == [url]
        assert known.identity.note == (
            f"the server shows no counters: {url} answered with status 404; start it with return_perf_metrics on"
        )


def test_a_named_engine_whose_page_is_there_later() -> None:
    pages = [Reply(503), Reply(body=vllm_page(1, 2)), Reply(body=vllm_page(4, 12))]
    with answering({"GET /metrics": pages}) as server:
        known = look(server, "vllm")
        found = subtract(known.identity, known.read(), known.read())
    assert (found.reading, found.hits, found.queries) == (Reading.OK, 3, 10)


def test_a_page_that_breaks_later_says_so() -> None:
    with answering({"GET /metrics": [Reply(body=vllm_page(1, 2)), Reply(body=vllm_page(1, 2)), HTML]}) as server:
        known = look(server)
        found = subtract(known.identity, known.read(), known.read())
        assert found.why == (
            "the server's counters could not be read after the round: "
            f"{server.url}/metrics is no page of Prometheus metrics"
        )
    assert found.reading is Reading.UNREADABLE


# Engines that show none.


def test_llamacpp_without_metrics_gives_advice() -> None:
    error = Reply(501, '{"error": {"code": 501, "message": "..."}}', {"Server": "llama.cpp"})
    with answering({"GET /metrics": error, "GET /prometheus/metrics": Reply(404)}) as server:
        known = look(server)
        assert known.identity.note == (
            "it looks like llama.cpp, but the server shows no counters: "
            f"{server.url}/metrics answered with status 501; start it with --metrics"
        )
    assert (known.identity.engine, known.identity.reading, known.pages) == (None, Reading.ABSENT, ())
    assert known.identity.looks_like is ENGINES["llamacpp"]


def test_a_version_makes_it_look_like_vllm() -> None:
    with answering({"GET /metrics": Reply(500), "GET /version": VERSION}) as server:
        found = look(server).identity
        assert found.note == (
            f"it looks like vLLM, but the server shows no counters: {server.url}/metrics answered with status 500"
        )
    assert (found.version, found.reading) == ("0.33.0", Reading.UNREADABLE)


@pytest.mark.parametrize("path", ["/get_server_info", "/server_info"])
def test_sglang_without_metrics_gives_advice(path: str) -> None:
    with answering({f"GET {path}": Reply(body='{"model_path": "m"}')}) as server:
        note = look(server).identity.note
    assert note is not None
    assert note.startswith("it looks like SGLang, but ")
    assert note.endswith("; start it with --enable-metrics")


def test_a_page_without_counters_that_are_known() -> None:
    with answering({"GET /metrics": Reply(body="tgi_request_count 5\n")}) as server:
        found = look(server).identity
        assert found.note == f"{server.url}/metrics has no counters of a prefix cache that FluxPerf knows"
    assert (found.reading, found.looks_like) == (Reading.ABSENT, None)


@pytest.mark.parametrize(
    ("reply", "reading"),
    [
        (Reply(404), Reading.ABSENT),
        (Reply(403), Reading.ABSENT),
        (HTML, Reading.ABSENT),
        (Reply(503), Reading.UNREADABLE),
        (Reply(500), Reading.UNREADABLE),
    ],
)
def test_absent_and_unreadable_are_two_things(reply: Reply, reading: Reading) -> None:
    with answering({"GET /metrics": reply}) as server:
        found = look(server).identity
    assert (found.engine, found.looks_like, found.reading) == (None, None, reading)


def test_nobody_there() -> None:
    found = identify("auto", closed_url(), MINE).identity
    assert found.reading is Reading.UNREADABLE
    assert found.note is not None
    assert "cannot be read: " in found.note


def test_a_server_that_does_not_answer_is_not_asked_any_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "TIMEOUT_S", 0.05)
    with answering({"GET /metrics": Reply(hangs=True)}) as server:
        found = look(server).identity
    assert server.asked == ["GET /metrics"]
    assert found.reading is Reading.UNREADABLE
    assert found.note is not None
    assert found.note.endswith("/metrics gave no whole answer within 0.05 s")


def test_a_server_that_streams_to_everybody_is_not_asked_any_further() -> None:
    stream = Reply(body="data: [DONE]\n\n", headers={"content-type": "text/event-stream; charset=utf-8"})
    with answering({"GET /metrics": stream, "GET /version": stream}) as server:
        found = look(server).identity
    assert server.asked == ["GET /metrics"]
    assert (found.reading, found.looks_like) == (Reading.ABSENT, None)


@pytest.mark.parametrize(
    "body",
    [
        *("", "null", "[]", "[" * 100_000, '"1.0"', '{"version": 5}', '{"build": "1"}'),
        *('{"version": "\\u001b[31m"}', json.dumps({"version": "1" * 1000})),
    ],
)
def test_what_is_no_version_that_can_be_shown(body: str) -> None:
    with answering({"GET /version": Reply(body=body)}) as server:
        assert read_version(server.url, MINE) is None


# A page beside the server's own.


def test_a_page_of_lmcache_beside_vllms_own() -> None:
    """Both are needed, so a reading without one of them is none."""
    theirs = [Reply(body=page(lmcache__num_hit_tokens=hits)) for hits in (0, 5, 45)]
    ours = [Reply(body=vllm_page(hits, queries)) for hits, queries in ((0, 0), (10, 100), (30, 200))]
    with answering({"GET /metrics": [*theirs, Reply(500)]}) as cache, answering({"GET /metrics": ours}) as server:
        known = look(server, further=(Page(f"{cache.url}/metrics", Access()),))
        assert known.identity.engine is ENGINES["lmcache"]
        assert urls(known) == [f"{cache.url}/metrics", f"{server.url}/metrics"]
        found = subtract(known.identity, known.read(), known.read())
        assert known.read().trouble == f"{cache.url}/metrics answered with status 500"
    assert (found.hits, found.queries) == (60, 100)
    assert all("authorization" not in headers for headers in cache.headers)


def test_a_further_page_that_is_the_servers_own_is_not_read_twice() -> None:
    with answering({"GET /metrics": Reply(body=vllm_page(1, 2))}) as server:
        known = look(server, further=(Page(f"{server.url}/metrics", MINE),))
    assert urls(known) == [f"{server.url}/metrics"]


def test_a_further_page_may_be_the_only_one() -> None:
    with answering({"GET /other": Reply(body=vllm_page(1, 2))}) as other, answering({}) as server:
        known = look(server, further=(Page(f"{other.url}/other", Access()),))
    assert (known.identity.engine, urls(known)) == (ENGINES["vllm"], [f"{other.url}/other"])


@pytest.mark.parametrize("reply", [HTML, Reply(302, headers={"location": "/query"})])
@pytest.mark.parametrize("wanted", ["auto", "vllm"])
def test_a_prometheus_server_is_no_page_and_nobodys_trouble(reply: Reply, wanted: str) -> None:
    with answering({"GET /": reply}) as prometheus, answering({}) as server:
        found = look(server, wanted, (Page(f"{prometheus.url}/", Access()),)).identity
        assert found.note == f"the server shows no counters: {server.url}/metrics answered with status 404"
    assert found.reading is Reading.ABSENT


def test_a_further_page_that_is_broken_is_told() -> None:
    with answering({"GET /x?token=secret": Reply(500)}) as other, answering({}) as server:
        url = f"{other.url}/x?token=secret".replace("//", "//me:secret@")
        found = look(server, further=(Page(url, Access()),)).identity
        assert found.note == f"the server shows no counters: {other.url}/x?token=**** answered with status 500"
    assert found.reading is Reading.UNREADABLE
