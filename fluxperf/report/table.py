"""One round as the table on the terminal. Knows figures and widths, not where they go."""

from __future__ import annotations

from fluxperf.metrics import METRICS
from fluxperf.model import CONTROL, Outcome, Reading, RoundResult, RoundSummary, Stats, Status
from fluxperf.report.box import Row, draw_box
from fluxperf.report.prometheus import prometheus_lines, prometheus_rows
from fluxperf.report.text import cached_text, cold_text, count, fold, number, printable, round_name, rule, usable
from fluxperf.report.turns import turn_lines
from fluxperf.report.verdict import round_verdict

_ALWAYS_SHOWN = ("ttft_ms", "itl_ms", "latency_ms")
_EXAMPLE_LIMIT = 200
_MARK = "* "
_TOLD_TRAFFIC = 0.001


def render_round(result: RoundResult, columns: int | None) -> str:
    """The round's report, lines joined by newlines, without one at the end.

    `columns` is the terminal's width: no line is wider (from 40 columns on). None, or 137 and more,
    gives the full layout.
    """
    columns = usable(columns)
    summary = result.summary
    head = [
        rule("=", columns),
        _title(result),
        rule("=", columns),
        *_remarks(result),
        _totals(summary),
        f"Average Input Tokens: {number(summary.avg_input_tokens, '.1f')}"
        f" | Average Output Tokens: {number(summary.avg_output_tokens, '.1f')}",
        rule("-", columns),
    ]
    rows = [*_rows(summary), *prometheus_rows(summary)]
    lines = [*fold(head, columns), *fold([*draw_box(rows, columns), *_marks(summary)], columns)]
    lines += ["", *turns] if (turns := turn_lines(result, columns)) else []
    sections = (_throughput, _goodput, _cache, prometheus_lines, _failures, _warnings, round_verdict)
    for section in (section(summary) for section in sections):
        if section:
            lines += ["", *fold(section, columns)]
    return "\n".join(lines)


def _title(result: RoundResult) -> str:
    parts = [f"Concurrency: {result.concurrency}", f"{_heading(result)} Performance Metrics"]
    if result.stage is not None:
        parts.insert(0, f"Stage: {printable(result.stage)}")
    if result.partial:
        parts.append("PARTIAL (stopped before its end)")
    return " | ".join(parts)


def _heading(result: RoundResult) -> str:
    return "Control Round" if result.round == CONTROL else f"Round {result.round}"


def _remarks(result: RoundResult) -> list[str]:
    """What to know before reading the figures."""
    remarks = [f"Note: {printable(note)}" for note in result.notes]
    if result.summary.cold is False:
        remarks.append(f"Note: {round_name(result.round)} was {cold_text(result.summary)}")
    return remarks


def _totals(summary: RoundSummary) -> str:
    parts = [
        f"Total Requests: {summary.total_requests}",
        f"Success: {summary.successful_requests}",
        f"Failed: {summary.failed_requests}",
        f"Test Duration: {number(summary.duration_s)} sec",
    ]
    if cut_off := summary.outcomes.get(Outcome.CUT_OFF):
        parts.append(f"Cut Off (not counted): {cut_off}")
    if not_sent := summary.outcomes.get(Outcome.NOT_SENT):
        parts.append(f"Not Sent (not counted): {not_sent}")
    return " | ".join(parts)


def _rows(summary: RoundSummary) -> list[Row]:
    """The rows by label: three always, and further ones that say more: not all zero, and no repetition (TTFO).

    What could not be measured has a row too, with a mark and without figures.
    """
    rows: list[Row] = []
    for metric in METRICS:
        figures = summary.stats[metric.name]
        if metric.name in summary.unmeasured:
            rows.append(Row(_MARK + metric.label, Stats()))
        elif metric.name in _ALWAYS_SHOWN or (figures.max and not any(figures == row.figures for row in rows)):
            rows.append(Row(metric.label, figures))
    return rows


def _marks(summary: RoundSummary) -> list[str]:
    """What stands in the place of the figures that could not be measured."""
    return [
        f"{_MARK}{metric.label}: no figures, because {printable(summary.unmeasured[metric.name])}"
        for metric in METRICS
        if metric.name in summary.unmeasured
    ]


def _throughput(summary: RoundSummary) -> list[str]:
    return [
        "Throughput:",
        f"  Token Throughput: {number(summary.tokens_per_s)} tokens/sec",
        f"  Request Throughput: {number(summary.requests_per_s)} requests/sec",
    ]


def _goodput(summary: RoundSummary) -> list[str]:
    goodput = summary.goodput
    if goodput is None:
        return []
    section = [
        "Goodput (SLO):" if goodput.name is None else f"Goodput (SLO: {printable(goodput.name)}):",
        f"  Requests Meeting SLO: {goodput.requests} / {summary.total_requests} ({number(goodput.ratio, '.2%')})",
    ]
    worst = max(goodput.missed, key=lambda constraint: goodput.missed[constraint], default=None)
    if worst is not None and goodput.missed[worst]:
        section.append(f"  Most often missed: {printable(worst)} ({count(goodput.missed[worst], 'request')})")
    return section


def _cache(summary: RoundSummary) -> list[str]:
    """Whether it was emptied, and what both witnesses say; where the counters say nothing, why."""
    lines = [] if summary.cached_tokens is None else [f"Cached prompt tokens: {cached_text(summary)}"]
    cache = summary.cache
    if cache is not None and cache.reset is not None:
        said = "was accepted" if cache.reset.accepted else "was refused"
        sure = {True: ", and nothing was found after it", False: ", and did nothing", None: ", and nobody confirms it"}
        lines.insert(
            0, f"Cache reset before the round: {said}{sure[cache.reset_confirmed] if cache.reset.accepted else ''}"
        )
    if cache is None or cache.counters is None:
        return lines
    counters = cache.counters
    if counters.reading is Reading.OK:
        found = f"{counters.hits:,} of {counters.queries:,} {counters.unit} ({number(counters.ratio, '.1%')})"
        apart = "" if cache.unexplained_hits is None else f", {cache.unexplained_hits:+,} unexplained"
        if counters.preemptions:
            apart += f", {count(counters.preemptions, 'request')} given up and looked up again"
        lines.append(f"By the server's counters: {found}{apart}")
        lines += [
            f"  Engine {printable(label)}: {hits.hits:,} of {hits.queries:,}"
            for label, hits in counters.by_engine.items()
            if len(counters.by_engine) > 1
        ]
    elif counters.reading is not Reading.ABSENT or counters.engine is not None:
        lines.append(f"By the server's counters: {counters.reading}: {printable(counters.why or '')}")
    if cache.foreign_share is not None and cache.foreign_tokens and abs(cache.foreign_share) >= _TOLD_TRAFFIC:
        lines.append(f"Other traffic: {cache.foreign_tokens:+,} prompt tokens ({number(cache.foreign_share, '.1%')})")
    return lines


def _failures(summary: RoundSummary) -> list[str]:
    outcomes = {Outcome(name): amount for name, amount in summary.outcomes.items()}
    failed = {name: amount for name, amount in outcomes.items() if amount and name.counted and not name.success}
    section = ["Failed requests:"] if failed else []
    for name in sorted(failed, key=lambda name: -failed[name]):
        example = printable(summary.examples.get(name, ""), _EXAMPLE_LIMIT)
        section.append(f"  {name}: {failed[name]}" + (f", for example: {example}" if example else ""))
    return section


def _warnings(summary: RoundSummary) -> list[str]:
    """Checks that are not ok. Those that weigh are reasons of the verdict, which follows."""
    failed = [
        f"  {check.name}: {printable(check.text)}"
        for check in summary.checks
        if not check.ok and check.weight is Status.VALID
    ]
    return ["Warnings:", *failed] if failed else []
