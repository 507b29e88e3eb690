"""Two readings of a server's counters, subtracted: what its prefix cache gave in between. Pure arithmetic."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fluxperf.model.cache import CacheCounters, Hits, Reading
from fluxperf.watch.engines import ENGINES, START_TIME, Counted, Engine
from fluxperf.watch.exposition import Labels, Scrape

_Values = dict[tuple[str, Labels], float]
_COUNT = re.compile(r"[0-9]{1,12}")
_BLOCK_TOKENS = 16  # of most engines, where nobody knows which it is
_MOST = 2**53  # beyond it a float is no count any more


@dataclass(frozen=True, slots=True)
class Pages:
    """All pages that may have counters, read once.

    `trouble`: why there is no scrape; `started`: when the process behind them began, in its own words.
    """

    scrape: Scrape | None
    trouble: str | None = None
    started: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What the server is, as far as it could be found out. `note` says why its counters are not to be had.

    `reading` says in which way they are not, and `looks_like` which engine it seems to be without them.
    """

    engine: Engine | None
    version: str | None = None
    note: str | None = None
    reading: Reading = Reading.ABSENT
    looks_like: Engine | None = None


def recognise(scrape: Scrape) -> tuple[Engine, ...]:
    """The engines whose metrics are on the page, in the order of the table."""
    names = {sample.name for sample in scrape.samples}
    return tuple(one for one in ENGINES.values() if any(name.startswith(one.prefix) for name in names))


def started_at(scrape: Scrape, header: str | None) -> str | None:
    """When the process behind a page began, in whatever form it says so; None: it does not."""
    times = sorted(str(sample.value) for sample in scrape.find(START_TIME))
    return " ".join([*times, *([header] if header else [])]) or None


def merge_pages(readings: Sequence[Pages]) -> Pages:
    """Several pages as one; unreadable as soon as one of them is."""
    scrapes = [pages.scrape for pages in readings if pages.scrape is not None]
    if not scrapes or len(scrapes) < len(readings):
        trouble = next((pages.trouble for pages in readings if pages.scrape is None), None)
        return Pages(None, trouble or "there is no page to read")
    samples = {(sample.name, sample.labels): sample for scrape in scrapes for sample in scrape.samples}
    kinds = {name: kind for scrape in scrapes for name, kind in scrape.kinds.items()}
    whole = Scrape(max(scrape.taken_ns for scrape in scrapes), tuple(samples.values()), kinds)
    return Pages(whole, started=" ".join(str(pages.started) for pages in readings))


def subtract(identity: Identity, before: Pages, after: Pages) -> CacheCounters:
    """What was counted between two readings; a value also where that is not known."""
    engine = identity.engine
    name, label = (None, None) if engine is None else (engine.name, engine.label)
    seeming = engine or identity.looks_like
    block_tokens = _BLOCK_TOKENS if seeming is None else seeming.counted[0].block_tokens

    def unknown(reading: Reading, why: str) -> CacheCounters:
        return CacheCounters(
            engine=name, version=identity.version, label=label, block_tokens=block_tokens, reading=reading, why=why
        )

    if engine is None:
        none = "the server has no counters of a prefix cache that FluxPerf knows"
        return unknown(identity.reading, identity.note or none)
    first, last = before.scrape, after.scrape
    if first is None or last is None:
        if identity.note is not None:  # they never could
            return unknown(identity.reading, identity.note)
        when, trouble = ("before", before.trouble) if first is None else ("after", after.trouble)
        return unknown(Reading.UNREADABLE, f"the server's counters could not be read {when} the round: {trouble}")
    counted = choose_counted(engine, first, last)
    if counted is None:
        return unknown(Reading.ABSENT, identity.note or _missing(engine))
    if before.started != after.started or _fell(engine, first, last):
        return unknown(Reading.RESET, "the server's counters began again during the round, as after a restart")
    hits, queries = _grown(counted.hits, first, last), _grown(counted.queries, first, last)
    return CacheCounters(
        engine=name,
        version=identity.version,
        label=label,
        block_tokens=counted.block_tokens,
        counts_prompts=counted.counts_prompts,
        resolution_tokens=sum(_step(engine.digits, _sent(engine, scrape)) for scrape in (first, last)),
        reading=Reading.OK,
        unit=counted.unit,
        hits=_total(hits),
        queries=_total(queries),
        prompt_tokens=_total_if_any(_grown(engine.prompt_tokens, first, last)),
        preemptions=_total_if_any(_grown([engine.preemptions] if engine.preemptions else [], first, last)),
        capacity_tokens=_capacity(engine, last),
        by_engine=_by_engine(hits, queries),
    )


def choose_counted(engine: Engine, *scrapes: Scrape) -> Counted | None:
    """Which of the engine's counters to go by: the first that one of the pages has whole."""
    for counted in engine.counted:
        if any(all(values_of([name], scrape) for name in counted.needed) for scrape in scrapes):
            return counted
    return None


def counter_values(engine: Engine, scrape: Scrape) -> _Values:
    """All counters that are read of the engine, by name and labels."""
    return values_of(engine.counters, scrape)


def values_of(names: Iterable[str], scrape: Scrape) -> _Values:
    """The samples of these names, by name and labels; those that are no counts are left out."""
    found = (sample for name in names for sample in scrape.find(name))
    return {(sample.name, sample.labels): sample.value for sample in found if 0 <= sample.value <= _MOST}


def _missing(engine: Engine) -> str:
    names = " or ".join(dict.fromkeys(name for counted in engine.counted for name in counted.hits))
    return f"{engine.label}'s page has no {names}: is it another version?"


def _fell(engine: Engine, first: Scrape, last: Scrape) -> bool:
    """Whether any counter is lower than it was, or gone: then it began again."""
    later = counter_values(engine, last)
    return any(later.get(key, -1) < value for key, value in counter_values(engine, first).items())


def _grown(names: Iterable[str], first: Scrape, last: Scrape) -> _Values:
    """By how much; a series that was not there yet counts from zero, as Prometheus's clients have it."""
    earlier = values_of(names, first)
    return {key: value - earlier.get(key, 0) for key, value in values_of(names, last).items()}


def _sent(engine: Engine, scrape: Scrape) -> Iterable[float]:
    return values_of(engine.prompt_tokens, scrape).values()


def _step(digits: int | None, values: Iterable[float]) -> int:
    """How far apart neighbours of these counts are, added up, where only so many digits of each are printed."""
    if digits is None:
        return 0
    return sum(10 ** (math.floor(math.log10(value)) + 1 - digits) for value in values if value >= 10**digits)


def _total(values: _Values) -> int:
    return round(sum(values.values()))


def _total_if_any(values: _Values) -> int | None:
    return _total(values) if values else None


def _capacity(engine: Engine, scrape: Scrape) -> int | None:
    """How many tokens the cache holds, over all engines behind the port; None: the server does not say."""
    total = 0
    for (_, pairs), value in values_of([engine.capacity] if engine.capacity else [], scrape).items():
        labels = dict(pairs)
        if "num_gpu_blocks" not in labels:
            total += round(value)
        elif all(_COUNT.fullmatch(labels.get(name, "")) for name in ("num_gpu_blocks", "block_size")):
            total += int(labels["num_gpu_blocks"]) * int(labels["block_size"])
    return total or None


def _by_engine(hits: _Values, queries: _Values) -> dict[str, Hits]:
    found = sorted({text for _, labels in (*hits, *queries) for name, text in labels if name == "engine"})

    def of(values: _Values, label: str) -> int:
        return _total({key: value for key, value in values.items() if ("engine", label) in key[1]})

    return {label: Hits(hits=of(hits, label), queries=of(queries, label)) for label in found}
