"""Two readings of a server's counters, subtracted: what its prefix cache gave in between. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fluxperf.model.cache import CacheCounters, Hits, Reading
from fluxperf.watch.engines import ENGINES, START_TIME, Counted, Engine
from fluxperf.watch.exposition import Labels, Scrape

_Values = dict[tuple[str, Labels], float]


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

    Without an engine `reading` says in which way they are not.
    """

    engine: Engine | None
    version: str | None = None
    note: str | None = None
    reading: Reading = Reading.ABSENT


def recognise(scrape: Scrape) -> Engine | None:
    """The engine whose metrics are on the page."""
    names = [sample.name for sample in scrape.samples]
    return next((one for one in ENGINES.values() if any(name.startswith(one.prefix) for name in names)), None)


def started_at(scrape: Scrape, header: str | None) -> str | None:
    """When the process behind a page began, in whatever form it says so; None: it does not."""
    times = [str(sample.value) for sample in scrape.find(START_TIME)]
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
    name = None if engine is None else engine.name

    def unknown(reading: Reading, why: str) -> CacheCounters:
        return CacheCounters(engine=name, version=identity.version, reading=reading, why=why)

    if engine is None:
        none = "the server has no counters of a prefix cache that FluxPerf knows"
        return unknown(identity.reading, identity.note or none)
    first, last = before.scrape, after.scrape
    if first is None or last is None:
        when, trouble = ("before", before.trouble) if first is None else ("after", after.trouble)
        return unknown(Reading.UNREADABLE, f"the server's counters could not be read {when} the round: {trouble}")
    counted = choose_counted(engine, first, last)
    if counted is None:
        return unknown(Reading.ABSENT, identity.note or _missing(engine))
    if before.started != after.started or _fell(engine, first, last):
        return unknown(Reading.RESET, "the server's counters began again during the round, as after a restart")
    hits, queries = _grown(counted.hits, first, last), _grown(counted.queries, first, last)
    preemptions = [engine.preemptions] if engine.preemptions else []
    return CacheCounters(
        engine=name,
        version=identity.version,
        reading=Reading.OK,
        unit=counted.unit,
        hits=_total(hits),
        queries=_total(queries),
        prompt_tokens=_total(_grown(engine.prompt_tokens, first, last)),
        preemptions=_total(_grown(preemptions, first, last)),
        capacity_tokens=_capacity(engine, last),
        by_engine=_by_engine(hits, queries),
    )


def choose_counted(engine: Engine, *scrapes: Scrape) -> Counted | None:
    """Which of the engine's counters to go by: the first that one of the pages has whole."""
    whole = (
        counted
        for counted in engine.counted
        if any(all(scrape.find(name) for name in (*counted.hits, *counted.queries)) for scrape in scrapes)
    )
    return next(whole, None)


def counter_values(engine: Engine, scrape: Scrape) -> _Values:
    """All counters that are read of the engine, by name and labels."""
    names = {name for counted in engine.counted for name in (*counted.hits, *counted.queries)}
    more = {*engine.prompt_tokens, *([engine.preemptions] if engine.preemptions else [])}
    return values_of(names | more, scrape)


def values_of(names: Iterable[str], scrape: Scrape) -> _Values:
    """The samples of these names, by name and labels."""
    return {(sample.name, sample.labels): sample.value for name in names for sample in scrape.find(name)}


def _missing(engine: Engine) -> str:
    names = " or ".join(dict.fromkeys(name for counted in engine.counted for name in counted.hits))
    return f"{engine.label}'s page has no {names}" + (f"; {engine.hint}" if engine.hint else "")


def _fell(engine: Engine, first: Scrape, last: Scrape) -> bool:
    """Whether any counter is lower than it was, or gone: then it began again."""
    later = counter_values(engine, last)
    return any(later.get(key, -1) < value for key, value in counter_values(engine, first).items())


def _grown(names: Iterable[str], first: Scrape, last: Scrape) -> _Values:
    """By how much; a series that was not there yet counts from zero, as Prometheus's clients have it."""
    earlier = values_of(names, first)
    return {key: value - earlier.get(key, 0) for key, value in values_of(names, last).items()}


def _total(values: _Values) -> int | None:
    return round(sum(values.values())) if values else None


def _capacity(engine: Engine, scrape: Scrape) -> int | None:
    """How many tokens the cache holds, over all engines behind the port; None: the server does not say."""
    total = 0
    for sample in scrape.find(engine.capacity) if engine.capacity else ():
        labels = dict(sample.labels)
        blocks, tokens = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
        if "num_gpu_blocks" not in labels:
            total += round(sample.value)
        elif blocks.isdecimal() and tokens.isdecimal():
            total += int(blocks) * int(tokens)
    return total or None


def _by_engine(hits: _Values, queries: _Values) -> dict[str, Hits]:
    labels = sorted({text for _, labels in (*hits, *queries) for name, text in labels if name == "engine"})

    def of(values: _Values, label: str) -> int:
        return round(sum(value for (_, labels), value in values.items() if ("engine", label) in labels))

    return {label: Hits(hits=of(hits, label), queries=of(queries, label)) for label in labels}
