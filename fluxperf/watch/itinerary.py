"""`Itinerary`: the rounds of a run in their order, how long those that are over took, and what the rest may take.

It knows no clock and no server: what a round takes is told to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fluxperf.model import CONTROL, RoundName


@dataclass(frozen=True, slots=True)
class Leg:
    """A round to be run. `stage` is its title (None: there is one, without a name); `sessions` as many as it sends."""

    stage: str | None
    concurrency: int
    round: RoundName
    sessions: int


@dataclass(frozen=True, slots=True)
class Rest:
    """What later rounds may take (ns). `at_most`: some are at another level than any that is known."""

    ns: float
    at_most: bool


class Itinerary:
    """Without `legs` it says nothing of places, and of no rest."""

    def __init__(self, legs: Iterable[Leg] = ()) -> None:
        self.legs = tuple(legs)
        self._took_ns: dict[Leg, float] = {}

    def describe(self, leg: Leg) -> str:
        """The round's name, with how many there are of what it is one of."""
        rounds = [one.round for one in self.legs if (one.stage, one.concurrency) == (leg.stage, leg.concurrency)]
        levels = list(dict.fromkeys(one.concurrency for one in self.legs if one.stage == leg.stage))
        stages = list(dict.fromkeys(one.stage for one in self.legs))
        level = f"concurrency {leg.concurrency}{_place(leg.concurrency, levels, ' (level {} of {})')}"
        if leg.round == CONTROL:
            text = f"{level}, control round{_place(leg.round, rounds, ' ({} of {})')}"
        else:
            of = f" of {sum(name != CONTROL for name in rounds)}" if leg.round in rounds else ""
            text = f"{level}, round {leg.round}{of}"
        if leg.stage is None:
            return text[0].upper() + text[1:]
        return f"{leg.stage}{_place(leg.stage, stages, ' (stage {} of {})')}: {text}"

    def arrive(self, leg: Leg, took_ns: float) -> None:
        """The round is over, and whole."""
        self._took_ns[leg] = took_ns

    def estimate_rest(self, leg: Leg, whole_ns: float) -> Rest | None:
        """What the rounds after this one may take, if this takes `whole_ns`; None: there are none, or nobody can tell.

        A round is taken to last as long as another of its level, by the number of sessions. Of another level it is an
        upper bound: with more in flight a server rarely does less, and with fewer in flight none of them waits longer.
        """
        if leg not in self.legs:
            return None
        later = self.legs[self.legs.index(leg) + 1 :]
        if not later:
            return None
        known = {**self._took_ns, leg: whole_ns}
        stages = {one.stage for one in known}
        # Of a plan that is repeated a hundred times, most rounds are guessed alike: each guess is made once.
        alike: dict[tuple[object, ...], list[Leg]] = {}
        for one in later:
            key = (one.concurrency, one.stage if one.stage in stages else None, one.round == 1, one.sessions)
            alike.setdefault(key, []).append(one)
        guesses = [(_guess(ones[0], known), len(ones)) for ones in alike.values()]
        return Rest(sum(guess.ns * count for guess, count in guesses), any(guess.at_most for guess, _ in guesses))


def _place(one: object, of: Sequence[object], words: str) -> str:
    return words.format(of.index(one) + 1, len(of)) if one in of and len(of) > 1 else ""


def _guess(leg: Leg, known: dict[Leg, float]) -> Rest:
    """By the rounds that are most like it: of its level, its stage, and its number, as far as there are such."""

    def likeness(one: Leg) -> tuple[bool, bool, bool]:
        return one.concurrency == leg.concurrency, one.stage == leg.stage, (one.round == 1) == (leg.round == 1)

    best = max(map(likeness, known))
    bounds = [_scale(leg, one, took_ns) for one, took_ns in known.items() if likeness(one) == best]
    return Rest(min(bounds), at_most=not best[0])


def _scale(leg: Leg, one: Leg, took_ns: float) -> float:
    """The time of `leg`, if the server did as many requests at once and each took as long, or longer for more."""
    each_ns = took_ns / max(one.sessions, 1)
    return leg.sessions * each_ns * max(one.concurrency / leg.concurrency, 1)
