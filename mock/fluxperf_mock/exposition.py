"""The Prometheus text of any engine: a table of metrics in, text out. Knows none of their names.

The text is the exposition format 0.0.4 (prometheus.io, "Exposition formats").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from fluxperf.units import NS_PER_S
from fluxperf_mock.counters import Buckets, Sample, merge_samples

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ENGINE = "{engine}"


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of a table: the name without its group's prefix, what is shown, and a label that others do not have.

    That is a template of `{blocks}` and `{block_tokens}`, the size of the cache.
    Rows of one name follow each other, and are one family.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    read: Callable[[Sample], float | Buckets]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Metrics with the same labels, a template of `{engine}` and `{model}`.

    Where the labels name the engine, each replica is one and has its own samples; otherwise it is all of them.
    """

    prefix: str
    labels: str
    metrics: tuple[Metric, ...]


def render(groups: Sequence[Group], samples: Sequence[Sample], model: str) -> str:
    """The exposition text of so many replicas, ending with a line feed."""
    whole = merge_samples(samples)
    lines: list[str] = []
    for group in groups:
        parts = samples if _ENGINE in group.labels else [whole]
        named = [
            (group.labels.format(engine=number, model=_escape(model)), sample) for number, sample in enumerate(parts)
        ]
        lines += _lines(group, named)
    return "\n".join(lines) + "\n"


def _lines(group: Group, samples: Sequence[tuple[str, Sample]]) -> Iterator[str]:
    first = Metric("", "gauge", "", lambda _: 0)
    for before, metric in pairwise((first, *group.metrics)):
        name = group.prefix + metric.name
        if metric.name != before.name:
            yield f"# HELP {name} {metric.text}"
            yield f"# TYPE {name} {metric.kind}"
        for labels, sample in samples:
            value = metric.read(sample)
            blocks = sample.cache_tokens // sample.block_tokens
            labels = _join(labels, metric.label.format(blocks=blocks, block_tokens=sample.block_tokens))
            if isinstance(value, Buckets):
                yield from _histogram(name, value, labels)
            else:
                yield f"{name}{_enclose(labels)} {float(value)}"


def _histogram(name: str, buckets: Buckets, labels: str) -> Iterator[str]:
    below = 0
    for bound, count in zip((*buckets.bounds_s, "+Inf"), buckets.counts, strict=True):
        below += count
        bounded = _join(labels, f'le="{bound}"')
        yield f"{name}_bucket{_enclose(bounded)} {float(below)}"
    yield f"{name}_count{_enclose(labels)} {float(below)}"
    yield f"{name}_sum{_enclose(labels)} {buckets.sum_ns / NS_PER_S}"


def _join(labels: str, more: str) -> str:
    return f"{labels},{more}" if labels and more else labels or more


def _enclose(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _escape(value: str) -> str:
    """A label's value as the format wants it."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
