from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fluxperf.analysis.checks import CHECKS, run_checks, unmeasured
from fluxperf.analysis.evidence import Evidence
from fluxperf.model import Audit, Check, Histogram, Outcome, Status
from fluxperf.tally import Tally

TallyOf = Callable[..., Tally]
AT_ONCE = {"last_output_ns": 1_100_000_000, "coalesced_events": 10}


def checks_of(tally: Tally) -> tuple[Check, ...]:
    return run_checks(Evidence(tally=tally))


def find(name: str, tally: Tally) -> Check | None:
    return next((check for check in checks_of(tally) if check.name == name), None)


def test_a_plain_round_passes_every_check(tally_of: TallyOf) -> None:
    assert checks_of(tally_of({}, {})) == (
        Check(name="token_counts", ok=True, text="output tokens are the server's usage counts"),
        Check(name="tokens_per_event", ok=True, text="an output event held 1.00 tokens on average"),
        Check(name="coalescing", ok=True, text="0% of output events came in one read with the one before"),
    )


@pytest.mark.parametrize("requests", [[], [{"outcome": Outcome.RESET}, {"outcome": Outcome.CUT_OFF}]])
def test_without_a_success_there_is_nothing_to_check(tally_of: TallyOf, requests: list[dict[str, Any]]) -> None:
    assert checks_of(tally_of(*requests)) == ()


def test_every_check_of_answers_can_fail_and_says_what_it_means(tally_of: TallyOf) -> None:
    bad = {"coalesced_events": 6, "completion_tokens": 22, "resent": 1, "prompt_tokens": 5, "cached_tokens": 50}
    checks = checks_of(tally_of(bad, bad | AT_ONCE, {"completion_tokens": None, "output_events": 4}))
    assert not any(check.ok for check in checks)
    assert [check.text for check in checks] == [
        "1 of 3 answers had no usage: their output tokens are counts of output events",
        "an output event held 2.00 tokens on average: ITL is by the server's token count, "
        "the chunk gap is between events",
        "61.5% of output events came in one read with the one before: gaps between them are not the server's; "
        "look for a proxy that buffers, or a busy machine",
        "33.3% of answers came at once, which leaves no chunk gaps and no ITL to measure; "
        "does the server stream, or does a proxy buffer?",
        "2 of 3 answers tell more cached tokens than prompt tokens, and are not heard",
        "2 requests were sent again, on another connection: the server had closed the idle one, or said of a "
        "connection that it gives up that it had not looked at them (counted from the second send)",
    ]
    assert {check.name: check.figures for check in checks if check.weight is Status.DEGRADED} == {
        "coalescing": ("chunk_gap_ms",),
        "at_once": ("chunk_gap_ms", "itl_ms"),
    }


@pytest.mark.parametrize("name", ["coalescing", "at_once"])
@pytest.mark.parametrize(("stall_ms", "own"), [(9, False), (30, True)])
def test_a_client_that_stood_still_blames_nobody_else(tally_of: TallyOf, name: str, stall_ms: int, own: bool) -> None:
    away = Histogram()
    away.record(stall_ms * 1_000_000)
    checks = run_checks(Evidence(tally=tally_of(AT_ONCE), audits={0: Audit(away=away)}))
    (check,) = [check for check in checks if check.name == name]
    assert check.weight is Status.DEGRADED
    assert ("the client itself stood still" in check.text) is own
    assert ("proxy" in check.text) is not own


def test_no_check_is_in_the_table_twice() -> None:
    assert len(set(CHECKS)) == len(CHECKS)


@pytest.mark.parametrize(("coalesced", "ok"), [(0, True), (5, True), (6, False)])
def test_a_twentieth_of_events_may_come_together(tally_of: TallyOf, coalesced: int, ok: bool) -> None:
    check = find("coalescing", tally_of({"output_events": 100, "coalesced_events": coalesced}))
    assert check is not None
    assert check.ok is ok
    assert (": " in check.text) is not ok


@pytest.mark.parametrize(("whole", "ok"), [(1, True), (2, False)])
def test_a_twentieth_of_answers_may_come_in_one_write(tally_of: TallyOf, whole: int, ok: bool) -> None:
    check = find("at_once", tally_of(*[AT_ONCE] * whole, *[{}] * (20 - whole)))
    assert check is not None
    assert check.ok is ok


def test_answers_too_short_for_a_gap_are_not_held_against_the_server(tally_of: TallyOf) -> None:
    one_token = {"last_output_ns": 1_100_000_000, "output_events": 1, "completion_tokens": 1}
    and_its_stop = one_token | {"completion_tokens": 2}
    assert find("at_once", tally_of(one_token, and_its_stop)) is None
    assert find("at_once", tally_of(one_token | {"completion_tokens": 3})) is not None  # a whole answer in one event


@pytest.mark.parametrize(
    ("requests", "metrics"),
    [
        ([{}], []),
        ([{"coalesced_events": 5}], []),  # half is not more than half
        ([{"coalesced_events": 6}], ["chunk_gap_ms"]),
        ([AT_ONCE], ["chunk_gap_ms", "itl_ms"]),
        ([AT_ONCE, {}], []),
        ([{"output_events": 1, "completion_tokens": 40, "last_output_ns": 1_100_000_000}], ["itl_ms"]),
        ([], []),
    ],
)
def test_what_is_mostly_not_the_servers_counts_as_unmeasured(
    tally_of: TallyOf, requests: list[dict[str, Any]], metrics: list[str]
) -> None:
    assert [*unmeasured(tally_of(*requests))] == metrics


@pytest.mark.parametrize(
    ("events", "tokens", "ok"),
    [(100, 101, True), (1, 2, False), (4, 5, True), (100, 126, False), (100, 50, True)],
)
def test_an_event_may_hold_little_more_than_a_token(tally_of: TallyOf, events: int, tokens: int, ok: bool) -> None:
    check = find("tokens_per_event", tally_of({"output_events": events, "completion_tokens": tokens}))
    assert check is not None
    assert check.ok is ok
    assert check.weight is Status.VALID  # what is between events is measured as it was
    assert (": " in check.text) is not ok


@pytest.mark.parametrize("told", [None, 0])
def test_without_usage_tokens_an_event_are_not_known(tally_of: TallyOf, told: int | None) -> None:
    tally = tally_of({"completion_tokens": told})
    assert find("tokens_per_event", tally) is None
    assert find("token_counts", tally) == Check(
        name="token_counts",
        ok=False,
        text="1 of 1 answers had no usage: their output tokens are counts of output events",
    )


def test_a_single_request_is_not_many(tally_of: TallyOf) -> None:
    check = find("resent", tally_of({"resent": 1}, {}))
    assert check is not None
    assert check.text.startswith("1 request was sent again")


def test_requests_sent_again_are_told_of_failures_too(tally_of: TallyOf) -> None:
    assert find("resent", tally_of({"resent": 1, "outcome": Outcome.RESET})) is not None
