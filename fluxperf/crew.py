"""What the workers of a stage are given before they are forked, and what they show while they work."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import astuple

from fluxperf.api import Api
from fluxperf.engine.answers import Answers
from fluxperf.engine.board import Board, Column
from fluxperf.engine.bodies import Tickets
from fluxperf.engine.exchange import make_template
from fluxperf.engine.orders import Client, SessionRules, Shared
from fluxperf.model import Outcome, RoundName
from fluxperf.particulars import StagePlan
from fluxperf.plan.campaign import StageSpec
from fluxperf.plan.planner import LevelPlan
from fluxperf.units import s_to_ns
from fluxperf.watch.counts import Flight, LiveCounts
from fluxperf.watch.itinerary import Itinerary, Leg


def make_client(plan: StagePlan, api: Api) -> Client:
    """How the workers of the stage speak to the server."""
    settings = plan.settings
    debug = "payloads" if settings.debug_verbose else "lines" if settings.debug else None
    return Client(
        template=make_template(plan.site.url, plan.site.headers, s_to_ns(settings.timeout)),
        route=plan.site.found.route,
        api=api,
        kernel_stamps=plan.kernel_stamps,
        slo=plan.slo,
        keep_transcripts=settings.save_requests,
        debug=debug,
        secrets=plan.site.secrets,
        sessions=SessionRules(settings.think_time, settings.max_context_tokens, settings.seed),
        tokens=plan.tokens if plan.tokens.exact else None,
    )


def live_counts(board: Board) -> LiveCounts:
    """The board's totals. An output event of a request in flight is as many tokens as those of the others were."""
    finished, over_events = board.total(Column.OUTPUT_TOKENS), board.total(Column.OVER_EVENTS)
    tokens_per_event = max(finished / over_events, 1) if over_events else 1
    coming = max(board.total(Column.OUTPUT_EVENTS) - over_events, 0) * tokens_per_event
    p50_ns, p99_ns = board.ttft_percentiles(50, 99)
    oldest = min(board.flights(), key=lambda flight: flight.sent_ns or sys.maxsize, default=None)
    return LiveCounts(
        sent=board.total(Column.SENT),
        done=board.total(Column.DONE),
        not_sent=board.total(Column.NOT_SENT),
        failures=count_failures(board),
        output_tokens=finished + coming,
        ttft_ns=None if p50_ns is None or p99_ns is None else (p50_ns, p99_ns),
        started_ns=board.started_ns,
        oldest=None if oldest is None else Flight(*astuple(oldest)),
        stopped=board.stopped,
    )


def count_failures(board: Board) -> dict[str, int]:
    """By outcome; those that were rejected by their status. What did not occur is left out."""
    counts: dict[str, int] = {outcome: board.count(outcome) for outcome in Outcome if is_failure(outcome)}
    rejected, too_many = counts.pop(Outcome.REJECTED), board.total(Column.REJECTED_429)
    counts |= {"429": too_many, "503": max(rejected - too_many, 0)}
    return {name: count for name, count in counts.items() if count}


def is_failure(outcome: Outcome) -> bool:
    """Whether it counts as a failure: what was cut off did not fail."""
    return outcome.counted and not outcome.success


def leg_of(spec: StageSpec, level: LevelPlan, name: RoundName) -> Leg:
    """A round, as progress knows it."""
    return Leg(spec.title, level.concurrency, name, len(level.sample))


def plan_itinerary(stages: Iterable[tuple[StageSpec, Sequence[LevelPlan]]]) -> Itinerary:
    """All rounds of a run."""
    return Itinerary(
        leg_of(spec, level, plan.round) for spec, levels in stages for level in levels for plan in level.rounds
    )


def share(plan: StagePlan) -> Shared:
    """What the workers of a stage draw from and write to."""
    answers = Answers(plan.preparation.turns_of_all()) if plan.replays_answers else None
    return Shared(plan.preparation.bodies, Tickets(), Board(plan.workers), answers)
