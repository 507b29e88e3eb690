"""`Settings`: everything a run was asked for, checked. Options and recipes both end up here, under the same names.

Values may be strings (from the command line) or of their own type (from YAML). All faults are found
before the first is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fluxperf.errors import NotYetError, UsageError
from fluxperf.plan.forms import Mode
from fluxperf.plan.planner import Order
from fluxperf.plan.readers import READERS, Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of CONTRACT, with `_` for `-`; None: not given. `api_key` is the key itself and is never shown."""

    dataset: str
    endpoint: str | None = None
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_key_env: str | None = None
    num_samples: tuple[int, ...] = ()
    concurrency: tuple[int, ...] = (10,)
    same_samples: bool = False
    mode: Mode = "dual_round"
    rounds: int = 2
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


def read_settings(values: Mapping[str, Any]) -> Settings:
    """Settings from raw values by name; None values count as not given. Raises UsageError that lists all faults."""
    faults = []
    found = {}
    for name, raw in values.items():
        if raw is None or raw is False or raw == []:
            continue
        try:
            found[name] = READERS[name](raw)
        except Fault as fault:
            faults.append(f"{option_name(name)} {fault}")
    faulty = {fault.partition(" ")[0] for fault in faults}
    if "dataset" not in found and "--dataset" not in faulty:
        faults.append("--dataset is missing: name the file that holds the prompts")
    if "endpoint" not in found and "mock_server" not in found and "--endpoint" not in faulty:
        faults.append("--endpoint is missing: give the full URL of chat completions, or --mock-server")
    if found.pop("no_shuffle_round2", False) and found.setdefault("round2_order", "same") != "same":
        faults.append(f"--no-shuffle-round2 contradicts --round2-order {found['round2_order']}: leave one out")
    if not faults:
        settings = Settings(**found)
        faults = _check_together(settings)
    if faults:
        raise UsageError("\n".join(faults))
    return settings


def _check_together(settings: Settings) -> list[str]:
    faults = []
    if settings.extra_body.get("stream", True) is not True:
        raise NotYetError('--extra-body cannot turn off "stream": requests that do not stream are not yet built')
    if "messages" in settings.extra_body:
        faults.append('--extra-body cannot replace "messages": they are what the dataset is for')
    if settings.client_key is not None and settings.client_cert is None:
        faults.append("--client-key needs --client-cert: the certificate that the key belongs to")
    faults += [
        f"{option_name(name)} needs --reset-cache-url: the call that empties the server's cache"
        for name in ("reset_cache_between_rounds", "reset_cache_between_concurrency")
        if getattr(settings, name) and settings.reset_cache_url is None
    ]
    if settings.prometheus_metrics and settings.prometheus_url is None:
        faults.append("--prometheus-metrics needs --prometheus-url: a /metrics page, or a Prometheus server")
    minimum = settings.min_output_tokens
    if minimum is not None and minimum > settings.max_output_tokens:
        faults.append(f"--min-output-tokens {minimum} is above --max-output-tokens {settings.max_output_tokens}")
    return faults


def option_name(name: str) -> str:
    """How the setting is written on the command line."""
    return "--" + name.replace("_", "-")
