from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.errors import UsageError
from fluxperf_mock import MockSettings
from fluxperf_mock.cli import parse_settings
from fluxperf_mock.settings import RANGES, mock_command


def test_the_defaults_are_valid() -> None:
    assert MockSettings().port == 8001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 65_536),
        ("port", -1),
        ("port", "8001"),
        ("port", True),
        ("prefill_tokens_per_s", 0),
        ("decode_ms", -0.1),
        ("decode_ms", math.nan),
        ("decode_ms", math.inf),
        ("jitter", 0.31),
        ("block_tokens", 0),
        ("max_num_seqs", 1.5),
        ("tokens", 0),
        ("seed", -1),
        ("seed", None),
        ("host", ""),
        ("host", None),
        ("model", ""),
        ("replicas", 0),
        ("max_concurrent_streams", 0),
        ("tls_cert", ""),
        ("engine", "ollama"),
        ("engine", None),
        ("faults", ["drift"]),
    ],
)
def test_a_value_out_of_range_is_an_error_that_names_it(name: str, value: object) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(UsageError, match=f"mock server: {name} must be"):
        MockSettings(**given)


def test_a_fault_that_is_not_known_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="mock server: faults names 'dirft', which is no fault; did you mean drift"):
        MockSettings(faults="dirft")


@pytest.mark.parametrize(
    ("engine", "faults"),
    [
        ("trtllm", "reset-lies"),
        ("none", "reset-fails"),
        ("none", "metrics-500"),
        ("none", "hidden-cache"),
        ("llamacpp", "drift,preempt"),
    ],
)
def test_a_fault_that_the_engine_cannot_show_is_an_error(engine: str, faults: str) -> None:
    with pytest.raises(UsageError, match=f"mock server: the fault .* cannot be seen at engine {engine}, which has no"):
        MockSettings(engine=engine, faults=faults)


def test_a_whole_number_serves_where_any_number_does() -> None:
    assert MockSettings(decode_ms=0, jitter=0).decode_ms == 0


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(UsageError, match="both a certificate and its key"):
        MockSettings(tls_cert="cert.pem")
    assert MockSettings(tls_cert="cert.pem", tls_key="key.pem").tls_key == "key.pem"


def test_a_command_asks_for_what_is_set() -> None:
    assert mock_command({"port": 0, "decode_ms": 0.5, "model": None, "faults": ""}) == [
        "--port=0",
        "--decode-ms=0.5",
        "--faults=",
    ]


NUMBERS = {
    name: st.integers(int(low), int(high)) if whole else st.floats(low, high)
    for name, (whole, low, high) in RANGES.items()
}
TEXTS = {
    "host": st.sampled_from(["::1", "0.0.0.0"]),
    "model": st.none() | st.sampled_from(["-m", "a b", "--port=1", "a=b"]),
    "engine": st.sampled_from(["vllm", "lmcache"]),
    "faults": st.sampled_from(["", "drift=0.4,reset-lies"]),
}


@given(st.fixed_dictionaries({}, optional={**NUMBERS, **TEXTS}))
def test_a_command_asks_for_exactly_the_settings(settings: dict[str, Any]) -> None:
    assert parse_settings(mock_command(settings)) == MockSettings(**settings)
