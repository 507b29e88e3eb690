"""The verdict in words: at the end of a round's table, and over all rounds at the end of a run."""

from __future__ import annotations

from fluxperf.model import RoundResult, RoundSummary, RunResult, Status, Verdict
from fluxperf.model.evaluation import CacheEvaluation
from fluxperf.report.text import count, fold, number, printable, round_name, usable


def round_verdict(summary: RoundSummary) -> list[str]:
    """The lines on one round; none if nobody judged it."""
    verdict = summary.verdict
    if verdict is None:
        return []
    head = f"Verdict: {verdict.status}"
    reasons = [printable(reason) for reason in verdict.reasons]
    if len(reasons) > 1:
        return [f"{head}:", *(f"  {reason}" for reason in reasons)]
    return [": ".join([head, *(reasons or _assurances(summary))])]


def _assurances(summary: RoundSummary) -> list[str]:
    """What speaks for a round against which nothing speaks."""
    audit = summary.audit
    errors = [] if audit is None else [audit.ttft_error_ms.p99, audit.chunk_gap_error_ms.p99]
    known = [error for error in errors if error is not None]
    if audit is None or not known:
        return []
    late = f"stamps are at most {number(max(known))} ms late at p99"
    busy = "" if audit.cpu_share is None else f", the busiest worker used {number(audit.cpu_share, '.0%')} of its core"
    return [late + busy]


def render_verdict(run: RunResult, columns: int | None) -> str:
    """The verdict over all rounds, lines joined by newlines; empty where the one round of a whole run has said it all.

    No line is wider than `columns` (from 40 on); None: no limit.
    """
    alone = len(run.rounds) == 1 and not run.partial
    if run.verdict is None or (alone and all(found.verdict.status is Status.VALID for found in run.evaluations)):
        return ""
    if not run.rounds:
        return "\n".join(fold([f"Verdict: {run.verdict.status}: {'; '.join(run.verdict.reasons)}"], usable(columns)))
    lines = [line for result in run.rounds for line in _in_short(result)]
    lines += dict.fromkeys(line for found in run.evaluations for line in _of_level(found))
    if run.partial:
        lines.append("  The run was stopped before its end.")
    if run.verdict.status is Status.VALID:
        text = f"Verdict: {run.verdict.status}: {count(len(run.rounds), 'round')}, nothing speaks against any of them"
    else:
        text = f"Verdict: {run.verdict.status}:"
    return "\n".join(fold([text, *lines], usable(columns)))


def _in_short(result: RoundResult) -> list[str]:
    """A line on a round that is not valid: the worst that is to be said of it. All of it is under its table."""
    verdict = result.summary.verdict
    if verdict is None or verdict.status is Status.VALID:
        return []
    return [_worst(_place(result.stage, f"concurrency {result.concurrency}, {round_name(result.round)}"), verdict)]


def _of_level(found: CacheEvaluation) -> list[str]:
    """The same on the evidence on the cache at one level: all but what the answer says, which follows."""
    verdict = found.verdict
    if verdict.status is Status.VALID:
        return []
    place = _place(found.stage, f"concurrency {found.concurrency}, the cache")
    first, *others = map(printable, verdict.reasons)
    told = first if found.round is None else "see the answer below"  # one round alone has none
    return [f"  {place}: {verdict.status}: {told}", *(f"  {place}: {reason}" for reason in others)]


def _worst(place: str, verdict: Verdict) -> str:
    first, *others = map(printable, verdict.reasons)
    more = f" (and {count(len(others), 'further reason')})" if others else ""
    return f"  {place}: {verdict.status}: {first}{more}"


def _place(stage: str | None, place: str) -> str:
    """At the beginning of a line."""
    return place.capitalize() if stage is None else f"Stage {printable(stage)}, {place}"
