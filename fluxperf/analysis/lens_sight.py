"""`Sight`: a round's requests as another tool sees them, gathered in one pass that keeps five numbers of each."""

from __future__ import annotations

from dataclasses import dataclass

from fluxperf.analysis.lens_gaps import Gaps
from fluxperf.analysis.lens_rules import Seen
from fluxperf.analysis.lens_tools import Tool
from fluxperf.model import RoundResult, Timeline
from fluxperf.units import s_to_ns


@dataclass(slots=True)
class Shift:
    """How far a tool's stamps are from ours, over the requests that have both."""

    count: int = 0
    moved: int = 0
    sum_ns: int = 0
    most_ns: int = 0

    def add(self, ours_ns: int | None, theirs_ns: int) -> None:
        """One request."""
        if ours_ns is None:
            return
        shift_ns = theirs_ns - ours_ns
        self.count += 1
        self.moved += shift_ns != 0
        self.sum_ns += shift_ns
        self.most_ns = max(self.most_ns, abs(shift_ns))


class Sight:
    """What a tool would have seen of a round. Reads its requests once, when it is made.

    `untold` successes are in no figure because their rows do not say what the tool counts by. `only_theirs` failed by
    our rules and are successes to the tool, `only_ours` the other way round. `rest` is how far its last token is from
    ours, `end` how far the end of its latency.
    """

    def __init__(self, tool: Tool, result: RoundResult) -> None:
        self.tool = tool
        self.result = result
        self.seen: list[Seen] = []
        self.input_tokens = self.untold = self.only_theirs = self.only_ours = 0
        self.start, self.first, self.rest, self.end = Shift(), Shift(), Shift(), Shift()
        self.gaps = Gaps(tool.others, result)
        self._began_ns: int | None = None
        self._first_sent_ns: int | None = None
        for request in result.requests:
            self._add(request)

    def _add(self, request: Timeline) -> None:
        tool, sent_ns = self.tool, request.sent_ns
        start_ns = tool.start.stamp(request)
        if start_ns is None or sent_ns is None or not request.outcome.counted:
            return
        self._began_ns = start_ns if self._began_ns is None else min(self._began_ns, start_ns)
        self._first_sent_ns = sent_ns if self._first_sent_ns is None else min(self._first_sent_ns, sent_ns)
        if not tool.counts(request):
            self.only_ours += request.success
            return
        first_ns, last_ns, end_ns = (rule.stamp(request) for rule in (tool.first, tool.last, tool.end))
        if first_ns is None or last_ns is None or end_ns is None:
            is_old = request.silent_events is None
            self.untold += request.success and is_old
            self.only_ours += request.success and not is_old
            return
        self.only_theirs += not request.success
        self._note(request, Seen(start_ns, first_ns, max(first_ns, last_ns), end_ns, request.output_tokens))

    def _note(self, request: Timeline, seen: Seen) -> None:
        self.seen.append(seen)
        self.input_tokens += request.input_tokens
        self.start.add(request.sent_ns, seen.start)
        self.first.add(request.first_output_ns, seen.first)
        self.rest.add(request.last_output_ns, seen.end)
        self.end.add(request.end_ns, seen.end)
        self.gaps.add(request, seen)

    @property
    def counts_alike(self) -> bool:
        """Whether the same requests are successes to both."""
        return not (self.only_theirs or self.only_ours or self.untold)

    @property
    def duration_ns(self) -> int:
        """What the tool divides by for its throughput."""
        if not self.seen or self._began_ns is None or self._first_sent_ns is None:
            return 0
        if self.tool.spans_all:
            return s_to_ns(self.result.summary.duration_s) + self._first_sent_ns - self._began_ns
        return max(one.end for one in self.seen) - min(one.start for one in self.seen)
