"""docs/metrics.md has the tables of fluxperf/metrics.py, and these say what is computed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from docs.metrics_tables import COMMAND, PAGE, render_page, row
from fluxperf.analysis.figures import FIGURES
from fluxperf.metrics import BY_NAME, METRICS, ROUND_FIGURES, Metric, value
from fluxperf.model import Timeline

Build = Callable[..., Timeline]
MARKED = """a
<!-- metrics: written by `{0}` -->
old
<!-- end of metrics -->
b
<!-- figures: written by `{0}` -->
<!-- end of figures -->
"""


def test_the_page_is_current() -> None:
    page = PAGE.read_text("utf-8")
    assert render_page(page) == page, f"docs/metrics.md is not as fluxperf/metrics.py has it: run {COMMAND}"


def test_what_is_between_the_marks_is_replaced_and_nothing_else() -> None:
    page = render_page(MARKED.format(COMMAND))
    assert page.startswith("a\n<!-- metrics: ")
    assert "\nold\n" not in page
    assert "\n<!-- end of metrics -->\nb\n<!-- figures: " in page
    for metric in METRICS:
        assert f"| `{metric.name}` |" in page
    assert render_page(page) == page


@pytest.mark.parametrize("page", ["", "no marks", MARKED.format("another command"), MARKED.format(COMMAND) * 2])
def test_a_page_without_a_place_for_a_table_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="must have <!-- metrics: written by"):
        render_page(page)


def test_cells_cannot_break_a_table() -> None:
    assert row(["a|b", "", "c"]) == "| a\\|b | | c |"


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_explained(metric: Metric) -> None:
    for text in (metric.text, metric.meaning):
        assert text
        assert text.strip(" .") == text


@pytest.mark.parametrize("name", ["ttft_ms", "ttfo_ms", "itl_ms", "latency_ms", "output_token_throughput"])
def test_a_formula_in_words_gives_what_the_formula_gives(a_request: Build, name: str) -> None:
    """Stamps as seconds: a time comes out in s, a rate in 1/s."""
    request, metric = a_request(first_answer_ns=1_123_456_789), BY_NAME[name]
    latency_ms = value(BY_NAME["latency_ms"], request)
    assert latency_ms is not None
    words = {
        **{word: f"{getattr(request, f'{word.replace(chr(32), chr(95))}_ns') / 1e9}" for word in STAMPS},
        "output_tokens": str(request.output_tokens),
        "latency": str(latency_ms / 1000),
    }
    text = metric.text
    for word, number in words.items():
        text = text.replace(word, number)
    assert eval(text) * (1000 if metric.unit == "ms" else 1) == pytest.approx(value(metric, request), rel=1e-5)


STAMPS = ("first output", "first answer", "last output", "end", "sent")


def test_figures_of_a_round_are_called_as_gates_call_them() -> None:
    ours = {figure.name: figure for figure in ROUND_FIGURES if figure.lower_is_better is not None}
    assert ours.keys() == FIGURES.keys() - BY_NAME.keys()
    for name, figure in ours.items():
        theirs = FIGURES[name]
        assert (figure.unit, figure.lower_is_better) == (theirs.unit, theirs.lower_is_better)
        assert (figure.statistic,) == (theirs.statistics or (None,))
