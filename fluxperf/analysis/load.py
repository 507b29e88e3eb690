"""Checks of the load that was offered: whether it was what was asked for, or less because of the client.

In a closed loop a client that is slow to send asks less of the server than it says. Rows are in `checks`; each
constant is a promise of docs/verdict.md, with its reason. A check that finds nothing to look at says nothing.
"""

from __future__ import annotations

from fluxperf.analysis.accuracy import relief
from fluxperf.analysis.evidence import LEAST_WAIT_NS, STALL_NS, Evidence, cpu_share, percent
from fluxperf.model import Check, Histogram, Status
from fluxperf.units import NS_PER_MS, ns_to_ms

# A core that is busier than this has no room left for a burst; what it does not get done looks like a slow server.
MOST_CPU_SHARE = 0.9
# Throughput and requests in flight are lower by the share of its time that a lane was idle. More than this is not
# called valid ...
MOST_IDLE_SHARE = 0.01
# ... unless a request lost less than this: the promise is 1 % or 1 ms, and a server that answers in a few
# milliseconds is not asked as often as it could be by any client.
LEAST_LOSS_NS = NS_PER_MS
# Sessions that keep less than this share of their places busy offer another load than their concurrency says.
LEAST_IN_FLIGHT = 0.75
# Fewer requests than this share may wait, or need a new connection, without a word.
FEW = 0.01

LOAD = ("throughput", "avg_in_flight")


def outcome(evidence: Evidence) -> Check | None:
    """Whether there is anything to measure at all."""
    if evidence.tally.succeeded or not evidence.planned:
        return None
    return Check(name="outcome", ok=False, text="not one request succeeded", weight=Status.INVALID)


def workers(evidence: Evidence) -> Check | None:
    """Whether all workers lived to report."""
    if not evidence.lost:
        return None
    who = "worker " if len(evidence.lost) == 1 else "workers "
    text = (
        f"{who}{', '.join(map(str, evidence.lost))} died: the requests under way are cut off, "
        "chunk gaps and all that the worker noticed are lost; what it said on stderr may tell why"
    )
    return Check(name="workers", ok=False, text=text, weight=Status.INVALID)


def completeness(evidence: Evidence) -> Check | None:
    """Whether the round came to its end."""
    if not evidence.stopped:
        return None
    text = (
        f"the round was stopped before its end: {evidence.counted} of {evidence.planned} requests are counted; "
        "throughput and requests in flight are too low, for what was cut off is not in them"
    )
    return Check(name="completeness", ok=False, text=text, weight=Status.DEGRADED, figures=LOAD)


def in_flight(evidence: Evidence) -> Check | None:
    """Whether sessions kept as many requests in flight as there are places: each has one at most, and pauses."""
    tally = evidence.tally
    if not evidence.sessions or tally.first_sent_ns is None or tally.last_done_ns is None or evidence.stopped:
        return None
    span_ns = tally.last_done_ns - tally.first_sent_ns
    average = tally.sums["in_flight_ns"] / span_ns if span_ns else 0
    text = f"{average:.1f} requests were in flight on average, at a concurrency of {evidence.concurrency}"
    if average >= LEAST_IN_FLIGHT * evidence.concurrency:
        return Check(name="in_flight", ok=True, text=text)
    text += ": long sessions were left alone at the end, or somebody thought between turns; take more sessions"
    return Check(name="in_flight", ok=False, text=text)


def context(evidence: Evidence) -> Check | None:
    """Whether prompts were as short as was asked for."""
    most = evidence.most_context_tokens
    if most is None or not evidence.sessions:
        return None
    longer = [request.input_tokens for request in evidence.requests if request.input_tokens > most and request.sent_ns]
    if not longer:
        return Check(name="context", ok=True, text=f"no prompt was longer than {most:,} tokens")
    text = (
        f"{len(longer)} of {evidence.counted} prompts were longer than --max-context-tokens {most:,}, the longest "
        f"{max(longer):,}: system messages and the newest question stay, whose length is an estimate"
    )
    return Check(name="context", ok=False, text=text)


def cpu(evidence: Evidence) -> Check | None:
    """Whether every worker had time to spare."""
    shares = {number: share for number, audit in evidence.audits.items() if (share := cpu_share(audit)) is not None}
    if not shares:
        return None
    busiest = max(sorted(shares), key=lambda number: shares[number])
    text = f"worker {busiest} used {shares[busiest]:.0%} of its core"
    if shares[busiest] <= MOST_CPU_SHARE:
        return Check(name="cpu", ok=True, text=text)
    text += f": the client may have been the limit of the throughput; {relief(evidence)}"
    return Check(name="cpu", ok=False, text=text, weight=Status.DEGRADED, figures=("throughput",))


def schedule(evidence: Evidence) -> Check | None:
    """Whether requests went out when they were due. Only warns: what counts is when they really went."""
    p99_ns, longest_ns = evidence.audit.send_lag.percentile(99), evidence.audit.send_lag.max
    if p99_ns is None or longest_ns is None:
        return None
    text = f"requests went out at most {_ms(longest_ns)} after they were due (p99 {_ms(p99_ns)})"
    if p99_ns >= STALL_NS:
        text += f": a burst is spread over that time, TTFT counts from the real send; {relief(evidence)}"
    return Check(name="schedule", ok=p99_ns < STALL_NS, text=text)


def turnaround(evidence: Evidence) -> Check | None:
    """Whether each answer was soon followed by the next request of its lane."""
    idle = evidence.audit.turnaround
    if not idle.count or idle.mean is None:
        return None
    text = f"the next request went out {_ms(idle.mean)} after an answer on average"
    return _judge_idle("turnaround", text, idle, evidence)


def waits(evidence: Evidence) -> Check | None:
    """Whether requests had to wait for a connection, or for a stream on one."""
    idle = evidence.tally.histograms["wait_ms"]
    count, p99_ns = idle.count_above(LEAST_WAIT_NS), idle.percentile(99)
    if not count or p99_ns is None:
        return None
    text = f"{count} of {idle.count} requests waited for a connection or a stream (p99 {_ms(p99_ns)})"
    return _judge_idle("waits", text, idle, evidence, ok=count <= FEW * idle.count)


def reconnects(evidence: Evidence) -> Check | None:
    """Whether connections had to be opened while the round ran; opening them is in connect_ms, not in TTFT."""
    reopened, idle = evidence.audit.reopened, evidence.tally.histograms["connect_ms"]
    if not reopened:
        return None
    text = f"{reopened} {'connection was' if reopened == 1 else 'connections were'} opened during the round"
    return _judge_idle("reconnects", text, idle, evidence, ok=reopened <= FEW * evidence.counted)


def _judge_idle(name: str, text: str, idle: Histogram, evidence: Evidence, *, ok: bool = True) -> Check:
    """A check of time in which lanes had nothing in flight, by the share that it has of all their time."""
    in_flight_ns = evidence.tally.sums["in_flight_ns"]
    share = idle.sum / (idle.sum + in_flight_ns) if idle.sum else 0
    if share <= MOST_IDLE_SHARE or idle.sum < LEAST_LOSS_NS * idle.count:
        return Check(name=name, ok=ok, text=text)
    text += (
        f": throughput and requests in flight are lower by {percent(share)} than this concurrency would give; "
        f"{relief(evidence)}"
    )
    return Check(name=name, ok=False, text=text, weight=Status.DEGRADED, figures=LOAD)


def _ms(ns: float) -> str:
    return f"{ns_to_ms(ns):.2f} ms"
