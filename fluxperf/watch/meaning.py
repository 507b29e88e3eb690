"""What kind of metric a selector means, by the names that are there and the types that are known of them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fluxperf.watch.exposition import HISTOGRAM_PARTS, counts, spellings
from fluxperf.watch.promql import Selector

_MOST_NAMED = 3
_SUMMARY_PARTS = ("_sum", "_count")


class Kind(StrEnum):
    """How the figures of a metric are made."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Meaning:
    """A metric that is there: its kind, its name, and the names of the samples that its figures are made of."""

    kind: Kind
    name: str
    parts: tuple[str, ...]


def possible_names(selector: Selector) -> tuple[str, ...]:
    """The names of samples that it may mean."""
    whole = _whole(selector)
    parts = () if whole is None else tuple(f"{whole}{ending}" for ending in HISTOGRAM_PARTS)
    return tuple(dict.fromkeys((*spellings(selector.name), *parts)))


def typed_names(selector: Selector) -> tuple[str, ...]:
    """The names that a type may be told of, and that tell what it means."""
    whole = [selector.name.removesuffix(ending) for ending in HISTOGRAM_PARTS]
    return tuple(dict.fromkeys((*spellings(selector.name), *whole)))


def read_meaning(selector: Selector, names: Collection[str], kinds: Mapping[str, str]) -> Meaning | None:
    """What it means where samples of these names are there; None: nothing."""
    whole = _whole(selector)
    if whole is not None and f"{whole}_bucket" in names and (whole != selector.name or whole not in names):
        return Meaning(Kind.HISTOGRAM, whole, tuple(f"{whole}{ending}" for ending in HISTOGRAM_PARTS))
    sums = tuple(f"{whole}{ending}" for ending in _SUMMARY_PARTS)
    if whole is not None and all(name in names for name in sums):
        return Meaning(Kind.SUMMARY, whole, sums)
    for name in spellings(selector.name):
        if name in names:
            return Meaning(Kind.COUNTER if counts(name, kinds) else Kind.GAUGE, name, (name,))
    return None


def _whole(selector: Selector) -> str | None:
    """The name of the histogram or summary that it may mean as a whole; None: it asks for a part of one."""
    return None if selector.asks_for("le") or selector.asks_for("quantile") else selector.name.removesuffix("_bucket")


def no_such_metric(where: str, name: str, known: Collection[str]) -> str:
    """Why there is nothing of that name, with those that may have been meant."""
    if nearest := nearest_names(name, known):
        return f"{where} has no such metric; it has: {nearest}"
    return f"{where} has no such metric; none of the {len(known)} that it has is called alike"


def no_such_labels(where: str, series: Sequence[str]) -> str:
    """Why there is nothing with these labels, with the series of that name that there are."""
    more = f" and {len(series) - _MOST_NAMED} more" if len(series) > _MOST_NAMED else ""
    return f"{where} has the metric, but not with these labels; it has: {', '.join(series[:_MOST_NAMED])}{more}"


def nearest_names(name: str, names: Iterable[str]) -> str:
    """The names most like it, for a message; empty if none is."""
    known = sorted(set(names))
    within = [other for other in known if name.lower() in other.lower()]
    alike = difflib.get_close_matches(name, known, n=_MOST_NAMED)
    return ", ".join(list(dict.fromkeys([*within[:_MOST_NAMED], *alike]))[:_MOST_NAMED])
