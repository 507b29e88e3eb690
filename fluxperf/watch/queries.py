"""`Api`: the HTTP API of a Prometheus server (prometheus.io, "HTTP API"), and of those that speak it too.

Times here are the server's own: Unix time in ns. Knows no round and no figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from fluxperf.fetch import Access, Answer, fetch
from fluxperf.masking import mask_url
from fluxperf.units import NS_PER_MS
from fluxperf.watch.series import Point, Unavailable

TIMEOUT_S = 10.0
_MOST_OF_ERROR = 200
_LAST_STAMP_S = 1e11  # some thousand years on: what is beyond it is no time

Fetch = Callable[..., Answer]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Row:
    """One series of a result, its name among the labels (`__name__`), and its points in order."""

    labels: Mapping[str, str]
    points: tuple[Point, ...]


class _Reply(msgspec.Struct):
    status: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""


class _Series(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] = []


class _Rows(msgspec.Struct):
    result: list[_Series]


class _Scalar(msgspec.Struct):
    result: tuple[float, str]


class _Type(msgspec.Struct):
    type: str = ""


class Api:
    """Asks one server. Each answer is `Unavailable` where it cannot be had."""

    def __init__(self, base: str, parameters: Mapping[str, str], access: Access, ask: Fetch = fetch) -> None:
        """`base` is the URL before /api/v1, without a slash at its end; `parameters` go with each request."""
        self.shown = mask_url(base)
        self._base = base
        self._parameters = parameters
        self._access = access
        self._ask = ask
        self._silence: Answer | None = None

    def clock(self, timeout_s: float) -> tuple[int, Answer] | Unavailable:
        """The server's time when it answered, and the answer that tells when that was here.

        After no answer to anything, only this one asks again.
        """
        self._silence = None
        answer = self._fetch("query", {"query": "time()"}, timeout_s)
        read = self._decode(answer, _Scalar)
        if isinstance(read, Unavailable):
            return read
        try:
            return _ns(read.result[0]), answer
        except ValueError as error:
            return self._nonsense(error)

    def rows(self, query: str, at_ns: int | None = None, timeout_s: float = TIMEOUT_S) -> list[Row] | Unavailable:
        """The series that an instant query gives at that time, or now: vectors have one point each, ranges all."""
        time = {} if at_ns is None else {"time": _seconds(at_ns)}
        read = self._decode(self._fetch("query", {"query": query, **time}, timeout_s), _Rows)
        if isinstance(read, Unavailable):
            return read
        try:
            return [Row(one.metric, _points(one)) for one in read.result]
        except ValueError as error:
            return self._nonsense(error)

    def names(self) -> list[str] | Unavailable:
        """The names of all metrics that it knows."""
        return self._decode(self._fetch("label/__name__/values", {}, TIMEOUT_S), list[str])

    def series(self, selector: str) -> list[dict[str, str]] | Unavailable:
        """The labels of all series that it knows of."""
        return self._decode(self._fetch("series", {"match[]": selector}, TIMEOUT_S), list[dict[str, str]])

    def kind(self, name: str) -> str | Unavailable | None:
        """The type that the targets say of a metric; None: they say none."""
        found = self._decode(self._fetch("metadata", {"metric": name}, TIMEOUT_S), dict[str, list[_Type]])
        return found if isinstance(found, Unavailable) else next((one.type for one in found.get(name, ())), None)

    def _fetch(self, path: str, parameters: Mapping[str, str], timeout_s: float) -> Answer:
        if self._silence is not None:  # many metrics shall not wait one after the other
            return self._silence
        url = f"{self._base}/api/v1/{path}?{urlencode({**self._parameters, **parameters})}"
        answer = self._ask(url, self._access, timeout_s=timeout_s)
        if answer.status is None:
            self._silence = answer
        return answer

    def _decode(self, answer: Answer, form: type[_T]) -> _T | Unavailable:
        """What an answer holds. Errors come with a status of their own and say what is wrong in the body."""
        if answer.error is not None:
            return Unavailable(f"{self.shown} {answer.trouble}")
        try:
            reply = msgspec.json.decode(answer.body, type=_Reply)
            if reply.status == "success" and answer.ok:
                return msgspec.json.decode(reply.data, type=form)
        except (msgspec.MsgspecError, RecursionError) as error:
            return self._nonsense(error) if answer.ok else Unavailable(f"{self.shown} {answer.trouble}")
        said = f": {reply.error[:_MOST_OF_ERROR]}" if reply.error else ""
        return Unavailable(f"{self.shown} answered with status {answer.status}{said}")

    def _nonsense(self, error: Exception) -> Unavailable:
        return Unavailable(f"{self.shown} answered what no Prometheus server would: {error}")


def duration(ns: int) -> str:
    """A duration as PromQL has it, in milliseconds and at least one."""
    return f"{max(ns // NS_PER_MS, 1)}ms"


def _points(one: _Series) -> tuple[Point, ...]:
    pairs: Any = one.values if one.value is None else [one.value]
    return tuple(sorted((_ns(stamp), float(value)) for stamp, value in pairs))


def _ns(seconds: float) -> int:
    """Stamps are whole milliseconds, written as a fraction of seconds. Raises ValueError for what is no time."""
    if not abs(seconds) <= _LAST_STAMP_S:  # nor is NaN
        raise ValueError(f"{seconds:g} is no time")
    return round(seconds * 1000) * NS_PER_MS


def _seconds(ns: int) -> str:
    ms = ns // NS_PER_MS
    return f"{ms // 1000}.{ms % 1000:03d}"
