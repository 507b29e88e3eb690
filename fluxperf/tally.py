"""`Tally`: what any set of requests adds up to. Tallies merge: the tally of a round is the sum of its workers'.

Pure arithmetic over timelines, by the table of metrics; knows nothing of processes or files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fluxperf.metrics import CHUNK_GAP, METRICS, came_at_once, missed
from fluxperf.model import Histogram, Outcome, Slo, Timeline

MAX_EXAMPLE_CHARACTERS = 500
_VALUES_AT_ONCE = 1024
_FORMULAS = [(metric.name, metric.formula) for metric in METRICS if metric.formula is not None]


class Tally:
    """Counts, sums and histograms over requests. Metrics are of the successful ones only.

    `began_ns` is the first send of any request, `first_sent_ns` and `last_done_ns` the span of those
    that were neither cut off nor left unsent.
    """

    def __init__(self, slo: Slo | None = None) -> None:
        self.slo = slo
        self._histograms = {metric.name: Histogram() for metric in METRICS}
        # Values that are not in their histogram yet: one at a time costs six times as much.
        self._fresh: dict[str, list[int]] = {metric.name: [] for metric in METRICS}
        self.outcomes: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.sums: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.began_ns: int | None = None
        self.first_sent_ns: int | None = None
        self.last_done_ns: int | None = None

    def add(self, request: Timeline, gaps: Sequence[int] = (), earlier_gaps: Histogram | None = None) -> None:
        """Counts one request; `gaps` and `earlier_gaps` are the times between its output events, ns."""
        self.outcomes[request.outcome] += 1
        self.sums["resent"] += request.resent
        self.began_ns = _pick(min, self.began_ns, request.sent_ns)
        if not request.outcome.counted:
            return
        self._see_span(request)
        if not request.success:
            self._add_unanswered(request)
            if request.error and request.outcome not in self.examples:
                self.examples[request.outcome] = request.error[:MAX_EXAMPLE_CHARACTERS]
            return
        for name, formula in _FORMULAS:
            value = formula(request)
            if value is not None:
                fresh = self._fresh[name]
                fresh.append(value if value > 0 else 0)
                if len(fresh) >= _VALUES_AT_ONCE:
                    self._settle(name)
        if not came_at_once(request):
            self._histograms[CHUNK_GAP.name].record_all(gaps)
            if earlier_gaps is not None:
                self._histograms[CHUNK_GAP.name].merge(earlier_gaps)
        self._add_tokens(request)
        self._judge(request)

    def _add_unanswered(self, request: Timeline) -> None:
        """A prompt that was sent may have been computed, and counted by the server, though no answer came of it."""
        if request.sent_ns is not None:
            self.sums["unanswered"] += 1
            self.sums["unanswered_tokens"] += request.input_tokens

    def _see_span(self, request: Timeline) -> None:
        if request.sent_ns is None:
            return
        done_ns = request.done_ns or request.sent_ns
        self.first_sent_ns = _pick(min, self.first_sent_ns, request.sent_ns)
        self.last_done_ns = _pick(max, self.last_done_ns, done_ns)
        self.sums["in_flight_ns"] += done_ns - request.sent_ns

    def _add_tokens(self, request: Timeline) -> None:
        sums = self.sums
        sums["input_tokens"] += request.input_tokens
        sums["output_tokens"] += request.output_tokens
        sums["output_events"] += request.output_events
        sums["coalesced_events"] += request.coalesced_events
        if request.output_events > 1 or request.output_tokens > 2:  # one event of two tokens: the second ended it
            sums["longer_answers"] += 1
            sums["whole_answers"] += came_at_once(request)
        sums["estimated_inputs"] += request.prompt_tokens is None
        sums["usage_prompt_tokens"] += request.prompt_tokens or 0
        sums["counted_events"] += not (request.completion_tokens or request.counted_tokens)
        sums["counted_answers"] += not request.completion_tokens and request.counted_tokens is not None
        if request.completion_tokens:
            sums["usage_tokens"] += request.completion_tokens
            sums["usage_events"] += request.output_events
        cached = request.believed_cached_tokens
        if cached is not None and request.prompt_tokens is not None:
            sums["cache_told"] += 1
            sums["cache_told_zero"] += not cached
            sums["cached_tokens"] += cached
            sums["cache_prompt_tokens"] += request.prompt_tokens
        sums["cache_absurd"] += cached is None and request.cached_tokens is not None

    def _judge(self, request: Timeline) -> None:
        if self.slo is None:
            return
        misses = missed(self.slo, request)
        self.missed.update(misses)
        if not misses:
            self.sums["good_requests"] += 1
            self.sums["good_tokens"] += request.output_tokens

    @property
    def histograms(self) -> dict[str, Histogram]:
        """The values of each metric by its name."""
        for name in self._fresh:
            self._settle(name)
        return self._histograms

    def _settle(self, name: str) -> None:
        self._histograms[name].record_all(self._fresh[name])
        self._fresh[name].clear()

    @property
    def succeeded(self) -> int:
        """How many requests were successful."""
        return sum(count for outcome, count in self.outcomes.items() if Outcome(outcome).success)

    def merge(self, other: Tally) -> None:
        """Adds what `other` counted; afterwards this equals the tally of both sets of requests."""
        mine = self.histograms
        for name, histogram in other.histograms.items():
            mine[name].merge(histogram)
        self.outcomes.update(other.outcomes)
        self.missed.update(other.missed)
        self.sums.update(other.sums)
        self.examples = {**other.examples, **self.examples}
        self.began_ns = _pick(min, self.began_ns, other.began_ns)
        self.first_sent_ns = _pick(min, self.first_sent_ns, other.first_sent_ns)
        self.last_done_ns = _pick(max, self.last_done_ns, other.last_done_ns)

    def to_state(self) -> dict[str, Any]:
        """The tally as plain values that msgpack carries."""
        return {
            "histograms": {name: histogram.to_state() for name, histogram in self.histograms.items()},
            "outcomes": {str(outcome): count for outcome, count in self.outcomes.items()},
            "missed": dict(self.missed),
            "sums": dict(self.sums),
            "examples": {str(outcome): text for outcome, text in self.examples.items()},
            "began_ns": self.began_ns,
            "first_sent_ns": self.first_sent_ns,
            "last_done_ns": self.last_done_ns,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], slo: Slo | None = None) -> Tally:
        """The tally that `to_state` described."""
        new = cls(slo)
        new.histograms.update({name: Histogram.from_state(data) for name, data in state["histograms"].items()})
        new.outcomes.update(state["outcomes"])
        new.missed.update(state["missed"])
        new.sums.update(state["sums"])
        new.examples = dict(state["examples"])
        new.began_ns = state["began_ns"]
        new.first_sent_ns = state["first_sent_ns"]
        new.last_done_ns = state["last_done_ns"]
        return new


def _pick(choose: Any, one: int | None, other: int | None) -> int | None:
    known = [value for value in (one, other) if value is not None]
    return choose(known) if known else None
