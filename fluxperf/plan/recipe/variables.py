"""`${NAME}` and `${NAME:-default}` in a text. Knows no YAML and no environment, only a function that looks names up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from fluxperf.plan.readers import Fault

Lookup: TypeAlias = Callable[[str], str | None]

DEEPEST = 20  # defaults within defaults
MOST_CHARACTERS = 2**20  # of a text with its variables put in
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STOP = re.compile(r"\$\$|\$\{|\}")


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    default: tuple[_Part, ...] | None


_Part: TypeAlias = str | _Variable


def substitute(text: str, lookup: Lookup) -> str:
    """The text with its variables put in, `$$` as `$`, and every other `$` as it is.

    A default is for a variable that is unset or empty; it may hold variables itself, and ends at the first `}` that is
    not one of theirs. Raises Fault for a variable that is unset and has no default, and for a `${` that is no variable.
    """
    if "$" not in text:
        return text
    parts, _ = _parse(text, 0, 0)
    put_in, characters = [], 0
    for part in _fill(parts, lookup):
        put_in.append(part)
        characters += len(part)
        if characters > MOST_CHARACTERS:
            raise Fault(f"is longer than {MOST_CHARACTERS:,} characters with its variables put in")
    return "".join(put_in)


def escape(text: str) -> str:
    """A text that `substitute` makes `text` of."""
    return text.replace("$", "$$")


def _parse(text: str, at: int, depth: int) -> tuple[tuple[_Part, ...], int]:
    """The parts from `at` on, and where they end: at the end of the text, or behind the `}` of the variable around."""
    parts: list[_Part] = []
    done = at
    while stop := _STOP.search(text, at):
        at = stop.end()
        if stop[0] == "}" and not depth:
            continue
        parts.append(text[done : stop.start()])
        if stop[0] == "}":
            return tuple(parts), at
        if stop[0] == "$$":
            parts.append("$")
        else:
            variable, at = _parse_variable(text, at, depth)
            parts.append(variable)
        done = at
    if depth:
        raise Fault("has a ${ that is never closed; $$ stands for a dollar sign")
    return (*parts, text[done:]), len(text)


def _parse_variable(text: str, at: int, depth: int) -> tuple[_Variable, int]:
    if depth >= DEEPEST:
        raise Fault(f"has more than {DEEPEST} variables within each other")
    name = _NAME.match(text, at)
    if name and text.startswith("}", name.end()):
        return _Variable(name[0], None), name.end() + 1
    if name and text.startswith(":-", name.end()):
        default, at = _parse(text, name.end() + 2, depth + 1)
        return _Variable(name[0], default), at
    written = text[at - 2 : at + 20].split("\n")[0]
    raise Fault(f"has {written!r}, which is no variable: write ${{NAME}} or ${{NAME:-default}}, or $$ for a dollar")


def _fill(parts: tuple[_Part, ...], lookup: Lookup) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
            continue
        found = lookup(part.name)
        if part.default is not None and not found:
            yield from _fill(part.default, lookup)
        elif found is None:
            raise Fault(f"needs {part.name}, which is not set; ${{{part.name}:-...}} gives it a default")
        else:
            yield found
