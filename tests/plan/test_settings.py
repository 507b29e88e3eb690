from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from fluxperf.errors import NotYetError, UsageError
from fluxperf.plan.readers import OWN_HEADERS, READERS
from fluxperf.plan.settings import Settings, read_settings
from fluxperf.watch.engines import ENGINES

SERVER = "http://localhost:8000"
URL = f"{SERVER}/v1/chat/completions"
NEEDED = {"dataset": "d.jsonl", "endpoint": URL}
KEY = "sk-secret"


def read(**values: Any) -> Settings:
    return read_settings(NEEDED | values)


def faults(**values: Any) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read(**values)
    assert type(caught.value) is UsageError
    return str(caught.value).splitlines()


def test_what_is_not_given_has_its_default() -> None:
    absent = {name: None for name in READERS if name not in NEEDED}
    assert read() == read(**absent) == Settings(dataset="d.jsonl", endpoint=URL)


# Read like a setting, and then another one.
SYNONYMS = {"no_shuffle_round2": "round2_order"}


def test_every_setting_has_a_reader() -> None:
    names = [field.name for field in fields(Settings)]
    assert [name for name in READERS if name not in SYNONYMS] == names
    assert set(SYNONYMS.values()) <= set(names)


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("dataset", "some file.jsonl", "some file.jsonl"),
        ("endpoint", f" {URL}/ ", f"{URL}/"),
        ("endpoint", "HTTP://[::1]/chat/completions?v=1", "HTTP://[::1]/chat/completions?v=1"),
        ("endpoint", "http://me:pass@host:1/generate", "http://me:pass@host:1/generate"),
        ("model", "org/model", "org/model"),
        ("api_key", f" {KEY}\n", KEY),
        ("api_key", 12345, "12345"),
        ("api_key_env", "MY_KEY", "MY_KEY"),
        ("num_samples", ["5", "7"], (5, 7)),
        ("num_samples", 5, (5,)),
        ("concurrency", ["1", 100_000], (1, 100_000)),
        ("same_samples", True, True),
        ("mode", "dual_round", "dual_round"),
        ("mode", "multi_turn", "multi_turn"),
        ("rounds", "1", 1),
        ("round1_order", "file", "file"),
        ("round2_order", "reversed", "reversed"),
        ("control_round", True, True),
        ("salt", True, True),
        ("seed", "-7", -7),
        ("max_output_tokens", " 1 ", 1),
        ("min_output_tokens", "256", 256),
        ("temperature", "0.7", 0.7),
        ("temperature", 0, 0),
        ("top_p", "1", 1),
        ("extra_body", '{"top_k": 20, "max_tokens": null}', {"top_k": 20, "max_tokens": None}),
        ("extra_body", {"top_k": 20}, {"top_k": 20}),
        ("header", ["X-A: b: c", "x-e:"], (("X-A", "b: c"), ("x-e", ""))),
        ("max_input_length", "100", 100),
        ("tokenizer", "org/name", "org/name"),
        ("timeout", "0.5", 0.5),
        ("workers", "4", 4),
        ("http", "1.1", "1.1"),
        ("http", 1.1, "1.1"),
        ("timestamps", "user", "user"),
        ("slo_file", "slo.yaml", "slo.yaml"),
        ("engine", "sglang", "sglang"),
        ("reset_cache_url", f"{SERVER}/slots/{{id}}?action=erase ", f"{SERVER}/slots/{{id}}?action=erase"),
        ("prometheus_url", "https://me:pass@host/prometheus", "https://me:pass@host/prometheus"),
        ("mock_server", True, True),
        ("mock_host", "::1", "::1"),
        ("mock_port", "65535", 65535),
        ("output_dir", "out", "out"),
        ("overwrite", True, True),
        ("save_requests", True, True),
        ("debug", True, True),
        ("debug_verbose", True, True),
        ("debug_log_dir", "logs", "logs"),
        ("quiet", True, True),
        ("no_progress", True, True),
        ("strict", True, True),
        ("label", ["gpu=A100", "note=a=b", " x ="], (("gpu", "A100"), ("note", "a=b"), ("x", ""))),
    ],
)
def test_value_is_read(name: str, raw: Any, value: Any) -> None:
    found = getattr(read(**{name: raw}), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "raw", "complaint"),
    [
        ("dataset", "", "must be a text that is not empty, not ''"),
        ("dataset", 5, "must be a text that is not empty, not 5"),
        ("endpoint", "localhost:8000", f"must be a full URL such as {URL}"),
        ("endpoint", "ftp://host/", f"must be a full URL such as {URL}"),
        ("endpoint", "http:///v1", f"must be a full URL such as {URL}"),
        ("endpoint", "http://host:0/", f"must be a full URL such as {URL}"),
        ("endpoint", "http://host:x/", "is not a URL: Port could not be cast to integer value as 'x'"),
        ("endpoint", "http://host:99999/", "is not a URL: Port out of range 0-65535"),
        ("endpoint", "http://[::1/", "is not a URL: Invalid IPv6 URL"),
        ("endpoint", "http://host/a b", f"holds characters that a URL cannot; it must look like {URL}"),
        ("endpoint", "http://hôst/", f"holds characters that a URL cannot; it must look like {URL}"),
        ("endpoint", "http://host/\x07", f"holds characters that a URL cannot; it must look like {URL}"),
        ("model", " ", "must be a text that is not empty, not ' '"),
        ("model", "m\udcff", "holds characters that cannot be sent: 'm\\udcff'"),
        ("num_samples", ["5", "x"], "takes a whole number, not 'x'"),
        ("num_samples", "0", "must be at least 1, not 0"),
        ("concurrency", "5,10", "takes a whole number, not '5,10'; several are separated by spaces"),
        ("concurrency", "100001", "must be at most 100000, not 100001"),
        ("concurrency", "9" * 30, f"takes a whole number, not '{'9' * 30}'"),
        ("same_samples", "yes", "is either given or not; it takes no value such as 'yes'"),
        ("mode", "triple_round", "is one of dual_round, multi_turn, not 'triple_round'"),
        ("max_context_tokens", "0", "must be at least 1, not 0"),
        ("own_history", "yes", "is either given or not; it takes no value such as 'yes'"),
        ("tokenizer", " ", "must be a text that is not empty, not ' '"),
        ("round1_order", "reversed", "is one of shuffled, file, not 'reversed'"),
        ("round2_order", "random", "is one of shuffled, same, reversed, not 'random'"),
        ("control_round", "yes", "is either given or not; it takes no value such as 'yes'"),
        ("salt", "abc", "is either given or not; it takes no value such as 'abc'"),
        ("engine", "vLLM", "is one of auto, vllm, sglang, llamacpp, lmcache, trtllm, none, not 'vLLM'"),
        ("reset_cache_url", "/reset", f"must be a full URL such as {SERVER}/reset_prefix_cache"),
        (
            "reset_cache_url",
            "http://h/a b",
            f"holds characters that a URL cannot; it must look like {SERVER}/reset_prefix_cache",
        ),
        ("prometheus_url", "localhost:9090", "must be a full URL such as http://localhost:9090"),
        ("prometheus_metrics", ["a", ""], "must be a text that is not empty, not ''"),
        ("rounds", "1.5", "takes a whole number, not '1.5'"),
        ("rounds", True, "takes a whole number, not True"),
        ("rounds", "-1", "must be at least 1, not -1"),
        ("temperature", "hot", "takes a number, not 'hot'"),
        ("temperature", "nan", "takes a number, not 'nan'"),
        ("temperature", "inf", "takes a number, not 'inf'"),
        ("temperature", "1" + "0" * 400, f"takes a number, not '1{'0' * 400}'"),
        ("temperature", 10**400, f"takes a number, not 1{'0' * 400}"),
        ("temperature", "-0.1", "must be at least 0, not -0.1"),
        ("temperature", [1], "takes a number, not [1]"),
        ("temperature", True, "takes a number, not True"),
        ("top_p", "0", "must be above 0, at most 1, not 0"),
        ("top_p", "1.1", "must be above 0, at most 1, not 1.1"),
        ("timeout", "0", "must be above 0, at most 86400, not 0"),
        ("extra_body", "[1]", "takes a JSON object, not [1]"),
        ("workers", "1025", "must be at most 1024, not 1025"),
        ("http", "3", "is one of auto, 1.1, 2, not '3'"),
        ("timestamps", "ptp", "is one of auto, kernel, user, not 'ptp'"),
        ("mock_port", "65536", "must be at most 65535, not 65536"),
        ("label", "gpu", "takes K=V, not 'gpu'"),
        ("label", "=x", "takes K=V, not '=x'"),
    ],
)
def test_value_is_refused_with_the_options_name(name: str, raw: Any, complaint: str) -> None:
    assert faults(**{name: raw}) == [f"--{name.replace('_', '-')} {complaint}"]


@pytest.mark.parametrize("raw", ["{", "{'a': 1}", '{"a": NaN}', '{"a": -Infinity}', "", "[" * 100_000])
def test_what_is_not_json_is_told_with_an_example(raw: str) -> None:
    (fault,) = faults(extra_body=raw)
    assert fault.startswith("--extra-body takes a JSON object such as '{\"top_k\": 20}': ")


@pytest.mark.parametrize("raw", ['{"a": 1e999}', '{"a": "\\ud800"}', {"a": float("nan")}, {"a": {1, 2}}])
def test_what_no_body_can_carry_is_refused(raw: object) -> None:
    (fault,) = faults(extra_body=raw)
    assert fault.startswith("--extra-body holds what JSON cannot: ")


def test_a_body_always_streams_the_datasets_messages() -> None:
    assert read(extra_body='{"stream": true}').extra_body == {"stream": True}
    for raw in ('{"stream": false}', '{"stream": null}'):
        with pytest.raises(NotYetError, match="--extra-body cannot turn off"):
            read(extra_body=raw)
    assert faults(extra_body='{"messages": []}') == [
        '--extra-body cannot replace "messages": they are what the dataset is for'
    ]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        read_settings({"rounds": "x", "workers": "0", "header": ["nonsense"], "endpoint": None})
    assert str(caught.value).splitlines() == [
        "--rounds takes a whole number, not 'x'",
        "--workers must be at least 1, not 0",
        "--header takes 'Name: value', with a name of letters, digits and hyphens",
        "--dataset is missing: name the file that holds the prompts",
        "--endpoint is missing: give the full URL of chat completions, or --mock-server",
    ]


def test_an_endpoint_or_the_mock_server_is_needed() -> None:
    complaint = "--endpoint is missing: give the full URL of chat completions, or --mock-server"
    assert faults(endpoint=None) == [complaint]
    assert read(endpoint=None, mock_server=True).endpoint is None


def test_fewest_output_tokens_are_not_above_the_most() -> None:
    assert faults(min_output_tokens="300") == ["--min-output-tokens 300 is above --max-output-tokens 256"]
    assert read(min_output_tokens="300", max_output_tokens="300").min_output_tokens == 300


# The cache and the metrics.


def test_the_engines_are_those_whose_counters_are_known() -> None:
    for engine in ("auto", "none", *ENGINES):
        assert read(engine=engine).engine == engine
    (fault,) = faults(engine="tgi")
    named = fault.removeprefix("--engine is one of ").removesuffix(", not 'tgi'").split(", ")
    assert set(named) == {"auto", "none", *ENGINES}


def test_no_shuffle_is_another_word_for_the_same_order() -> None:
    assert read(no_shuffle_round2=True).round2_order == "same"
    assert read(no_shuffle_round2=True, round2_order="same").round2_order == "same"
    assert read(no_shuffle_round2=False).round2_order == "shuffled"
    assert read(no_shuffle_round2=False, round2_order="reversed").round2_order == "reversed"


@pytest.mark.parametrize("order", ["shuffled", "reversed"])
def test_two_orders_contradict_each_other(order: str) -> None:
    assert faults(no_shuffle_round2=True, round2_order=order) == [
        f"--no-shuffle-round2 contradicts --round2-order {order}: leave one out"
    ]


def test_an_order_that_is_none_is_one_fault() -> None:
    assert faults(no_shuffle_round2=True, round2_order="random") == [
        "--round2-order is one of shuffled, same, reversed, not 'random'"
    ]


@pytest.mark.parametrize("name", ["reset_cache_between_rounds", "reset_cache_between_concurrency"])
def test_resets_in_between_need_to_know_how(name: str) -> None:
    assert faults(**{name: True}) == [
        f"--{name.replace('_', '-')} needs --reset-cache-url: the call that empties the server's cache"
    ]
    assert getattr(read(**{name: True, "reset_cache_url": f"{SERVER}/flush_cache"}), name) is True


def test_metrics_need_to_know_where() -> None:
    metrics = ["vllm:num_requests_running", 'name{engine="0"}']
    assert faults(prometheus_metrics=metrics) == [
        "--prometheus-metrics needs --prometheus-url: a /metrics page, or a Prometheus server"
    ]
    assert read(prometheus_metrics=metrics, prometheus_url=f"{SERVER}/metrics").prometheus_metrics == tuple(metrics)
    assert read(prometheus_url=f"{SERVER}/metrics").prometheus_metrics == ()


def test_all_that_does_not_go_together_is_told_at_once() -> None:
    values = {"reset_cache_between_rounds": True, "prometheus_metrics": ["a"], "min_output_tokens": "300"}
    assert [fault.split()[0] for fault in faults(**values)] == [
        *("--reset-cache-between-rounds", "--prometheus-metrics", "--min-output-tokens"),
    ]


@pytest.mark.parametrize(
    ("values", "promise"),
    [
        ({"endpoint": "http://host/v1/completions"}, "the completions API is not yet built"),
    ],
)
def test_what_is_promised_and_not_built_says_not_yet(values: dict[str, str], promise: str) -> None:
    with pytest.raises(NotYetError, match=promise) as caught:
        read(**values)
    assert caught.value.exit_code == 2


# Sessions.


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [("2", (2, 2)), (0, (0, 0)), ("0.5-2", (0.5, 2)), (" 1 - 1 ", (1, 1)), (1.5, (1.5, 1.5)), ("1e-3", (0.001, 0.001))],
)
def test_think_time_is_a_number_or_a_range(raw: object, seconds: tuple[float, float]) -> None:
    assert read(mode="multi_turn", think_time=raw).think_time == seconds


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ("soon", "takes a number, not 'soon'"),
        ("-1", "must be at least 0, at most 86400, not -1"),
        ("1-2-3", "takes a number, not '1-2-3'"),
        ("1..2-3", "takes a number, not '1..2'"),
        ("1-inf", "takes a number, not '1-inf'"),
        ("1-86401", "must be at least 0, at most 86400, not 86401"),
        ([1, 2, 3], "takes a number, not [1, 2, 3]"),
        (True, "takes a number, not True"),
    ],
)
def test_think_time_that_is_none_is_refused(raw: object, complaint: str) -> None:
    assert faults(mode="multi_turn", think_time=raw) == [
        f"--think-time {complaint}; it is seconds, or a range of them such as 0.5-2"
    ]


def test_a_range_begins_with_the_shorter_time() -> None:
    assert faults(mode="multi_turn", think_time="2-0.5") == [
        "--think-time takes the shorter time first: 0.5-2, not 2-0.5"
    ]


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [("max_context_tokens", "4096", 4096), ("own_history", True, True), ("think_time", "1", (1, 1))],
)
def test_what_is_about_sessions_needs_them(name: str, raw: object, value: object) -> None:
    option = f"--{name.replace('_', '-')}"
    assert faults(**{name: raw}) == [f"{option} needs --mode multi_turn: it is about sessions of several turns"]
    assert getattr(read(**{name: raw, "mode": "multi_turn"}), name) == value
    assert [fault.split()[0] for fault in faults(**{name: raw, "mode": "sessions"})] == ["--mode"]


def test_a_revision_needs_the_model_that_it_is_one_of() -> None:
    assert faults(tokenizer_revision="main") == [
        "--tokenizer-revision needs --tokenizer: the model of the hub that the revision is one of"
    ]
    settings = read(tokenizer="org/name", tokenizer_revision="v1")
    assert (settings.tokenizer, settings.tokenizer_revision) == ("org/name", "v1")


INJECTION = "holds characters that a header cannot carry (is there a line end in it?)"


@pytest.mark.parametrize("end", ["\r\nX-Evil: 1", "\n", "\r", "\0", "é"])
def test_no_value_smuggles_in_a_further_header(end: str) -> None:
    assert faults(header=f"X-A: b{end}c") == [f"--header cannot be used: the value of header X-A {INJECTION}"]
    assert faults(api_key=f"{KEY}{end}c") == [f"--api-key cannot be used: the key {INJECTION}"]


@pytest.mark.parametrize("header", ["no colon", ": value", "two words: x", "X-\r\nY: z", "ä: x", ""])
def test_a_header_needs_a_name_that_is_a_token(header: str) -> None:
    assert faults(header=header) == ["--header takes 'Name: value', with a name of letters, digits and hyphens"]


@pytest.mark.parametrize("name", OWN_HEADERS)
def test_headers_that_would_break_the_exchange_are_ours(name: str) -> None:
    assert faults(header=f"{name.title()}: x") == [f"--header cannot set {name.title()}: FluxPerf sets it itself"]


@pytest.mark.parametrize("show", [repr, str])
def test_settings_do_not_show_the_key(show: Callable[[Settings], str]) -> None:
    settings = read(api_key=KEY)
    assert settings.api_key == KEY
    assert KEY not in show(settings)


@pytest.mark.parametrize("name", ["api_key", "header"])
@pytest.mark.parametrize("raw", [f"{KEY}\n{KEY}", f"Authorization: {KEY}\nx", f"\0{KEY}"])
def test_no_fault_shows_the_key(name: str, raw: str) -> None:
    assert not any(KEY in fault for fault in faults(**{name: raw}))
