"""Totals of a round, `tokens_per_s`, `requests_per_s` and `duration_s`: of one, and of one round over another.

As many requests as the concurrency are in flight, so a round takes as long as its requests together, divided by the
concurrency, and then what its end takes: there are no more prompts, and fewer and fewer in flight, until the last is
done. What requests move a total by is clustered as for means. What the end adds is known from the round itself: each
prompt might have been the last, and then it would have ended when all that were sent until then were done.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fluxperf.analysis.clustered import Stretches
from fluxperf.analysis.influence import Spread, spread_of_one, spread_of_pairs, too_few, uncertain
from fluxperf.analysis.numeric import np
from fluxperf.analysis.samples import Sample
from fluxperf.analysis.uncertain import Uncertain
from fluxperf.model.contrast import Way

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class _Total:
    """A round's total: its logarithm, and what each row `kept` moves it by; `ends` by place in time."""

    sample: Sample
    log_value: float
    kept: NDArray[np.bool_]
    influences: NDArray[np.float64]
    ends: NDArray[np.float64]

    @property
    def count(self) -> int:
        return int(self.influences.size)

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.sample.stretches(self.kept)


def measure_total(sample: Sample, metric: str) -> Uncertain | None:
    """The total of a round, a second or in seconds; None where there is none."""
    total = _total(sample, metric)
    if total is None:
        return None
    spread = spread_of_one(total.influences, total.labels)
    spread = None if spread is None else spread + _spread_of_ends(total.ends, sample.concurrency)
    return uncertain(total.log_value, spread, Way.TWO_SAMPLES, (total.count, total.count), too_few(sample))


def contrast_totals(base: Sample, new: Sample, metric: str) -> Uncertain | None:
    """The total of `new` over that of `base`, paired where the rows are pairs; None where there is none."""
    first, second = _total(base, metric), _total(new, metric)
    if first is None or second is None:
        return None
    change, counts, why = second.log_value - first.log_value, (first.count, second.count), too_few(base, new)
    concurrency = max(base.concurrency, new.concurrency)
    if base.draws_as(new) and np.array_equal(first.kept, second.kept):
        way = Way.PAIRED
        spread = spread_of_pairs(second.influences - first.influences, Stretches(first.labels, second.labels))
        ends = _spread_of_ends(second.ends - first.ends, concurrency)
    else:
        way = Way.TWO_SAMPLES
        one, other = (spread_of_one(total.influences, total.labels) for total in (first, second))
        spread = None if one is None or other is None else one + other
        ends = _spread_of_ends(first.ends, base.concurrency) + _spread_of_ends(second.ends, new.concurrency)
    return uncertain(change, None if spread is None else spread + ends, way, counts, why)


def _total(sample: Sample, metric: str) -> _Total | None:
    kept = sample.sent
    sent_ns, done_ns = sample.sent_ns[kept], sample.done_ns[kept]
    if not sent_ns.size or done_ns.max() <= sent_ns.min():
        return None
    duration_s = float(done_ns.max() - sent_ns.min()) / 1e9
    flight_s = (done_ns - sent_ns) / 1e9
    ends = _ends(sent_ns, done_ns) / float(done_ns.max() - sent_ns.min())
    taken = flight_s / flight_s.sum() - 1 / flight_s.size if flight_s.sum() else np.zeros(flight_s.size)
    if metric == "duration_s":
        return _Total(sample, math.log(duration_s), kept, taken, ends)
    amounts = (sample.tokens if metric == "tokens_per_s" else sample.success)[kept].astype(float)
    if not amounts.sum():
        return None
    influences = amounts / amounts.sum() - 1 / amounts.size - taken
    return _Total(sample, math.log(amounts.sum() / duration_s), kept, influences, -ends)


def _ends(sent_ns: NDArray[np.int64], done_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much longer the round would have taken for its end if each request had been the last, in order of sending.

    That is the idle time of all places until the last is done, spread over them.
    """
    order = np.argsort(sent_ns, kind="stable")
    sent, done = (stamps[order] - sent_ns.min() for stamps in (sent_ns, done_ns))
    over = np.sort(done)
    ended = np.searchsorted(over, sent, side="right")  # those were all sent before
    in_flight = np.arange(1, sent.size + 1) - ended
    still = np.cumsum(done) - np.concatenate([[0], np.cumsum(over)])[ended]
    last = np.maximum.accumulate(done)
    most = max(int(in_flight.max()), 1)
    return np.asarray((in_flight * last - still) / most, np.float64)


def _spread_of_ends(ends: NDArray[np.float64], concurrency: int) -> Spread:
    """How much the end differs from one round to another, from what it would have been earlier in this one."""
    later = ends[min(concurrency, ends.size // 2) :]
    groups = max(later.size / concurrency, 2.0)
    # Ends that are near each other are nearly the same, and of few groups the mean is taken off.
    return Spread(float(later.std()) * math.sqrt(groups / (groups - 1)), groups - 1)
