"""`LensView`: what another tool would have made of the same stamps, as values."""

from __future__ import annotations

from dataclasses import dataclass

from fluxperf.model.result import RoundName


@dataclass(frozen=True, slots=True, kw_only=True)
class LensFigure:
    """A figure under another tool's name and definition, beside ours that is closest to it; None: there is none.

    `why` has the places, in the round's `reasons`, of what makes them differ. `is_exact`: it is what the tool's formula
    gives for these stamps, and not close to it.
    """

    name: str
    unit: str
    value: float | None
    ours: str | None = None
    our_value: float | None = None
    why: tuple[int, ...] = ()
    is_exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LensRound:
    """One round: its figures, and in a sentence each why some of them are others than ours."""

    stage: str | None
    concurrency: int
    round: RoundName
    figures: tuple[LensFigure, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LensView:
    """A run as another tool defines things. `limits`: what the stamps cannot tell, in a sentence each."""

    tool: str
    title: str
    version: str
    rounds: tuple[LensRound, ...]
    limits: tuple[str, ...] = ()
