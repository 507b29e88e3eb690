"""What the workers of a stage are given before they are forked, and what they show while they work."""

from __future__ import annotations

from fluxperf.api import Api
from fluxperf.engine.answers import Answers
from fluxperf.engine.board import Board, Column
from fluxperf.engine.bodies import Tickets
from fluxperf.engine.exchange import make_template
from fluxperf.engine.orders import Client, SessionRules, Shared
from fluxperf.particulars import StagePlan
from fluxperf.units import s_to_ns
from fluxperf.watch.progress import LiveCounts


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
    """The board's totals."""
    return LiveCounts(
        sent=board.total(Column.SENT),
        done=board.total(Column.DONE),
        failed=board.total(Column.FAILED),
        output_tokens=board.total(Column.OUTPUT_TOKENS),
        ttft_ns_sum=board.total(Column.TTFT_NS_SUM),
        succeeded=board.total(Column.SUCCEEDED),
        not_sent=board.total(Column.NOT_SENT),
    )


def share(plan: StagePlan) -> Shared:
    """What the workers of a stage draw from and write to."""
    answers = Answers(plan.preparation.turns_of_all()) if plan.replays_answers else None
    return Shared(plan.preparation.bodies, Tickets(), Board(plan.workers), answers)
