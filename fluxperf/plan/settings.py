"""`Settings`: everything a run was asked for, checked. Options and recipes both end up here, under the same names.

Values may be strings (from the command line) or of their own type (from YAML). All faults are found
before the first is reported.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args
from urllib.parse import urlsplit

from fluxperf.errors import NotYetError, UsageError
from fluxperf.plan.forms import Mode

MODES: tuple[Mode, ...] = get_args(Mode)
OWN_HEADERS = ("accept-encoding", "connection", "content-length", "transfer-encoding")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


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
    no_shuffle_round2: bool = False
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
    timestamps: str = "auto"
    slo_file: str | None = None
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
    label: tuple[tuple[str, str], ...] = ()


class Fault(ValueError):
    """What is wrong with one value: a sentence that goes on after the option's name."""


Read = Callable[[Any], Any]


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
    minimum = settings.min_output_tokens
    if minimum is not None and minimum > settings.max_output_tokens:
        faults.append(f"--min-output-tokens {minimum} is above --max-output-tokens {settings.max_output_tokens}")
    return faults


def option_name(name: str) -> str:
    """How the setting is written on the command line."""
    return "--" + name.replace("_", "-")


def _text(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise Fault(f"must be a text that is not empty, not {raw!r}")
    return raw


def _sent_text(raw: Any) -> str:
    text = _text(raw)
    if not text.isprintable():  # an argument that is not UTF-8 holds surrogates, which no body can carry
        raise Fault(f"holds characters that cannot be sent: {text!r}")
    return text


def _flag(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise Fault(f"is either given or not; it takes no value such as {raw!r}")
    return raw


def _integer(least: int, most: int = 2**53) -> Read:
    def read(raw: Any) -> int:
        text = str(raw).strip()
        if isinstance(raw, bool) or not re.fullmatch(r"[+-]?\d{1,18}", text):
            hint = "; several are separated by spaces" if isinstance(raw, str) and "," in raw else ""
            raise Fault(f"takes a whole number, not {raw!r}{hint}")
        if not least <= int(text) <= most:
            raise Fault(f"must be {f'at least {least}' if int(text) < least else f'at most {most}'}, not {int(text)}")
        return int(text)

    return read


def _number(least: float, most: float = math.inf, *, above: bool = False) -> Read:
    def read(raw: Any) -> float:
        try:
            number = math.nan if isinstance(raw, bool) else float(raw)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise Fault(f"takes a number, not {raw!r}")
        if number < least or number > most or (above and number == least):
            bounds = f"{'above' if above else 'at least'} {least:g}" + (
                "" if most == math.inf else f", at most {most:g}"
            )
            raise Fault(f"must be {bounds}, not {number:g}")
        return int(number) if number.is_integer() else number

    return read


def _many(read: Read) -> Read:
    def read_all(raw: Any) -> tuple[Any, ...]:
        return tuple(read(entry) for entry in (raw if isinstance(raw, list | tuple) else [raw]))

    return read_all


def _choice(*names: str) -> Read:
    def read(raw: Any) -> str:
        if raw not in names:
            raise Fault(f"is one of {', '.join(names)}, not {raw!r}")
        return str(raw)

    return read


def _json_object(raw: Any) -> dict[str, Any]:
    if isinstance(raw, str):
        try:
            raw = json.loads(raw, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise Fault(f"takes a JSON object such as '{{\"top_k\": 20}}': {error}") from error
    if not isinstance(raw, dict):
        raise Fault(f"takes a JSON object, not {json.dumps(raw)}")
    try:
        json.dumps(raw, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Fault(f"holds what JSON cannot: {error}") from error
    return raw


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _header(raw: Any) -> tuple[str, str]:
    name, colon, text = str(raw).partition(":")
    name, text = name.strip(), text.strip()
    if not colon or not _TOKEN.fullmatch(name):
        raise Fault("takes 'Name: value', with a name of letters, digits and hyphens")
    if name.lower() in OWN_HEADERS:
        raise Fault(f"cannot set {name}: FluxPerf sets it itself")
    check_header_value(f"the value of header {name}", text)
    return name, text


def check_header_value(what: str, text: str) -> None:
    """Raises Fault, without showing the value, if it cannot be sent as a header's."""
    if not text.isascii() or not text.isprintable():
        raise Fault(f"cannot be used: {what} holds characters that a header cannot carry (is there a line end in it?)")


def _key(raw: Any) -> str:
    key = _text(str(raw)).strip()
    check_header_value("the key", key)
    return key


def _label(raw: Any) -> tuple[str, str]:
    name, equals, text = str(raw).partition("=")
    if not equals or not name.strip():
        raise Fault(f"takes K=V, not {raw!r}")
    return name.strip(), text


def _endpoint(raw: Any) -> str:
    url = _text(raw).strip()
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Fault(f"is not a URL: {error}") from error
    example = "http://localhost:8000/v1/chat/completions"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise Fault(f"must be a full URL such as {example}")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise Fault(f"holds characters that a URL cannot; it must look like {example}")
    if parts.scheme == "https":
        raise NotYetError("https:// endpoints are not yet built: use http://")
    path = parts.path.rstrip("/")
    if path.endswith("/completions") and not path.endswith("/chat/completions"):
        raise NotYetError(f"the completions API is not yet built: use the chat completions URL, such as {example}")
    return url


def _mode(raw: Any) -> str:
    mode: str = _choice(*MODES)(raw)
    if mode == "multi_turn":
        raise NotYetError("--mode multi_turn is not yet built: dual_round sends the first question of each session")
    return mode


def _http(raw: Any) -> str:
    version: str = _choice("auto", "1.1", "2")(str(raw))
    if version == "2":
        raise NotYetError("--http 2 is not yet built: leave it out, or say --http 1.1")
    return version


READERS: dict[str, Read] = {
    "dataset": _text,
    "endpoint": _endpoint,
    "model": _sent_text,
    "api_key": _key,
    "api_key_env": _text,
    "num_samples": _many(_integer(1)),
    "concurrency": _many(_integer(1, 100_000)),
    "same_samples": _flag,
    "mode": _mode,
    "rounds": _integer(1, 1000),
    "no_shuffle_round2": _flag,
    "seed": _integer(-(2**53)),
    "max_output_tokens": _integer(1),
    "min_output_tokens": _integer(1),
    "temperature": _number(0),
    "top_p": _number(0, 1, above=True),
    "extra_body": _json_object,
    "header": _many(_header),
    "max_input_length": _integer(1),
    "timeout": _number(0, 86_400, above=True),
    "workers": _integer(1, 1024),
    "http": _http,
    "timestamps": _choice("auto", "kernel", "user"),
    "slo_file": _text,
    "mock_server": _flag,
    "mock_host": _text,
    "mock_port": _integer(0, 65_535),
    "output_dir": _text,
    "overwrite": _flag,
    "save_requests": _flag,
    "debug": _flag,
    "debug_verbose": _flag,
    "debug_log_dir": _text,
    "quiet": _flag,
    "no_progress": _flag,
    "label": _many(_label),
}
