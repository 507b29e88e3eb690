"""What a /metrics page says: the text format of Prometheus as values (prometheus.io, "Exposition formats").

prometheus-client parses the samples. Of a page with hundreds of metrics only the lines that are asked for are given to
it, since it takes 12 us a line, and the page is read while a round is measured. It is not given the types, because it
would rename counters by them: names here are those of the page.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]
"""Name and value of each label, by name."""

HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")
"""What the names of a histogram's samples end with."""

_COUNTER_ENDINGS = ("_total", *HISTOGRAM_PARTS)
_NAME = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)")
_TYPE = re.compile(r"#\s*TYPE\s+([a-zA-Z_:][a-zA-Z0-9_:]*)\s+(\w+)\s*$")
_NO_TYPES = ("untyped", "unknown")


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: a name, its labels, and a number."""

    name: str
    labels: Labels
    value: float


class Packed(Sequence[Sample]):
    """Samples of a page that is read again and again: the names and labels are kept once for all readings."""

    __slots__ = ("_values", "names")

    def __init__(self, names: tuple[tuple[str, Labels], ...], values: Iterable[float]) -> None:
        self.names = names
        self._values = array("d", values)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Sample]:
        return (Sample(name, labels, value) for (name, labels), value in zip(self.names, self._values, strict=True))

    @overload
    def __getitem__(self, place: int) -> Sample: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Sample]: ...

    def __getitem__(self, place: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(place, slice):
            return Packed(self.names[place], self._values[place])
        return Sample(*self.names[place], self._values[place])


@dataclass(frozen=True, slots=True)
class Scrape:
    """A page at one instant (`taken_ns`, monotonic).

    `kinds`: counter, gauge, histogram, summary or what else the page says, by the name that it says it of (in
    OpenMetrics a counter's without `_total`). What it says nothing of is not there.
    """

    taken_ns: int
    samples: Sequence[Sample]
    kinds: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str, labels: Mapping[str, str] | None = None) -> tuple[Sample, ...]:
        """The samples of that name with all of these labels.

        Where there are none, those of the name with or without `_total` at its end.
        """
        wanted = (labels or {}).items()
        for spelling in spellings(name):
            named = [sample for sample in self.samples if sample.name == spelling]
            if named:
                return tuple(sample for sample in named if all(item in sample.labels for item in wanted))
        return ()

    def counts(self, name: str) -> bool:
        """Whether it counts upwards, by its type, or by its name where the page tells no type."""
        return counts(name, self.kinds)


def spellings(name: str) -> tuple[str, str]:
    """The name itself, and with or without `_total`: pages and people leave it out (OpenMetrics 1.0, Counter)."""
    return name, name.removesuffix("_total") if name.endswith("_total") else f"{name}_total"


def counts(name: str, kinds: Mapping[str, str]) -> bool:
    """Whether a sample of this name counts upwards, by the types that are known, or else by its name."""
    for spelling in spellings(name):
        if spelling in kinds:
            return kinds[spelling] == "counter"
    for ending in HISTOGRAM_PARTS:
        if name.endswith(ending) and name.removesuffix(ending) in kinds:
            return kinds[name.removesuffix(ending)] in ("histogram", "summary")
    return name.endswith(_COUNTER_ENDINGS)


def parse(text: str, taken_ns: int, wanted: Callable[[str], bool] | None = None) -> Scrape:
    """The page's samples; `wanted` picks by the metric's name as it stands in the page.

    Raises ValueError for what is no such page, as far as the first sample and those that are wanted tell.
    """
    # Only a line feed ends a line: the value of a label may hold every other character that str.splitlines knows.
    lines = text.split("\n")
    types = [found.groups() for line in lines if line[:1] == "#" and (found := _TYPE.match(line))]
    try:
        samples = tuple(
            Sample(sample.name, tuple(sorted(sample.labels.items())), float(sample.value))
            for family in text_string_to_metric_families("\n".join(_pick(lines, wanted)) + "\n")
            for sample in family.samples
            if wanted is None or wanted(sample.name)
        )
    except (ValueError, IndexError, OverflowError) as error:  # the parser lets the last two through for some lines
        raise ValueError(f"no page of metrics: {error}") from error
    kinds = {name: kind for name, kind in types if kind not in _NO_TYPES and (wanted is None or wanted(name))}
    return Scrape(taken_ns, samples, kinds)


def pack(scrape: Scrape, last: Scrape | None) -> Scrape:
    """The same, packed, sharing what it can with the packed one that was read before it."""
    names = tuple((sample.name, sample.labels) for sample in scrape.samples)
    kinds = scrape.kinds
    if last is not None and isinstance(last.samples, Packed):
        known = last.samples.names
        if names == known:
            names = known
        else:  # one more, one less: most are the same
            same = {name: name for name in known}
            names = tuple(same.get(name, name) for name in names)
        kinds = last.kinds if kinds == last.kinds else kinds
    return Scrape(scrape.taken_ns, Packed(names, (sample.value for sample in scrape.samples)), kinds)


def names(text: str) -> tuple[str, ...]:
    """The names of all samples of a page, each once."""
    found = (_NAME.match(line) for line in text.split("\n"))
    return tuple(dict.fromkeys(name[1] for name in found if name))


def _pick(lines: Iterable[str], wanted: Callable[[str], bool] | None) -> Iterator[str]:
    """The samples that are wanted, the first one, and what has no name: the parser shall refuse what is no page."""
    first = True
    for line in lines:
        if line[:1] == "#" or not line.strip():
            continue
        found = _NAME.match(line)
        if first or wanted is None or found is None or wanted(found[1]):
            yield line
        first = False
