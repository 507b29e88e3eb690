from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len

from fluxperf.model import CONTROL
from fluxperf.model.lens import LensFigure, LensRound, LensView
from fluxperf.report.lens import render_lens


def a_figure(name: str, value: float | None, our_value: float | None, *why: int, **changes: object) -> LensFigure:
    plain = LensFigure(name=name, unit="ms", value=value, ours="ttft_ms.avg", our_value=our_value, why=why)
    return replace(plain, **changes)  # type: ignore[arg-type]


FIGURES = (
    a_figure("mean_ttft_ms", 0.21812, 31.26123, 0),
    a_figure("p99_ttft_ms", 0.265, 32.147, 0, 2, ours="ttft_ms.p99"),
    a_figure("median_itl_ms", 9.998, 9.9981, 1, 2, ours="chunk_gap_ms.p50", is_exact=False),
    a_figure("p99_itl_ms", 31.202, 10.179, 1, 2, ours="chunk_gap_ms.p99", is_exact=False),
    a_figure("std_itl_ms", None, 0.187, 3, ours="chunk_gap_ms.stddev"),
    a_figure("mean_wait_ms", 0.5, 0.0, 0, ours="wait_ms.avg"),
    a_figure("request_latency", 0.421275, 0.421134, unit="s", ours="latency_ms.avg"),
    a_figure("completed", 30, 30, unit="", ours="successful_requests"),
    a_figure("total_token_throughput", 779.81, None, unit="tokens/s", ours=None),
)
ROUND = LensRound(
    stage="Prefix cache\x1b[31m on",
    concurrency=8,
    round=2,
    figures=FIGURES,
    reasons=(
        "its first token is the first event with a choice (-31.044 ms on average, in 30 of 30 requests)",
        "60 events without output before the first token or after the last are tokens to it",
        "its percentiles lie between two values (linear interpolation); FluxPerf's are values that occurred",
        "gaps are missing",
        "a reason that no figure has",
    ),
)
VIEW = LensView(
    tool="vllm-0.28",
    title="vllm bench serve",
    version="0.28.0",
    rounds=(ROUND, replace(ROUND, stage=None, round=CONTROL, figures=FIGURES[-2:])),
    limits=("Its stamps are taken when its event loop comes to an event.",),
)


@pytest.mark.parametrize("columns", [80, 160, None])
def test_the_table(columns: int | None, golden: Callable[[str, str], None]) -> None:
    golden(f"lens_{columns or 'piped'}.txt", render_lens(VIEW, columns) + "\n")


@pytest.mark.parametrize("columns", [40, 60, 80, 97, 120])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    assert max(map(cell_len, render_lens(VIEW, columns).split("\n"))) <= columns


def test_reasons_are_told_only_where_figures_differ() -> None:
    alike = replace(ROUND, figures=(a_figure("mean_ttft_ms", 5.0, 5.0001, 0),))
    text = render_lens(replace(VIEW, rounds=(alike,)), 80)
    assert "its first token" not in text
    assert "=" in text


def test_nothing_a_terminal_obeys_is_printed() -> None:
    assert "\x1b" not in render_lens(VIEW, None)


def test_a_run_without_rounds() -> None:
    assert "No round is there" in render_lens(replace(VIEW, rounds=(), limits=()), 80)
