from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.model.cache import CacheCounters, Hits, Reading
from fluxperf.watch.engines import ENGINES, READ
from fluxperf.watch.exposition import Sample, Scrape
from fluxperf.watch.readings import Identity, Pages, merge_pages, recognise, started_at, subtract
from tests.watch.answering import (
    STARTED,
    labelled,
    llamacpp_page,
    page,
    reading,
    sglang_page,
    trtllm_page,
    vllm_page,
)

UNREADABLE = Pages(None, "http://h/metrics answered with status 500")


def between(engine: str, before: str | Pages, after: str | Pages, **facts: str | Reading) -> CacheCounters:
    """What was counted between two pages of an engine."""
    identity = Identity(ENGINES[engine], **facts)  # type: ignore[arg-type]
    first, last = (reading(one) if isinstance(one, str) else one for one in (before, after))
    return subtract(identity, first, last)


# Numbers.


def test_counters_are_subtracted() -> None:
    found = between("vllm", vllm_page(100, 1000), vllm_page(700, 2000), version="0.33.0")
    assert found == CacheCounters(
        engine="vllm",
        version="0.33.0",
        label="vLLM",
        counts_prompts=True,
        reading=Reading.OK,
        hits=600,
        queries=1000,
        prompt_tokens=1000,
        by_engine={"0": Hits(hits=600, queries=1000)},
    )
    assert found.ratio == 0.6


def test_zero_is_a_number() -> None:
    found = between("vllm", vllm_page(100, 1000), vllm_page(100, 2000))
    assert (found.reading, found.hits, found.queries, found.ratio) == (Reading.OK, 0, 1000, 0.0)


def test_where_nothing_was_looked_up_there_is_no_rate() -> None:
    found = between("vllm", vllm_page(100, 1000), vllm_page(100, 1000))
    assert (found.reading, found.hits, found.queries, found.ratio) == (Reading.OK, 0, 0, None)


@pytest.mark.parametrize("ending", ["", "_total"])
def test_names_with_and_without_total(ending: str) -> None:
    def shown(hits: int, queries: int) -> str:
        return f"vllm:prefix_cache_hits{ending} {hits}\nvllm:prefix_cache_queries{ending} {queries}\n"

    found = between("vllm", shown(1, 10), shown(4, 20))
    assert (found.hits, found.queries, found.prompt_tokens) == (3, 10, None)


def test_several_engines_behind_one_port_are_summed_and_told_apart() -> None:
    before = vllm_page(0, 100, engine="1") + vllm_page(5, 50, engine="10")
    after = vllm_page(30, 200, engine="1") + vllm_page(15, 70, engine="10")
    found = between("vllm", before, after)
    assert (found.hits, found.queries, found.prompt_tokens) == (40, 120, 120)
    assert found.by_engine == {"1": Hits(hits=30, queries=100), "10": Hits(hits=10, queries=20)}


def test_what_appears_only_after_the_round_counts_from_zero() -> None:
    found = between("vllm", vllm_page(0, 100), vllm_page(0, 100) + vllm_page(15, 70, engine="1"))
    assert (found.hits, found.queries) == (15, 70)
    assert between("vllm", "other 1\n", vllm_page(15, 70)).hits == 15


def test_hits_of_an_external_cache_are_hits() -> None:
    def shown(own: int, external: int, queries: int) -> str:
        more = labelled("vllm:external_prefix_cache_hits_total", "engine", **{"0": external})
        return (
            vllm_page(own, queries) + more + labelled("vllm:external_prefix_cache_queries_total", "engine", **{"0": 9})
        )

    found = between("vllm", shown(10, 5, 100), shown(30, 45, 200))
    assert (found.hits, found.queries) == (60, 100)
    assert found.by_engine == {"0": Hits(hits=60, queries=100)}


@pytest.mark.parametrize(
    ("hits", "queries"),
    [
        ("vllm:gpu_prefix_cache_hits_total", "vllm:gpu_prefix_cache_queries_total"),
        ("vllm:prompt_tokens_cached_total", "vllm:prompt_tokens_total"),
    ],
)
def test_other_versions_of_vllm(hits: str, queries: str) -> None:
    found = between("vllm", f"{hits} 1\n{queries} 2\n", f"{hits} 4\n{queries} 12\n")
    assert (found.hits, found.queries) == (3, 10)


def test_lmcache_beside_vllm_finds_what_vllm_does_not_hold() -> None:
    def shown(own: int, lmcache: int, queries: int) -> str:
        return vllm_page(own, queries) + page(
            lmcache__num_hit_tokens=lmcache, lmcache__num_requested_tokens=queries - own
        )

    found = between("lmcache", shown(10, 5, 100), shown(30, 45, 200))
    assert (found.engine, found.hits, found.queries, found.prompt_tokens) == ("lmcache", 60, 100, 100)


@pytest.mark.parametrize(
    ("hits", "queries"),
    [
        ("lmcache:num_hit_tokens_total", "lmcache:num_requested_tokens_total"),
        ("lmcache:num_lookup_hits_total", "lmcache:num_lookup_tokens_total"),
        ("lmcache_mp_lookup_hit_tokens_total", "lmcache_mp_lookup_requested_tokens_total"),
    ],
)
def test_lmcache_alone(hits: str, queries: str) -> None:
    found = between("lmcache", f"{hits} 1\n{queries} 2\n", f"{hits} 4\n{queries} 12\n")
    assert (found.hits, found.queries, found.prompt_tokens) == (3, 10, None)


def test_sglang_has_no_line_for_hits_before_the_first() -> None:
    found = between("sglang", sglang_page(None, 50), sglang_page(None, 150))
    assert (found.reading, found.hits, found.queries, found.ratio) == (Reading.OK, 0, 100, 0.0)
    assert between("sglang", sglang_page(None, 150), sglang_page(80, 250)).hits == 80


def test_llamacpp_counts_what_was_computed_apart() -> None:
    found = between("llamacpp", llamacpp_page(15311, 13499), llamacpp_page(15361, 13649))
    assert (found.hits, found.queries, found.prompt_tokens, found.ratio) == (150, 200, 200, 0.75)
    assert found.by_engine == {}


def test_trtllm_counts_blocks() -> None:
    found = between("trtllm", trtllm_page(10, 20), trtllm_page(40, 30))
    assert (found.hits, found.queries, found.unit, found.prompt_tokens) == (30, 40, "blocks", None)


def test_preemptions_are_counted() -> None:
    shown = "vllm:num_preemptions_total 3\n"
    assert between("vllm", vllm_page(0, 1) + shown, vllm_page(0, 1) + shown.replace("3", "5")).preemptions == 2
    assert between("vllm", vllm_page(0, 1), vllm_page(0, 1)).preemptions is None


def blocks(number: str, engine: str = "0") -> str:
    return f'vllm:cache_config_info{{block_size="16",engine="{engine}",num_gpu_blocks="{number}"}} 1\n'


@pytest.mark.parametrize(
    ("engine", "text", "tokens"),
    [
        ("vllm", blocks("1000"), 16_000),
        ("vllm", blocks("10") + blocks("10", engine="1"), 320),
        ("vllm", blocks("None"), None),
        ("vllm", blocks("9" * 5000), None),
        ("vllm", "", None),
        ("sglang", "sglang:max_total_num_tokens 65536\n", 65_536),
        ("sglang", "sglang:max_total_num_tokens NaN\n", None),
        ("sglang", "sglang:max_total_num_tokens 0\n", None),
        ("llamacpp", "", None),
    ],
)
def test_how_many_tokens_the_cache_holds(engine: str, text: str, tokens: int | None) -> None:
    counters = {"vllm": vllm_page(0, 1), "sglang": sglang_page(0, 1), "llamacpp": llamacpp_page(0, 1)}[engine]
    assert between(engine, counters, counters + text).capacity_tokens == tokens


# What is no number.


def test_absent_is_another_thing_than_zero() -> None:
    found = between("vllm", "vllm:num_requests_running 0\n", "vllm:num_requests_running 0\n")
    assert (found.reading, found.hits, found.queries) == (Reading.ABSENT, None, None)
    assert found.why is not None
    assert found.why.startswith("vLLM's page has no vllm:prefix_cache_hits or ")


def test_older_builds_of_llamacpp_do_not_count_cached_tokens() -> None:
    found = between("llamacpp", "llamacpp:prompt_tokens_total 5\n", "llamacpp:prompt_tokens_total 9\n")
    assert (found.reading, found.why) == (
        Reading.ABSENT,
        "llama.cpp's page has no llamacpp:prompt_tokens_cached: is it another version?",
    )


def test_who_has_none_says_why() -> None:
    found = subtract(Identity(None, note="nobody asked"), UNREADABLE, UNREADABLE)
    assert (found.engine, found.reading, found.why) == (None, Reading.ABSENT, "nobody asked")
    unread = Identity(None, reading=Reading.UNREADABLE)
    assert subtract(unread, UNREADABLE, UNREADABLE).reading is Reading.UNREADABLE


@pytest.mark.parametrize(
    ("before", "after", "when"),
    [
        (UNREADABLE, vllm_page(0, 1), "before"),
        (vllm_page(0, 1), UNREADABLE, "after"),
        (UNREADABLE, UNREADABLE, "before"),
    ],
)
def test_unreadable_says_when_and_why(before: str | Pages, after: str | Pages, when: str) -> None:
    found = between("vllm", before, after)
    assert (found.reading, found.hits, found.queries, found.prompt_tokens) == (Reading.UNREADABLE, None, None, None)
    assert found.why == (
        f"the server's counters could not be read {when} the round: http://h/metrics answered with status 500"
    )


def test_what_never_could_be_read_keeps_its_first_reason() -> None:
    found = between("llamacpp", UNREADABLE, UNREADABLE, note="start it with --metrics")
    assert (found.reading, found.why) == (Reading.ABSENT, "start it with --metrics")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (vllm_page(100, 1000), vllm_page(10, 20)),
        (vllm_page(100, 1000), vllm_page(99, 2000)),  # one fell, the others went on
        (vllm_page(5, 9) + vllm_page(5, 9, engine="1"), vllm_page(6, 20) + vllm_page(0, 3, engine="1")),
        (vllm_page(5, 9) + vllm_page(5, 9, engine="1"), vllm_page(6, 20)),  # one is gone
        (vllm_page(0, 0), "vllm:prefix_cache_hits 0\nvllm:prefix_cache_queries 0\n"),  # other labels: another process
        (vllm_page(1, 2) + f"{STARTED} 100.5\n", vllm_page(3, 4) + f"{STARTED} 200.5\n"),
        (vllm_page(1, 2) + "vllm:num_preemptions_total 3\n", vllm_page(3, 4) + "vllm:num_preemptions_total 0\n"),
    ],
)
def test_counters_that_begin_again_are_no_negative_number(before: str, after: str) -> None:
    found = between("vllm", before, after)
    assert (found.reading, found.hits, found.queries, found.ratio) == (Reading.RESET, None, None, None)
    assert found.why is not None
    assert "began again" in found.why


def test_a_header_tells_of_a_restart_too() -> None:
    first, last = reading(llamacpp_page(5, 5), "1061819448"), reading(llamacpp_page(9, 9), "1061819500")
    assert between("llamacpp", first, last).reading is Reading.RESET
    assert between("llamacpp", first, reading(llamacpp_page(9, 9), "1061819448")).reading is Reading.OK


def test_a_gauge_may_fall() -> None:
    assert between("vllm", vllm_page(1, 2, running=9), vllm_page(1, 2, running=0)).reading is Reading.OK


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "1e300"])
def test_what_is_no_count_is_left_out(value: str) -> None:
    shown = f'vllm:prefix_cache_hits_total{{engine="1"}} {value}\n'
    found = between("vllm", vllm_page(1, 2) + shown, vllm_page(4, 12) + shown)
    assert (found.reading, found.hits, found.queries) == (Reading.OK, 3, 10)


values = st.floats(allow_nan=True, allow_infinity=True) | st.integers(0, 10**6).map(float)
samples = st.builds(
    Sample,
    name=st.sampled_from(sorted(READ)) | st.sampled_from([f"{name}_total" for name in sorted(READ)]),
    labels=st.sampled_from([(), (("engine", "0"),), (("engine", "1"), ("model_name", "m"))]),
    value=values,
)
scrapes = st.builds(Scrape, taken_ns=st.just(0), samples=st.lists(samples, max_size=12).map(tuple))
readings = st.builds(Pages, scrapes, started=st.none() | st.sampled_from(["1", "2"])) | st.just(UNREADABLE)


@given(st.sampled_from(sorted(ENGINES)), readings, readings)
def test_either_there_are_numbers_or_there_is_a_reason(engine: str, before: Pages, after: Pages) -> None:
    found = between(engine, before, after)
    if found.reading is Reading.OK:
        assert found.why is None
        assert found.hits is not None
        assert found.queries is not None
        assert min(found.hits, found.queries, found.prompt_tokens or 0, found.preemptions or 0) >= 0
    else:
        assert found.why
        assert (found.hits, found.queries, found.prompt_tokens, found.ratio) == (None, None, None, None)


@given(st.lists(st.tuples(*[st.integers(0, 10**6)] * 4), min_size=1, max_size=5))
def test_sums_are_those_of_all_engines(counts: list[tuple[int, int, int, int]]) -> None:
    """Hits and queries before, and how much each grows."""
    before = "".join(vllm_page(hits, queries, engine=str(n)) for n, (hits, queries, _, _) in enumerate(counts))
    after = "".join(
        vllm_page(hits + more_hits, queries + more_queries, engine=str(n))
        for n, (hits, queries, more_hits, more_queries) in enumerate(counts)
    )
    found = between("vllm", before, after)
    assert (found.hits, found.queries) == tuple(sum(one[place] for one in counts) for place in (2, 3))
    assert sum(one.hits for one in found.by_engine.values()) == found.hits


# Pages.


@pytest.mark.parametrize(
    ("text", "engines"),
    [
        (vllm_page(0, 1), ["vllm"]),
        (vllm_page(0, 1) + page(lmcache__num_hit_tokens=0), ["lmcache", "vllm"]),
        (page(lmcache_mp_lookup_hit_tokens_total=0), ["lmcache"]),
        (sglang_page(0, 1), ["sglang"]),
        (sglang_page(None, 0), ["sglang"]),
        (llamacpp_page(0, 1), ["llamacpp"]),
        (trtllm_page(0, 1), ["trtllm"]),
        ("python_info 1\nprocess_start_time_seconds 5\n", []),
        ("tgi_request_count 1\n", []),
        ("", []),
    ],
)
def test_an_engine_is_recognised_by_its_metrics(text: str, engines: list[str]) -> None:
    scrape = reading(text).scrape
    assert scrape is not None
    assert [engine.name for engine in recognise(scrape)] == engines


def test_when_a_process_began_is_told_in_its_own_words() -> None:
    scrape = reading(f"{STARTED} 1700000000.25\n").scrape
    assert scrape is not None
    assert started_at(scrape, None) == "1700000000.25"
    assert started_at(scrape, "1061819448") == "1700000000.25 1061819448"
    assert started_at(Scrape(0, ()), None) is None


def test_the_order_of_processes_on_a_page_is_no_restart() -> None:
    lines = [f'{STARTED}{{pid="{number}"}} {number}\n' for number in (1, 2)]
    first, last = (vllm_page(1, 2) + "".join(order) for order in (lines, lines[::-1]))
    assert between("vllm", first, last).reading is Reading.OK
    assert between("vllm", first, last.replace("} 1", "} 3")).reading is Reading.RESET


LMCACHE_ALONE = page(lmcache__num_hit_tokens=1, lmcache__num_requested_tokens=2)


@pytest.mark.parametrize(
    ("engine", "text", "block_tokens", "counts_prompts"),
    [
        ("vllm", vllm_page(1, 2), 16, True),
        ("sglang", sglang_page(1, 2), 1, True),
        ("llamacpp", llamacpp_page(1, 2), 1, True),
        ("lmcache", LMCACHE_ALONE, 256, False),
        ("lmcache", vllm_page(1, 2) + LMCACHE_ALONE, 16, False),
        ("trtllm", trtllm_page(1, 2), 32, False),
        ("trtllm", "", 32, False),
        ("sglang", "", 1, False),
    ],
)
def test_what_goes_with_the_counters(engine: str, text: str, block_tokens: int, *, counts_prompts: bool) -> None:
    found = between(engine, text, text)
    assert (found.block_tokens, found.counts_prompts) == (block_tokens, counts_prompts)
    assert found.label == ENGINES[engine].label


def test_what_an_engine_only_seems_to_be_tells_the_size_of_its_blocks() -> None:
    found = subtract(Identity(None, looks_like=ENGINES["llamacpp"]), UNREADABLE, UNREADABLE)
    assert (found.label, found.block_tokens) == (None, 1)
    assert subtract(Identity(None), UNREADABLE, UNREADABLE).block_tokens == 16


@pytest.mark.parametrize(
    ("computed", "cached", "tokens"),
    [
        ("999999", "5", 0),
        ("1e+06", "5", 10),
        ("9.99999e+06", "1.2e+06", 20),
        ("1.2e+07", "0", 100),
        ("1.2e+08", "1e+06", 1010),
    ],
)
def test_rounded_counters_say_how_coarse_they_are(computed: str, cached: str, tokens: int) -> None:
    text = f"llamacpp:prompt_tokens_total {computed}\nllamacpp:prompt_tokens_cached_total {cached}\n"
    assert between("llamacpp", text, text).resolution_tokens == 2 * tokens
    assert between("llamacpp", llamacpp_page(0, 0), text).resolution_tokens == tokens
    assert between("vllm", vllm_page(0, 10**9), vllm_page(0, 10**9)).resolution_tokens == 0


def test_pages_are_read_as_one() -> None:
    whole = merge_pages([reading(vllm_page(1, 2)), reading("lmcache:num_hit_tokens 5\n")])
    found = between("lmcache", Pages(Scrape(0, ()), started=whole.started), whole)
    assert (found.hits, found.queries) == (6, 2)


def test_one_page_that_cannot_be_read_makes_all_of_them_unreadable() -> None:
    assert merge_pages([reading(vllm_page(1, 2)), UNREADABLE]) == Pages(None, UNREADABLE.trouble)
    assert merge_pages([UNREADABLE, reading(vllm_page(1, 2))]) == Pages(None, UNREADABLE.trouble)
    assert merge_pages([]) == Pages(None, "there is no page to read")


def test_a_restart_behind_one_of_several_pages_is_seen() -> None:
    def both(began: str) -> Pages:
        return merge_pages([reading(vllm_page(1, 2)), reading("lmcache:num_hit_tokens 5\n", began)])

    assert between("lmcache", both("1"), both("1")).reading is Reading.OK
    assert between("lmcache", both("1"), both("2")).reading is Reading.RESET
