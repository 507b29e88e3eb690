from __future__ import annotations

import pytest

from fluxperf.watch.meaning import Kind, nearest_names, possible_names, read_meaning, typed_names
from fluxperf.watch.promql import parse_selector

NAMES = {
    *("hits_total", "bare", "level", "seats_total", "head_count", "both", "both_total"),
    *("ttft_bucket", "ttft_sum", "ttft_count", "size", "size_sum", "size_count", "wait_sum", "wait_count"),
}
KINDS = {"bare": "counter", "seats_total": "gauge", "head_count": "gauge", "ttft": "histogram", "size": "summary"}


@pytest.mark.parametrize(
    ("text", "kind", "name", "parts"),
    [
        ("hits_total", Kind.COUNTER, "hits_total", ["hits_total"]),
        ("hits", Kind.COUNTER, "hits_total", ["hits_total"]),
        ("bare", Kind.COUNTER, "bare", ["bare"]),
        ("bare_total", Kind.COUNTER, "bare", ["bare"]),
        ("level", Kind.GAUGE, "level", ["level"]),
        ("level_total", Kind.GAUGE, "level", ["level"]),
        ("seats_total", Kind.GAUGE, "seats_total", ["seats_total"]),
        ("head_count", Kind.GAUGE, "head_count", ["head_count"]),
        ("both", Kind.GAUGE, "both", ["both"]),
        ("both_total", Kind.COUNTER, "both_total", ["both_total"]),
        ("ttft", Kind.HISTOGRAM, "ttft", ["ttft_bucket", "ttft_sum", "ttft_count"]),
        ("ttft_bucket", Kind.HISTOGRAM, "ttft", ["ttft_bucket", "ttft_sum", "ttft_count"]),
        ('ttft_bucket{le="0.1"}', Kind.COUNTER, "ttft_bucket", ["ttft_bucket"]),
        ("ttft_sum", Kind.COUNTER, "ttft_sum", ["ttft_sum"]),
        ("size", Kind.SUMMARY, "size", ["size_sum", "size_count"]),
        ("size_count", Kind.COUNTER, "size_count", ["size_count"]),
        ('size{quantile="0.5"}', Kind.GAUGE, "size", ["size"]),
        ("wait", Kind.SUMMARY, "wait", ["wait_sum", "wait_count"]),
    ],
)
def test_what_a_selector_means(text: str, kind: Kind, name: str, parts: list[str]) -> None:
    selector = parse_selector(text)
    meaning = read_meaning(selector, NAMES, KINDS)
    assert meaning is not None
    assert (meaning.kind, meaning.name, list(meaning.parts)) == (kind, name, parts)
    # Whoever gets only these names and types must come to the same meaning.
    names = NAMES.intersection(possible_names(selector))
    kinds = {one: KINDS[one] for one in typed_names(selector) if one in KINDS}
    assert read_meaning(selector, names, kinds) == meaning


@pytest.mark.parametrize("text", ["nothing", "ttf", 'wait{le="1"}', 'wait{quantile="1"}', "wait_bucket_total"])
def test_what_means_nothing(text: str) -> None:
    assert read_meaning(parse_selector(text), NAMES, KINDS) is None


def test_without_types_names_decide() -> None:
    meaning = read_meaning(parse_selector("head_count"), NAMES, {})
    assert meaning is not None
    assert meaning.kind is Kind.COUNTER


def test_names_that_may_have_been_meant() -> None:
    names = ["vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total", "process_start_time_seconds"]
    assert nearest_names("prefix_cache_hits", names).startswith("vllm:prefix_cache_hits_total")
    assert nearest_names("vllm:prefix_cache_hit", names).startswith("vllm:prefix_cache_hits_total")
    assert nearest_names("PREFIX", names) == "vllm:prefix_cache_hits_total, vllm:prefix_cache_queries_total"
    assert nearest_names("zzz", names) == ""
    assert nearest_names("zzz", []) == ""
