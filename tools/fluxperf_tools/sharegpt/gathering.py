"""Reads dumps into a pool of sessions, and counts what became of every entry. It prints nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fluxperf.errors import DatasetError
from fluxperf.meter import meter
from fluxperf.plan.tokens import Tokens
from fluxperf_tools.reading import read_records
from fluxperf_tools.records import Fault, Record
from fluxperf_tools.sharegpt.conversation import read_conversation
from fluxperf_tools.sharegpt.pool import Pool
from fluxperf_tools.sharegpt.session import Changes, Session, make_session

_FAULTS_KEPT = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """Which sessions are wanted, and how long; None: no limit. Turns are counted before the cut, tokens after it."""

    min_turns: int = 1
    max_turns: int | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None


@dataclass(slots=True)
class Gathered:
    """What became of the entries. Every one that was read is in one of the counts or was offered to the pool."""

    read: int = 0
    bad: int = 0
    first_faults: list[Fault] = field(default_factory=list)
    unasked: int = 0
    too_few_turns: int = 0
    too_few_tokens: int = 0
    too_many_tokens: int = 0
    cut: int = 0
    changes: Changes = field(default_factory=Counter)
    is_whole: bool = True

    def note(self, fault: Fault | None) -> None:
        """An entry was read, and was bad if there is a fault."""
        self.read += 1
        if fault:
            self.bad += 1
            self.first_faults += [fault] if self.bad <= _FAULTS_KEPT else []


def gather(paths: Iterable[Path], pool: Pool, limits: Limits, tokens: Tokens, *, is_strict: bool = False) -> Gathered:
    """Puts the sessions of all dumps into the pool, until it is full.

    What is bad is left out and counted; DatasetError, with its place, if `is_strict`.
    """
    gathered = Gathered()
    for path in paths:
        with meter(f"Reading {path.name}", _size_bytes(path)) as advance:
            for found in read_records(path, advance):
                fault = found if isinstance(found, Fault) else _take(found, gathered, pool, limits, tokens)
                if fault and is_strict:
                    raise DatasetError(f"{fault}\nleave --strict out to go on without it")
                gathered.note(fault)
                if pool.is_full:
                    gathered.is_whole = False
                    return gathered
    return gathered


def _size_bytes(path: Path) -> int | None:
    """None where it is not known, of a pipe."""
    return path.stat().st_size if path.is_file() else None


def _take(record: Record, gathered: Gathered, pool: Pool, limits: Limits, tokens: Tokens) -> Fault | None:
    try:
        session = make_session(read_conversation(record.value), gathered.changes)
    except DatasetError as error:
        return Fault(record.place, str(error))
    cut = session.cut(limits.max_turns)
    if not session.turns:
        gathered.unasked += 1
    elif len(session.turns) < limits.min_turns:
        gathered.too_few_turns += 1
    elif _fits(cut, gathered, limits, tokens):
        gathered.cut += cut is not session and len(cut.turns) < len(session.turns)
        pool.add(cut)
    return None


def _fits(session: Session, gathered: Gathered, limits: Limits, tokens: Tokens) -> bool:
    if limits.min_tokens is None and limits.max_tokens is None:
        return True
    count = sum(tokens.count_all(session.texts))
    too_few = limits.min_tokens is not None and count < limits.min_tokens
    too_many = limits.max_tokens is not None and count > limits.max_tokens
    gathered.too_few_tokens += too_few
    gathered.too_many_tokens += too_many
    return not too_few and not too_many
