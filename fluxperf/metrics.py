"""The one table of metrics: name, label, unit, formula, which direction is better, and what it means in words.

A formula is a function of one request's `Timeline` and gives an integer in the metric's *raw* unit
(nanoseconds, or thousandths of a token per second), or None where the value does not exist. To add
a metric, write one formula and one row; recorder, merge, table, CSV and JSON follow the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fluxperf.model import Slo, Timeline
from fluxperf.units import NS_PER_MS, NS_PER_S

Formula = Callable[[Timeline], int | None]


def ttft(request: Timeline) -> int | None:
    """Time to first token: first output event - sent, ns."""
    if request.first_output_ns is None or request.sent_ns is None:
        return None
    return request.first_output_ns - request.sent_ns


def ttfo(request: Timeline) -> int | None:
    """Time to first output proper: first event of the answer (not reasoning) - sent, ns."""
    if request.first_answer_ns is None or request.sent_ns is None:
        return None
    return request.first_answer_ns - request.sent_ns


def itl(request: Timeline) -> int | None:
    """Inter-token latency: (last output event - first) / (output_tokens - 1), ns.

    None under 2 tokens, and for an answer that came all at once.
    """
    if request.first_output_ns is None or request.last_output_ns is None or request.output_tokens < 2:
        return None
    if came_at_once(request):
        return None
    return round((request.last_output_ns - request.first_output_ns) / (request.output_tokens - 1))


def came_at_once(request: Timeline) -> bool:
    """Whether the answer's tokens, two or more, all carry one stamp: it came in one write, and has no gaps to see."""
    first_ns = request.first_output_ns
    return first_ns is not None and first_ns == request.last_output_ns and request.output_tokens >= 2


def latency(request: Timeline) -> int | None:
    """End of the response - sent, ns."""
    if request.end_ns is None or request.sent_ns is None:
        return None
    return request.end_ns - request.sent_ns


def connect(request: Timeline) -> int | None:
    """Time spent opening a connection before the request was sent, ns; 0 on a warm one."""
    return request.connect_ns


def wait(request: Timeline) -> int | None:
    """Time spent waiting for a free connection before the request was sent, ns."""
    return request.wait_ns


def output_token_throughput(request: Timeline) -> int | None:
    """Output tokens / latency, in thousandths of a token per second."""
    duration_ns = latency(request)
    if not duration_ns or not request.output_tokens:
        return None
    return round(request.output_tokens * 1000 * NS_PER_S / duration_ns)


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the table. `raw / per_unit` is in `unit`; no formula: pooled over events, recorded as they come.

    `text` is the formula for a reader, and `meaning` what it says.
    """

    name: str
    label: str
    unit: str
    per_unit: int
    lower_is_better: bool
    formula: Formula | None
    text: str
    meaning: str


@dataclass(frozen=True, slots=True)
class RoundFigure:
    """A figure of a whole round that is no spread over requests; how it is computed is `analysis`' business.

    `lower_is_better` None: neither is. With a `statistic` the files have it under that, as `goodput.ratio`.
    """

    name: str
    unit: str
    lower_is_better: bool | None
    text: str
    meaning: str
    statistic: str | None = None


METRICS: tuple[Metric, ...] = (
    Metric(
        *("ttft_ms", "TTFT (ms)", "ms", NS_PER_MS, True, ttft),
        text="first output - sent",
        meaning="how long nothing was to be seen, reasoning included",
    ),
    Metric(
        *("itl_ms", "ITL (ms)", "ms", NS_PER_MS, True, itl),
        text="(last output - first output) / (output_tokens - 1)",
        meaning="from token to token, one value a request; absent under 2 output tokens, and where all came at once",
    ),
    Metric(
        *("latency_ms", "Latency (ms)", "ms", NS_PER_MS, True, latency),
        text="end - sent",
        meaning="to the end of the whole answer",
    ),
    Metric(
        *("ttfo_ms", "TTFO (ms)", "ms", NS_PER_MS, True, ttfo),
        text="first answer - sent",
        meaning="TTFT of the answer proper; on the terminal only where it differs from TTFT",
    ),
    Metric(
        *("chunk_gap_ms", "Chunk gap (ms)", "ms", NS_PER_MS, True, None),
        text="output event - the output event before it",
        meaning="every gap in an answer, pooled over the round; answers that came at once have none",
    ),
    Metric(
        *("output_token_throughput", "Tokens/s a request", "tokens/s", 1000, False, output_token_throughput),
        text="output_tokens / latency",
        meaning="how fast the tokens of one request came, its wait for the first included",
    ),
    Metric(
        *("connect_ms", "Connect (ms)", "ms", NS_PER_MS, True, connect),
        text="time to open a connection, before sent",
        meaning="0 on one that was open; part of no other metric",
    ),
    Metric(
        *("wait_ms", "Wait (ms)", "ms", NS_PER_MS, True, wait),
        text="time without a free connection, before sent",
        meaning="part of no other metric",
    ),
)
ROUND_FIGURES: tuple[RoundFigure, ...] = (
    RoundFigure("tokens_per_s", "tokens/s", False, "output tokens / duration", "of the successful requests"),
    RoundFigure("requests_per_s", "1/s", False, "successful requests / duration", "failures count for the duration"),
    RoundFigure("duration_s", "s", True, "last end - first sent", "of successes and failures"),
    RoundFigure("avg_in_flight", "requests", None, "sum of (end - sent) / duration", "of successes and failures"),
    RoundFigure(
        *("goodput", "", False, "requests that meet the SLO file / all requests"),
        meaning="*every* constraint must be met; beside it stand the numbers and rates of such requests and of their "
        "tokens, and under `missed` how many successful requests miss each constraint",
        statistic="ratio",
    ),
    RoundFigure(
        *("errors", "", True, "failed requests / all requests"),
        meaning="of gates and comparisons; files have `failed_requests`, `total_requests`, and `outcomes` by kind",
        statistic="ratio",
    ),
    RoundFigure(
        *("cached_tokens", "", False, "cached tokens / prompt tokens"),
        meaning="over the successful requests whose usage told cached tokens",
        statistic="ratio",
    ),
)
BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
CHUNK_GAP = BY_NAME["chunk_gap_ms"]


def value(metric: Metric, request: Timeline) -> float | None:
    """The metric of one request, in the metric's unit; None where it does not exist (always, for a pooled one)."""
    raw = metric.formula(request) if metric.formula else None
    return None if raw is None else raw / metric.per_unit


def missed(slo: Slo, request: Timeline) -> tuple[str, ...]:
    """The names of the constraints that the request misses; a value that does not exist counts as met."""
    names = []
    for constraint in slo.constraints:
        found = value(BY_NAME[constraint.metric], request)
        if found is not None and not constraint.met_by(found):
            names.append(constraint.metric)
    return tuple(names)
