from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from fluxperf.clock import now_ns
from fluxperf.engine.gauge import Gauge
from fluxperf.model import Histogram

READS = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(-10, 1000), st.booleans())


def come(gauge: Gauge, outputs: int, firsts: int, slack_ns: int, *, exact: bool = True) -> None:
    """A read with so many output events, as observers and reactor note it."""
    gauge.outputs += outputs
    gauge.firsts += firsts
    if outputs:
        gauge.read(outputs, firsts, slack_ns, exact=exact)


def counts(histogram: Histogram) -> tuple[int, int, int | None]:
    """How many values, how many above 0, and the largest."""
    return histogram.count, histogram.count_above(0), histogram.max


def test_events_with_stamps_of_their_own_are_not_late() -> None:
    gauge = Gauge()
    for number in range(10):
        come(gauge, 1, int(number == 0), 500)
    audit = gauge.take()
    assert counts(audit.stamp_slack) == (10, 0, 0)
    assert counts(audit.first_stamp_slack) == (1, 0, 0)
    assert audit.shared_reads == 0


def test_of_events_that_share_a_read_all_but_the_last_may_be_late() -> None:
    gauge = Gauge()
    come(gauge, 4, 1, 500)
    come(gauge, 1, 0, 900)
    audit = gauge.take()
    assert counts(audit.stamp_slack) == (5, 3, 500)
    assert counts(audit.first_stamp_slack) == (1, 1, 500)
    assert audit.shared_reads == 1


def test_first_events_of_several_answers_in_one_read() -> None:
    """As over HTTP/2: the last of the read may be a first one or not, which is not known; it is held to be none."""
    gauge = Gauge()
    come(gauge, 3, 3, 500)
    audit = gauge.take()
    assert counts(audit.stamp_slack) == (3, 2, 500)
    assert counts(audit.first_stamp_slack) == (3, 2, 500)


def test_without_a_stamp_of_the_kernel_each_event_may_be_late() -> None:
    gauge = Gauge()
    come(gauge, 1, 1, 300, exact=False)
    come(gauge, 3, 0, 500, exact=False)
    audit = gauge.take()
    assert counts(audit.stamp_slack) == (4, 4, 500)
    assert counts(audit.first_stamp_slack) == (1, 1, 300)
    assert audit.shared_reads == 1


@given(st.lists(READS))
def test_each_event_is_counted_once_and_none_is_early(reads: list[tuple[int, int, int, bool]]) -> None:
    gauge = Gauge()
    for outputs, firsts, slack_ns, exact in reads:
        come(gauge, outputs, min(firsts, outputs), slack_ns, exact=exact)
    audit = gauge.take()
    assert audit.stamp_slack.count == sum(outputs for outputs, *_ in reads)
    assert audit.first_stamp_slack.count == sum(min(firsts, outputs) for outputs, firsts, *_ in reads)
    assert (audit.stamp_slack.min or 0) >= 0
    late = sum(outputs - exact for outputs, _, slack_ns, exact in reads if outputs and slack_ns > 0)
    assert audit.stamp_slack.count_above(0) == late


def test_lags_are_counted_each_and_never_negative() -> None:
    gauge = Gauge()
    for number in range(10_000):
        gauge.drained(2, number - 5)
        gauge.sent(number - 5)
        gauge.turned(number - 5)
    audit = gauge.take()
    assert audit.reads == 20_000
    for histogram in (audit.receive_lag, audit.send_lag, audit.turnaround):
        assert (histogram.count, histogram.min, histogram.max) == (10_000, 0, 9_994)


def test_reads_without_a_good_stamp_are_told_apart() -> None:
    gauge = Gauge()
    for void in (True, False, False):
        gauge.unstamped(void=void)
    audit = gauge.take()
    assert (audit.voided_stamps, audit.unstamped_reads) == (1, 2)


def test_taking_begins_anew() -> None:
    began_ns = now_ns()
    gauge = Gauge()
    come(gauge, 2, 1, 5)
    gauge.drained(1, 5)
    gauge.sent(5)
    gauge.turned(5)
    first = gauge.take()
    assert 0 <= first.span_ns <= now_ns() - began_ns
    assert first.cpu_ns >= 0
    second = gauge.take()
    for histogram in (second.receive_lag, second.send_lag, second.turnaround, second.stamp_slack):
        assert histogram.count == 0
    assert (second.reads, second.shared_reads, gauge.outputs, gauge.firsts) == (0, 0, 0, 0)


def test_what_the_collector_takes_is_counted() -> None:
    gauge = Gauge()
    gc.callbacks.append(gauge.watch_collector)
    try:
        began_ns = now_ns()
        gc.collect()
        took_ns = now_ns() - began_ns
    finally:
        gc.callbacks.remove(gauge.watch_collector)
    collections = gauge.take().collections
    assert collections.count == 1
    assert 0 < (collections.max or 0) <= took_ns
