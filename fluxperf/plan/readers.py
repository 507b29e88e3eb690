"""How each setting is read: from the text of the command line, or from a value of its own type in YAML."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, get_args
from urllib.parse import urlsplit

from fluxperf.errors import NotYetError
from fluxperf.plan.forms import Mode
from fluxperf.plan.planner import Order

MODES: tuple[Mode, ...] = get_args(Mode)
OWN_HEADERS = ("accept-encoding", "connection", "content-length", "transfer-encoding")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


class Fault(ValueError):
    """What is wrong with one value: a sentence that goes on after the option's name."""


Read = Callable[[Any], Any]


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


def _url(example: str) -> Read:
    def read(raw: Any) -> str:
        url = _text(raw).strip()
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise Fault(f"is not a URL: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise Fault(f"must be a full URL such as {example}")
        if not url.isascii() or not url.isprintable() or " " in url:
            raise Fault(f"holds characters that a URL cannot; it must look like {example}")
        return url

    return read


def _endpoint(raw: Any) -> str:
    example = "http://localhost:8000/v1/chat/completions"
    url: str = _url(example)(raw)
    path = urlsplit(url).path.rstrip("/")
    if path.endswith("/completions") and not path.endswith("/chat/completions"):
        raise NotYetError(f"the completions API is not yet built: use the chat completions URL, such as {example}")
    return url


def _mode(raw: Any) -> str:
    mode: str = _choice(*MODES)(raw)
    if mode == "multi_turn":
        raise NotYetError("--mode multi_turn is not yet built: dual_round sends the first question of each session")
    return mode


def _http(raw: Any) -> str:
    """YAML gives a number for 1.1."""
    version: str = _choice("auto", "1.1", "2")(str(raw))
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
    "round2_order": _choice(*get_args(Order)),
    "control_round": _flag,
    "salt": _flag,
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
    "streams_per_connection": _integer(1, 1000),
    "ca_file": _text,
    "client_cert": _text,
    "client_key": _text,
    "insecure": _flag,
    "timestamps": _choice("auto", "kernel", "user"),
    "slo_file": _text,
    "engine": _choice("auto", "vllm", "sglang", "llamacpp", "lmcache", "trtllm", "none"),
    "reset_cache_url": _url("http://localhost:8000/reset_prefix_cache"),
    "reset_cache_between_rounds": _flag,
    "reset_cache_between_concurrency": _flag,
    "prometheus_url": _url("http://localhost:9090"),
    "prometheus_metrics": _many(_text),
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
    "strict": _flag,
    "label": _many(_label),
}
