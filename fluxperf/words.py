"""The words of a command line, option by option: what all our commands have in common. Knows no command's options."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from fluxperf.errors import UsageError

_OPTION = re.compile(r"^ +(?:(?P<short>-\w)[ ,]+)?(?P<name>--[\w-]+)(?:[ =](?P<value>[A-Z<]\S*))?", re.MULTILINE)


def parse(usage: str, argv: Sequence[str], command: str, lists: Collection[str] = ()) -> dict[str, Any]:
    """What docopt makes of the arguments `argv`: its own names (`--seed`, `INPUT`), and strings.

    Options are written in full, once, and with a value if the usage's list of options shows one. Those in
    `lists` take several (`--dataset a b c`, up to the next option, or given again) and are in the usage as
    `[--dataset=NAME]...`. `command` is how messages call it. Raises UsageError.
    """
    import docopt

    words = _expand(argv, {found["name"]: bool(found["value"]) for found in _OPTION.finditer(usage)}, command, lists)
    try:
        return dict(docopt.docopt(usage, argv=words, default_help=False))
    except docopt.DocoptExit as error:
        reason = str(error).partition("\n")[0].strip()
        said = "the arguments do not fit" if not reason or reason.lower().startswith(("usage", "warning")) else reason
        raise UsageError(f"{said}\n{_usage_lines(usage)}{command} --help lists the options") from error


def _expand(argv: Sequence[str], options: dict[str, bool], command: str, lists: Collection[str]) -> list[str]:
    """The words as docopt wants them: each option with its value in one word, list options once for each value."""
    expanded: list[str] = []
    seen: set[str] = set()
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            expanded.append(word)
            continue
        option = word.partition("=")[0]
        if option not in options:
            raise unknown_option(option, options, command)
        if option in seen and option not in lists:
            raise UsageError(f"{option} is given twice")
        seen.add(option)
        expanded += take_option(word, rest, takes_value=options[option], is_list=option in lists)
    return expanded


def _usage_lines(usage: str) -> str:
    """The part of the text that shows how the command is called."""
    lines = usage.splitlines()
    start = next((place for place, line in enumerate(lines) if line.lower().startswith("usage:")), len(lines))
    end = next((place for place in range(start, len(lines)) if not lines[place].strip()), len(lines))
    return "".join(f"{line}\n" for line in lines[start:end])


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
    nearest = difflib.get_close_matches(name, list(known), n=1) if name.strip("-") else []
    hint = f", did you mean {nearest[0]}?" if nearest else ""
    return UsageError(f"unknown option {name}{hint}\n{command} --help lists the options")


def is_option(word: str) -> bool:
    """Whether the word is an option rather than the value of one: `-1` is a value."""
    return word.startswith("--") or word == "-h"
