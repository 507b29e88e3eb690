"""Histogram logs of several hosts as one: the same tags are added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fluxperf.model import hdr
from fluxperf.model.hlog import Exact, Interval, Merged


def merge_logs(logs: Mapping[str, Sequence[Interval]]) -> Merged:
    """The intervals of each file, by its name, as one for each tag, in the order in which tags first appear.

    Counts add exactly. Where files tell values apart in different ways, what is merged does so as the coarsest.
    Several intervals of one tag in one file (a log over time) are added as well.
    """
    parts: dict[str | None, list[Interval]] = {}
    holders: dict[str | None, list[str]] = {}
    for file, intervals in logs.items():
        for interval in intervals:
            parts.setdefault(interval.tag, []).append(interval)
            having = holders.setdefault(interval.tag, [])
            if file not in having:
                having.append(file)
    return Merged(
        files=tuple(logs),
        intervals=tuple(_merge(tag, found) for tag, found in parts.items()),
        holders={tag: tuple(having) for tag, having in holders.items() if len(having) < len(logs)},
        notes=tuple(note for tag, found in parts.items() for note in _notes(tag, found)),
    )


def _merge(tag: str | None, parts: Sequence[Interval]) -> Interval:
    start_s = min(part.start_s for part in parts)
    return Interval(
        tag=tag,
        start_s=start_s,
        length_s=max(part.start_s + part.length_s for part in parts) - start_s,
        buckets=hdr.add([part.buckets for part in parts]),
        exact=_exact([part for part in parts if part.buckets.counts]),
        where=parts[0].where,
    )


def _exact(parts: Sequence[Interval]) -> Exact | None:
    """What is exact of all together; None unless it is of each."""
    known = [part.exact for part in parts if part.exact is not None]
    if not known or len(known) < len(parts):
        return None
    count = sum(part.buckets.count for part in parts)
    total = sum(one.mean * part.buckets.count for one, part in zip(known, parts, strict=True))
    return Exact(min(one.low for one in known), max(one.high for one in known), total / count)


def _notes(tag: str | None, parts: Sequence[Interval]) -> list[str]:
    layouts = {part.buckets.layout: part.where for part in parts}
    if len(layouts) == 1:
        return []
    coarse = min(layouts, key=lambda layout: (layout.digits, -layout.lowest))
    return [
        f"{tag or 'without a tag'}: to {coarse.digits} significant digits, because {layouts[coarse]} has no more"
        if coarse.digits < max(layout.digits for layout in layouts)
        else f"{tag or 'without a tag'}: to units of {coarse.lowest}, because {layouts[coarse]} is no finer"
    ]
