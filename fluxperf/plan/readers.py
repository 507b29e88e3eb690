"""How each setting is read: from the text of the command line, or from a value of its own type in YAML."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, get_args
from urllib.parse import urlsplit

from fluxperf.errors import UsageError
from fluxperf.model.gate import Judge
from fluxperf.plan.forms import Mode
from fluxperf.plan.gates import parse_gate
from fluxperf.plan.planner import FirstOrder, Order

MODES: tuple[Mode, ...] = get_args(Mode)
OWN_HEADERS = ("accept-encoding", "connection", "content-length", "transfer-encoding")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


class Fault(ValueError):
    """What is wrong with one value: a sentence that goes on after the setting's name."""


class Later(Fault):
    """Nothing is wrong with the value, but what it asks for is not yet built."""


Read = Callable[[Any], Any]


def read_text(raw: Any) -> str:
    """A text that is more than white space; raises Fault."""
    if not isinstance(raw, str) or not raw.strip():
        raise Fault(f"must be a text that is not empty, not {raw!r}")
    return raw


def _sent_text(raw: Any) -> str:
    text = read_text(raw)
    if not text.isprintable():  # an argument that is not UTF-8 holds surrogates, which no body can carry
        raise Fault(f"holds characters that cannot be sent: {text!r}")
    return text


def _flag(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise Fault(f"is either given or not; it takes no value such as {raw!r}")
    return raw


def integer_reader(least: int, most: int = 2**53) -> Read:
    """Reads whole numbers within the inclusive bounds."""

    def read(raw: Any) -> int:
        text = str(raw).strip()
        if isinstance(raw, bool) or not re.fullmatch(r"[+-]?\d{1,18}", text):
            hint = "; several are separated by spaces" if isinstance(raw, str) and "," in raw else ""
            raise Fault(f"takes a whole number, not {raw!r}{hint}")
        if not least <= int(text) <= most:
            raise Fault(f"must be {f'at least {least}' if int(text) < least else f'at most {most}'}, not {int(text)}")
        return int(text)

    return read


def number_reader(least: float, most: float = math.inf, *, above: bool = False) -> Read:
    """Reads finite numbers within the bounds, which are inclusive; `above`: but for the lower one."""

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


def choice_reader(*names: str) -> Read:
    """Reads one of these words."""

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
    key = read_text(str(raw)).strip()
    check_header_value("the key", key)
    return key


def _label(raw: Any) -> tuple[str, str]:
    name, equals, text = str(raw).partition("=")
    if not equals or not name.strip():
        raise Fault(f"takes K=V, not {raw!r}")
    return name.strip(), text


def url_reader(example: str) -> Read:
    """Reads http and https URLs that look like `example`."""

    def read(raw: Any) -> str:
        url = read_text(raw).strip()
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
    url: str = url_reader(example)(raw)
    path = urlsplit(url).path.rstrip("/")
    if path.endswith("/completions") and not path.endswith("/chat/completions"):
        raise Later(f"cannot be used: the completions API is not yet built: use that of chat, such as {example}")
    return url


def _time_range(raw: Any) -> tuple[float, float]:
    """A number of seconds, or two as the least and the most: with a hyphen between, or a list."""
    numbers = str(raw).split("-") if isinstance(raw, str) and re.fullmatch(r"[\d.\s]+-[\d.\s]+", raw) else [raw]
    if isinstance(raw, list | tuple) and len(raw) == 2:
        numbers = list(raw)
    read = number_reader(0, 86_400)
    try:
        least, most = read(numbers[0]), read(numbers[-1])
    except Fault as fault:
        raise Fault(f"{fault}; it is seconds, or a range of them such as 0.5-2") from None
    if least > most:
        raise Fault(f"takes the shorter time first: {most:g}-{least:g}, not {raw}")
    return least, most


def _gate(raw: Any) -> str:
    """A gate as it was written, which is one that can be read."""
    text = read_text(raw)
    try:
        parse_gate(text)
    except UsageError as error:
        raise Fault(str(error)) from None
    return text


def _http(raw: Any) -> str:
    """YAML gives a number for 1.1."""
    version: str = choice_reader("auto", "1.1", "2")(str(raw))
    return version


READERS: dict[str, Read] = {
    "dataset": read_text,
    "endpoint": _endpoint,
    "model": _sent_text,
    "api_key": _key,
    "api_key_env": read_text,
    "num_samples": _many(integer_reader(1)),
    "concurrency": _many(integer_reader(1, 100_000)),
    "same_samples": _flag,
    "mode": choice_reader(*MODES),
    "max_context_tokens": integer_reader(1),
    "own_history": _flag,
    "think_time": _time_range,
    "rounds": integer_reader(1, 1000),
    "no_shuffle_round2": _flag,
    "round1_order": choice_reader(*get_args(FirstOrder)),
    "round2_order": choice_reader(*get_args(Order)),
    "control_round": _flag,
    "salt": _flag,
    "seed": integer_reader(-(2**53)),
    "max_output_tokens": integer_reader(1),
    "min_output_tokens": integer_reader(1),
    "temperature": number_reader(0),
    "top_p": number_reader(0, 1, above=True),
    "extra_body": _json_object,
    "header": _many(_header),
    "max_input_length": integer_reader(1),
    "tokenizer": read_text,
    "tokenizer_revision": read_text,
    "timeout": number_reader(0, 86_400, above=True),
    "workers": integer_reader(1, 1024),
    "http": _http,
    "streams_per_connection": integer_reader(1, 1000),
    "ca_file": read_text,
    "client_cert": read_text,
    "client_key": read_text,
    "insecure": _flag,
    "timestamps": choice_reader("auto", "kernel", "user"),
    "slo_file": read_text,
    "engine": choice_reader("auto", "vllm", "sglang", "llamacpp", "lmcache", "trtllm", "none"),
    "reset_cache_url": url_reader("http://localhost:8000/reset_prefix_cache"),
    "reset_cache_between_rounds": _flag,
    "reset_cache_between_concurrency": _flag,
    "prometheus_url": url_reader("http://localhost:9090"),
    "prometheus_metrics": _many(read_text),
    "mock_server": _flag,
    "mock_host": read_text,
    "mock_port": integer_reader(0, 65_535),
    "output_dir": read_text,
    "overwrite": _flag,
    "save_requests": _flag,
    "debug": _flag,
    "debug_verbose": _flag,
    "debug_log_dir": read_text,
    "quiet": _flag,
    "no_progress": _flag,
    "strict": _flag,
    "label": _many(_label),
    "repeat": integer_reader(1, 100),
    "baseline": read_text,
    "fail_on": _many(_gate),
    "judge": choice_reader(*get_args(Judge)),
    "allow_different": _flag,
    "junit": read_text,
    "markdown": read_text,
    "github": _flag,
    "lens": read_text,
}

# Those that are either given or not, and those that are texts whatever they look like.
FLAGS = frozenset(name for name, read in READERS.items() if read is _flag)
TEXTS = frozenset(name for name, read in READERS.items() if read in (read_text, _sent_text, _key, _http))
