"""Keeps secrets out of files, logs and process titles."""

from __future__ import annotations

import base64
import ctypes
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

MASK = "****"
CUT = "..."
LEAST_TOLD = 3  # so much of the beginning of a secret is no secret: "sk-"
SHORTEST_SECRET = 6
_SECRET_NAME = re.compile(r"auth|key|token|secret|passw|cookie|credential|signature", re.IGNORECASE)
# Names that hold one of these words and are no secrets.
_HARMLESS_NAME = re.compile(r"max_.*tokens|min_.*tokens|_tokens$|tokenizer", re.IGNORECASE)


def looks_secret(name: str) -> bool:
    """Whether what goes by this name is better not shown."""
    return bool(_SECRET_NAME.search(name)) and not _HARMLESS_NAME.search(name)


def mask_url(url: str) -> str:
    """The URL without its user information, and with the values of query parameters that look like keys masked."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = parse_qsl(parts.query, keep_blank_values=True)
    if any(looks_secret(name) for name, _ in query):
        shown = urlencode([(name, MASK if looks_secret(name) else text) for name, text in query], safe="*")
    else:
        shown = parts.query
    return urlunsplit(parts._replace(netloc=host, query=shown))


def mask_fields(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names with their values, those that look secret masked."""
    return {name: MASK if looks_secret(name) else text for name, text in fields}


def mask_json(value: Any) -> Any:
    """A JSON value with the texts masked that go by a name that looks secret, at any depth."""
    if isinstance(value, Mapping):
        return {
            name: MASK if looks_secret(name) and isinstance(entry, str) else mask_json(entry)
            for name, entry in value.items()
        }
    return [mask_json(entry) for entry in value] if isinstance(value, list) else value


def secrets_in_json(value: Any) -> list[str]:
    """The texts that `mask_json` masks."""
    if isinstance(value, Mapping):
        own = [entry for name, entry in value.items() if looks_secret(name) and isinstance(entry, str) and entry]
        return own + [secret for entry in value.values() for secret in secrets_in_json(entry)]
    return [secret for entry in value for secret in secrets_in_json(entry)] if isinstance(value, list) else []


def secrets_in_header(name: str, text: str) -> list[str]:
    """What of a header is secret: of one by such a name the value, and the value without a scheme such as Bearer."""
    return [text, text.rpartition(" ")[2]] if looks_secret(name) and text else []


def secrets_in_url(url: str) -> list[str]:
    """The password in a URL, in each form that it takes, and what stands in query parameters for keys."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return []
    password = []
    if parts.password:
        # As it stands, as it is meant, and as it is sent (RFC 7617).
        plain = unquote(parts.password)
        sent = base64.b64encode(f"{unquote(parts.username or '')}:{plain}".encode()).decode("ascii")
        password = [parts.password, plain, sent]
    return password + [text for name, text in parse_qsl(parts.query) if looks_secret(name) and text]


def scrub(text: str, secrets: Iterable[str]) -> str:
    """The text with every occurrence of a secret masked; servers like to repeat the key they refuse.

    Where a long text was cut, which three dots at its end show, the beginning of a secret may be all that was left.
    """
    # One may hold another. Placeholders such as "x" or "none" are no secrets, and stand in every text.
    secrets = sorted((secret for secret in secrets if len(secret) >= SHORTEST_SECRET), key=len, reverse=True)
    for secret in secrets:
        text = text.replace(secret, MASK)
    shown = text.removesuffix(CUT)
    if shown != text:
        for secret in secrets:
            for length in range(len(secret) - 1, LEAST_TOLD, -1):
                if shown.endswith(secret[:length]):
                    return shown[:-length] + MASK + CUT
    return text


def hide_in_title(secrets: Iterable[str]) -> None:
    """Overwrites the secrets in this process's own command line, as ps(1) shows it; forked children inherit that.

    The kernel reads /proc/PID/cmdline from the process's memory, whose place proc(5) tells (fields 48 and 49).
    """
    fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    if not start < end:
        return
    line = ctypes.string_at(start, end - start)
    for secret in secrets:
        data = secret.encode("utf-8", "surrogateescape")
        at = line.find(data) if data else -1
        while at >= 0:
            ctypes.memset(start + at, ord("*"), len(data))
            at = line.find(data, at + len(data))
