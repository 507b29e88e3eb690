"""Which metrics are meant: `name` or `name{label="value"}`, read from the user's words and written as PromQL.

The grammar is that of PromQL's instant vector selectors (prometheus.io, "Querying basics"). Knows no server, no page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)?\s*")
_STRING = re.compile(r""""((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'|`([^`]*)`""")
_SEPARATOR = re.compile(r"\s*([,}])")
_CLOSING = re.compile(r"\s*}")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL)
_SHORT = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
_EXPRESSION = re.compile(r"[(\[+*/<>^%@-]|\s(?:offset|by|and|or|unless)\s")


@dataclass(frozen=True, slots=True)
class Matcher:
    """What a label must be. A label that a series does not have counts as empty, as in PromQL."""

    label: str
    operator: str
    value: str

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels is meant."""
        text = labels.get(self.label, "")
        alike = text == self.value if self.operator in ("=", "!=") else re.fullmatch(self.value, text) is not None
        return alike != self.operator.startswith("!")


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric as it was asked for: `text` is in the user's words."""

    text: str
    name: str
    matchers: tuple[Matcher, ...] = ()

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels is meant; its name is another matter."""
        return all(matcher.accepts(labels) for matcher in self.matchers)

    def asks_for(self, label: str) -> bool:
        """Whether it says something of this label."""
        return any(matcher.label == label for matcher in self.matchers)

    def promql(self, names: Iterable[str]) -> str:
        """The selector of PromQL for its series under any of these names."""
        alternatives = "|".join(names)
        operator = "=~" if "|" in alternatives else "="
        terms = [f'__name__{operator}"{alternatives}"']
        terms += [f"{matcher.label}{matcher.operator}{quote(matcher.value)}" for matcher in self.matchers]
        return "{" + ",".join(terms) + "}"


def quote(text: str) -> str:
    r"""A string of PromQL, and of the text format: both escape \, " and line feeds alike."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'


def name_series(name: str, labels: Iterable[tuple[str, str]]) -> str:
    """A series as pages write it: `name{engine="0"}`."""
    inside = ",".join(f"{label}={quote(value)}" for label, value in labels)
    return f"{name}{{{inside}}}" if inside else name


def parse_selector(text: str) -> Selector:
    """Raises ValueError, whose message goes on after the text and says what is wrong and what to write."""
    words = text.strip()
    found = _NAME.match(words)
    if found is None:
        raise ValueError('does not begin with the name of a metric, as name or name{label="value"} do')
    name, rest = found[0], words[found.end() :].lstrip()
    if not rest:
        return Selector(text, name)
    if not rest.startswith("{"):
        if _EXPRESSION.search(f" {rest}"):
            raise ValueError("is an expression; give the name of a metric: its rates and percentiles are made here")
        raise ValueError(f"has {rest!r} after the name; separate metrics by spaces, put labels in {{}}")
    matchers, end = _parse_matchers(rest)
    if behind := rest[end:].strip():
        raise ValueError(f'has {behind!r} after its labels; only name{{label="value"}} is understood')
    return Selector(text, name, matchers)


def _parse_matchers(text: str) -> tuple[tuple[Matcher, ...], int]:
    """The matchers in the braces at the beginning of `text`, and where they end."""
    matchers: list[Matcher] = []
    at, separator = 1, ","
    while separator == ",":
        if closing := _CLOSING.match(text, at):
            return tuple(matchers), closing.end()
        matcher, at = _parse_matcher(text, at)
        matchers.append(matcher)
        after = _SEPARATOR.match(text, at)
        if after is None:
            raise ValueError(_unexpected(text[at:], "a comma or }"))
        separator, at = after[1], after.end()
    return tuple(matchers), at


def _parse_matcher(text: str, at: int) -> tuple[Matcher, int]:
    label = _LABEL.match(text, at)
    if label is None:
        raise ValueError(_unexpected(text[at:], "the name of a label"))
    name, operator = label[1], label[2]
    if operator is None:
        raise ValueError(f"has the label {name} without =, !=, =~ or !~ after it")
    if name == "__name__":
        raise ValueError("has the label __name__: the name itself stands before the {")
    string = _STRING.match(text, label.end())
    if string is None:
        example = f'{name}{operator}"value"'
        raise ValueError(
            f"has no value in quotes after {name}{operator}; write {example}, and '...' around the whole, "
            "because the shell takes quotes away"
        )
    raw = string[3]
    value = raw if raw is not None else _unescape(string[1] if string[1] is not None else string[2])
    if operator in ("=~", "!~"):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"has no regular expression after {name}{operator}: {error}") from error
    return Matcher(name, operator, value), string.end()


def _unexpected(rest: str, wanted: str) -> str:
    if rest.strip():
        return f"has {rest.strip()!r} where {wanted} must stand"
    return "has no } at its end; put '...' around the whole, because the shell takes spaces and quotes for its own"


def _unescape(text: str) -> str:
    r"""What Go's string literals mean by `text`: \x and octal escapes are bytes of UTF-8."""

    def replace(found: re.Match[str]) -> str:
        byte, short, long, octal, letter = found.groups()
        if letter is not None:
            if letter not in _SHORT:
                raise ValueError(rf"has the unknown escape \{letter} in a value; a backslash is written \\")
            return _SHORT[letter]
        if byte or octal:
            code = int(byte, 16) if byte else int(octal, 8)
            return bytes([code]).decode("utf-8", "surrogateescape")
        code = int(short or long, 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ValueError(f"has the escape {found[0]}, which is no character, in a value")
        return chr(code)

    whole = _ESCAPE.sub(replace, text)
    try:
        return whole.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError as error:
        raise ValueError("has a value that is not UTF-8") from error
