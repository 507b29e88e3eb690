"""`Settings`: everything a run was asked for, checked. Options and recipes both end up here, under the same names.

Values may be strings (from the command line) or of their own type (from YAML). All faults are found
before the first is reported. They are values, since only who asked knows where a setting was written, and how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fluxperf.errors import NotYetError, UsageError
from fluxperf.model.gate import Judge
from fluxperf.plan.forms import Mode
from fluxperf.plan.planner import FirstOrder, Order
from fluxperf.plan.readers import READERS, Fault, Later


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of CONTRACT, with `_` for `-`; None: not given. `api_key` is the key itself and is never shown.

    `think_time` is the least and the most of it, in seconds.
    """

    dataset: str
    endpoint: str | None = None
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_key_env: str | None = None
    num_samples: tuple[int, ...] = ()
    concurrency: tuple[int, ...] = (10,)
    same_samples: bool = False
    mode: Mode = "dual_round"
    max_context_tokens: int | None = None
    own_history: bool = False
    think_time: tuple[float, float] = (0, 0)
    rounds: int = 2
    round1_order: FirstOrder = "shuffled"
    round2_order: Order = "shuffled"
    control_round: bool = False
    salt: bool = False
    seed: int = 42
    max_output_tokens: int = 256
    min_output_tokens: int | None = None
    temperature: float = 0
    top_p: float | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    header: tuple[tuple[str, str], ...] = ()
    max_input_length: int | None = None
    tokenizer: str | None = None
    tokenizer_revision: str | None = None
    timeout: float = 300
    workers: int | None = None
    http: str = "auto"
    streams_per_connection: int = 4
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    insecure: bool = False
    timestamps: str = "auto"
    slo_file: str | None = None
    engine: str = "auto"
    reset_cache_url: str | None = None
    reset_cache_between_rounds: bool = False
    reset_cache_between_concurrency: bool = False
    prometheus_url: str | None = None
    prometheus_metrics: tuple[str, ...] = ()
    mock_server: bool = False
    mock_host: str = "127.0.0.1"
    mock_port: int = 0
    output_dir: str = "results"
    overwrite: bool = False
    save_requests: bool = False
    debug: bool = False
    debug_verbose: bool = False
    debug_log_dir: str = "debug_logs"
    quiet: bool = False
    no_progress: bool = False
    strict: bool = False
    label: tuple[tuple[str, str], ...] = ()
    repeat: int = 1
    baseline: str | None = None
    fail_on: tuple[str, ...] = ()
    judge: Judge = "interval"
    allow_different: bool = False
    junit: str | None = None
    markdown: str | None = None
    github: bool = False
    lens: str | None = None


# How options are called whose names are no names in Python.
_OPTIONS = {"lens": "--as"}
DEFAULTS = Settings(dataset="")
# What only the mode multi_turn has a use for.
OF_SESSIONS = ("max_context_tokens", "own_history", "think_time")

# How a setting is called where it was given: `--rounds` or `rounds`.
Call: TypeAlias = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class SettingFault:
    """What is wrong with the setting `name`: a sentence that goes on after it. `others` are the settings it is said of.

    `later`: it is right, but not yet built.
    """

    name: str
    what: str
    others: frozenset[str] = frozenset()
    later: bool = False


def read_settings(values: Mapping[str, Any]) -> Settings:
    """Settings from the command line's values by name, None as well as an empty list for what is not given.

    Raises UsageError that lists all faults.
    """
    found = check_settings(values)
    if isinstance(found, Settings):
        return found
    error = NotYetError if all(fault.later for fault in found) else UsageError
    raise error("\n".join(f"{option_name(fault.name)} {fault.what}" for fault in found))


def option_name(name: str) -> str:
    """How the setting is written on the command line."""
    return _OPTIONS.get(name, "--" + name.replace("_", "-"))


def check_settings(values: Mapping[str, Any], call: Call = option_name) -> Settings | list[SettingFault]:
    """Settings from raw values by name, or all that is wrong with them; None and an empty list are not given.

    In the words of a fault settings go by what `call` makes of their names.
    """
    faults = []
    found: dict[str, Any] = {}
    for name, raw in values.items():
        if raw is None or raw == []:
            continue
        try:
            found[name] = READERS[name](raw)
        except Fault as fault:
            faults.append(SettingFault(name, str(fault), later=isinstance(fault, Later)))
    faulty = {fault.name for fault in faults}
    faults += [fault for fault in _find_missing(found, call) if fault.name not in faulty]
    if found.pop("no_shuffle_round2", False) and found.setdefault("round2_order", "same") != "same":
        what = f"contradicts {call('round2_order')} {found['round2_order']}: leave one out"
        faults.append(SettingFault("no_shuffle_round2", what))
    settings = Settings(**{"dataset": "", **found})
    faults += [fault for fault in _check_together(settings, call) if not faulty & {fault.name, *fault.others}]
    return faults or settings


def _find_missing(found: Mapping[str, Any], call: Call) -> Iterator[SettingFault]:
    if "dataset" not in found:
        yield SettingFault("dataset", "is missing: name the file that holds the prompts")
    if "endpoint" not in found and not found.get("mock_server"):
        what = f"is missing: give the full URL of chat completions, or {call('mock_server')}"
        yield SettingFault("endpoint", what)


def _check_together(settings: Settings, call: Call) -> Iterator[SettingFault]:
    if settings.extra_body.get("stream", True) is not True:
        what = 'cannot turn off "stream": requests that do not stream are not yet built'
        yield SettingFault("extra_body", what, later=True)
    if "messages" in settings.extra_body:
        yield SettingFault("extra_body", 'cannot replace "messages": they are what the dataset is for')
    if settings.client_key is not None and settings.client_cert is None:
        what = f"needs {call('client_cert')}: the certificate that the key belongs to"
        yield SettingFault("client_key", what, frozenset({"client_cert"}))
    for name in OF_SESSIONS if settings.mode != "multi_turn" else ():
        if getattr(settings, name) != getattr(DEFAULTS, name):
            what = f"needs {call('mode')} multi_turn: it is about sessions of several turns"
            yield SettingFault(name, what, frozenset({"mode"}))
    if settings.tokenizer_revision is not None and settings.tokenizer is None:
        what = f"needs {call('tokenizer')}: the model of the hub that the revision is one of"
        yield SettingFault("tokenizer_revision", what, frozenset({"tokenizer"}))
    for name in ("reset_cache_between_rounds", "reset_cache_between_concurrency"):
        if getattr(settings, name) and settings.reset_cache_url is None:
            what = f"needs {call('reset_cache_url')}: the call that empties the server's cache"
            yield SettingFault(name, what, frozenset({"reset_cache_url"}))
    if settings.prometheus_metrics and settings.prometheus_url is None:
        what = f"needs {call('prometheus_url')}: a /metrics page, or a Prometheus server"
        yield SettingFault("prometheus_metrics", what, frozenset({"prometheus_url"}))
    minimum = settings.min_output_tokens
    if minimum is not None and minimum > settings.max_output_tokens:
        what = f"{minimum} is above {call('max_output_tokens')} {settings.max_output_tokens}"
        yield SettingFault("min_output_tokens", what, frozenset({"max_output_tokens"}))
