"""Settings from environment variables: `FLUXPERF_MOCK_<SETTING>` for each, and `ENABLE_PREFIX_CACHE`.

So that what the environment of a server does to it can be rehearsed. Knows of the command line which settings it gave.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from fluxperf.errors import UsageError
from fluxperf_mock.settings import MockSettings, option_name, read_value

PREFIX = "FLUXPERF_MOCK_"
PREFIX_CACHE = "ENABLE_PREFIX_CACHE"


def _variable(name: str) -> str:
    return PREFIX + name.upper()


_VARIABLES = {_variable(field.name): field.name for field in fields(MockSettings)}
_SWITCH = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the environment says: settings by name, and whether there is a prefix cache; None: it does not say.

    `taken` are the variables that count, as `NAME=value`; `passed_over` those in whose place an option was given.
    """

    values: Mapping[str, Any]
    prefix_cache: bool | None
    taken: tuple[str, ...]
    passed_over: tuple[str, ...]

    def apply(self, options: Mapping[str, Any]) -> MockSettings:
        """The settings of options and variables. Options win, but nothing gives back a cache that is turned off."""
        values = {**self.values, **options}
        if self.prefix_cache is False:
            values["cache_tokens"] = 0
        elif self.prefix_cache and values.get("cache_tokens") == 0:
            del values["cache_tokens"]
        for name, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
            if name in values and other not in values:
                given_as = option_name(name) if name in options else _variable(name)
                raise UsageError(f"{given_as} needs {option_name(other)} beside it")
        return MockSettings(**values)

    def __str__(self) -> str:
        """What to tell the user, as one line; empty if there is nothing."""
        told = [f"from the environment: {', '.join(self.taken)}"] if self.taken else []
        if self.passed_over:
            told.append(f"options win over {', '.join(self.passed_over)}")
        return "; ".join(told)


def read_surroundings(env: Mapping[str, str], options: Collection[str]) -> Surroundings:
    """What the environment says to settings that are not among `options`.

    Raises UsageError that names the variable if it is of no setting, or if its value cannot be.
    """
    values, taken, passed_over = {}, [], []
    for variable in sorted(name for name in env if name.startswith(PREFIX)):
        if variable not in _VARIABLES:
            near = difflib.get_close_matches(variable, _VARIABLES, 1)
            hint = f"did you mean {near[0]}?" if near else "see fluxperf mock --help for what there is"
            raise UsageError(f"the environment has {variable}, which is no setting of the mock server; {hint}")
        name = _VARIABLES[variable]
        if name in options:
            passed_over.append(variable)
            continue
        values[name] = read_value(variable, name, env[variable])
        taken.append(f"{variable}={env[variable]}")
    switch = env.get(PREFIX_CACHE)
    if switch is not None:
        taken.append(f"{PREFIX_CACHE}={switch}")
    return Surroundings(values, _read_switch(switch), tuple(taken), tuple(passed_over))


def _read_switch(text: str | None) -> bool | None:
    if text is None:
        return None
    if text.strip().lower() not in _SWITCH:
        raise UsageError(f"{PREFIX_CACHE} must be one of {', '.join(_SWITCH)}, not {text!r}")
    return _SWITCH[text.strip().lower()]
