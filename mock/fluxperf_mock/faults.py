"""`--faults`: what can be made to go wrong, and how a list of it is read. A fault's doing is elsewhere, by its name.

Each has a value at which nothing goes wrong, so that whoever acts on it need not know whether it was asked for.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

# What an engine must have for a fault to be seen.
Need = Literal["reset", "page of metrics", "cached_tokens in its usage", "counter of preemptions"]
RESET: Final = "reset"
METRICS: Final = "page of metrics"
CACHED_TOKENS: Final = "cached_tokens in its usage"
PREEMPTIONS: Final = "counter of preemptions"


class Value(NamedTuple):
    """A fault's value: the one that it has if none is given, the harmless one, and the inclusive bounds."""

    default: float
    harmless: float
    low: float
    high: float
    whole: bool = False

    def find_problem(self, text: str) -> str | None:
        """Why the text is no such value, as the end of a sentence; None: it is one."""
        number: float | None = None
        with contextlib.suppress(ValueError):
            number = int(text) if self.whole else float(text)
        if number is not None and self.low <= number <= self.high:  # NaN is out of range too
            return None
        kind = "a whole number" if self.whole else "a number"
        return f"must be {kind} from {self.low:.15g} to {self.high:.15g}, not {text!r}"


_ON: Final = 1.0
_OFF: Final = 0.0


class Fault(NamedTuple):
    """A row: what it does in one line, its value if it takes one, and what it needs of the engine."""

    text: str
    value: Value | None = None
    needs: Need | None = None


FAULTS: dict[str, Fault] = {
    "reset-lies": Fault("The reset says that it was done, and empties nothing.", needs=RESET),
    "reset-fails": Fault("The reset answers as while requests run, and empties nothing.", needs=RESET),
    "drift": Fault(
        "The server warms up: request n takes V + (1-V) * 2^(-n/50) of its overhead and prefill.", Value(0.5, 1, 0, 1)
    ),
    "foreign": Fault(
        "Share V of the prompt tokens and queries that are counted is of other clients.",
        Value(0.05, 0, 0, 0.9),
        METRICS,
    ),
    "counters-restart": Fault(
        "After V requests, once: counters at zero, a new start time, an empty cache.", Value(15, 0, 1, 1e9, whole=True)
    ),
    "metrics-500": Fault("The page of metrics answers 500.", needs=METRICS),
    "metrics-garbage": Fault("The page of metrics is one of HTML.", needs=METRICS),
    "slow-metrics": Fault("The page of metrics takes V seconds.", Value(2, 0, 0, 600), METRICS),
    "no-cached-tokens": Fault("usage has no prompt_tokens_details.", needs=CACHED_TOKENS),
    "hidden-cache": Fault("usage says 0 cached tokens, the counters no hits; the cache works.", needs=CACHED_TOKENS),
    "answers-shrink": Fault("A prompt that came before gets V of its answer.", Value(0.5, 1, 0, 1)),
    "errors": Fault("Share V of the requests whose prompt came before fails with 500.", Value(0.2, 0, 0, 1)),
    "preempt": Fault(
        "Share V of the requests is preempted once, and its tokens are looked up twice.",
        Value(0.1, 0, 0, 1),
        PREEMPTIONS,
    ),
}


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults that were asked for. `faults["drift"]` is its value, at which nothing goes wrong if it was not."""

    given: Mapping[str, float]

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def __iter__(self) -> Iterator[str]:
        return iter(self.given)

    def __getitem__(self, name: str) -> float:
        value = FAULTS[name].value
        return self.given.get(name, _OFF if value is None else value.harmless)

    def describe(self) -> list[str]:
        """Each as it would be given, with its value."""
        return [name if FAULTS[name].value is None else f"{name}={value:.15g}" for name, value in self.given.items()]


def read_faults(text: str) -> Faults:
    """The faults in a list such as `reset-lies,drift=0.4`; empty: none.

    Raises ValueError, whose message is the rest of a sentence about the list.
    """
    given: dict[str, float] = {}
    for word in text.split(",") if text.strip() else ():
        name, equals, value = (part.strip() for part in word.partition("="))
        if name not in FAULTS:
            raise ValueError(f"names {name!r}, which is no fault; {_suggest(name)}")
        if name in given:
            raise ValueError(f"names {name} twice")
        given[name] = _read_value(name, value if equals else None)
    return Faults(MappingProxyType(given))


def _read_value(name: str, text: str | None) -> float:
    value = FAULTS[name].value
    if value is None:
        if text is not None:
            raise ValueError(f"gives {name} the value {text!r}, but it takes none")
        return _ON
    if text is None:
        return value.default
    problem = value.find_problem(text)
    if problem:
        raise ValueError(f"gives a value to {name} that cannot be: it {problem}")
    return float(text)


def _suggest(name: str) -> str:
    near = difflib.get_close_matches(name, FAULTS, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(FAULTS)}"


class Quota:
    """Deals out a share of what comes in whole pieces, evenly: of a share of 0.2, every fifth."""

    __slots__ = ("_owed", "_share")

    def __init__(self, share: float) -> None:
        self._share = share
        self._owed = 0.0

    def take(self, amount: int = 1) -> int:
        """How many pieces are due now that `amount` more have come."""
        if not self._share:
            return 0
        self._owed += amount * self._share
        pieces = int(self._owed + 1e-9)  # ten times 0.1 is a little less than 1
        self._owed -= pieces
        return pieces
