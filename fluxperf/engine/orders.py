"""What a worker is told: once how to speak to the server, and for each round its part in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fluxperf.api import Api
from fluxperf.engine.answers import Answers
from fluxperf.engine.board import Board
from fluxperf.engine.bodies import Bodies, Tickets
from fluxperf.engine.dial import Route
from fluxperf.engine.exchange import Template
from fluxperf.model import Slo
from fluxperf.plan.tokens import Tokens


@dataclass(frozen=True, slots=True)
class SessionRules:
    """How sessions of several turns are led.

    Before each turn but the first there is a pause, drawn between the two bounds (s) by seed, session and turn: it is
    the same in every round. `most_context_tokens`: see `Conversation`.
    """

    think_time_s: tuple[float, float] = (0.0, 0.0)
    most_context_tokens: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Client:
    """How all workers of a run speak to the server.

    `tokens` counts the answers that came without usage; None: their output events have to do.
    """

    template: Template
    route: Route
    api: Api
    kernel_stamps: bool
    slo: Slo | None = None
    keep_transcripts: bool = False
    debug: str | None = None  # None, "lines" or "payloads"
    secrets: tuple[str, ...] = ()
    sessions: SessionRules = SessionRules()
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """What all workers of a run draw from and write to; made before they are forked.

    `answers`: where those stand that a round repeats; None: no round does.
    """

    bodies: Bodies
    tickets: Tickets
    board: Board
    answers: Answers | None = None


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where a worker writes in a round: rows, those that wait for their tokens to be counted, and what else is kept."""

    rows: Path
    uncounted: Path
    transcripts: Path | None = None
    answers: Path | None = None
    debug_log: Path | None = None


@dataclass(frozen=True, slots=True)
class RoundOrder:
    """One worker's part in a round of so many sessions: how many of them at once, and where it may write.

    `replayed`: the files with the answers of an earlier round, which stand in the history in place of the round's own.
    """

    lanes: int
    sessions: int
    concurrency: int
    outlets: Outlets
    replayed: tuple[Path, ...] = ()

    @property
    def refusals_to_stop(self) -> int:
        """After so many first answers that all refuse alike, the round is not worth going on with."""
        return min(self.concurrency, self.sessions)
