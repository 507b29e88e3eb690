"""What the client noticed about its own work, in plain words: a table a level, a column a round, and the checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fluxperf.model import AuditSummary, Check, RoundResult, Status
from fluxperf.report.html.headline import badge
from fluxperf.report.html.markup import Html, element, join
from fluxperf.report.html.summary import scrolling
from fluxperf.report.html.terms import round_title
from fluxperf.report.text import number, printable


@dataclass(frozen=True, slots=True)
class _Fact:
    """A row: what it is called, what that means, and what it was."""

    name: str
    means: str
    value: Callable[[AuditSummary], str]


def _ms(value: float | None) -> str:
    return f"{number(value)} ms" if value is not None else "-"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _stalls(audit: AuditSummary) -> str:
    stalls = sum(worker.stalls for worker in audit.workers)
    longest = max((worker.longest_stall_ms or 0.0 for worker in audit.workers), default=0.0)
    return "none" if not stalls else f"{stalls}, the longest {_ms(longest)}"


_FACTS = (
    _Fact(
        "Stamps of first tokens, late by", "at most, p99: how far TTFT may be off", lambda a: _ms(a.ttft_error_ms.p99)
    ),
    _Fact(
        "Stamps of all events, late by",
        "at most, p99: how far chunk gaps may be off",
        lambda a: _ms(a.chunk_gap_error_ms.p99),
    ),
    _Fact("Receive lag", "p99: how long what arrived lay unread", lambda a: _ms(a.receive_lag_ms.p99)),
    _Fact("Schedule lag", "p99: from when a request was due to when it was sent", lambda a: _ms(a.schedule_lag_ms.p99)),
    _Fact("Turnaround", "p99: from an answer to the next request", lambda a: _ms(a.turnaround_ms.p99)),
    _Fact("Standstills", "times that a worker did nothing for 10 ms or more", _stalls),
    _Fact("Garbage collector", "its longest run", lambda a: _ms(a.collection_max_ms)),
    _Fact("Workers", "processes that sent requests", lambda a: f"{len(a.workers)}"),
    _Fact("Busiest worker", "share of its core that it used", lambda a: _share(a.cpu_share)),
    _Fact("Shared reads", "reads that held more than one event", lambda a: _share(a.shared_read_share)),
    _Fact(
        "Reads without a kernel stamp",
        "of all reads",
        lambda a: f"{a.unstamped_reads + a.voided_reads:,} of {a.reads:,}",
    ),
    _Fact(
        "Connections",
        "opened before, and during the round",
        lambda a: f"{a.connections_opened}, {a.connections_reopened}",
    ),
    _Fact("Waits", "requests that waited for a connection", lambda a: f"{a.waits:,}"),
)


def audit_part(rounds: Sequence[RoundResult], depth: int) -> Html:
    """The self-audit of a level, under a heading of that depth."""
    heads = [element("th", "", scope="col")]
    heads += [element("th", round_title(one.round), scope="col") for one in rounds]
    verdicts = [one.summary.verdict for one in rounds]
    audits = [one.summary.audit for one in rounds]
    rows = [_row(fact, audits) for fact in _FACTS]
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *rows), class_="figures audit")
    doubtful = any(verdict is None or verdict.status is not Status.VALID for verdict in verdicts)
    if all(audit is None for audit in audits):
        why = "No worker lived to tell how it fared, or the result is of an older version."
        figures = element("p", why, class_="missing")
    else:
        figures = element("details", element("summary", "All figures"), scrolling(table, "Self-audit"), open=doubtful)
    return join(
        [
            element(f"h{depth}", "Was the client on time?"),
            element("p", *(_in_short(one) for one in rounds), class_="shorts"),
            figures,
            *(_checks(one) for one in rounds),
        ]
    )


def _in_short(result: RoundResult) -> Html:
    """A round's verdict, with its first reason where there is one."""
    verdict = result.summary.verdict
    mark = element("span", "not judged", class_="badge") if verdict is None else badge(verdict.status)
    reason = f" {printable(verdict.reasons[0])}" if verdict is not None and verdict.reasons else None
    return element("span", f"{round_title(result.round)} ", mark, reason)


def _row(fact: _Fact, audits: Sequence[AuditSummary | None]) -> Html:
    name = element("th", fact.name, element("small", fact.means), scope="row", class_="left")
    return element("tr", name, *(element("td", "-" if audit is None else fact.value(audit)) for audit in audits))


def _checks(result: RoundResult) -> Html | None:
    """All questions that were asked of a round; folded, with what is not well in view."""
    checks = result.summary.checks
    if not checks:
        return None
    doubtful = [check for check in checks if not check.ok]
    said = f"{round_title(result.round)}: {len(checks) - len(doubtful)} of {len(checks)} checks are well"
    reasons = () if result.summary.verdict is None else result.summary.verdict.reasons
    items = [_item(check, reasons) for check in sorted(checks, key=lambda check: check.ok)]
    return element("details", element("summary", said), element("ul", *items, class_="checks"), open=bool(doubtful))


def _item(check: Check, reasons: Sequence[str]) -> Html:
    """Files do not tell how much a check weighs; what does is among the reasons of the verdict."""
    if check.ok:
        mark = element("span", "well", class_="badge good")
    elif check.text in reasons:
        mark = element("span", "weighs", class_="badge bad")
    else:
        mark = element("span", "note", class_="badge fair")
    return element("li", mark, " ", element("b", check.name), " ", printable(check.text))
