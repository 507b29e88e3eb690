from __future__ import annotations

from collections.abc import Callable

import pytest

from fluxperf.calibrate.search import Range, conclude, next_streams
from fluxperf.calibrate.step import Step
from tests.calibrate.steps import make_step

Machine = Callable[[int], Step]


def good_until(most: int, limit: str = "client") -> Machine:
    """A machine on which client or server can do so many streams."""

    def measure(streams: int) -> Step:
        if streams <= most:
            return make_step(streams)
        return make_step(streams, ttft_p99=5) if limit == "client" else make_step(streams, late_ms=5)

    return measure


def search(machine: Machine, loads: Range) -> list[Step]:
    steps: list[Step] = []
    while (streams := next_streams(steps, loads)) is not None:
        steps.append(machine(streams))
        assert len(steps) < 30
    return steps


@pytest.mark.parametrize(
    ("machine", "loads", "tried"),
    [
        (good_until(600), Range(4096), [16, 32, 64, 128, 256, 512, 1024, 768, 640]),
        (good_until(900), Range(4096), [16, 32, 64, 128, 256, 512, 1024, 768, 896]),
        (good_until(600), Range(4096, halvings=0), [16, 32, 64, 128, 256, 512, 1024]),
        (good_until(10**9), Range(100), [16, 32, 64, 100]),
        (good_until(10**9), Range(64), [16, 32, 64]),
        (good_until(10**9), Range(3), [3]),
        (good_until(3), Range(4096), [16]),
        (good_until(100, "server"), Range(4096), [16, 32, 64, 128]),
        (good_until(1), Range(2, first=1), [1, 2]),  # there is nothing in between
    ],
)
def test_loads_are_doubled_and_what_is_in_between_is_halved(machine: Machine, loads: Range, tried: list[int]) -> None:
    assert [step.streams for step in search(machine, loads)] == tried


def test_a_server_that_gives_way_while_halving_ends_the_search() -> None:
    def machine(streams: int) -> Step:
        return good_until(512)(streams) if streams != 768 else make_step(streams, late_ms=5)

    steps = search(machine, Range(4096))
    assert [step.streams for step in steps][-2:] == [1024, 768]
    assert conclude(steps).text.endswith(
        "; at least 512: the test server was the limit (at 768 streams it was 5.00 ms late on average)"
    )


def test_the_verdict_names_the_last_good_load_and_what_came_after() -> None:
    verdict = conclude(search(good_until(600), Range(4096)))
    assert (verdict.streams, verdict.tokens_per_s, verdict.ended_by) == (512, 51_200, "client")
    assert verdict.text == (
        "on this machine trust up to 512 streams / 51,200 tokens/s per core "
        "(at 640 streams TTFT p99 was off by 5.00 ms, more than 1 % or 1 ms)"
    )


def test_the_verdict_is_a_lower_bound_where_the_server_was_the_limit() -> None:
    verdict = conclude(search(good_until(100, "server"), Range(4096)))
    assert (verdict.streams, verdict.ended_by) == (64, "server")
    assert verdict.text == (
        "on this machine trust up to 64 streams / 6,400 tokens/s per core; at least 64: the test server was the limit "
        "(at 128 streams it was 5.00 ms late on average)"
    )


def test_the_verdict_is_a_lower_bound_where_nothing_gave_way() -> None:
    verdict = conclude(search(good_until(10**9), Range(1)))
    assert (verdict.streams, verdict.ended_by) == (1, "range")
    assert (
        verdict.text == "on this machine trust up to 1 stream / 100 tokens/s per core; at least 1: more was not tried"
    )


def test_a_machine_that_is_too_slow_for_anything_gets_no_figure() -> None:
    client = conclude(search(good_until(3), Range(4096)))
    assert (client.streams, client.tokens_per_s, client.ended_by) == (0, 0, "client")
    assert client.text.startswith(
        "on this machine no load that was tried can be trusted: at 16 streams TTFT p99 was off"
    )
    server = conclude(search(good_until(3, "server"), Range(4096)))
    assert (server.streams, server.ended_by) == (0, "server")
    assert server.text.endswith("(at 16 streams it was 5.00 ms late on average); is something else running?")


def test_what_got_lost_is_told_before_any_error() -> None:
    text = conclude([make_step(16), make_step(32, ttft_p99=5, lost=1_234)]).text
    assert text.endswith("(at 32 streams client and server disagree about 1,234 requests and tokens)")


def test_a_figure_that_the_client_does_not_tell_is_named() -> None:
    text = conclude([make_step(16), make_step(32, gap_p50=None)]).text
    assert text.endswith("(at 32 streams the client could not tell chunk gap p50)")


def test_a_worker_without_time_left_is_named() -> None:
    text = conclude([make_step(16), make_step(32, cpu_share=1.04)]).text
    assert text.endswith("(at 32 streams the worker used 104% of its core, more than 90%)")
    both = conclude([make_step(16), make_step(32, cpu_share=1.04, ttft_p99=5)]).text
    assert both.endswith("(at 32 streams TTFT p99 was off by 5.00 ms, more than 1 % or 1 ms)")


def test_writes_that_were_late_now_and_then_are_named() -> None:
    text = conclude([make_step(16), make_step(32, late_ms=0.4, gap_p99=0.2)]).text
    assert text.endswith("(at 32 streams it was 1.20 ms late at p99)")
