from __future__ import annotations

from typing import Any

import pytest

from fluxperf.calibrate.step import Figure, Step, allowed_ms, read_step
from tests.calibrate.steps import make_step


@pytest.mark.parametrize(("true_ms", "allowed"), [(10, 0.1), (50, 0.5), (100, 1.0), (5000, 1.0), (0, 0)])
def test_a_hundredth_or_a_millisecond_is_allowed_whichever_is_less(true_ms: float, allowed: float) -> None:
    assert allowed_ms(true_ms) == pytest.approx(allowed)


@pytest.mark.parametrize(
    ("said_ms", "error_ms", "excess"),
    [(10.05, 0.05, 0.5), (9.8, -0.2, 2.0), (10.0, 0.0, 0.0), (None, None, float("inf"))],
)
def test_an_error_counts_both_ways(said_ms: float | None, error_ms: float | None, excess: float) -> None:
    figure = Figure(said_ms, 10.0)
    assert figure.error_ms == pytest.approx(error_ms)
    assert figure.excess == pytest.approx(excess)


@pytest.mark.parametrize(
    ("step", "limit"),
    [
        (make_step(16), None),
        (make_step(16, ttft_p50=0.49, gap_p99=-0.1), None),
        (make_step(16, ttft_p50=0.51), "client"),
        (make_step(16, gap_p99=-0.11), "client"),
        (make_step(16, gap_p99=None), "client"),
        (make_step(16, lost=1), "client"),
        (make_step(16, late_ms=0.4), None),
        (make_step(16, late_ms=0.4, gap_p99=0.2), "server"),  # late now and then, and the client failed
        (make_step(16, late_ms=0.3, gap_p99=0.2), "client"),
        (make_step(16, late_ms=1.1), "server"),
        (make_step(16, cpu_share=0.9), None),
        (make_step(16, cpu_share=0.91), "client"),
        (make_step(16, cpu_share=0.91, late_ms=0.4, gap_p99=0.2), "client"),
    ],
)
def test_who_could_not_keep_up(step: Step, limit: str | None) -> None:
    assert step.limit == limit


def round_json(**changes: Any) -> dict[str, Any]:
    """A round as the client writes it."""
    summary = {
        "total_requests": 128,
        "successful_requests": 128,
        "duration_s": 2.0,
        "avg_output_tokens": 64.0,
        "ttft_ms": {"p50": 50.02, "p99": 50.4},
        "chunk_gap_ms": {"p50": 9.99, "p99": 10.2},
        "throughput": {"tokens_per_s": 4096.0},
        "audit": {"cpu_s": 0.2, "cpu_share": 0.08},
    }
    return {"configuration": {"concurrency": 32, "timestamps": "kernel"}, "summary": summary | changes}


def truth(**changes: Any) -> dict[str, Any]:
    """The server's account of the same."""
    return {
        "finished": 128,
        "tokens": 8192,
        "ttft_ms": {"p50": 50.01, "p99": 50.1},
        "itl_ms": {"p50": 10.0, "p99": 10.1},
        "late_ms": {"mean": 0.03, "p99": 0.2},
    } | changes


def test_a_step_is_what_the_client_said_held_against_the_truth() -> None:
    step = read_step(round_json(), truth(), 680)
    errors = {name: figure.error_ms for name, figure in step.figures.items()}
    assert errors == pytest.approx({"ttft_p50": 0.01, "ttft_p99": 0.3, "gap_p50": -0.01, "gap_p99": 0.1})
    assert (step.streams, step.requests, step.tokens_per_s, step.lost) == (32, 128, 4096, 0)
    assert (step.cpu_share, step.cpu_us_per_token) == pytest.approx((0.08, 200_000 / 8192))
    assert (step.late_mean_ms, step.late_p99_ms, step.timestamps) == (0.03, 0.2, "kernel")


@pytest.mark.parametrize(
    ("said", "true", "lost"),
    [
        ({"successful_requests": 127, "avg_output_tokens": 8192 / 127}, {}, 1),
        ({"avg_output_tokens": 63.75}, {}, 32),
        ({}, {"finished": 126}, 2),
        ({}, {"tokens": 8200}, 8),
        ({"successful_requests": 0, "avg_output_tokens": None}, {}, 128 + 8192),
    ],
)
def test_what_one_side_knows_of_and_the_other_does_not_is_lost(
    said: dict[str, Any], true: dict[str, Any], lost: int
) -> None:
    assert read_step(round_json(**said), truth(**true), 680).lost == lost


def test_a_client_that_tells_nothing_of_itself_has_used_no_time() -> None:
    step = read_step(round_json(audit=None), truth(), 680)
    assert (step.cpu_share, step.cpu_us_per_token) == (0, 0)


def test_without_a_share_it_is_of_the_duration() -> None:
    assert read_step(round_json(audit={"cpu_s": 0.2}), truth(), 680).cpu_share == pytest.approx(0.1)


def test_a_step_as_json_has_every_figure_with_its_truth() -> None:
    values = make_step(16, ttft_p99=0.25).to_dict()
    assert values["ttft_p99"] == {"said_ms": 50.75, "true_ms": 50.5, "error_ms": 0.25}
    assert make_step(16, gap_p99=None).to_dict()["gap_p99"] == {"said_ms": None, "true_ms": 10.25, "error_ms": None}
    assert (values["streams"], values["tokens_per_s"], values["limit"]) == (16, 1600, None)
    assert values["client_cpu_share"] == 0.25
