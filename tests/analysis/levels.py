"""Rounds as they are measured, for the tests of what is made of a level: requests and counters in, evaluations out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from fluxperf.analysis.dose import respond
from fluxperf.analysis.evaluation import evaluate
from fluxperf.analysis.evidence import Evidence, History
from fluxperf.analysis.merge import summarise
from fluxperf.analysis.paired import compare, compare_pairs, pair
from fluxperf.model import (
    CONTROL,
    Audit,
    CacheCounters,
    CacheReset,
    Comparison,
    Histogram,
    Outcome,
    Reading,
    RoundName,
    RoundResult,
    Timeline,
)
from fluxperf.model.dose import DoseResponse
from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.tally import Tally
from tests.analysis.rounds import MS, request

URL = "http://localhost/reset_prefix_cache"
PROMPT = 1000  # tokens


def prompts(
    count: int, ttft_ms: float, *, share: float | None = 0.0, tokens: int | None = PROMPT, seed: int = 1, **facts: Any
) -> list[Timeline]:
    """So many requests, one after another, with a TTFT within 10 % of this, and this share of each prompt cached.

    `tokens` None: the server sends no usage.
    """
    draw = Random(seed)
    cached = None if share is None or tokens is None else round(tokens * share)
    return [
        request(index, ttft_ms * draw.uniform(0.9, 1.1), prompt_tokens=tokens, cached_tokens=cached, **facts)
        for index in range(count)
    ]


def failed(requests: Iterable[Timeline], outcome: Outcome = Outcome.HTTP_STATUS) -> list[Timeline]:
    """The same requests, none of which came to an answer."""
    return [Timeline(index=one.index, outcome=outcome, sent_ns=one.sent_ns, error="no") for one in requests]


def counted(hits: int, queries: int, **changes: Any) -> CacheCounters:
    """What vLLM counted in a round."""
    plain = CacheCounters(
        engine="vllm",
        label="vLLM",
        reading=Reading.OK,
        hits=hits,
        queries=queries,
        prompt_tokens=queries,
        counts_prompts=True,
    )
    return replace(plain, **changes)


def a_reset(*, accepted: bool = True) -> CacheReset:
    answer = "" if accepted else 'its body says {"success": false}'
    return CacheReset(url=URL, accepted=accepted, status=200, answer=answer, attempts=1)


def history(name: RoundName, **changes: Any) -> History:
    """As a run has it: later rounds repeat what round 1 sent, a control round is of fresh prompts."""
    plain = History(round=name, new=name == CONTROL, repeats=name not in (1, CONTROL))
    return replace(plain, **changes)


def measured(name: RoundName, requests: Sequence[Timeline], **facts: Any) -> RoundResult:
    """A round of these requests at concurrency 5. Facts are those of its history, its evidence or its result."""
    requests = sorted(requests, key=lambda one: one.index)
    past = {key: facts.pop(key) for key in ("new", "repeats", "sent_before", "reset") if key in facts}
    facts.setdefault("stopped", facts.get("partial", False))
    place: dict[str, Any] = {"stage": None, "concurrency": 5, "configuration": {}, "first_sent_ns": None}
    place |= {key: facts.pop(key) for key in ("stage", "concurrency", "partial") if key in facts}
    tally = Tally()
    for one in requests:
        tally.add(one)
    evidence = Evidence(
        **{"planned": len(requests), **facts}, tally=tally, requests=requests, history=history(name, **past)
    )
    return RoundResult(round=name, summary=summarise(evidence), requests=requests, **place)


def late(ms: float) -> dict[int, Audit]:
    """The audits of a client whose stamps of first tokens are so late."""
    slack = Histogram()
    slack.record_all([round(ms * MS)] * 50)
    return {0: Audit(first_stamp_slack=slack)}


def judged(*rounds: RoundResult) -> tuple[CacheEvaluation, ...]:
    """What a run makes of its rounds."""
    comparisons: list[Comparison] = []
    doses: list[tuple[RoundResult, DoseResponse]] = []
    for place, one in enumerate(rounds):
        level = [earlier for earlier in rounds[:place] if earlier.concurrency == one.concurrency]
        if not level:
            continue
        pairs = pair(level[0], one)
        comparisons += compare_pairs(pairs)
        if one.round == CONTROL:
            comparisons += [found for later in level[1:] for found in compare(one, later)]
        elif (dose := respond(pairs)) is not None:
            doses.append((one, dose))
    return evaluate(rounds, comparisons, doses)


def judge_one(*rounds: RoundResult) -> CacheEvaluation:
    """The same of one level with one later round."""
    (found,) = judged(*rounds)
    return found
