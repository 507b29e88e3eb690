"""Keeps secrets out of files, logs and process titles."""

from __future__ import annotations

import base64
import ctypes
import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

MASK = "****"
CUT = "..."
LEAST_TOLD = 3  # so much of the beginning of a secret is no secret: "sk-"
SHORTEST_SECRET = 6
_SECRET_NAME = re.compile(
    r"auth|key|token|secret|passw|passphrase|pass$|pwd|(?:^|_)pw$|(?:^|_)pat$|bearer|cookie|credential|signature",
    re.IGNORECASE,
)
# Names that hold one of these words and are no secrets.
_HARMLESS_NAME = re.compile(r"max_.*tokens|min_.*tokens|_tokens$|^tokens$|tokens_per_s|tokenizer", re.IGNORECASE)
# Options that say where a secret is, not what it is.
_PLACE_OPTION = re.compile(r"(_env|file|_path|_dir)$", re.IGNORECASE)

_OPTION = re.compile(r"--?(?P<name>[A-Za-z][\w.-]*)")
_NAMED = re.compile(r"(?P<name>(?P<dashes>-{0,2})[A-Za-z_][\w.-]*)(?P<equals>\+?=)(?P<text>.+)", re.DOTALL)
_HEADER = re.compile(r"(?P<name>[\w-]+):(?P<space>\s*)(?P<text>.+)", re.DOTALL)
_HEADER_OPTIONS = ("-H", "--header")
_USER_OPTIONS = ("-u", "--user")  # curl's
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "ash"))
_SHELL_LINE_OPTION = re.compile(r"-[a-z]*c")
# A word of a shell's line as it stands there, also one whose quote is never closed; or what ends a command.
_LINE_PART = re.compile(
    r"""(?P<word>(?:\$\([^()]*\)|`[^`]*`|'[^']*(?:'|$)|"(?:\\.|[^"\\])*(?:"|$)|\\[^\n]|[^\s'"\\;&|()<>`])+)"""
    r"""|(?P<end>[;&|()]|(?<!\\)\n)""",
    re.DOTALL,
)
_VARIABLE = re.compile(r'"?\$(\w+|\{\w+\})"?')


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


def mask_command(words: Sequence[str]) -> str:
    """A command as a line that a shell would split into its words, with what looks secret in them masked.

    That is: values of options and variables (`--api-key X`, `HF_TOKEN=X`) by names that look secret, such headers, what
    `mask_url` masks in URLs, and all of these within the line that a shell is given (`bash -c LINE`).
    """
    return " ".join(_quote(shown) for shown, _ in _mask_words(words))


def secrets_in_command(words: Sequence[str]) -> list[str]:
    """The texts that `mask_command` masks."""
    return [secret for _, secrets in _mask_words(words) for secret in secrets]


def mask_env(env: Mapping[str, str | None], secrets: Collection[str] = ()) -> dict[str, str | None]:
    """Variables with their values, masked where the name looks secret, or as in a command where the value holds one.

    `secrets` are masked whatever the name of the variable that has one.
    """
    return {name: None if text is None else scrub(_mask_variable(name, text)[0], secrets) for name, text in env.items()}


def secrets_in_env(env: Mapping[str, str | None]) -> list[str]:
    """The texts that `mask_env` masks."""
    return [secret for name, text in env.items() if text is not None for secret in _mask_variable(name, text)[1]]


# A text as it may be shown, and the secrets that were in it.
_Masked = tuple[str, list[str]]


def _mask_variable(name: str, text: str) -> _Masked:
    return (MASK, [text]) if text and looks_secret(name) else _mask_line(text)


def _mask_words(words: Sequence[str]) -> list[_Masked]:
    """Each word of one command, masked."""
    masked, before, of_shell = [], "", False
    for word in words:
        if of_shell and _SHELL_LINE_OPTION.fullmatch(before):
            masked.append(_mask_line(word))
        else:
            masked.append(_mask_word(word, before))
        of_shell = of_shell or Path(word).name in _SHELLS
        before = word
    return masked


def _mask_word(word: str, before: str) -> _Masked:
    """One word that is no shell's line, and follows the word `before`."""
    option = _OPTION.fullmatch(before)
    # What starts with a dash is the next option; the one before was a switch.
    if option and _is_secret_option(option["name"]) and word and not word.startswith("-"):
        return MASK, [word]
    named = _NAMED.fullmatch(word)
    if named:
        start = f"{named['name']}{named['equals']}"
        secret = _is_secret_option if named["dashes"] else looks_secret
        if secret(named["name"]):
            return start + MASK, [named["text"]]
        # `--header=...` is as good as `--header ...`.
        shown, secrets = _mask_text(named["text"], named["name"])
        return start + shown, secrets
    return _mask_text(word, before)


def _mask_text(text: str, option: str) -> _Masked:
    """A value, given to `option` if that is one: a header, a user with a password, JSON, or something with URLs."""
    header = _HEADER.fullmatch(text)
    if header and (option in _HEADER_OPTIONS or header["space"]) and looks_secret(header["name"]):
        return f"{header['name']}: {MASK}", secrets_in_header(header["name"], header["text"])
    user, colon, password = text.partition(":")
    if option in _USER_OPTIONS and password and not password.isdecimal():
        return f"{user}{colon}{MASK}", [password]
    if text.startswith(("{", "[")):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            secrets = secrets_in_json(value)
            return (json.dumps(mask_json(value), ensure_ascii=False) if secrets else text), secrets
    secrets = [secret for url in _URL.findall(text) for secret in secrets_in_url(url)]
    return _URL.sub(lambda url: _mask_any_url(url[0]), text), secrets


def _mask_any_url(url: str) -> str:
    """The URL as it is if nothing in it is secret."""
    try:
        return mask_url(url) if secrets_in_url(url) else url
    except ValueError:
        return MASK


def _mask_line(line: str) -> _Masked:
    """The line of a shell with each of its commands masked, and all else as it is."""
    commands: list[list[re.Match[str]]] = [[]]
    for part in _LINE_PART.finditer(line):
        if part["end"]:
            commands.append([])
        else:
            commands[-1].append(part)
    shown, secrets, done = [], [], 0
    for command in commands:
        words = [_unquote(part[0]) for part in command]
        for part, word, (masked, found) in zip(command, words, _mask_words(words), strict=True):
            if masked == word or _is_variable(part[0], found):
                continue
            shown += [line[done : part.start()], part[0].replace(word, masked) if word in part[0] else _quote(masked)]
            secrets += found
            done = part.end()
    return "".join([*shown, line[done:]]), secrets


def _is_variable(written: str, found: list[str]) -> bool:
    """Whether all that was found in a word of a line is the name of a variable, which is no secret."""
    return "'" not in written and all(_VARIABLE.fullmatch(secret) for secret in found)


def _unquote(written: str) -> str:
    try:
        return "".join(shlex.split(written))
    except ValueError:  # a quote that is never closed
        return written.replace("'", "").replace('"', "")


def _quote(shown: str) -> str:
    """The word quoted for a shell if it needs that for more than its mask."""
    plain = shown.replace(MASK, "x")
    return shown if shlex.quote(plain) == plain else shlex.quote(shown)


def _is_secret_option(name: str) -> bool:
    name = name.lstrip("-").replace("-", "_")
    return looks_secret(name) and not _PLACE_OPTION.search(name)


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


def scrub_all(value: Any, secrets: Collection[str]) -> Any:
    """A value as JSON has it, with every occurrence of a secret masked in its texts, at any depth."""
    if isinstance(value, str):
        return scrub(value, secrets)
    if isinstance(value, Mapping):
        return {name: scrub_all(entry, secrets) for name, entry in value.items()}
    return [scrub_all(entry, secrets) for entry in value] if isinstance(value, list | tuple) else value


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
