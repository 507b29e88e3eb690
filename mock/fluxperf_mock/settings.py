"""`MockSettings`: everything that can be set about the mock server, checked. Knows no environment and no file."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from fluxperf.errors import UsageError
from fluxperf_mock.dialects import DIALECTS, find_conflict
from fluxperf_mock.faults import Faults, read_faults

DEFAULT_MODEL = "fluxperf-mock"


class Range(NamedTuple):
    """What a number may be: whole or not, and its inclusive bounds."""

    whole: bool
    low: float
    high: float


RANGES: dict[str, Range] = {
    "port": Range(True, 0, 65_535),
    "prefill_tokens_per_s": Range(False, 1, 1e12),
    "decode_ms": Range(False, 0, 600_000),
    "jitter": Range(False, 0, 0.3),
    "overhead_ms": Range(False, 0, 600_000),
    "cache_tokens": Range(True, 0, 10**9),
    "block_tokens": Range(True, 1, 65_536),
    "max_num_seqs": Range(True, 1, 10**6),
    "replicas": Range(True, 1, 256),
    "max_concurrent_streams": Range(True, 1, 10**6),
    "tokens": Range(True, 1, 10**6),
    "seed": Range(True, 0, 2**63 - 1),
}


OPTIONAL = ("model", "tls_cert", "tls_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class MockSettings:
    """The mock server's settings; the defaults resemble a model of 8B parameters on one GPU.

    `jitter` is the standard deviation of prefill and decode times as a share of them. Answers are
    `tokens` long on average. `cache_tokens` of 0 turns the prefix cache off. `model` None: the server
    calls its model `DEFAULT_MODEL` and takes requests for any. `port` 0: any free one. `tls_cert` and
    `tls_key` are files in PEM form; both, or neither. `engine` is whose metrics and resets it has, one
    of `DIALECTS`; `faults` a list as `read_faults` takes it.
    Raises UsageError if a value is out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8001
    prefill_tokens_per_s: float = 8_000
    decode_ms: float = 10
    jitter: float = 0.05
    overhead_ms: float = 10
    cache_tokens: int = 400_000
    block_tokens: int = 16
    max_num_seqs: int = 64
    max_concurrent_streams: int = 128
    replicas: int = 1
    tokens: int = 128
    model: str | None = None
    seed: int = 42
    tls_cert: str | None = None
    tls_key: str | None = None
    engine: str = "vllm"
    faults: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            problem = find_problem(field.name, getattr(self, field.name))
            if problem:
                raise UsageError(f"mock server: {field.name} {problem}")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("mock server: TLS needs both a certificate and its key, tls_cert and tls_key")
        conflict = find_conflict(self.engine, self.read_faults())
        if conflict:
            raise UsageError(f"mock server: {conflict}")

    def read_faults(self) -> Faults:
        """The faults that were asked for."""
        return read_faults(self.faults)


def option_name(name: str) -> str:
    """How the setting is written on the command line."""
    return "--" + name.replace("_", "-")


def mock_command(settings: Mapping[str, Any]) -> list[str]:
    """The words after `fluxperf mock` that ask for these settings, by their names; None is not asked for."""
    return [f"{option_name(name)}={value}" for name, value in settings.items() if value is not None]


def read_value(given_as: str, name: str, text: str) -> int | float | str:
    """The setting `name` from a text, of its type and in its range. Raises UsageError that says where it was given."""
    value: int | float | str = text
    if name in RANGES:
        # What is no number stays a text, and the check says what is wanted.
        with contextlib.suppress(ValueError):
            value = int(text) if RANGES[name].whole else float(text)
    problem = find_problem(name, value)
    if problem:
        raise UsageError(f"{given_as} {problem}")
    return value


def find_problem(name: str, value: object) -> str | None:
    """Why `value` cannot be the setting `name`, as the rest of a sentence ("must be ..., not 'x'"); None: it can."""
    if name == "engine":
        return _find_engine_problem(value)
    if name == "faults":
        return _find_faults_problem(value)
    if name not in RANGES:
        empty_allowed = name in OPTIONAL and value is None
        return None if empty_allowed or (isinstance(value, str) and value) else f"must be a name, not {value!r}"
    whole, low, high = RANGES[name]
    kind = "a whole number" if whole else "a number"
    right_type = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    # NaN fails both comparisons, and so is out of range too.
    if right_type and low <= value <= high:  # type: ignore[operator]
        return None
    return f"must be {kind} from {low:.15g} to {high:.15g}, not {value!r}"


def _find_engine_problem(value: object) -> str | None:
    if value in DIALECTS:
        return None
    near = difflib.get_close_matches(str(value), DIALECTS, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"must be one of {', '.join(DIALECTS)}, not {value!r}{hint}"


def _find_faults_problem(value: object) -> str | None:
    if not isinstance(value, str):
        return f"must be a list of faults, separated by commas, not {value!r}"
    try:
        read_faults(value)
    except ValueError as error:
        return str(error)
    return None
