from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.watch.exposition import Packed, Sample, Scrape, counts, names, pack, parse, spellings
from fluxperf.watch.promql import name_series

PAGE = """\
# HELP vllm:prompt_tokens_total Prompt "tokens, it\\nsays {x="1"} 5
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="a b"} 12.0
vllm:prompt_tokens_total{engine="1",model_name="a b"} 3 1700000000000
# TYPE bare counter
bare 7
# TYPE running gauge
running 2
# TYPE ttft histogram
ttft_bucket{le="0.1"} 1 # {trace_id="x"} 0.05 1700000000.1
ttft_bucket{le="+Inf"} 2
ttft_sum 0.3
ttft_count 2
# TYPE size summary
size{quantile="0.5"} NaN
size_sum 0
size_count 0
# TYPE mystery untyped
mystery -1.5e-3
open_total 4 # {trace_id="y"} 1
# EOF
"""


def sample(name: str, value: float, **labels: str) -> Sample:
    return Sample(name, tuple(sorted(labels.items())), value)


def test_a_page() -> None:
    scrape = parse(PAGE, 5)
    assert scrape.taken_ns == 5
    assert [one for one in scrape.samples if not math.isnan(one.value)] == [
        sample("vllm:prompt_tokens_total", 12, engine="0", model_name="a b"),
        sample("vllm:prompt_tokens_total", 3, engine="1", model_name="a b"),
        sample("bare", 7),
        sample("running", 2),
        sample("ttft_bucket", 1, le="0.1"),
        sample("ttft_bucket", 2, le="+Inf"),
        sample("ttft_sum", 0.3),
        sample("ttft_count", 2),
        sample("size_sum", 0),
        sample("size_count", 0),
        sample("mystery", -0.0015),
        sample("open_total", 4),
    ]
    assert scrape.kinds == {
        "vllm:prompt_tokens_total": "counter",
        "bare": "counter",
        "running": "gauge",
        "ttft": "histogram",
        "size": "summary",
    }


def test_only_what_is_wanted() -> None:
    scrape = parse(PAGE, 0, {"running", "ttft", "ttft_sum"}.__contains__)
    assert scrape.samples == (sample("running", 2), sample("ttft_sum", 0.3))
    assert scrape.kinds == {"running": "gauge", "ttft": "histogram"}


def test_the_names_of_a_page() -> None:
    assert names(PAGE) == (
        *("vllm:prompt_tokens_total", "bare", "running", "ttft_bucket", "ttft_sum", "ttft_count"),
        *("size", "size_sum", "size_count", "mystery", "open_total"),
    )
    assert names("") == ()


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_line_ends(end: str) -> None:
    assert parse(f"a 1{end or chr(10)}b 2{end}", 0).samples == (sample("a", 1), sample("b", 2))


@pytest.mark.parametrize("page", ["", "\n", "# EOF\n", "# nothing yet\n"])
def test_a_page_without_metrics_is_a_page(page: str) -> None:
    assert parse(page, 0, bool) == Scrape(0, ())


@pytest.mark.parametrize(
    "page",
    [
        *("<!doctype html>\n<html>a 1</html>", '{"status": "ok"}', "OK", "Internal Server Error", "Not Found\n"),
        *('a{b="c} 1', "a{b=c} 1", "a one", "a", 'a{b="1",b="2"} 1', "1 2", "a 1" + "0" * 400, "a{,\t=1} 2"),
    ],
)
def test_what_is_no_page(page: str) -> None:
    with pytest.raises(ValueError, match="no page of metrics"):
        parse(page, 0)
    with pytest.raises(
        ValueError, match="no page of metrics"
    ):  # whoever looks for one metric only is not fooled by it either
        parse(page, 0, lambda name: name == "a")


def test_what_is_wrong_elsewhere_does_no_harm() -> None:
    page = "first 1\nbroken here\n# TYPE broken what\nlast 2\n"
    assert parse(page, 0, lambda name: name == "last").samples == (sample("last", 2),)


def test_finding_by_name_and_labels() -> None:
    scrape = parse(PAGE, 0)
    assert [one.value for one in scrape.find("vllm:prompt_tokens_total")] == [12, 3]
    assert [one.value for one in scrape.find("vllm:prompt_tokens", {"engine": "1"})] == [3]
    assert [one.value for one in scrape.find("bare_total")] == [7]
    assert scrape.find("vllm:prompt_tokens_total", {"engine": "2"}) == ()
    assert scrape.find("nothing") == ()


def test_the_name_itself_comes_before_the_other_spelling() -> None:
    scrape = parse("a 1\na_total 2\n", 0)
    assert [one.value for one in scrape.find("a")] == [1]
    assert [one.value for one in scrape.find("a_total")] == [2]


def test_spellings() -> None:
    assert spellings("a") == ("a", "a_total")
    assert spellings("a_total") == ("a_total", "a")


@pytest.mark.parametrize(
    ("name", "upwards"),
    [
        *[("vllm:prompt_tokens_total", True), ("vllm:prompt_tokens", True), ("bare", True), ("bare_total", True)],
        *[("running", False), ("ttft_bucket", True), ("ttft_sum", True), ("size_count", True)],
        # Of these the page says nothing.
        *[("mystery", False), ("open_total", True), ("other_count", True), ("other_sum", True), ("open", False)],
    ],
)
def test_what_counts_upwards(name: str, *, upwards: bool) -> None:
    assert parse(PAGE, 0).counts(name) is upwards


def test_a_type_is_believed_before_a_name() -> None:
    assert not counts("seats_total", {"seats_total": "gauge"})
    assert not counts("head_count", {"head_count": "gauge"})
    assert counts("seats", {"seats": "counter"})


# Those that begin with two underscores are Prometheus's own, and no page may have them.
LABEL_NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,5}", fullmatch=True).filter(lambda name: name[:2] != "__")
METRIC_NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SAMPLES = st.builds(
    lambda name, labels, value: Sample(name, tuple(sorted(labels.items())), value),
    METRIC_NAMES,
    st.dictionaries(LABEL_NAMES, TEXTS, max_size=3),
    st.floats(allow_nan=False),
)


@given(st.lists(SAMPLES))
def test_what_is_written_is_read(samples: list[Sample]) -> None:
    page = "".join(f"{name_series(one.name, one.labels)} {one.value!r}\n" for one in samples)
    assert parse(page, 1).samples == tuple(samples)
    assert set(names(page)) == {one.name for one in samples}
    for name in {one.name for one in samples}:
        assert parse(page, 1, {name}.__contains__).samples == tuple(one for one in samples if one.name == name)


@given(st.text(st.sampled_from('ab_{}"\\=,# \t1.e+-NI\u2028\n'), max_size=40), st.sampled_from(["", "a{", "# TYPE a "]))
def test_any_text_is_a_page_or_is_refused(text: str, beginning: str) -> None:
    try:
        whole = parse(beginning + text, 0)
    except ValueError:
        return
    wanted = {one.name for one in whole.samples[:1]}
    assert parse(beginning + text, 0, wanted.__contains__).samples == tuple(
        one for one in whole.samples if one.name in wanted
    ) or any(math.isnan(one.value) for one in whole.samples)


def test_a_packed_page_is_the_same_page() -> None:
    scrape = parse(PAGE, 5)
    packed = pack(scrape, None)
    assert str(list(packed.samples)) == str(list(scrape.samples))  # NaN is not itself
    assert (packed.taken_ns, packed.kinds) == (5, scrape.kinds)
    assert packed.find("bare") == scrape.find("bare") != ()
    assert [one.name for one in packed.samples[2:4]] == ["bare", "running"]


def test_readings_share_names_and_labels() -> None:
    first = pack(parse(PAGE, 5), None)
    second = pack(parse(PAGE.replace("bare 7", "bare 8"), 6), first)
    assert isinstance(first.samples, Packed)
    assert isinstance(second.samples, Packed)
    assert second.samples.names is first.samples.names
    assert second.kinds is first.kinds
    third = pack(parse(PAGE + 'born{engine="0"} 1\n', 7), second)
    assert isinstance(third.samples, Packed)
    assert all(one is other for one, other in zip(third.samples.names, first.samples.names, strict=False))
    assert (third.samples.names[-1], first.find("bare"), second.find("bare")) == (
        ("born", (("engine", "0"),)),
        (sample("bare", 7),),
        (sample("bare", 8),),
    )
