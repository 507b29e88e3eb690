"""Checks: what could make a round's figures say something else than they seem to. One function and one line each.

Here are those of the answers; those of the client are in `accuracy` (its clockwork) and `load` (what it asked for).
"""

from __future__ import annotations

from collections.abc import Callable

from fluxperf.analysis import accuracy, load
from fluxperf.analysis.evidence import Evidence, percent
from fluxperf.model import Check, Status
from fluxperf.tally import Tally

# Above this share of output events that came in one read with the one before, gaps are not the server's.
MOST_COALESCED = 0.05
# The same for answers that came in one write, and so have no gaps at all.
MOST_AT_ONCE = 0.05
# Above this share of either, what is left is not even most of the round, and a table shows no figure for it.
MOST_UNMEASURED = 0.5
# A stop token is counted by the server and seen by nobody; beyond that much more, chunks hold several tokens.
MOST_TOKENS_AN_EVENT = 1.25


def coalescing(evidence: Evidence) -> Check | None:
    """Whether output events came one by one: a server, proxy or network may hand over several at once."""
    events, coalesced = evidence.tally.sums["output_events"], evidence.tally.sums["coalesced_events"]
    if not events:
        return None
    share = coalesced / events
    text = f"{percent(share)} of output events came in one read with the one before"
    if share <= MOST_COALESCED:
        return Check(name="coalescing", ok=True, text=text)
    reason = _own_stall(evidence) or "look for a proxy that buffers, or a busy machine"
    text += f": gaps between them are not the server's; {reason}"
    return Check(name="coalescing", ok=False, text=text, weight=Status.DEGRADED, figures=("chunk_gap_ms",))


def at_once(evidence: Evidence) -> Check | None:
    """Whether answers came bit by bit: one that comes in one write has no gaps and no ITL that a client could see."""
    whole, longer = evidence.tally.sums["whole_answers"], evidence.tally.sums["longer_answers"]
    if not whole:
        return None
    share = whole / longer
    text = f"{percent(share)} of answers came at once, which leaves no chunk gaps and no ITL to measure"
    if share <= MOST_AT_ONCE:
        return Check(name="at_once", ok=True, text=text)
    text += f"; {_own_stall(evidence) or 'does the server stream, or does a proxy buffer?'}"
    return Check(name="at_once", ok=False, text=text, weight=Status.DEGRADED, figures=("chunk_gap_ms", "itl_ms"))


def _own_stall(evidence: Evidence) -> str | None:
    """The reason that lies with the client; None: it kept looking, and what came together was sent together."""
    check = accuracy.stalls(evidence)
    return None if check is None or check.ok else "the client itself stood still, which may be the reason: see stalls"


def unmeasured(tally: Tally) -> dict[str, str]:
    """The metrics whose values are mostly not the server's, each with a sentence for the place of its figures."""
    sums = tally.sums
    sentences = {}
    gaps = sums["output_events"] - tally.succeeded  # a success has at least one output event
    if gaps and sums["coalesced_events"] / gaps > MOST_UNMEASURED:
        sentences["chunk_gap_ms"] = (
            f"{sums['coalesced_events'] / gaps:.0%} of the gaps are within one read, where nobody can see them"
        )
    if (longer := sums["longer_answers"]) and sums["whole_answers"] / longer > MOST_UNMEASURED:
        sentences["itl_ms"] = f"{sums['whole_answers'] / longer:.0%} of the answers came at once"
    return sentences


def tokens_an_event(evidence: Evidence) -> Check | None:
    """Whether an output event is about one token, as far as the server's counts tell."""
    tokens, events = evidence.tally.sums["usage_tokens"], evidence.tally.sums["usage_events"]
    if not tokens or not events:
        return None
    ratio = tokens / events
    text = f"an output event held {ratio:.2f} tokens on average"
    if ratio > MOST_TOKENS_AN_EVENT:
        text += ": ITL is by the server's token count, the chunk gap is between events"
    return Check(name="tokens_per_event", ok=ratio <= MOST_TOKENS_AN_EVENT, text=text)


def token_counts(evidence: Evidence) -> Check | None:
    """Whether the server counted the output tokens, or a tokenizer, or output events had to do."""
    events_only, by_tokenizer = evidence.tally.sums["counted_events"], evidence.tally.sums["counted_answers"]
    succeeded = evidence.tally.succeeded
    if not succeeded:
        return None
    if by_tokenizer and not events_only:
        text = f"{by_tokenizer} of {succeeded} answers had no usage: their output tokens were counted by the tokenizer"
        return Check(name="token_counts", ok=True, text=text)
    if not events_only:
        return Check(name="token_counts", ok=True, text="output tokens are the server's usage counts")
    text = f"{events_only} of {succeeded} answers had no usage: their output tokens are counts of output events"
    return Check(name="token_counts", ok=False, text=text)


def resent(evidence: Evidence) -> Check | None:
    """Whether requests met a connection that the server was giving up: they are sent once more."""
    count = evidence.tally.sums["resent"]
    if not count:
        return None
    requests = "1 request was" if count == 1 else f"{count} requests were"
    text = (
        f"{requests} sent again, on another connection: the server had closed the idle one, or said of a connection "
        "that it gives up that it had not looked at them (counted from the second send)"
    )
    return Check(name="resent", ok=False, text=text)


def cached_tokens(evidence: Evidence) -> Check | None:
    """Whether the server's count of cached tokens can be true."""
    absurd = evidence.tally.sums["cache_absurd"]
    if not absurd:
        return None
    text = (
        f"{absurd} of {evidence.tally.succeeded} answers tell more cached tokens than prompt tokens, and are not heard"
    )
    return Check(name="cached_tokens", ok=False, text=text)


CHECKS: tuple[Callable[[Evidence], Check | None], ...] = (
    token_counts,
    tokens_an_event,
    coalescing,
    at_once,
    cached_tokens,
    resent,
    load.outcome,
    load.workers,
    load.completeness,
    load.in_flight,
    load.context,
    accuracy.stamps,
    accuracy.ttft_error,
    accuracy.chunk_gap_error,
    accuracy.itl_error,
    accuracy.stalls,
    accuracy.collector,
    load.cpu,
    load.schedule,
    load.turnaround,
    load.waits,
    load.reconnects,
)


def run_checks(evidence: Evidence) -> tuple[Check, ...]:
    """Every check that has something to say."""
    return tuple(check for check in (check(evidence) for check in CHECKS) if check is not None)
