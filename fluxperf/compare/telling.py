"""Sentences on what differs between BASE and NEW, and where. Pure; knows no fact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from fluxperf.model import RoundName, RoundResult, RunResult
from fluxperf.report.text import printable, round_name

_MOST_VALUES = 3  # of a side, in a sentence
_MOST_PLACES = 4
MOST_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a run something is true: in all of it, in a stage, or in a round at one level of it."""

    stage: str | None = None
    concurrency: int | None = None
    round: RoundName | None = None

    @property
    def text(self) -> str:
        """In a sentence; empty for all of a run, and for the stage without a name."""
        parts = [] if self.stage is None else [f"stage {printable(self.stage)}"]
        if self.concurrency is not None:
            parts.append(f"concurrency {self.concurrency}")
        if self.round is not None:
            parts.append(round_name(self.round))
        return ", ".join(parts)


WHOLE = Place()


def place_of(result: RoundResult) -> Place:
    """Where a round stands."""
    return Place(result.stage, result.concurrency, result.round)


def find_round(run: RunResult, place: Place) -> RoundResult | None:
    """The round that stands there."""
    return next((one for one in run.rounds if place_of(one) == place), None)


def named_runs(base: Sequence[RunResult], new: Sequence[RunResult]) -> Iterator[tuple[str, RunResult]]:
    """Each run as it is called in a sentence: `NEW`, or `NEW 2` of several."""
    for side, runs in (("BASE", base), ("NEW", new)):
        for number, run in enumerate(runs, 1):
            yield (side if len(runs) == 1 else f"{side} {number}"), run


def tell_apart(base: Sequence[Any], new: Sequence[Any]) -> str | None:
    """`BASE has 1, NEW has 2`, of the values in each side's runs; None: all are the same."""
    ours, theirs = (list(dict.fromkeys(map(tell, side))) for side in (base, new))
    if len(ours) == 1 and ours == theirs:
        return None
    return f"BASE has {_join(ours)}, NEW has {_join(theirs)}"


def tell(value: Any) -> str:
    """A plain value in a few words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else msgspec.json.encode(value, order="deterministic").decode()
    return printable(text, MOST_CHARACTERS) or "an empty text"


def _join(texts: Sequence[str]) -> str:
    shown = texts if len(texts) <= _MOST_VALUES else [*texts[: _MOST_VALUES - 1], f"{len(texts) - 2} others"]
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def tell_where(places: Sequence[Place], everywhere: Sequence[Place]) -> str:
    """` (stage S)`, or which rounds, in brackets; empty where these are all places of their kind."""
    kind = places[0].concurrency is None
    peers = [place for place in everywhere if (place.concurrency is None) == kind and place != WHOLE]
    if WHOLE in places or len(places) == len(peers):
        return ""
    texts: dict[str, None] = {}
    for place in places:
        of_stage = sum(one.stage == place.stage for one in places)
        whole = place.stage is not None and of_stage == sum(one.stage == place.stage for one in peers)
        texts[Place(place.stage).text if whole else place.text] = None
    shown = list(texts)[:_MOST_PLACES]
    more = [f"{len(texts) - len(shown)} more"] if len(texts) > len(shown) else []
    return f" ({'; '.join([*shown, *more])})"
