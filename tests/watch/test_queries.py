from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.fetch import Access, Answer
from fluxperf.watch.queries import Api, Row, duration
from fluxperf.watch.series import Unavailable

MS = 1_000_000
BASE = "http://user:secret@h:9090/prom"


class Said:
    """Answers everything alike, and keeps what was asked."""

    def __init__(self, body: object, status: int | None = 200) -> None:
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status = status
        self.urls: list[str] = []

    def __call__(self, url: str, access: Access, *, timeout_s: float) -> Answer:
        self.urls.append(url)
        return Answer(self.status, 0, 1, self.body, error=None if self.status else "cannot be read: refused")

    @property
    def api(self) -> Api:
        return Api(BASE, {"tenant": "a b"}, Access(), self)


def success(result: object, kind: str = "vector") -> dict[str, object]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def test_vectors_and_matrices() -> None:
    said = Said(success([{"metric": {"__name__": "a", "b": "c"}, "value": [1700000000.932, "+Inf"]}]))
    assert said.api.rows("a") == [Row({"__name__": "a", "b": "c"}, ((1_700_000_000_932 * MS, float("inf")),))]
    said = Said(success([{"metric": {}, "values": [[1, "1e3"], [1.5, "-2"]]}], "matrix"))
    assert said.api.rows("a[5m]") == [Row({}, ((1000 * MS, 1000), (1500 * MS, -2)))]
    said = Said(success([{"metric": {}, "histograms": [[1, {}]]}], "matrix"))
    assert said.api.rows("a[5m]") == [Row({}, ())]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2 * 10**18))
def test_what_is_asked_arrives_as_it_is(query: str, at_ns: int) -> None:
    said = Said(success([]))
    said.api.rows(query, at_ns)
    (url,) = said.urls
    assert urlsplit(url).path == "/prom/api/v1/query"
    seconds, ms = divmod(at_ns // MS, 1000)
    asked = parse_qs(urlsplit(url).query, keep_blank_values=True)
    assert asked == {"tenant": ["a b"], "query": [query], "time": [f"{seconds}.{ms:03}"]}


def test_the_clock() -> None:
    read = Said(success([1700000000.25, "1700000000.25"], "scalar")).api.clock(1)
    assert not isinstance(read, Unavailable)
    its_ns, answer = read
    assert (its_ns, answer.came_ns) == (1_700_000_000_250 * MS, 1)


def test_names_series_and_kinds() -> None:
    assert Said({"status": "success", "data": ["a", "b"]}).api.names() == ["a", "b"]
    assert Said({"status": "success", "data": [{"__name__": "a"}]}).api.series("a") == [{"__name__": "a"}]
    types = {"status": "success", "data": {"a": [{"type": "counter", "help": "", "unit": ""}]}}
    assert Said(types).api.kind("a") == "counter"
    assert Said(types).api.kind("b") is None


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (None, b"", "http://h:9090/prom cannot be read: refused"),
        (500, b"<html>", "http://h:9090/prom answered with status 500"),
        (401, b"", "http://h:9090/prom answered with status 401"),
        (
            *(400, json.dumps({"status": "error", "errorType": "bad_data", "error": "parse error"}).encode()),
            "http://h:9090/prom answered with status 400: parse error",
        ),
        (200, b"<html>", "http://h:9090/prom answered what no Prometheus server would: "),
        (200, b"", "http://h:9090/prom answered what no Prometheus server would: "),
        (200, b"[" * 100_000, "http://h:9090/prom answered what no Prometheus server would: "),
        (200, b'{"status": "ok"}', "http://h:9090/prom answered with status 200"),
        (200, b'{"status": "success"}', "http://h:9090/prom answered what no Prometheus server would: "),
        (200, json.dumps(success([1, "2"])).encode(), "http://h:9090/prom answered what no Prometheus server would: "),
        (
            *(200, json.dumps(success([{"metric": {}, "value": [1, "one"]}])).encode()),
            "http://h:9090/prom answered what no Prometheus server would: ",
        ),
    ],
)
def test_what_is_no_answer_is_told(status: int | None, body: bytes, why: str) -> None:
    rows = Said(body, status).api.rows("a")
    assert isinstance(rows, Unavailable)
    assert rows.why.startswith(why)
    assert "secret" not in rows.why


def test_after_silence_only_the_clock_asks_again() -> None:
    said = Said(success([]), None)
    api = said.api
    assert isinstance(api.rows("a"), Unavailable)
    assert isinstance(api.names(), Unavailable)
    assert len(said.urls) == 1
    said.status = 200
    assert isinstance(api.clock(1), Unavailable)  # a vector is no time, but an answer
    assert api.rows("a") == []
    assert len(said.urls) == 3


@pytest.mark.parametrize("stamp", ["1e308", "-1e308", "1e12"])
def test_what_is_no_time_is_told(stamp: str) -> None:
    point = f'[{stamp}, "1"]'
    row = f'{{"status": "success", "data": {{"result": [{{"metric": {{}}, "value": {point}}}]}}}}'
    for read in (
        Said(row.encode()).api.rows("a"),
        Said(f'{{"status": "success", "data": {{"result": {point}}}}}'.encode()).api.clock(1),
    ):
        assert isinstance(read, Unavailable)
        assert read.why.endswith("is no time")


def test_points_are_put_in_order() -> None:
    rows = Said(success([{"metric": {}, "values": [[2, "5"], [1, "4"]]}], "matrix")).api.rows("a")
    assert rows == [Row({}, ((1000 * MS, 4), (2000 * MS, 5)))]


@given(st.binary(max_size=200), st.sampled_from([None, 200, 400, 503]))
def test_whatever_comes_nothing_is_raised(body: bytes, status: int | None) -> None:
    api = Said(body, status).api
    api.rows("a")
    api.kind("a")
    api.clock(1)


def test_durations() -> None:
    assert (duration(1500 * MS), duration(0)) == ("1500ms", "1ms")
