"""The table of all rounds: a row each, sortable, to be copied. Every number in it is one of run.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fluxperf.model import CONTROL, RoundResult, RoundSummary
from fluxperf.report.html.markup import Html, element, join
from fluxperf.report.html.terms import term
from fluxperf.report.text import number, printable
from fluxperf.report.values import rounded

_COLD = {True: "yes", False: "no", None: "not known"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, the key that says in run.json what it is, its value in a round, and how that is shown."""

    heading: Html
    key: str
    value: Callable[[RoundSummary], float | int | None]
    form: str = ",.2f"


def _stat(label: str, metric: str, stat: str) -> Column:
    heading = join([term(label), Html("<br>"), term(stat), ", ms"])
    return Column(heading, f"{metric}.{stat}", lambda summary: getattr(summary.stats[metric], stat))


def _goodput(summary: RoundSummary) -> float | None:
    return None if summary.goodput is None else summary.goodput.ratio


def _cached(summary: RoundSummary) -> float | None:
    return None if summary.cached_tokens is None else summary.cached_tokens.ratio


_COUNTS = (
    Column(Html("Requests"), "total_requests", lambda summary: summary.total_requests, ",d"),
    Column(Html("OK"), "successful_requests", lambda summary: summary.successful_requests, ",d"),
    Column(Html("Failed"), "failed_requests", lambda summary: summary.failed_requests, ",d"),
)
_FIGURES = (
    *(_stat("TTFT", "ttft_ms", stat) for stat in ("p50", "p99")),
    *(_stat("ITL", "itl_ms", stat) for stat in ("p50", "p99")),
    *(_stat("Latency", "latency_ms", stat) for stat in ("p50", "p99")),
    Column(Html("Tokens<br>a second"), "throughput.tokens_per_s", lambda summary: summary.tokens_per_s, ",.1f"),
    Column(Html("Requests<br>a second"), "throughput.requests_per_s", lambda summary: summary.requests_per_s),
    Column(term("Goodput"), "goodput.ratio", _goodput, ".1%"),
    Column(term("Cached"), "cached_tokens.ratio", _cached, ".1%"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A round, what its row leads to, and what stands before it: the names of the runs that are compared."""

    result: RoundResult
    link: str | None = None
    run: str | None = None


def summary_table(rows: Sequence[Row], name: str = "rounds") -> Html:
    """The table with its buttons; `name` tells it from others on the page."""
    if not rows:
        return element("p", "No round has been finished, so there are no figures.", class_="missing")
    runs = any(row.run is not None for row in rows)
    stages = any(row.result.stage is not None for row in rows)
    figures = [column for column in _FIGURES if any(column.value(row.result.summary) is not None for row in rows)]
    left = [*(["Run"] if runs else []), *(["Stage"] if stages else [])]
    heads = [
        *(_heading(Html(text), text.lower(), left=True) for text in left),
        _heading(Html("Level"), "concurrency"),
        _heading(Html("Round"), "round", left=True),
        *(_heading(column.heading, column.key) for column in _COUNTS),
        _heading(term("Cold"), "cold", left=True),
        *(_heading(column.heading, column.key) for column in figures),
    ]
    body = join(_row(row, figures, runs=runs, stages=stages) for row in rows)
    table = element(
        "table",
        element("caption", "A row for each round. A heading sorts by its column.", class_="unseen"),
        element("thead", element("tr", *heads)),
        element("tbody", body),
        id=f"table-{name}",
        class_="figures sortable",
    )
    missing = sorted({column.key for column in _FIGURES} - {column.key for column in figures})
    absent = element("p", f"Left out, because no round has a value: {', '.join(missing)}.", class_="note")
    return join([_buttons(name), scrolling(table, "All rounds"), absent if missing else None])


def scrolling(table: Html, label: str) -> Html:
    """A table that scrolls within itself where it is wider than the page; the keyboard reaches it, too."""
    return element("div", table, class_="scroll", role="region", aria_label=label, tabindex=0)


def _buttons(name: str) -> Html:
    buttons = [
        element("button", f"Copy as {form.upper()}", type="button", class_="copy", data_form=form, data_table=name)
        for form in ("tsv", "csv")
    ]
    said = element("span", class_="said", role="status", aria_live="polite")
    return element("p", *buttons, said, class_="controls")


def _heading(heading: Html, key: str, *, left: bool = False) -> Html:
    return element("th", heading, scope="col", data_key=key, class_="left" if left else None)


def _row(row: Row, figures: Sequence[Column], *, runs: bool, stages: bool) -> Html:
    result, summary = row.result, row.result.summary
    name = "control" if result.round == CONTROL else str(result.round)
    level = f"{result.concurrency:,}"
    cells = [
        *([element("th", printable(row.run or ""), scope="row", class_="left")] if runs else []),
        *([element("th", printable(result.stage or ""), scope="row", class_="left")] if stages else []),
        element(
            "td",
            level if row.link is None else element("a", level, href=f"#{row.link}"),
            data_value=result.concurrency,
        ),
        element("td", name + (" (partial)" if result.partial else ""), class_="left", data_value=name),
        *(_cell(column, summary) for column in _COUNTS),
        element("td", "-" if _is_repeat(result) else _COLD[summary.cold], class_="left"),
        *(_cell(column, summary) for column in figures),
    ]
    return element("tr", *cells)


def _is_repeat(result: RoundResult) -> bool:
    """Whether its prompts were sent before: nobody asks whether it was cold."""
    return result.round not in (1, CONTROL)


def _cell(column: Column, summary: RoundSummary) -> Html:
    """The number as it is shown, and as run.json has it."""
    value = column.value(summary)
    exact = rounded(value) if isinstance(value, float) else value
    failed = column.key == "failed_requests" and bool(value)
    return element(
        "td",
        number(value, column.form),
        data_value="" if exact is None else repr(exact),
        class_="bad" if failed else None,
    )
