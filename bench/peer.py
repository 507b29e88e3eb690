"""What the usual clients share here: the load they are given, how they take their times, how they report.

They stamp a token when the task that reads the answer gets to see it, as such clients do. The report
has the form of a round's file as far as it goes, so that it is held against the truth in the same way.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """So many requests, `streams` at a time, for `tokens` tokens each."""

    url: str
    http: str
    streams: int
    requests: int
    tokens: int

    @classmethod
    def from_words(cls, words: Sequence[str]) -> Load:
        """From the command line of a peer."""
        url, http, streams, requests, tokens = words
        return cls(url, http, int(streams), int(requests), int(tokens))

    def to_words(self) -> list[str]:
        """For it."""
        return [self.url, self.http, str(self.streams), str(self.requests), str(self.tokens)]

    def body(self, number: int) -> dict[str, Any]:
        """The request's, of which no two are alike."""
        return {
            "model": "exact",
            "messages": [{"role": "user", "content": f"prompt {number} " + "hello world " * 16}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": self.tokens,
            "min_tokens": self.tokens,
            "temperature": 0,
        }


@dataclass(slots=True)
class Record:
    """What a client has seen; all requests together."""

    ttft_ns: list[int] = field(default_factory=list)
    gap_ns: list[int] = field(default_factory=list)
    finished: int = 0
    tokens: int = 0


class Watch:
    """One request: bytes in as they are read, times into the record."""

    __slots__ = ("_last_ns", "_record", "_rest", "_sent_ns")

    def __init__(self, record: Record) -> None:
        self._record = record
        self._rest = b""
        self._sent_ns = time.perf_counter_ns()
        self._last_ns: int | None = None

    def feed(self, data: bytes) -> None:
        """Takes what was read now."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            text = event.removeprefix(b"data: ")
            if text == b"[DONE]":
                self._record.finished += 1
                continue
            choices = json.loads(text)["choices"]
            if choices and choices[0]["delta"].get("content"):
                self._stamp(time.perf_counter_ns())

    def _stamp(self, now_ns: int) -> None:
        record = self._record
        record.tokens += 1
        if self._last_ns is None:
            record.ttft_ns.append(now_ns - self._sent_ns)
        else:
            record.gap_ns.append(now_ns - self._last_ns)
        self._last_ns = now_ns


def percentile(values: Sequence[int], percent: float) -> int | None:
    """The smallest value with at least that share at or below it (nearest rank); None: there are no values."""
    if not values:
        return None
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


def to_round(load: Load, record: Record, duration_s: float, cpu_s: float) -> dict[str, Any]:
    """What was seen, in the form of a round's file."""
    summary = {
        "total_requests": load.requests,
        "successful_requests": record.finished,
        "duration_s": duration_s,
        "avg_output_tokens": record.tokens / record.finished if record.finished else None,
        "ttft_ms": _points(record.ttft_ns),
        "chunk_gap_ms": _points(record.gap_ns),
        "throughput": {"tokens_per_s": record.tokens / duration_s, "requests_per_s": record.finished / duration_s},
        "audit": {"cpu_s": cpu_s},
    }
    return {"configuration": {"concurrency": load.streams, "timestamps": "user"}, "summary": summary}


def _points(values: Sequence[int]) -> dict[str, float | None]:
    found = {f"p{percent}": percentile(values, percent) for percent in (50, 99)}
    return {name: None if value is None else value / NS_PER_MS for name, value in found.items()}


class Timed:
    """The time, and the CPU time of this process, that a block took; `report` tells what was seen in it."""

    def __enter__(self) -> Timed:
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self._took = time.perf_counter() - self._began[0], time.process_time() - self._began[1]

    def report(self, load: Load, record: Record) -> None:
        """Prints it."""
        json.dump(to_round(load, record, *self._took), sys.stdout)
