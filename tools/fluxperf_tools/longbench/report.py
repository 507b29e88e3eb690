"""The summary of a conversion: what was read, left out and written, in which formats and why. Pure text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fluxperf_tools.longbench.sources import total_bytes
from fluxperf_tools.longbench.tally import UNKNOWN
from fluxperf_tools.summary import align, counted, sized

if TYPE_CHECKING:
    from fluxperf.plan.tokens import Tokens
    from fluxperf_tools.longbench.conversion import Order
    from fluxperf_tools.longbench.sample import Draw
    from fluxperf_tools.longbench.sources import Source
    from fluxperf_tools.longbench.tally import Tally
    from fluxperf_tools.writing import Written

_LABEL_WIDTH = 24


@dataclass(slots=True)
class Outcome:
    """What a conversion came to, and of what is written, how many entries of each group and how many tokens."""

    sources: Sequence[Source]
    order: Order
    tokens: Tokens
    tally: Tally
    draw: Draw
    written: Counter[int] = field(default_factory=Counter)
    least_tokens: int | None = None
    most_tokens: int = 0
    all_tokens: int = 0

    def add(self, group: int, tokens: int) -> None:
        """One more entry is written, of the group with that number."""
        self.written[group] += 1
        self.all_tokens += tokens
        self.most_tokens = max(tokens, self.most_tokens)
        self.least_tokens = tokens if self.least_tokens is None else min(tokens, self.least_tokens)

    @property
    def how_counted(self) -> str:
        """What stands beside each number of tokens."""
        return f"by {self.tokens.name}" if self.tokens.exact else "estimated"


def describe(outcome: Outcome, written: Written) -> Iterator[str]:
    """The lines of the summary."""
    yield from align(list(_figures(outcome, written)), indent="")
    yield ""
    yield from _describe_formats(outcome)


def _figures(outcome: Outcome, written: Written) -> Iterator[tuple[str, str]]:
    order, draw, tally = outcome.order, outcome.draw, outcome.tally
    origins = [source.origin for source in outcome.sources if source.origin]
    for origin in dict.fromkeys(origins):
        yield "from the hub", origin
    size = total_bytes(outcome.sources)
    files = counted(len(outcome.sources), "file") + ("" if size is None else f" ({sized(size)})")
    yield "read", f"{counted(draw.read, 'entry', 'entries')} from {files}"
    yield "bad lines", f"{tally.faults:,}{', skipped; the first are on stderr' if tally.faults else ''}"
    yield (
        "duplicates",
        f"{draw.duplicates:,}{' removed: the same _id, or none and the same as another' if draw.duplicates else ''}",
    )
    if order.limits_tokens:
        yield "left out", f"{draw.outside:,} with too few or too many tokens ({outcome.how_counted})"
    yield "to choose from", f"{draw.left:,}"
    yield "written", _describe_count(outcome)
    if repeated := draw.repeated:
        are = "is" if repeated == 1 else "are"
        yield "", f"{repeated:,} of the written texts {are} the same as another's"
    yield "order", f"shuffled, seed {order.wish.seed}" if order.wish.shuffle else "as in the sources"
    least, most = outcome.least_tokens or 0, outcome.most_tokens
    yield "tokens", f"{least:,} to {most:,} each, {outcome.all_tokens:,} in all ({outcome.how_counted})"
    replaced = ", in the place of an earlier file" if written.replaced else ""
    yield "file", f"{order.output}, {sized(written.size_bytes)}{replaced}"


def _describe_count(outcome: Outcome) -> str:
    count, left = outcome.order.wish.count, outcome.draw.left
    chosen = len(outcome.draw.chosen)
    if count is None:
        return f"{chosen:,}, all of them"
    if count > left:
        return f"{chosen:,}, all of them: {count:,} were asked for, and none is taken twice"
    return f"{chosen:,} of them, as asked for"


def _describe_formats(outcome: Outcome) -> Iterator[str]:
    """A line for each task, then why each format is the one."""
    tally = outcome.tally
    groups = list(tally.groups.items())
    groups.sort(key=lambda one: one[0][:2])
    rows: list[tuple[object, ...]] = [("task", "type", "read", "written", "format")]
    rows += [
        (_shorten(group.label), group.kind, tally.read[number], outcome.written[number], group.choice.form)
        for group, number in groups
    ]
    yield from align(rows, indent="")
    yield ""
    if outcome.order.form is not None:
        yield f"Format: {outcome.order.form}, asked for with --format."
        return
    yield "Why auto picked these formats:"
    reasons = {(group.kind.partition(",")[0], group.choice) for group, _ in groups}
    yield from (f"  {kind}: {choice.form}, {choice.why}" for kind, choice in sorted(reasons, key=str))
    if any(group.kind == UNKNOWN for group, _ in groups):
        yield "Of an unknown task, the rows alone decide; --format chooses another."


def _shorten(label: str) -> str:
    plain = "".join(char if char.isprintable() else "?" for char in label)
    return plain if len(plain) <= _LABEL_WIDTH else f"{plain[: _LABEL_WIDTH - 3]}..."
