"""The requests of a stored round as columns, several times faster than by way of the values that they once were.

A page of many large rounds has a million requests and more to look at. What is not as FluxPerf writes it is left to the
slow way, which knows what to say about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from fluxperf.model import Outcome, RoundResult
from fluxperf.report.html.columns import NUMBERS, Columns, read_columns
from fluxperf.stored import StoredRequests

_ROWS = b'"requests": ['
_NAN = float("nan")
_FIELDS = (
    "index",
    "turn",
    "sent_s",
    "first_ms",
    "last_ms",
    "end_ms",
    "byte_ms",
    "input",
    "output",
    "cached",
    "outcome",
)
_TABLE = np.dtype([(name, np.float64) for name in _FIELDS])
_MS_PER_S = 1000.0


class _Row(msgspec.Struct):
    """What a page needs of a request."""

    index: int
    outcome: Outcome
    sent_s: float | None
    ttft_ms: float | None
    last_output_ms: float | None
    end_ms: float | None
    first_byte_ms: float | None
    input_tokens: int
    output_tokens: int
    cached_tokens: int | None
    turn: int = 0


class _Foreign(Exception):
    """The file is not as FluxPerf writes it."""


def read_rows(result: RoundResult) -> Columns:
    """What `read_columns` gives of the round. Raises UsageError where its file is missing or broken."""
    if isinstance(result.requests, StoredRequests):
        try:
            return _columns(np.fromiter(_rows(result.requests.path), dtype=_TABLE))
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, OverflowError, _Foreign):
            pass
    return read_columns(result)


def _rows(path: Path) -> Iterator[tuple[float, ...]]:
    """One for each request that was sent, in the order of the fields."""
    decode = msgspec.json.Decoder(_Row).decode
    with path.open("rb") as file:
        if not any(line.startswith(_ROWS) for line in file):
            raise _Foreign
        for line in file:
            if line.startswith(b"]"):
                return
            row = decode(line.rstrip(b",\n"))
            if row.sent_s is None:
                continue
            stamps = (row.ttft_ms, row.last_output_ms, row.end_ms, row.first_byte_ms)
            cached = row.cached_tokens
            believed = cached if cached is not None and 0 <= cached <= row.input_tokens else _NAN
            yield (
                *(row.index, row.turn, row.sent_s, *(_NAN if stamp is None else stamp for stamp in stamps)),
                *(row.input_tokens, row.output_tokens, believed, NUMBERS[row.outcome]),
            )
    raise _Foreign


def _columns(table: np.ndarray) -> Columns:
    sent_s, first_ms, last_ms, end_ms = (table[name] for name in ("sent_s", "first_ms", "last_ms", "end_ms"))
    outcome, output = (table[name].astype(np.int64) for name in ("outcome", "output"))
    success = np.isin(outcome, [number for name, number in NUMBERS.items() if name.success])
    latest_ms = np.fmax(np.fmax(first_ms, last_ms), np.fmax(end_ms, table["byte_ms"]))
    has_itl = success & (output >= 2) & (last_ms != first_ms)
    return Columns(
        index=table["index"].astype(np.int64),
        turn=table["turn"].astype(np.int64),
        outcome=outcome,
        sent_s=sent_s.copy(),
        first_s=sent_s + first_ms / _MS_PER_S,
        last_s=sent_s + last_ms / _MS_PER_S,
        done_s=sent_s + np.fmax(latest_ms, 0.0) / _MS_PER_S,
        ttft_ms=np.where(success, first_ms, np.nan),
        itl_ms=np.where(has_itl, (last_ms - first_ms) / np.maximum(output - 1, 1), np.nan),
        latency_ms=np.where(success, end_ms, np.nan),
        input_tokens=table["input"].astype(np.int64),
        output_tokens=output,
        cached_tokens=table["cached"].copy(),
    )
