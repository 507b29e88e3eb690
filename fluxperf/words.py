"""The words of a command line, option by option: what all our commands have in common. Knows no command's options."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from fluxperf.errors import UsageError


def take_option(word: str, rest: list[str], *, takes_value: bool, is_list: bool) -> list[str]:
    """The option in `word` as docopt wants it: with its value in one word, once for each value.

    The values are taken from `rest`; those of a list end at the next option. Raises UsageError.
    """
    name, equals, value = word.partition("=")
    values = [value] if equals else []
    while takes_value and rest and not is_option(rest[0]) and (not values or is_list):
        values.append(rest.pop(0))
    if takes_value and not values:
        raise UsageError(f"{name} needs a value")
    if equals and not takes_value:
        raise UsageError(f"{name} takes no value")
    return [f"{name}={value}" for value in values] or [name]


def unknown_option(name: str, known: Iterable[str], command: str) -> UsageError:
    """What to raise for an option that the command does not have, in full: docopt would take any abbreviation."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    hint = f", did you mean {nearest[0]}?" if nearest else ""
    return UsageError(f"unknown option {name}{hint}\n{command} --help lists the options")


def is_option(word: str) -> bool:
    """Whether the word is an option rather than the value of one: `-1` is a value."""
    return word.startswith("--") or word == "-h"
