"""Checks: what could make a round's figures say something else than they seem to. One function and one line each."""

from __future__ import annotations

from collections.abc import Callable

from fluxperf.model import Check
from fluxperf.tally import Tally

# Above this share of output events that came in one read with the one before, gaps are not the server's.
MOST_COALESCED = 0.05
# A stop token is counted by the server and seen by nobody; beyond that much more, chunks hold several tokens.
MOST_TOKENS_AN_EVENT = 1.25


def coalescing(tally: Tally) -> Check | None:
    """Whether output events came one by one: a server, proxy or network may hand over several at once."""
    events, coalesced = tally.sums["output_events"], tally.sums["coalesced_events"]
    if not events:
        return None
    share = coalesced / events
    text = f"{share:.1%} of output events came in one read with the one before"
    if share > MOST_COALESCED:
        text += ": gaps between them are not the server's; look for a proxy that buffers, or a busy machine"
    return Check(name="coalescing", ok=share <= MOST_COALESCED, text=text)


def tokens_an_event(tally: Tally) -> Check | None:
    """Whether an output event is about one token, as far as the server's counts tell."""
    tokens, events = tally.sums["usage_tokens"], tally.sums["usage_events"]
    if not tokens or not events:
        return None
    ratio = tokens / events
    text = f"an output event held {ratio:.2f} tokens on average"
    if ratio > MOST_TOKENS_AN_EVENT:
        text += ": ITL is by the server's token count, the chunk gap is between events"
    return Check(name="tokens_per_event", ok=ratio <= MOST_TOKENS_AN_EVENT, text=text)


def token_counts(tally: Tally) -> Check | None:
    """Whether the server counted the output tokens, or output events had to do."""
    events_only = tally.sums["counted_events"]
    succeeded = tally.succeeded
    if not succeeded:
        return None
    if not events_only:
        return Check(name="token_counts", ok=True, text="output tokens are the server's usage counts")
    text = f"{events_only} of {succeeded} answers had no usage: their output tokens are counts of output events"
    return Check(name="token_counts", ok=False, text=text)


def resent(tally: Tally) -> Check | None:
    """Whether requests met a connection that the server had just closed."""
    count = tally.sums["resent"]
    if not count:
        return None
    requests = "1 request was" if count == 1 else f"{count} requests were"
    text = (
        f"{requests} sent again, on a new connection: the server had closed the idle one (counted from the second send)"
    )
    return Check(name="resent", ok=False, text=text)


def cached_tokens(tally: Tally) -> Check | None:
    """Whether the server's count of cached tokens can be true."""
    prompt, cached = tally.sums["cache_prompt_tokens"], tally.sums["cached_tokens"]
    if cached <= prompt:
        return None
    return Check(name="cached_tokens", ok=False, text=f"the server counts {cached} of {prompt} prompt tokens as cached")


CHECKS: tuple[Callable[[Tally], Check | None], ...] = (token_counts, tokens_an_event, coalescing, cached_tokens, resent)


def run_checks(tally: Tally) -> tuple[Check, ...]:
    """Every check that has something to say."""
    return tuple(check for check in (check(tally) for check in CHECKS) if check is not None)
