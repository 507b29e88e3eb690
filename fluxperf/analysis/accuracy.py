"""Checks of the client's clockwork: whether it could measure the times that it reports. Rows are in `checks`.

Each constant is a promise of docs/verdict.md, with its reason. A check that finds nothing to look at says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fluxperf.analysis.bounds import error_bounds
from fluxperf.analysis.evidence import STALL_NS, Evidence, count_stalls, longest_ns, percent
from fluxperf.model import Check, Histogram, Status
from fluxperf.units import NS_PER_MS, NS_PER_US, ns_to_ms

# A figure that may be off by more than this share of itself, or this much, is not called valid; whichever is less.
TOLERATED_SHARE = 0.01
TOLERATED_NS = NS_PER_MS
# But below this nothing is held against it: kernels schedule and networks queue by as much.
LEAST_TOLERANCE_NS = 50 * NS_PER_US
# A median that may be off by more than this share and `TOLERATED_NS` says nothing of the server.
USELESS_SHARE = 0.1
# A collection is on young objects and takes well under a millisecond; one of this length stopped the whole worker.
LONG_COLLECTION_NS = 5 * NS_PER_MS
# Fewer reads than this share without a stamp cannot move a percentile by more than is tolerated; without most of the
# stamps there is no measurement.
FEW_UNSTAMPED, MOST_UNSTAMPED = 0.01, 0.5
PERCENTS = (50.0, 99.0)

KERNEL_STAMPS = "use --timestamps kernel where the kernel has stamps"
STAMPED = ("ttft_ms", "chunk_gap_ms")
MOST_STORIES = 3


@dataclass(frozen=True, slots=True)
class Judged:
    """A metric whose percentiles are held against the lateness of stamps. `parts`: over how many intervals an error
    spreads; `both_ways`: both ends of what is measured may be late.
    """

    metric: str
    label: str
    both_ways: bool
    parts: float = 1


def relief(evidence: Evidence, *, of_stamps: bool = False) -> str:
    """What to do about a client that is too slow; `of_stamps`: because what it read was stamped late."""
    if of_stamps and not evidence.kernel_stamps:
        return KERNEL_STAMPS
    ways = ["more --workers"] if evidence.more_workers else []
    ways += ["a lower --concurrency"] if evidence.less_concurrency else []
    advice = f"use {' or '.join(ways)}" if ways else ""
    if of_stamps and evidence.streams_per_connection > 1 and ways:
        advice += ", or fewer --streams-per-connection"
    if evidence.more_workers:
        return advice
    return f"{advice}, and keep other work off this machine" if advice else "keep other work off this machine"


def stamps(evidence: Evidence) -> Check | None:
    """Whether the kernel stamped what came, and its stamps could be used."""
    audit = evidence.audit
    if not audit.reads:
        return None
    if not evidence.kernel_stamps:
        text = (
            "arrivals are stamped by the client as it reads them, which is later than they came by an unknown time; "
            f"{KERNEL_STAMPS}"
        )
        return Check(name="stamps", ok=False, text=text, weight=Status.DEGRADED, figures=STAMPED)
    lost = audit.unstamped_reads + audit.voided_stamps
    share = lost / audit.reads
    text = f"{percent(share)} of reads have no kernel stamp that could be used"
    if share <= FEW_UNSTAMPED:
        return Check(name="stamps", ok=True, text=text)
    text += ": the wall clock was set, or the kernel gave none; keep the clock from being set during a run"
    weight = Status.INVALID if share > MOST_UNSTAMPED else Status.DEGRADED
    return Check(name="stamps", ok=False, text=text, weight=weight, figures=STAMPED)


def ttft_error(evidence: Evidence) -> Check | None:
    """Whether TTFT is exact enough: the stamp of the first output event may be late, the send's is not."""
    return _error(evidence, evidence.audit.first_stamp_slack, Judged("ttft_ms", "TTFT", both_ways=False))


def chunk_gap_error(evidence: Evidence) -> Check | None:
    """Whether chunk gaps are exact enough: the stamps of both ends may be late."""
    return _error(evidence, evidence.audit.stamp_slack, Judged("chunk_gap_ms", "chunk gap", both_ways=True))


def itl_error(evidence: Evidence) -> Check | None:
    """Whether ITL is exact enough: an answer's error is that of its first and last event, spread over all intervals.

    The last event is taken to be late no more often than the first: it is the last in its read, too.
    """
    answers, tokens = evidence.tally.succeeded, evidence.tally.sums["output_tokens"]
    parts = max(tokens / answers - 1, 1) if answers else 1
    return _error(evidence, evidence.audit.first_stamp_slack, Judged("itl_ms", "ITL", both_ways=True, parts=parts))


def _error(evidence: Evidence, slack: Histogram, judged: Judged) -> Check | None:
    values = evidence.tally.histograms[judged.metric]
    if not values.count or not slack.count:
        return None
    figures = [figure or 0 for figure in values.percentiles(*PERCENTS)]
    bounds = error_bounds(values, slack, PERCENTS, both_ways=judged.both_ways, parts=judged.parts)
    name = f"{judged.metric.removesuffix('_ms')}_error"
    over = {
        f"p{percent:g}": (bound, figure)
        for percent, figure, bound in zip(PERCENTS, figures, bounds, strict=True)
        if bound > tolerance_ns(figure)
    }
    if not over:
        limits = " and ".join(f"{_ms(bound)} at p{percent:g}" for percent, bound in zip(PERCENTS, bounds, strict=True))
        return Check(name=name, ok=True, text=f"{judged.label} is off by at most {limits}")
    useless = bounds[0] > TOLERATED_NS and bounds[0] > USELESS_SHARE * figures[0]
    return Check(
        name=name,
        ok=False,
        text=f"{judged.label} {_off_by(over)}: the client read late; {relief(evidence, of_stamps=True)}",
        weight=Status.INVALID if useless else Status.DEGRADED,
        figures=tuple(f"{judged.metric}.{percentile}" for percentile in over),
    )


def tolerance_ns(figure: float) -> float:
    """By how much a figure may be off and still be called valid."""
    return max(min(TOLERATED_SHARE * figure, TOLERATED_NS), LEAST_TOLERANCE_NS)


def _off_by(over: Mapping[str, tuple[float, float]]) -> str:
    parts = []
    for percentile, (bound, figure) in over.items():
        share = f" ({percent(bound / figure)})" if figure else ""
        parts.append(f"{percentile} may be off by up to {_ms(bound)}{share}")
    return ", ".join(parts)


def stalls(evidence: Evidence) -> Check | None:
    """Whether a worker stood still. Judged worker by worker: one of many would drown in the sum."""
    seen = {number: stall for number, lags in evidence.lags.items() if (stall := longest_ns(lags)) is not None}
    if not seen:
        return None
    standing = [number for number in sorted(seen) if seen[number] >= STALL_NS]
    if not standing:
        return Check(name="stalls", ok=True, text=f"no worker stood still for longer than {_ms(max(seen.values()))}")
    stories = [
        _pause(
            number, f"stood still for up to {_whole_ms(seen[number])}", count_stalls(evidence.lags[number]), STALL_NS
        )
        for number in standing
    ]
    text = (
        f"{_shortened(stories)}: what was due meanwhile was sent late, and what came may share a stamp; "
        "keep other work off this machine, or use as many --workers as there are cores free"
    )
    return Check(name="stalls", ok=False, text=text, weight=Status.DEGRADED)


def collector(evidence: Evidence) -> Check | None:
    """Whether the garbage collector stopped a worker for long."""
    seen = {number: audit.collections.max for number, audit in evidence.audits.items() if audit.collections.max}
    if not seen:
        return None
    stopped = [number for number in sorted(seen) if seen[number] >= LONG_COLLECTION_NS]
    if not stopped:
        return Check(
            name="collector", ok=True, text=f"no garbage collection took longer than {_ms(max(seen.values()))}"
        )
    stories = [
        _pause(
            number,
            f"was held up by its garbage collector for up to {_whole_ms(seen[number])}",
            evidence.audits[number].collections.count_above(LONG_COLLECTION_NS),
            LONG_COLLECTION_NS,
        )
        for number in stopped
    ]
    text = f"{_shortened(stories)}: it read nothing meanwhile; {relief(evidence)}"
    return Check(name="collector", ok=False, text=text, weight=Status.DEGRADED)


def _pause(worker: int, what: str, count: int, limit_ns: int) -> str:
    times = "once" if count <= 1 else f"{count} times"
    return f"worker {worker} {what} ({times} over {_whole_ms(limit_ns)})"


def _shortened(stories: Sequence[str]) -> str:
    """The first few: where there are many cores, many workers may tell the same."""
    more = f" and {len(stories) - MOST_STORIES} more" if len(stories) > MOST_STORIES else ""
    return ", ".join(stories[:MOST_STORIES]) + more


def _ms(ns: float) -> str:
    return f"{ns_to_ms(ns):.2f} ms"


def _whole_ms(ns: float) -> str:
    return f"{ns_to_ms(ns):.0f} ms"
